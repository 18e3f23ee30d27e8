//! The score log as Parquet files: requests and responses of a server, one row a candidate.
//!
//! One file is open for each model hash, so that a file has the columns of one schema. Until it is closed
//! (after a number of rows, after a time, or when the server stops), it is a draft named `.….unfinished`.

mod cells;
mod clock;
mod draft;
pub mod erase;
mod file;
mod layout;
pub mod replay;
mod weight;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ncs_serve::score_log::{Entry, Kept, ScoreLog};

use draft::Draft;
use file::LogFile;

/// The folder of a score log cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: cannot write the score log: {source}; make this folder writable for the server, or choose another one",
    folder.display()
)]
pub struct FolderError {
    folder: PathBuf,
    source: io::Error,
}

/// A folder of Parquet files that entries are appended to.
#[derive(Debug)]
pub struct ParquetLog {
    folder: PathBuf,
    rows: usize,
    age: Duration,
    /// Maximum total of bytes that all open files buffer in memory.
    max_held_bytes: usize,
    /// Open files by the hash of the model that scored their rows.
    open: HashMap<Arc<str>, LogFile>,
}

/// Maximum number of open files: for the serving versions, their shadows, and some versions that were replaced.
const MAX_OPEN_FILES: usize = 8;

impl ParquetLog {
    /// Opens a log in `folder`, which is created if missing. A file is closed once it has `rows` rows (those of
    /// a request stay together) or reaches the age `age`. Drafts left by a killed process are removed: they
    /// lack the footer of a Parquet file and cannot be read. Buffered rows take at most `max_held_bytes` bytes
    /// of memory plus one request.
    ///
    /// # Errors
    /// The folder cannot be created or written to.
    pub fn open(
        folder: &Path,
        rows: usize,
        age: Duration,
        max_held_bytes: usize,
    ) -> Result<ParquetLog, FolderError> {
        let failed = |source: io::Error| FolderError {
            folder: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        Draft::create(folder, "probe").map_err(failed)?;
        for path in draft::remove_abandoned(folder).map_err(failed)? {
            tracing::warn!(
                "{}: removed an unreadable draft of a process that was killed",
                path.display()
            );
        }
        Ok(ParquetLog {
            folder: folder.to_owned(),
            rows,
            age,
            max_held_bytes,
            open: HashMap::new(),
        })
    }

    fn append(&mut self, entry: &Entry) -> Kept {
        if entry.n_candidates() == 0 {
            return Kept::default();
        }
        let n_bytes = match weight::check(entry) {
            Ok(n_bytes) => n_bytes,
            Err(error) => return Kept::lost(entry.n_candidates(), error),
        };
        let hash = &entry.identity.hash;
        // A file that fails is not put back: the next entry starts a new one.
        let mut kept = Kept::default();
        let mut file = match self.open.remove(hash) {
            Some(file) => file,
            None => {
                kept.add(self.make_room());
                match LogFile::create(&self.folder, entry) {
                    Ok(file) => file,
                    Err(error) => {
                        kept.add(Kept::lost(entry.n_candidates(), error));
                        return kept;
                    }
                }
            }
        };
        file.push(entry, n_bytes);
        kept.add(self.put_back(file));
        kept
    }

    /// Closes a file that has reached its number of rows, or else keeps it open.
    fn put_back(&mut self, mut file: LogFile) -> Kept {
        if file.rows() >= self.rows {
            return closed(file);
        }
        if file.is_due()
            && let Err(error) = file.write_held()
        {
            return Kept::lost(file.rows(), error);
        }
        self.open.insert(file.hash().clone(), file);
        self.limit_held()
    }

    /// Writes buffered rows, the largest file first, until the total is within the limit.
    fn limit_held(&mut self) -> Kept {
        let mut kept = Kept::default();
        while self.open.values().map(LogFile::held_bytes).sum::<usize>() > self.max_held_bytes {
            let largest = self.open.values().max_by_key(|file| file.held_bytes());
            let Some(hash) = largest.map(|file| file.hash().clone()) else {
                break;
            };
            if let Some(mut file) = self.open.remove(&hash) {
                match file.write_held() {
                    Ok(()) => _ = self.open.insert(hash, file),
                    Err(error) => kept.add(Kept::lost(file.rows(), error)),
                }
            }
        }
        kept
    }

    /// Closes the oldest file if the maximum number of files is open.
    fn make_room(&mut self) -> Kept {
        if self.open.len() < MAX_OPEN_FILES {
            return Kept::default();
        }
        let oldest = self.open.values().max_by_key(|file| file.age());
        let hash = oldest.map(|file| file.hash().clone());
        let file = hash.and_then(|hash| self.open.remove(&hash));
        file.map(closed).unwrap_or_default()
    }

    fn close(&mut self, is_due: impl Fn(&LogFile) -> bool) -> Kept {
        let due: Vec<LogFile> = self
            .open
            .extract_if(|_, file| is_due(file))
            .map(|(_, file)| file)
            .collect();
        let mut kept = Kept::default();
        due.into_iter().for_each(|file| kept.add(closed(file)));
        kept
    }

    fn close_old(&mut self) -> Kept {
        let age = self.age;
        self.close(|file| file.age() >= age)
    }
}

/// Completes a file, and counts its rows as written or lost.
fn closed(file: LogFile) -> Kept {
    let rows = file.rows();
    match file.finish() {
        Ok(()) => Kept::written(rows),
        Err(error) => Kept::lost(rows, error),
    }
}

impl ScoreLog for ParquetLog {
    fn write(&mut self, entry: &Entry) -> Kept {
        let mut kept = self.append(entry);
        // There is no tick while entries arrive continuously.
        kept.add(self.close_old());
        kept
    }

    fn tick(&mut self) -> Kept {
        self.close_old()
    }

    fn finish(&mut self) -> Kept {
        self.close(|_| true)
    }
}

#[cfg(test)]
mod tests;
