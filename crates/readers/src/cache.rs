//! Rows already turned into ids, on disk, for the many passes that a mask search makes.
//!
//! A cache is a folder named by its key (data, reading, split, schema plan and format version). In it
//! lie one file a part ([`Cache`]) and the fitted schema. It is written beside, under a name that no other
//! process has, read back, and renamed when it is complete; every byte that is read is checked. So several
//! runs, in containers too, can share a folder of caches.
//!
//! ```no_run
//! use ncs_readers::batches::BatchPlan;
//! use ncs_readers::cache::Cache;
//! let cache = Cache::open("cache/0123456789abcdef/train.ids".as_ref())?;
//! for batch in cache.batches(BatchPlan::default()) {
//!     println!("{} rows", batch?.n_rows);
//! }
//! # Ok::<(), ncs_readers::cache::CacheError>(())
//! ```

mod blocks;
mod draft;
#[cfg(test)]
mod draft_tests;
mod file;
mod folder;
#[cfg(test)]
mod tests;
mod writer;

pub use folder::{CacheEntry, CachedSet, clear, is_cache_folder, list, open_set, remove};

pub(crate) use draft::Draft;
pub(crate) use file::{BlockEntry, PartFile};
pub(crate) use folder::Folder;
pub(crate) use writer::PartWriter;

use crate::report::Report;
use ncs_features::system::after;
use ncs_features::{LabelCounts, Schema};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of the bytes in a cache and of what they mean; part of every key.
pub(crate) const VERSION: u32 = 2;

/// Number of rows of a block, except the last of a file.
pub(crate) const BLOCK_ROWS: usize = 8192;

const RECORD: &str = "prepared.json";
/// The record's BLAKE3 sum, in the manner of `b3sum`.
const RECORD_SUM: &str = "prepared.json.b3";

/// Metadata of a cache, besides its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: Schema,
    pub(crate) report: Report,
}

/// One part (training, validation or test) of a cached data set; cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    part: Arc<PartFile>,
}

impl Cache {
    /// Opens a part's file and checks its header and its index; blocks are checked when read.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is of another version.
    pub fn open(path: &Path) -> Result<Cache, CacheError> {
        let part = Arc::new(PartFile::open(path)?);
        Ok(Cache { part })
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> u64 {
        self.part.counts.rows
    }

    /// Returns the number of known and of positive labels, task by task.
    pub fn label_counts(&self) -> &LabelCounts {
        &self.part.counts
    }

    /// Returns the size of the file in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.part.n_bytes
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.part.path
    }

    pub(crate) fn part(&self) -> &Arc<PartFile> {
        &self.part
    }
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system refused.
    #[error("{}: cannot {doing} the id cache: {source}{}", path.display(), after(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Operation that failed: read, write and so on.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Bytes are not what was written.
    #[error("{}: the id cache is damaged ({what}); delete it with `ncs cache clear` and run again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Description of the mismatch.
        what: String,
    },
    /// Written data that cannot be read back.
    #[error(
        "{}: the id cache was written, but is not what lies on the disk ({what}); check the disk, see that no \
         other program writes into this folder, and run again", path.display()
    )]
    NotAsWritten {
        /// The file.
        path: PathBuf,
        /// Description of the mismatch.
        what: String,
    },
    /// Written by another version of this program.
    #[error(
        "{}: the id cache has format {found}, this program reads {VERSION}; delete it with \
         `ncs cache clear` and run again", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format's version.
        found: u32,
    },
    /// The thread that reads ahead ended before its last batch.
    #[error("{}: reading ahead in the id cache stopped early; run again, or with prefetch off", path.display())]
    ReaderStopped {
        /// The file.
        path: PathBuf,
    },
}

impl CacheError {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> CacheError {
        let path = path.to_owned();
        move |source| CacheError::Io {
            path,
            doing,
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> CacheError {
        CacheError::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}
