//! What of a file or folder holds values, and the same without them.

use std::fs;
use std::path::{Path, PathBuf};

use ncs_features::ErasedValues;
use ncs_model::artifact::Artifact;
use ncs_model::{TensorFile, tensor_file};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{self, CachedSet};
use ncs_readers::{Reading, Rows, column_names};
use ncs_score_log::erase;
use serde::Serialize;

use super::places::{Kind, Place};
use super::values::KnownValues;
use super::{Found, model};
use crate::error::Error;

/// Files above this are not searched byte by byte.
const MOST_BYTES: u64 = 1 << 30;

/// What is done to a file or folder that holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is replaced by the same without them.
    Rewritten,
    /// It is deleted: it can be made again from the log.
    Deleted,
    /// Nothing: it is not one of ours, or a process writes it.
    Left,
}

impl Action {
    /// Returns what was done, in words.
    pub(super) fn past(self) -> &'static str {
        match self {
            Action::Rewritten => "rewritten",
            Action::Deleted => "deleted",
            Action::Left => "left as it is",
        }
    }
}

/// Looks for the values in a place; `thoroughly`: also for their bytes, where the contents are known.
///
/// # Errors
/// It cannot be read.
pub(super) fn look(
    place: &Place,
    known: &mut KnownValues,
    thoroughly: bool,
) -> Result<Option<Found>, Error> {
    let found = match place.kind {
        Kind::Stale => Some(("unknown contents".to_owned(), Action::Deleted)),
        Kind::Draft => Some(("rows that were not written yet".to_owned(), Action::Deleted)),
        Kind::Model => {
            let artifact = Artifact::read(&place.path)?;
            let values = known.of_schema(&place.path, &artifact.schema);
            let found = values.map(|values| model::traces(&artifact, values));
            found
                .transpose()?
                .flatten()
                .map(|what| (what, Action::Rewritten))
        }
        Kind::Tensors => in_tensors(place, known)?,
        Kind::Cache => in_cache(&place.path, known),
        Kind::Copy => in_rows(&place.files, known)?.map(|what| (what, Action::Deleted)),
        Kind::ScoreLog => in_rows(&place.files, known)?.map(|what| (what, Action::Rewritten)),
        Kind::Report => {
            let text = fs::read_to_string(&place.path)?;
            let (_, n) = known.texts().redacted(&text);
            listed(&[counted(n, "quoted value")]).map(|what| (what, Action::Rewritten))
        }
        Kind::Other => in_rows(&place.files, known)
            .ok()
            .flatten()
            .map(|what| (what, Action::Left)),
    };
    let found = match found {
        None if thoroughly || place.kind == Kind::Other => {
            in_bytes(&place.files, known)?.map(|what| (what, Action::Left))
        }
        found => found,
    };
    Ok(found.map(|(what, action)| Found {
        path: place.path.clone(),
        kind: place.kind.name(),
        what,
        action,
    }))
}

type What = Option<(String, Action)>;

fn in_tensors(place: &Place, known: &mut KnownValues) -> Result<What, Error> {
    let Ok(file) = TensorFile::read(&place.path) else {
        // Of another program, or damaged: then its bytes are searched.
        return Ok(None);
    };
    if file.count_rows(|_, _| true)? == 0 {
        return Ok(None);
    }
    match values_of(place, known) {
        None => {
            let what = "table rows of a run whose model and id cache are not in its folder";
            Ok(Some((what.to_owned(), Action::Deleted)))
        }
        Some(values) => {
            let n = file.count_rows(|table, id| values.has_row(table, id))?;
            Ok(listed(&[counted(n, "table row")]).map(|what| (what, Action::Rewritten)))
        }
    }
}

/// Returns the values by the schemas that the file of a run belongs to.
fn values_of<'k>(place: &Place, known: &'k mut KnownValues) -> Option<&'k ErasedValues> {
    match &place.run {
        Some(run) => known.of_run(run),
        None => Some(known.main()),
    }
}

/// Looks into an id cache. One that cannot be read, or was not completed, is deleted.
fn in_cache(path: &Path, known: &mut KnownValues) -> What {
    let unknown = |what: &str| Some((what.to_owned(), Action::Deleted));
    let Ok(set) = cache::open_set(path) else {
        return unknown("rows that cannot be read");
    };
    let values = known.of_schema(path, &set.schema)?;
    match in_set(&set, values) {
        Ok(found) => found.and_then(unknown),
        Err(_) => unknown("rows that cannot be read"),
    }
}

