//! A file of features by id, for `ncs serve --lookup`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use ncs_experiments::error::Error;
use ncs_features::{Block, Column};
use ncs_readers::{Reading, column_names};
use ncs_serve::lookup::{FeatureSource, FeatureTable, Found, Wanted};

/// A file of features by id, read again when it changes.
#[derive(Debug)]
pub struct LookupFile {
    key: String,
    path: PathBuf,
    table: RwLock<Arc<FeatureTable>>,
    /// When the file was written that is in service, and its size.
    state: Mutex<FileState>,
}

type FileState = Option<(SystemTime, u64)>;

impl LookupFile {
    /// Reads a file of one row for each id in the column `key`.
    ///
    /// # Errors
    /// The file cannot be read, has no such column, or has an id twice.
    pub fn open(key: &str, path: &Path) -> Result<LookupFile, Error> {
        let state = state(path);
        let table = read(key, path)?;
        tracing::info!(
            key,
            ids = table.n_ids(),
            columns = table.columns().count(),
            "features by id: {}",
            path.display()
        );
        Ok(LookupFile {
            key: key.to_owned(),
            path: path.to_owned(),
            table: RwLock::new(Arc::new(table)),
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
        Ok(self.table().rows(ids, n_rows, wanted))
    }

    fn refresh(&self) -> Result<Option<String>, String> {
        let mut seen = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state(&self.path);
        if now == *seen {
            return Ok(None);
        }
        // A file that cannot be read is tried again once it changes.
        *seen = now;
        let table = read(&self.key, &self.path).map_err(|error| error.to_string())?;
        let what = format!("{} has {} ids now", self.path.display(), table.n_ids());
        let mut kept = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Arc::new(table);
        Ok(Some(what))
    }
}

fn state(path: &Path) -> FileState {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(key: &str, path: &Path) -> Result<FeatureTable, Error> {
    let reading = Reading::default();
    let names = column_names(path, &reading)?;
    if !names.iter().any(|name| name == key) {
        let hint = ncs_config::hint(key, names.iter().map(String::as_str));
        return Err(format!("{}: no column {key:?}{hint}", path.display()).into());
    }
    let mut source = ncs_readers::open(path, &reading, &names)?;
    let mut blocks: Vec<Block> = Vec::new();
    while let Some(raw) = source.next_block()? {
        if let Some(broken) = raw.broken.first() {
            let (row, what) = (broken.row, &broken.what);
            return Err(format!("{}, row {row}: {what}", path.display()).into());
        }
        blocks.push(raw.block);
    }
    let table = FeatureTable::new(key, blocks);
    table.map_err(|error| format!("{}: {error}", path.display()).into())
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
