//! Rows that a trained model is run on, as given by the arguments: shared by all commands that run a model.

use std::path::{Path, PathBuf};

use ncs_experiments::progress::Progress;
use ncs_experiments::scoring;
use ncs_model::Workspace;
use ncs_readers::{Encoded, Encoding, ReadError, Reading};

use super::{encoding, file_format};
use crate::arguments::Rows;

/// The files that the arguments name; relative paths start at the working folder.
pub(super) fn files(rows: &Rows) -> Result<Vec<PathBuf>, ReadError> {
    let found = ncs_readers::files(&rows.data, Path::new("."))?;
    let plain = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(found.into_iter().map(plain).collect())
}

/// Reading options of the arguments.
pub(super) fn reading(rows: &Rows) -> Reading {
    Reading {
        format: rows.reading.format.map(file_format),
        delimiter: rows.reading.delimiter,
        header: rows.reading.header.clone(),
        encoding: rows.reading.encoding.map_or(Encoding::Utf8, encoding),
        ..Reading::default()
    }
}

/// Logs notes about files that were read and folders that were skipped.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn log_notes(read: &Encoded, rows: &Rows, progress: Progress) -> Result<(), ReadError> {
    let skipped_folders = ncs_readers::skipped_folders(&rows.data, Path::new("."))?;
    for note in read.notes().into_iter().chain(skipped_folders) {
        progress.log(&format!("note: {note}"));
    }
    Ok(())
}

/// Creates a workspace with the number of threads in the arguments.
pub(super) fn pass(rows: &Rows) -> Workspace {
    scoring::pass(rows.threads)
}
