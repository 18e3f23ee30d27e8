//! Drafts: files that get their final name only when complete. Until then they are named `.NAME.unfinished` and
//! locked by the process that writes them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const START: &str = ".scores-";
const END: &str = ".parquet.unfinished";

/// A draft; removed if dropped before [`Draft::finish`].
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
        unreachable!("the numbers are unbounded")
    }

    /// Returns the final path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the file to its final path.
    pub(super) fn finish(self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.path)
    }
}

impl Drop for Draft {
    /// Removes an unfinished file; after [`Draft::finish`] there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Creates the file `unfinished`; `None` if the name `path` is in use.
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
        // Another process locked it to remove it as abandoned.
        return Ok(None);
    }
    if path.try_exists()? {
        fs::remove_file(unfinished)?;
        return Ok(None);
    }
    Ok(unfinished.try_exists()?.then_some(file))
}

/// Removes the drafts that no process is writing, and returns their paths.
pub(super) fn remove_abandoned(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_draft(&path) && remove(&path) {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Returns true if the name of a file is that of a draft.
pub(super) fn is_draft(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(START) && name.ends_with(END)
}

/// Removes a draft that no process is writing. Returns true if it did.
pub(super) fn remove(path: &Path) -> bool {
    // A locked draft is being written. If locks are unavailable, drafts are kept.
    let lock = OpenOptions::new().write(true).open(path);
    lock.is_ok_and(|file| file.try_lock().is_ok() && fs::remove_file(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_use_is_skipped() {
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
    fn only_abandoned_drafts_are_removed() {
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
