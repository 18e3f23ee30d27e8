//! Errors of the library.

use std::fmt;

use ncs_collective::CollectiveError;
use ncs_config::RunFileError;
use ncs_eval::metrics::PredictionError;
use ncs_features::{EncodeError, FitError};
use ncs_model::artifact::ArtifactError;
use ncs_model::tensor_file::TensorFileError;
use ncs_readers::arrow::KeepError;
use ncs_readers::cache::CacheError;
use ncs_readers::synthetic::{SyntheticError, WriteError};
use ncs_readers::{LatestError, PrepareError, ReadError};
use ncs_serve::ApiError;
use ncs_serve::server::ServeError;
use ncs_serve::telemetry::logs::LogsError;
use ncs_serve::version::VersionError;
use ncs_train::TrainError;

use crate::drift_error::NoDistributions;
use crate::recalibration_error::RecalibrationError;
use crate::refused::Refused;
use crate::score_file::ScoreFileError;
use crate::scoring::{AbsentLabel, ModelError, NoScore, Stopped};

/// Kind of an [`Error`]: what has to change before the call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The run file.
    Config,
    /// The data files, or the rows passed.
    Data,
    /// The model's files.
    Model,
    /// The training: its settings or its data.
    Training,
    /// Something else: the message says what.
    Other,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident($type:ty): $kind:ident,)*) => {
        /// Error of a call of the library. Its text states what is wrong, where, and what to do.
        #[derive(Debug)]
        pub enum Error {
            $($(#[$doc])* $name(Box<$type>),)*
            /// Any other error.
            Failed(String),
        }

        impl Error {
            /// Returns the kind of the error.
            pub fn kind(&self) -> ErrorKind {
                match self {
                    $(Error::$name(_) => ErrorKind::$kind,)*
                    Error::Failed(_) => ErrorKind::Other,
                }
            }

            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    $(Error::$name(error) => Some(&**error),)*
                    Error::Failed(_) => None,
                }
            }
        }

        $(impl From<$type> for Error {
            fn from(error: $type) -> Error {
                Error::$name(Box::new(error))
            }
        })*
    };
}

errors! {
    /// The run file has problems.
    RunFile(RunFileError): Config,
    /// Rows cannot be read.
    Read(ReadError): Data,
    /// A label is missing.
    AbsentLabel(AbsentLabel): Data,
    /// Rows cannot be prepared for training.
    Prepare(PrepareError): Data,
    /// The latest rows cannot be found.
    Latest(LatestError): Data,
    /// Rows cannot be encoded.
    Encode(EncodeError): Data,
    /// A schema cannot be fitted to the rows.
    Fit(FitError): Data,
    /// Cached ids cannot be used.
    Cache(CacheError): Data,
    /// A frame cannot be kept as a file.
    Keep(KeepError): Data,
    /// A row has no score.
    NoScore(NoScore): Data,
    /// A request is refused.
    Request(ApiError): Data,
    /// A model cannot be used.
    Model(ModelError): Model,
    /// A model has no distributions of its training.
    Distributions(NoDistributions): Model,
    /// The files of a model cannot be read.
    Artifact(ArtifactError): Model,
    /// A model cannot be exported.
    Export(ncs_export::ExportError): Model,
    /// Calibrators cannot be fitted to the rows.
    Recalibration(RecalibrationError): Data,
    /// A candidate is not promoted.
    Refused(Refused): Other,
    /// The training failed.
    Train(TrainError): Training,
    /// The ranks of a training cannot exchange.
    Ranks(CollectiveError): Training,
    /// A version of a model cannot be loaded.
    Version(VersionError): Other,
    /// The call was stopped.
    Stopped(Stopped): Other,
    /// The server failed.
    Serve(ServeError): Other,
    /// Scores and labels do not belong together.
    Prediction(PredictionError): Other,
    /// A file cannot be written or read.
    File(TensorFileError): Other,
    /// Scores cannot be written.
    ScoreFile(ScoreFileError): Other,
    /// A synthetic log cannot be generated with these settings.
    Synthetic(SyntheticError): Other,
    /// A synthetic log cannot be written.
    Write(WriteError): Other,
    /// The log cannot be started.
    Logs(LogsError): Other,
    /// The system refuses an operation.
    Io(std::io::Error): Other,
    /// A JSON file is damaged.
    Json(serde_json::Error): Other,
    /// A CSV file is damaged.
    Csv(csv::Error): Other,
}

impl Error {
    /// Returns the error of reading rows that this error is or contains.
    pub fn read_error(&self) -> Option<&ReadError> {
        match self {
            Error::Read(error) => Some(error),
            Error::AbsentLabel(error) => Some(&error.error),
            Error::Prepare(error) => match &**error {
                PrepareError::Read(error) => Some(error),
                _ => None,
            },
            Error::Keep(error) => match &**error {
                KeepError::Read(error) => Some(error),
                _ => None,
            },
            Error::Latest(error) => match &**error {
                LatestError::Read(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::Failed(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Error {
        Error::Failed(text.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Failed(text) => f.write_str(text),
            other => other.source().map_or(Ok(()), |error| write!(f, "{error}")),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text is that of the inner error.
        Error::source(self).and_then(|error| error.source())
    }
}
