//! Files of features by id that are joined to the rows of a log: their columns are added to each row by its id, as
//! `ncs serve --lookup` adds them to a request.

mod join;
mod read;
mod tally;

pub(crate) use join::Join;
pub use tally::LookupTally;

use crate::find::files;
use crate::source::ReadError;
use ncs_features::lookup::{FeatureTable, LookupTime};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Files of features by id. Clones share the table, which is read when the first row is.
#[derive(Clone, Debug, Serialize)]
pub struct Lookup {
    /// The column of ids, in the files and in the rows.
    pub key: String,
    /// Files, globs and folders.
    pub files: Vec<String>,
    /// Folder that relative paths start from.
    #[serde(skip)]
    pub root: PathBuf,
    /// The times of records and rows; `None`: an id has one record.
    pub time: Option<LookupTime>,
    /// The columns to take; `None`: all.
    pub columns: Option<Vec<String>>,
    #[serde(skip)]
    loaded: Arc<Loaded>,
}

/// What was read of the files.
#[derive(Debug, Default)]
struct Loaded {
    names: Mutex<Option<Vec<String>>>,
    table: Mutex<Option<(Arc<FeatureTable>, String)>>,
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Lookup) -> bool {
        (&self.key, &self.files, &self.root) == (&other.key, &other.files, &other.root)
            && (&self.time, &self.columns) == (&other.time, &other.columns)
    }
}

impl Lookup {
    /// Creates a lookup of all columns of the files, without times.
    pub fn new(key: &str, files: Vec<String>, root: PathBuf) -> Lookup {
        Lookup {
            key: key.to_owned(),
            files,
            root,
            time: None,
            columns: None,
            loaded: Arc::default(),
        }
    }

    /// Sets the times of records and rows.
    #[must_use]
    pub fn with_time(self, time: Option<LookupTime>) -> Lookup {
        Lookup { time, ..self }
    }

    /// Sets the columns to take.
    #[must_use]
    pub fn with_columns(self, columns: Option<Vec<String>>) -> Lookup {
        Lookup { columns, ..self }
    }

    /// Returns the files.
    ///
    /// # Errors
    /// A pattern matches nothing.
    pub fn paths(&self) -> Result<Vec<PathBuf>, ReadError> {
        files(&self.files, &self.root)
    }
}
