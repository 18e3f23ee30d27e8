//! Rows passed in from Python: paths, or any object that exports Arrow batches.

use std::path::{Path, PathBuf};

use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_pyarrow::FromPyArrow;
use ncs_experiments::scoring::Rows;
use ncs_readers::{Frame, Lookup, Reading};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::Failure;

/// Rows that are not open yet.
pub(crate) enum Data {
    Paths(Vec<String>),
    Frame(Frame),
}

impl Data {
    /// Parses `data`: a path, a list of paths, or a frame, which messages call `name`.
    pub(crate) fn of(data: &Bound<'_, PyAny>, name: &str) -> PyResult<Data> {
        if let Some(frame) = frame(data, name)? {
            return Ok(Data::Frame(frame));
        }
        if let Ok(path) = data.extract::<PathBuf>() {
            return Ok(Data::Paths(vec![path.display().to_string()]));
        }
        if let Ok(paths) = data.extract::<Vec<PathBuf>>() {
            let paths = paths.iter().map(|path| path.display().to_string());
            return Ok(Data::Paths(paths.collect()));
        }
        Err(PyTypeError::new_err(format!(
            "{name}: expected a data frame (with __arrow_c_stream__ or __arrow_c_array__: polars, pandas 2.2 or newer \
             with pyarrow, pyarrow, DuckDB), a path, or a list of paths; got {}",
            data.get_type().fully_qualified_name()?
        )))
    }

    /// Opens the rows, with columns that are looked up by ids; relative paths start at the working folder.
    pub(crate) fn rows(self, lookups: &[Lookup]) -> Result<Rows, Failure> {
        let lookups = lookups.to_vec();
        match self {
            Data::Frame(frame) => Ok(Rows::Frame { frame, lookups }),
            Data::Paths(paths) => Ok(Rows::Files {
                files: ncs_readers::files(&paths, Path::new("."))?,
                reading: Reading {
                    lookups,
                    ..Reading::default()
                },
            }),
        }
    }
}

/// Returns the frame that an object exports, or `None` if it exports none.
pub(crate) fn frame(data: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Frame>> {
    let reader: Box<dyn RecordBatchReader + Send> = if data.hasattr("__arrow_c_stream__")? {
        Box::new(RecordBatchStreamReader::from_pyarrow_bound(data)?)
    } else if data.hasattr("__arrow_c_array__")? {
        let batch = RecordBatch::from_pyarrow_bound(data)?;
        let schema = batch.schema();
        Box::new(RecordBatchIterator::new([Ok(batch)], schema))
    } else {
        return Ok(None);
    };
    Ok(Some(Frame::new(name, reader)))
}
