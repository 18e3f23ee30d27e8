//! Conversion of the library's errors into exceptions of the package: `NcsError` and its subclasses, with file, row
//! and column.

use std::error::Error;

use ncs_export::ExportError;
use ncs_features::{EncodeError, FitError};
use ncs_model::artifact::ArtifactError;
use ncs_readers::arrow::KeepError;
use ncs_readers::cache::CacheError;
use ncs_readers::{LatestError, PrepareError, ReadError};
use ncs_serve::ApiError;
use ncs_train::TrainError;
use ncs4cvr::run_file::RunFileError;
use ncs4cvr::scoring::{AbsentLabel, ModelError, NoScore};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Error that a Rust thread passes to Python.
#[derive(Debug)]
pub(crate) struct Failure(Box<Fault>);

#[derive(Debug, Default)]
struct Fault {
    /// Name of the exception class.
    class: &'static str,
    text: String,
    file: Option<String>,
    row: Option<u64>,
    column: Option<String>,
    /// Problems of a run file: the line (from 1) and its message.
    problems: Vec<(Option<usize>, String)>,
}

impl Failure {
    pub(crate) fn new(class: &'static str, text: impl Into<String>) -> Failure {
        Fault {
            class,
            text: text.into(),
            ..Fault::default()
        }
        .boxed()
    }

    /// Converts the failure into its Python exception.
    pub(crate) fn raised(self, py: Python<'_>) -> PyErr {
        let fault = *self.0;
        let made = || -> PyResult<PyErr> {
            let class = py.import("ncs4cvr._errors")?.getattr(fault.class)?;
            let known = PyDict::new(py);
            known.set_item("file", &fault.file)?;
            known.set_item("row", fault.row)?;
            known.set_item("column", &fault.column)?;
            known.set_item("problems", &fault.problems)?;
            Ok(PyErr::from_value(class.call((&fault.text,), Some(&known))?))
        };
        made().unwrap_or_else(|error| error)
    }
}

impl Fault {
    fn boxed(self) -> Failure {
        Failure(Box::new(self))
    }

    fn read(error: &ReadError) -> Fault {
        Fault {
            class: "DataError",
            text: error.to_string(),
            file: error.file().map(|file| file.display().to_string()),
            row: error.row(),
            column: error.column(),
            problems: Vec::new(),
        }
    }

    fn config(error: &RunFileError) -> Fault {
        let problems = error.problems();
        Fault {
            class: "ConfigError",
            text: error.to_string(),
            file: Some(error.file().to_owned()),
            problems: problems
                .map(|(line, text)| (line, text.to_owned()))
                .collect(),
            ..Fault::default()
        }
    }

    fn no_score(error: &NoScore) -> Fault {
        Fault {
            class: "DataError",
            text: error.to_string(),
            file: Some(error.file.display().to_string()),
            row: Some(error.row),
            column: error.column.clone(),
            problems: Vec::new(),
        }
    }
}

impl From<Box<dyn Error>> for Failure {
    fn from(error: Box<dyn Error>) -> Failure {
        of(error.as_ref()).unwrap_or_else(|| Failure::new("NcsError", error.to_string()))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::new("NcsError", text)
    }
}

macro_rules! from_error {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::from(Box::<dyn Error>::from(error))
            }
        }
    )*};
}

from_error!(
    ModelError,
    ReadError,
    RunFileError,
    ArtifactError,
    EncodeError,
    ExportError,
    ApiError
);

/// Returns the failure for an error of a known type, or `None` for other types.
fn of(error: &(dyn Error + 'static)) -> Option<Failure> {
    let text = error.to_string();
    if let Some(error) = error.downcast_ref::<RunFileError>() {
        return Some(Fault::config(error).boxed());
    }
    if let Some(error) = error.downcast_ref::<NoScore>() {
        return Some(Fault::no_score(error).boxed());
    }
    if let Some(error) = read_error(error) {
        let read = Fault::read(error);
        return Some(Fault { text, ..read }.boxed());
    }
    let is = |class| Some(Failure::new(class, &text));
    if error.is::<PrepareError>() || error.is::<LatestError>() || error.is::<EncodeError>() {
        return is("DataError");
    }
    if error.is::<FitError>() || error.is::<CacheError>() || error.is::<KeepError>() {
        return is("DataError");
    }
    if error.is::<ApiError>() {
        return is("DataError");
    }
    if error.is::<ExportError>() || error.is::<ModelError>() || error.is::<ArtifactError>() {
        return is("ModelError");
    }
    if error.is::<TrainError>() {
        return is("TrainingError");
    }
    None
}

/// Returns the [`ReadError`] that an error is or contains.
fn read_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ReadError> {
    if let Some(AbsentLabel { error, .. }) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(PrepareError::Read(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(KeepError::Read(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(LatestError::Read(error)) = error.downcast_ref() {
        return Some(error);
    }
    error.downcast_ref()
}
