//! A file that has its name only once it is whole: until then `.NAME.unfinished`, and locked by the
//! process that writes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const START: &str = ".scores-";
const END: &str = ".parquet.unfinished";

/// A draft. Dropped before [`Draft::finish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    unfinished: PathBuf,
}

impl Draft {
    /// Starts the file `scores-STEM-N.parquet`, for the first `N` from 1 that is free.
    pub(super) fn create(folder: &Path, stem: &str) -> io::Result<(Draft, File)> {
        for n in 1.. {
            let path = folder.join(format!("scores-{stem}-{n}.parquet"));
            let unfinished = folder.join(format!("{START}{stem}-{n}{END}"));
            if let Some(file) = claim(&path, &unfinished)? {
                return Ok((Draft { path, unfinished }, file));
            }
        }
        unreachable!("numbers do not end")
    }

    /// The name that it is to have.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.path)
    }
}

impl Drop for Draft {
    /// Takes an unfinished file away; after [`Draft::finish`] there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// The file `unfinished`, if nobody else has the name `path`.
fn claim(path: &Path, unfinished: &Path) -> io::Result<Option<File>> {
    let create = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(unfinished);
    let file = match create {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        // Someone who removes drafts took it for one that nobody writes.
        return Ok(None);
    }
    if path.try_exists()? {
        fs::remove_file(unfinished)?;
        return Ok(None);
    }
    Ok(unfinished.try_exists()?.then_some(file))
}

/// Removes the drafts that no process writes, and returns which.
pub(super) fn remove_abandoned(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(START) && name.ends_with(END)) {
            continue;
        }
        let path = entry.path();
        // Locked: it is being written. Without locks there is no telling.
        let lock = OpenOptions::new().write(true).open(&path);
        let Ok(file) = lock else { continue };
        if file.try_lock().is_ok() && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scores-a-1.parquet"), "whole").unwrap();
        let (second, _file) = Draft::create(folder.path(), "a").unwrap();
        let (third, _file) = Draft::create(folder.path(), "a").unwrap();
        assert_eq!(second.path(), folder.path().join("scores-a-2.parquet"));
        assert_eq!(third.path(), folder.path().join("scores-a-3.parquet"));
        second.finish().unwrap();
        drop(third);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_drafts_that_nobody_writes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, _file) = Draft::create(folder.path(), "a").unwrap();
        let left = folder.path().join(".scores-b-1.parquet.unfinished");
        let other = folder.path().join(".other.unfinished");
        for path in [&left, &other] {
            fs::write(path, "torn").unwrap();
        }
        assert_eq!(remove_abandoned(folder.path()).unwrap(), [left]);
        assert!(draft.unfinished.exists() && other.exists());
    }
}