fn in_set(set: &CachedSet, values: &ErasedValues) -> Result<Option<&'static str>, Error> {
    if values.traces(&set.schema) != ncs_features::SchemaTraces::default() {
        return Ok(Some("vocabulary entries, and rows"));
    }
    let mut columns = set.report.parts.iter().flat_map(|part| &part.columns);
    if columns.any(|column| values.are_shown_in(column)) {
        return Ok(Some("new values of its report"));
    }
    for part in &set.parts {
        for batch in part.batches(BatchPlan::default()) {
            if values.are_in(&batch?) {
                return Ok(Some("rows"));
            }
        }
    }
    Ok(None)
}

/// Counts the rows of files that hold a value; files without one of the columns hold none.
fn in_rows(files: &[PathBuf], known: &KnownValues) -> Result<Option<String>, Error> {
    let mut n_rows = 0;
    for file in files {
        if let Some(holds) = rows_of(file, known.main())? {
            n_rows += holds.iter().filter(|holds| **holds).count();
        }
    }
    Ok(listed(&[counted(n_rows, "row")]))
}

/// Returns, for each row of a file, whether it holds a value; `None` if the file has none of the columns.
fn rows_of(file: &Path, values: &ErasedValues) -> Result<Option<Vec<bool>>, Error> {
    let reading = Reading::default();
    if file.file_name().is_some_and(|name| name == "index.json") {
        return Ok(None);
    }
    let names = column_names(file, &reading)?;
    let mut columns = values.columns();
    columns.retain(|column| names.contains(column));
    if columns.is_empty() {
        return Ok(None);
    }
    let mut rows = Rows::open(vec![file.to_owned()], &reading, columns);
    let mut holds = Vec::new();
    while let Some(block) = rows.next_block()? {
        let of_block = values.rows_of(&block.block);
        holds.extend(of_block.map_err(|error| block.error(error))?);
    }
    Ok(Some(holds))
}

fn in_bytes(files: &[PathBuf], known: &KnownValues) -> Result<Option<String>, Error> {
    let mut n = 0;
    for file in files {
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let n_bytes = fs::metadata(file).map_err(failed)?.len();
        if n_bytes > MOST_BYTES {
            return Err(format!(
                "{}: is too large to be searched ({n_bytes} bytes); look into it yourself",
                file.display()
            )
            .into());
        }
        n += known.texts().count_in(&fs::read(file).map_err(failed)?);
    }
    Ok(listed(&[counted(n, "value in its bytes")]))
}

/// Erases the values from a place where they were found.
///
/// # Errors
/// It cannot be written or deleted.
pub(super) fn erase(place: &Place, found: &Found, known: &mut KnownValues) -> Result<(), Error> {
    let path = &place.path;
    match (found.action, place.kind) {
        (Action::Left, _) => Ok(()),
        (Action::Deleted, Kind::Draft) => {
            // A process that writes it keeps it; the search after this says so.
            erase::remove_abandoned(path);
            Ok(())
        }
        (Action::Deleted, _) => delete(path),
        (Action::Rewritten, Kind::Tensors) => {
            let file = TensorFile::read(path)?;
            if let Some(values) = values_of(place, known) {
                file.write_without_rows(path, |table, id| values.has_row(table, id))?;
            }
            Ok(())
        }
        (Action::Rewritten, Kind::ScoreLog) => {
            let holds = rows_of(path, known.main())?.unwrap_or_default();
            Ok(erase::rewrite_without(path, &holds).map_err(|error| error.to_string())?)
        }
        (Action::Rewritten, Kind::Report) => {
            let text = fs::read_to_string(path)?;
            let (text, _) = known.texts().redacted(&text);
            Ok(tensor_file::write_bytes(path, text.as_bytes())?)
        }
        (Action::Rewritten, _) => {
            let schema = Artifact::read(path)?.schema;
            let column = known.column().to_owned();
            match known.of_schema(path, &schema) {
                Some(values) => model::erase(path, &column, values),
                None => Ok(()),
            }
        }
    }
}

fn delete(path: &Path) -> Result<(), Error> {
    let deleted = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    Ok(deleted.map_err(|error| format!("{}: cannot be deleted: {error}", path.display()))?)
}

/// `3 table rows`; `None` for 0.
pub(super) fn counted(n: usize, what: &str) -> Option<String> {
    match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(match what.split_once(' ') {
            Some(("row", rest)) => format!("{n} rows {rest}"),
            Some(("value", rest)) => format!("{n} values {rest}"),
            _ if what.ends_with("entry") => format!("{n} {}ies", &what[..what.len() - 1]),
            _ => format!("{n} {what}s"),
        }),
    }
}

/// Joins what there is; `None` if there is nothing.
pub(super) fn listed(parts: &[Option<String>]) -> Option<String> {
    let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
