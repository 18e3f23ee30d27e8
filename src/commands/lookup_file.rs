//! A file of features by id, for `ncs serve --lookup`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use ncs_experiments::error::Error;
use ncs_features::time::Timestamp;
use ncs_features::{Column, LookupTime};
use ncs_readers::{Lookup, Reading, column_names};
use ncs_serve::lookup::{FeatureSource, FeatureTable, Found, Wanted};

/// A file of features by id, read again when it changes.
#[derive(Debug)]
pub struct LookupFile {
    key: String,
    path: PathBuf,
    /// The column of the moments from which on records are known.
    time: Option<String>,
    table: RwLock<Arc<FeatureTable>>,
    /// When the file was written that is in service, and its size.
    state: Mutex<FileState>,
}

type FileState = Option<(SystemTime, u64)>;

impl LookupFile {
    /// Reads a file of one row for each id in the column `key`, or of one for each id and each moment in the column `time`.
    ///
    /// # Errors
    /// The file cannot be read, has no such column, or has an id twice.
    pub fn open(key: &str, path: &Path, time: Option<&str>) -> Result<LookupFile, Error> {
        let state = state(path);
        let table = read(key, path, time)?;
        tracing::info!(
            key,
            ids = table.n_ids(),
            records = table.n_records(),
            bytes = table.n_bytes(),
            columns = table.columns().count(),
            "features by id: {}",
            path.display()
        );
        Ok(LookupFile {
            key: key.to_owned(),
            path: path.to_owned(),
            time: time.map(str::to_owned),
            table: RwLock::new(table),
            state: Mutex::new(state),
        })
    }

    fn table(&self) -> Arc<FeatureTable> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.clone()
    }
}

impl FeatureSource for LookupFile {
    fn key(&self) -> &str {
        &self.key
    }

    fn rows(&self, ids: &Column, n_rows: usize, wanted: &Wanted<'_>) -> Result<Found, String> {
        Ok(self.table().rows(ids, n_rows, now(), wanted))
    }

    fn refresh(&self) -> Result<Option<String>, String> {
        let mut seen = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state(&self.path);
        if now == *seen {
            return Ok(None);
        }
        // A file that cannot be read is tried again once it changes.
        *seen = now;
        let table = read(&self.key, &self.path, self.time.as_deref());
        let table = table.map_err(|error| error.to_string())?;
        let what = format!("{} has {} ids now", self.path.display(), table.n_ids());
        let mut kept = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *kept = table;
        Ok(Some(what))
    }
}

fn state(path: &Path) -> FileState {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp::new(since.as_secs() as i64, since.subsec_nanos())
}

fn read(key: &str, path: &Path, time: Option<&str>) -> Result<Arc<FeatureTable>, Error> {
    let names = column_names(path, &Reading::default())?;
    if !names.iter().any(|name| name == key) {
        let hint = ncs_config::hint(key, names.iter().map(String::as_str));
        return Err(format!("{}: no column {key:?}{hint}", path.display()).into());
    }
    let files = vec![path.display().to_string()];
    let time = time.map(|record| LookupTime {
        record: record.to_owned(),
        row: String::new(),
        unit: None,
    });
    let lookup = Lookup::new(key, files, PathBuf::new()).with_time(time);
    Ok(lookup.table()?)
}

/// Parses `COLUMN=FILE`.
///
/// # Errors
/// There is no `=`, or nothing before or after it.
pub fn parse(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((key, path)) if !key.is_empty() && !path.is_empty() => {
            Ok((key.to_owned(), path.into()))
        }
        _ => Err("expected COLUMN=FILE, such as item_id=items.parquet".to_owned()),
    }
}

/// Parses `COLUMN=TIME`.
///
/// # Errors
/// There is no `=`, or nothing before or after it.
pub fn parse_time(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, time)) if !key.is_empty() && !time.is_empty() => {
            Ok((key.to_owned(), time.to_owned()))
        }
        _ => Err("expected COLUMN=TIME, such as item_id=updated_at".to_owned()),
    }
}
