//! Conversion of the library's errors into exceptions of the package: `NcsError` and its subclasses, with file, row
//! and column.

use ncs_config::RunFileError;
use ncs_experiments::scoring::{ModelError, NoScore};
use ncs_experiments::{Error, ErrorKind};
use ncs_export::ExportError;
use ncs_features::EncodeError;
use ncs_model::artifact::ArtifactError;
use ncs_readers::ReadError;
use ncs_serve::ApiError;
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

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::RunFile(error) => return Fault::config(error).boxed(),
            Error::NoScore(error) => return Fault::no_score(error).boxed(),
            _ => {}
        }
        let text = error.to_string();
        if let Some(read) = error.read_error() {
            return Fault {
                text,
                ..Fault::read(read)
            }
            .boxed();
        }
        let class = match error.kind() {
            ErrorKind::Config => "ConfigError",
            ErrorKind::Data => "DataError",
            ErrorKind::Model => "ModelError",
            ErrorKind::Training => "TrainingError",
            ErrorKind::Other => "NcsError",
        };
        Failure::new(class, text)
    }
}

macro_rules! from_error {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::from(Error::from(error))
            }
        }
    )*};
}

from_error!(
    String,
    ModelError,
    ReadError,
    RunFileError,
    ArtifactError,
    EncodeError,
    ExportError,
    ApiError
);
