//! Where table rows lie: in memory, or in files that are mapped into memory.
//!
//! A file of rows is temporary and has no name: it ends with the process. The system keeps the pages of it that are used
//! most in memory and writes the others to the disk, so that tables can be larger than memory. Blocks of the disk are
//! allocated before a page is written: a full disk is an error that [`TableStorage::check`] returns, not a signal.

mod growing_file;
mod mapping;
mod row_values;

pub(crate) use growing_file::GrowingFile;
pub(crate) use mapping::{MappedBytes, MappedNumbers, ReadOrder};
pub(crate) use row_values::mapped;
pub use row_values::{RowValues, RowWriter};

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where the rows of tables lie, with their optimizer moments and the copies that a training keeps.
#[derive(Clone, Debug, Default)]
pub enum TableStorage {
    /// In memory.
    #[default]
    Memory,
    /// In mapped temporary files.
    Files(Arc<TableFiles>),
}

/// A folder for the files of table rows.
#[derive(Debug)]
pub struct TableFiles {
    folder: PathBuf,
    /// The first error of an operation that could not return it.
    failure: OnceLock<StorageError>,
}

/// Table rows cannot be kept in files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: cannot keep table rows in this folder: {reason}; free some space, or choose another with \
     training.table_folder", folder.display()
)]
pub struct StorageError {
    folder: PathBuf,
    reason: String,
}

impl TableStorage {
    /// Returns a storage with files in this folder, which must exist.
    pub fn in_folder(folder: &Path) -> TableStorage {
        TableStorage::Files(Arc::new(TableFiles {
            folder: folder.to_owned(),
            failure: OnceLock::new(),
        }))
    }

    /// Returns true if rows lie in files.
    pub fn is_in_files(&self) -> bool {
        matches!(self, TableStorage::Files(_))
    }

    /// Checks that all rows lie where they should. A table that could not extend its file keeps further rows in memory:
    /// nothing is lost, and whoever adds rows has to call this after some of them.
    ///
    /// # Errors
    /// The first failure of a file.
    pub fn check(&self) -> Result<(), StorageError> {
        match self {
            TableStorage::Memory => Ok(()),
            TableStorage::Files(files) => files.failure.get().cloned().map_or(Ok(()), Err),
        }
    }
}

impl TableFiles {
    /// Creates an empty file.
    pub(crate) fn create(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    pub(crate) fn error(&self, source: &io::Error) -> StorageError {
        StorageError {
            folder: self.folder.clone(),
            reason: source.to_string(),
        }
    }

    /// Remembers an error for [`TableStorage::check`].
    pub(crate) fn note(&self, source: &io::Error) {
        // Later errors follow from the first.
        let _ = self.failure.set(self.error(source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told() {
        assert_eq!(TableStorage::Memory.check(), Ok(()));
        let storage = TableStorage::in_folder(Path::new("no/such/folder"));
        assert!(storage.is_in_files());
        assert_eq!(storage.check(), Ok(()));
        let TableStorage::Files(files) = &storage else {
            panic!("{storage:?}");
        };
        files.note(&files.create().unwrap_err());
        files.note(&io::Error::other("later"));
        let text = storage.check().unwrap_err().to_string();
        let start = "no/such/folder: cannot keep table rows in this folder: No such file";
        assert!(text.starts_with(start), "{text}");
    }
}
