//! What the verbs that run a trained model have in common: the model, and the rows it is run on.

use std::error::Error;
use std::path::{Path, PathBuf};

use ncs_model::artifact::{Artifact, ArtifactError};
use ncs_model::{Pass, Scorer};
use ncs_readers::{Encoded, Encoding, ReadError, Reading};

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

/// The model that `path` names, ready to run.
pub(super) fn scorer(path: &Path) -> Result<Scorer, Box<dyn Error>> {
    scorer_of(path, &read(path)?)
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

/// Says what is worth telling of files that were read.
pub(super) fn say_notes(rows: &Encoded, progress: Progress) {
    for note in rows.notes() {
        progress.say(&format!("note: {note}"));
    }
}

/// A pass with the threads that the arguments ask for.
pub(super) fn pass(rows: &Rows) -> Pass {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Pass::new(rows.threads.unwrap_or_else(cores))
}
