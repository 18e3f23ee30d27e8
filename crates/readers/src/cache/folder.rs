//! The folder of one cached data set, and the folder of all of them.

use super::draft::{Draft, is_in_use};
use super::{Cache, CacheError, RECORD, RECORD_SUM, Record};
use crate::report::Report;
use crate::split::Part;
use ncs_features::Schema;
use std::path::{Path, PathBuf};

/// Length of a folder's name: half of the key, in hexadecimal.
const NAME_LENGTH: usize = 32;

/// Folder of the data set of one key, which may not exist yet.
pub(crate) struct Folder {
    pub(super) key: [u8; 32],
    pub(super) path: PathBuf,
}

impl Folder {
    pub(crate) fn new(dir: &Path, key: [u8; 32]) -> Folder {
        let path = dir.join(&blake3::Hash::from_bytes(key).to_hex()[..NAME_LENGTH]);
        Folder { key, path }
    }

    /// Reads the record, `None` if this data set is not cached yet.
    pub(crate) fn record(&self) -> Result<Option<Record>, CacheError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let path = self.path.join(RECORD);
        let text = read(&path)?;
        let sum = read(&self.path.join(RECORD_SUM))?;
        if sum != record_sum(&text) {
            return Err(CacheError::damaged(&path, "it fails its checksum"));
        }
        let record = serde_json::from_str(&text);
        record
            .map(Some)
            .map_err(|error| CacheError::damaged(&path, error.to_string()))
    }

    /// Opens one part of the data set.
    pub(crate) fn part(&self, part: Part) -> Result<Cache, CacheError> {
        let path = self.path.join(part.file_name());
        let cache = Cache::open(&path)?;
        if cache.part.key != self.key {
            return Err(CacheError::damaged(&path, "it belongs to other data"));
        }
        Ok(cache)
    }

    /// Creates a folder beside this one, to write in.
    pub(crate) fn draft(&self) -> Result<Draft<'_>, CacheError> {
        Draft::create(self)
    }
}

/// A cached data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its folder.
    pub path: PathBuf,
    /// Size of its files in bytes.
    pub n_bytes: u64,
    /// True if it was completed: an interrupted run leaves an incomplete one.
    pub is_complete: bool,
}

/// The contents of a cached data set.
#[derive(Clone, Debug)]
pub struct CachedSet {
    /// Its schema.
    pub schema: Schema,
    /// Report on the rows that were read.
    pub report: Report,
    /// The parts that are there.
    pub parts: Vec<Cache>,
}

/// Opens the cached data set in the folder `path`.
///
/// # Errors
/// A file cannot be read, is damaged, or is of another version.
pub fn open_set(path: &Path) -> Result<CachedSet, CacheError> {
    let folder = Folder {
        key: [0; 32],
        path: path.to_owned(),
    };
    let missing = || CacheError::damaged(path, "it has no record");
    let record = folder.record()?.ok_or_else(missing)?;
    let parts = Part::ALL.map(|part| path.join(part.file_name()));
    let parts = parts.iter().filter(|part| part.exists());
    Ok(CachedSet {
        parts: parts
            .map(|part| Cache::open(part))
            .collect::<Result<_, _>>()?,
        schema: record.schema,
        report: record.report,
    })
}

/// Returns true if the name of a folder is that of a cached data set, complete or not, that no process is writing.
pub fn is_cache_folder(path: &Path) -> bool {
    match completeness(path) {
        Some(true) => path.join(RECORD).is_file(),
        Some(false) => !is_in_use(path),
        None => false,
    }
}

/// Lists the cached data sets in the folder `dir`, by name; empty if there is no such folder.
///
/// # Errors
/// The folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<CacheEntry>, CacheError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(CacheError::io(dir, "read"))? {
        let path = entry.map_err(CacheError::io(dir, "read"))?.path();
        if let Some(is_complete) = completeness(&path) {
            entries.push(CacheEntry {
                n_bytes: folder_bytes(&path)?,
                path,
                is_complete,
            });
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Deletes the cached data sets in the folder `dir` and returns them; anything else there stays, and so does
/// what a process is writing.
///
/// # Errors
/// The file system refuses.
pub fn clear(dir: &Path) -> Result<Vec<CacheEntry>, CacheError> {
    let mut entries = list(dir)?;
    entries.retain(|entry| entry.is_complete || !is_in_use(&entry.path));
    entries.iter().try_for_each(|entry| delete(&entry.path))?;
    Ok(entries)
}

/// Deletes a cached data set.
///
/// # Errors
/// The file system refuses.
pub fn remove(entry: &CacheEntry) -> Result<(), CacheError> {
    delete(&entry.path)
}

/// Returns true if the data set in a folder was completed; `None` if the folder does not belong to a cache.
pub(super) fn completeness(path: &Path) -> Option<bool> {
    let name = path.file_name()?.to_str()?;
    let (key, rest) = name.split_at_checked(NAME_LENGTH)?;
    let is_key = key
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_draft = rest.starts_with('.') && rest.ends_with(".tmp");
    let is_ours = is_key && (rest.is_empty() || is_draft) && path.is_dir();
    is_ours.then_some(rest.is_empty())
}

fn folder_bytes(path: &Path) -> Result<u64, CacheError> {
    let mut n_bytes = 0;
    for file in std::fs::read_dir(path).map_err(CacheError::io(path, "read"))? {
        let metadata = file.and_then(|file| file.metadata());
        n_bytes += metadata.map_err(CacheError::io(path, "read"))?.len();
    }
    Ok(n_bytes)
}

fn delete(path: &Path) -> Result<(), CacheError> {
    if !path.exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(path).map_err(CacheError::io(path, "delete"))
}

fn read(path: &Path) -> Result<String, CacheError> {
    let bytes = std::fs::read(path).map_err(CacheError::io(path, "read"))?;
    String::from_utf8(bytes).map_err(|_| CacheError::damaged(path, "it is not text"))
}

pub(super) fn record_sum(text: &str) -> String {
    format!("{}  {RECORD}\n", blake3::hash(text.as_bytes()))
}
