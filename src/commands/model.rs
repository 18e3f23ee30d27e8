//! What the verbs that run a trained model have in common: the model, and the rows it is run on.

use std::error::Error;
use std::path::{Path, PathBuf};

use ncs_features::coverage::farthest;
use ncs_features::value::shown;
use ncs_features::{Batch, Coverage};
use ncs_model::artifact::{Artifact, ArtifactError};
use ncs_model::{Scorer, Workspace};
use ncs_readers::{Encoded, Encoding, ReadError, Reading, RowsBlock};

use super::{encoding, file_format};
use crate::arguments::Rows;
use crate::progress::Progress;

/// The folder of the model that `path` names: itself, or the `model` in a folder of `ncs train`.
pub(super) fn folder(path: &Path) -> PathBuf {
    let inner = path.join("model");
    match inner.is_dir() && !path.join("manifest.json").exists() {
        true => inner,
        false => path.to_owned(),
    }
}

/// The artifact that `path` names.
pub(super) fn read(path: &Path) -> Result<Artifact, ArtifactError> {
    Artifact::read(&folder(path))
}

/// The artifact that was read from `path`, ready to run.
pub(super) fn scorer_of(path: &Path, artifact: &Artifact) -> Result<Scorer, Box<dyn Error>> {
    let unfit = || {
        format!(
            "{}: the weights are of another network than the manifest; train again, or take the \
             model from where it came from",
            folder(path).display()
        )
    };
    Ok(Scorer::new(artifact).ok_or_else(unfit)?)
}

/// The files that the arguments name; relative paths start at the working folder.
pub(super) fn files(rows: &Rows) -> Result<Vec<PathBuf>, ReadError> {
    let found = ncs_readers::files(&rows.data, Path::new("."))?;
    let plain = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(found.into_iter().map(plain).collect())
}

/// How the arguments say that files are read.
pub(super) fn reading(rows: &Rows) -> Reading {
    Reading {
        format: rows.format.map(file_format),
        delimiter: rows.delimiter,
        header: rows.header.clone(),
        encoding: rows.encoding.map_or(Encoding::Utf8, encoding),
        ..Reading::default()
    }
}

/// Says what is worth telling of files that were read, and of folders that were not.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn say_notes(read: &Encoded, rows: &Rows, progress: Progress) -> Result<(), ReadError> {
    let passed_over = ncs_readers::folders_passed_over(&rows.data, Path::new("."))?;
    for note in read.notes().into_iter().chain(passed_over) {
        progress.say(&format!("note: {note}"));
    }
    Ok(())
}

/// A pass with the threads that the arguments ask for.
pub(super) fn pass(rows: &Rows) -> Workspace {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Workspace::new(rows.threads.unwrap_or_else(cores))
}

/// Counts rows, against what the training of `scorer` saw.
pub(super) fn cover(coverage: &mut Coverage, scorer: &Scorer, rows: &RowsBlock, batch: &Batch) {
    let all: Vec<usize> = (0..batch.n_rows).collect();
    let place = |row| place(rows, row);
    coverage.observe_rows(&rows.block, batch, &all, place, |field, id| {
        scorer.is_unseen(field, id)
    });
}

/// File and row, counted from 1, of row `row` of a block, counted from 0.
fn place(rows: &RowsBlock, row: usize) -> String {
    format!(
        "{}: row {}",
        rows.file.display(),
        rows.in_file(row as u64 + 1)
    )
}

/// Refuses a score that is no number, and names the row, the column and the value that are to blame.
///
/// # Errors
/// There is one.
pub(super) fn check_scores(
    rows: &RowsBlock,
    batch: &Batch,
    scores: &[Vec<f32>],
    scorer: &Scorer,
) -> Result<(), String> {
    let of_task = |scores: &Vec<f32>| scores.iter().position(|score| score.is_nan());
    let Some(row) = scores.iter().filter_map(of_task).min() else {
        return Ok(());
    };
    let place = place(rows, row);
    let Some((distance, f)) = farthest(batch, row) else {
        return Err(format!(
            "{place}: the model's weights give no score; train again"
        ));
    };
    let column = &scorer.schema().fields[f].column;
    let raw = rows.block.column(column);
    let value = raw.and_then(|raw| raw.range(row).next().map(|i| shown(&raw.values, i)));
    Err(format!(
        "{place}: no score: column {column:?} is {}, {distance:e} deviations from the mean of the training rows; \
         leave the value out where it is unknown, or train again: newer models clip such numbers",
        value.unwrap_or_default()
    ))
}
