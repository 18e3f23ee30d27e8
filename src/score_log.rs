//! The score log as Parquet files: what a server was asked and what it said, a row a candidate.
//!
//! One file is open for each model hash, so that a file has the columns of one schema. It is a draft, named
//! `.….unfinished`, until it is closed: after so many rows, after so much time, or with the server.

mod cells;
mod draft;
mod file;
pub(crate) mod layout;
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

/// A folder of Parquet files that entries are appended to.
#[derive(Debug)]
pub struct ParquetLog {
    folder: PathBuf,
    rows: usize,
    age: Duration,
    /// Bytes that all open files may hold in memory together.
    most_held: usize,
    /// By the hash of the model that scored their rows.
    open: HashMap<Arc<str>, LogFile>,
}

/// Files that are open at a time: of the versions that answer, their shadows, and some that were swapped.
const MOST_OPEN: usize = 8;

impl ParquetLog {
    /// A log in `folder`, which is made where there is none. A file is closed once it has `rows` rows (those
    /// of a request stay together) or is as old as `age`. Drafts that a killed process left are removed:
    /// they lack what a Parquet file ends with, and cannot be read. Rows that are yet to be written take
    /// `most_held` bytes of memory at most, and a request.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn open(
        folder: &Path,
        rows: usize,
        age: Duration,
        most_held: usize,
    ) -> Result<ParquetLog, String> {
        let refused = |source: io::Error| {
            format!(
                "{}: cannot write the score log there: {source}; let the server write to this folder, or \
                 name another one",
                folder.display()
            )
        };
        fs::create_dir_all(folder).map_err(refused)?;
        Draft::create(folder, "probe").map_err(refused)?;
        for path in draft::remove_abandoned(folder).map_err(refused)? {
            tracing::warn!(
                "{}: removed; the process that wrote it was killed, and a draft cannot be read",
                path.display()
            );
        }
        Ok(ParquetLog {
            folder: folder.to_owned(),
            rows,
            age,
            most_held,
            open: HashMap::new(),
        })
    }

    fn keep(&mut self, entry: &Entry) -> Kept {
        if entry.n_candidates() == 0 {
            return Kept::default();
        }
        let n_bytes = match weight::check(entry) {
            Ok(n_bytes) => n_bytes,
            Err(error) => return Kept::lost(entry.n_candidates(), error),
        };
        let hash = &entry.identity.hash;
        // A file that fails is not put back: the next entry begins another one.
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

    /// A file that got rows: closed where it has as many as it may, else open again.
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
        self.hold_less()
    }

    /// Writes what the files hold, the largest first, until they hold no more than they may.
    fn hold_less(&mut self) -> Kept {
        let mut kept = Kept::default();
        while self.open.values().map(LogFile::held_bytes).sum::<usize>() > self.most_held {
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

    /// Closes the oldest file where one more would be too many.
    fn make_room(&mut self) -> Kept {
        if self.open.len() < MOST_OPEN {
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

/// Completes a file: its rows are written, or lost.
fn closed(file: LogFile) -> Kept {
    let rows = file.rows();
    match file.finish() {
        Ok(()) => Kept::written(rows),
        Err(error) => Kept::lost(rows, error),
    }
}

impl ScoreLog for ParquetLog {
    fn write(&mut self, entry: &Entry) -> Kept {
        let mut kept = self.keep(entry);
        // There is no tick while entries come one after another.
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
