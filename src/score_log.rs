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

use ncs_serve::score_log::{Entry, ScoreLog};

use draft::Draft;
use file::LogFile;

/// A folder of Parquet files that entries are appended to.
#[derive(Debug)]
pub struct ParquetLog {
    folder: PathBuf,
    rows: usize,
    age: Duration,
    /// By the hash of the model that scored their rows.
    open: HashMap<Arc<str>, LogFile>,
}

impl ParquetLog {
    /// A log in `folder`, which is made where there is none. A file is closed once it has `rows` rows (those
    /// of a request stay together) or is as old as `age`. Drafts that a killed process left are removed:
    /// they lack what a Parquet file ends with, and cannot be read.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn open(folder: &Path, rows: usize, age: Duration) -> Result<ParquetLog, String> {
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
            open: HashMap::new(),
        })
    }

    fn keep(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.n_candidates() == 0 {
            return Ok(());
        }
        let n_bytes = weight::check(entry)?;
        let hash = &entry.identity.hash;
        // A file that fails is not put back: the next entry begins another one.
        let mut file = match self.open.remove(hash) {
            Some(file) => file,
            None => LogFile::create(&self.folder, entry)?,
        };
        file.push(entry, n_bytes)?;
        if file.rows() >= self.rows {
            return file.finish();
        }
        self.open.insert(hash.clone(), file);
        Ok(())
    }

    fn close(&mut self, is_due: impl Fn(&LogFile) -> bool) -> Result<(), String> {
        let due = self.open.extract_if(|_, file| is_due(file));
        let closed: Vec<_> = due.map(|(_, file)| file.finish()).collect();
        all(closed)
    }

    fn close_old(&mut self) -> Result<(), String> {
        let age = self.age;
        self.close(|file| file.age() >= age)
    }
}

impl ScoreLog for ParquetLog {
    fn write(&mut self, entry: &Entry) -> Result<(), String> {
        let kept = self.keep(entry);
        // There is no tick while entries come one after another.
        let closed = self.close_old();
        all([kept, closed])
    }

    fn tick(&mut self) -> Result<(), String> {
        self.close_old()
    }

    fn finish(&mut self) -> Result<(), String> {
        self.close(|_| true)
    }
}

/// All errors as one.
fn all(done: impl IntoIterator<Item = Result<(), String>>) -> Result<(), String> {
    let errors: Vec<String> = done.into_iter().filter_map(Result::err).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors.join("; ")),
    }
}

#[cfg(test)]
mod tests;
