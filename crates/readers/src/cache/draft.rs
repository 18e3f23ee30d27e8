//! A cached data set in the making: in a folder beside its place, under a name of its own.

use super::folder::{Folder, completeness, record_sum};
use super::{Cache, CacheError, RECORD, RECORD_SUM, Record};
use crate::report::PartReport;
use crate::split::Part;
use crate::unique::unique_number;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Locked by the process that writes the draft.
const LOCK: &str = "lock";

/// Age of a draft that is considered abandoned by a killed process, if no process has locked it or written to
/// it since. On file systems without locks only the age is used.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A data set in the making; removed unless it is completed.
pub(crate) struct Draft<'a> {
    folder: &'a Folder,
    path: PathBuf,
    _lock: File,
}

impl<'a> Draft<'a> {
    /// Creates a new folder for a data set of `folder`, in the folder of all caches.
    pub(super) fn create(folder: &'a Folder) -> Result<Draft<'a>, CacheError> {
        let all = folder.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(all).map_err(CacheError::io(all, "create"))?;
        remove_abandoned(all);
        let path = folder
            .path
            .with_extension(format!("{:016x}.tmp", unique_number()));
        // Fails if the folder exists: two processes never write into one folder.
        fs::create_dir(&path).map_err(CacheError::io(&path, "create"))?;
        let lock = File::create(path.join(LOCK)).map_err(CacheError::io(&path, "create"))?;
        // Without locks, the time of the last write shows that the draft is in use.
        let _ = lock.try_lock();
        Ok(Draft {
            folder,
            path,
            _lock: lock,
        })
    }

    pub(crate) fn part_path(&self, part: Part) -> PathBuf {
        self.path.join(part.file_name())
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.folder.key
    }

    /// Adds the record, checks every byte, and gives the folder its name.
    pub(crate) fn complete(self, record: &Record) -> Result<(), CacheError> {
        let path = self.path.join(RECORD);
        let text = serde_json::to_string_pretty(record)
            .map_err(|error| CacheError::io(&path, "write")(error.into()))?;
        write(&path, &text)?;
        write(&self.path.join(RECORD_SUM), &record_sum(&text))?;
        let parts = record.report.parts.iter();
        parts.clone().try_for_each(|report| self.check(report))?;
        fs::remove_file(self.path.join(LOCK)).map_err(CacheError::io(&self.path, "complete"))?;
        let renamed = fs::rename(&self.path, &self.folder.path);
        // Another process may have completed the same data set meanwhile: theirs is as good.
        if renamed.is_err() && self.folder.record()?.is_some() {
            return Ok(());
        }
        renamed.map_err(CacheError::io(&self.folder.path, "name"))
    }

    /// Reads a part back, since the stored bytes may differ from those written: a disk may fail, or another
    /// program may write into the folder.
    fn check(&self, report: &PartReport) -> Result<(), CacheError> {
        let path = self.part_path(report.part);
        let not_as_written = |what: String| CacheError::NotAsWritten {
            path: path.clone(),
            what,
        };
        let cache = Cache::open(&path).map_err(|error| not_as_written(error.to_string()))?;
        if cache.part.key != self.folder.key || *cache.label_counts() != report.labels {
            return Err(not_as_written("its rows are others".to_owned()));
        }
        let checked = cache.part.check_blocks();
        checked.map_err(|error| not_as_written(error.to_string()))
    }
}

impl Drop for Draft<'_> {
    /// After completion there is nothing left to remove.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Returns true if a process has locked the draft.
pub(super) fn is_in_use(draft: &Path) -> bool {
    let lock = File::open(draft.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Deletes the drafts that killed processes have left. What cannot be looked at or deleted stays.
fn remove_abandoned(all: &Path) {
    let entries = fs::read_dir(all).into_iter().flatten();
    let drafts = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_left = |path: &PathBuf| {
        completeness(path) == Some(false)
            && !is_in_use(path)
            && last_written(path).is_some_and(|time| {
                let age = SystemTime::now().duration_since(time);
                age.is_ok_and(|age| age > ABANDONED_AFTER)
            })
    };
    for draft in drafts.filter(is_left) {
        let _ = fs::remove_dir_all(draft);
    }
}

/// Returns the time of the last write in a folder.
fn last_written(folder: &Path) -> Option<SystemTime> {
    let own = fs::metadata(folder).and_then(|metadata| metadata.modified());
    let mut last = own.ok()?;
    for entry in fs::read_dir(folder).ok()? {
        let metadata = entry.and_then(|entry| entry.metadata());
        last = last.max(metadata.and_then(|metadata| metadata.modified()).ok()?);
    }
    Some(last)
}

fn write(path: &Path, text: &str) -> Result<(), CacheError> {
    fs::write(path, text).map_err(CacheError::io(path, "write"))
}
