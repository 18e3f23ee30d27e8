//! Rows that a trained model is run on, as given by the arguments: shared by all commands that run a model.

use std::path::{Path, PathBuf};

use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_experiments::scoring::{self, LoadedModel};
use ncs_model::Workspace;
use ncs_model::artifact::Artifact;
use ncs_readers::{Encoded, Encoding, ReadError, Reading};

use super::{encoding, file_format};
use crate::arguments::{ModelAndRows, Rows};

/// Opens a model and the rows to run it on, with a workspace of the number of threads in the arguments.
///
/// # Errors
/// The model cannot be read, or a file or folder is not there.
pub(super) fn open(input: &ModelAndRows) -> Result<(LoadedModel, scoring::Rows, Workspace), Error> {
    let loaded = LoadedModel::open(&input.model)?;
    let rows = scoring::Rows::Files {
        files: files(&input.rows)?,
        reading: reading(&input.rows, [&*loaded.artifact]),
    };
    Ok((loaded, rows, pass(&input.rows)))
}

/// The files that the arguments name; relative paths start at the working folder.
pub(super) fn files(rows: &Rows) -> Result<Vec<PathBuf>, ReadError> {
    let found = ncs_readers::files(&rows.data, Path::new("."))?;
    let plain = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(found.into_iter().map(plain).collect())
}

/// Reading options of the arguments, with features looked up by ids as in the training of these models.
pub(super) fn reading<'a>(
    rows: &Rows,
    models: impl IntoIterator<Item = &'a Artifact> + Clone,
) -> Reading {
    Reading {
        format: rows.reading.format.map(file_format),
        delimiter: rows.reading.delimiter,
        header: rows.reading.header.clone(),
        encoding: rows.reading.encoding.map_or(Encoding::Utf8, encoding),
        lookups: scoring::lookups(models, &rows.lookups),
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
