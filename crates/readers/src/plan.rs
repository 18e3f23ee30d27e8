//! Sources of rows in the run file.

use crate::encoding::Encoding;
use crate::lookup::Lookup;
use crate::split::{Moment, TimeFormat};
use serde::Serialize;
use std::path::PathBuf;

/// The files of a run and how to read and split them.
///
/// `split` divides the rows of `train`, and those only: files under `valid` and `test` are used
/// whole, beside what the split puts there.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPlan {
    /// Files, globs and folders of the training part (or of everything, when `split` divides it).
    pub train: Vec<String>,
    /// Files, globs and folders of the validation part, used whole; may be empty when `split` makes it.
    pub valid: Vec<String>,
    /// Files, globs and folders of the test part, used whole; may be empty.
    pub test: Vec<String>,
    /// Folder that relative paths start from: the run file's.
    pub root: PathBuf,
    /// Settings for reading files.
    pub reading: Reading,
    /// Division of rows into parts.
    pub split: Split,
    /// Folder of the id cache.
    pub cache: PathBuf,
}

/// Settings for reading files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// The format; `None`: by each file's name.
    pub format: Option<Format>,
    /// Share of broken rows, in [0, 1), above which reading stops with an error. 0: the first one.
    pub max_broken_share: f64,
    /// Field separator of CSV files; `None`: tab for `.tsv`, comma otherwise.
    pub delimiter: Option<u8>,
    /// Column names of CSV files that have no header line.
    pub header: Option<Vec<String>>,
    /// Character encoding of texts: in CSV files and JSON lines, of the whole file; in Parquet and TFRecord,
    /// of texts that are not UTF-8.
    #[serde(skip_serializing_if = "Encoding::is_utf8")]
    pub encoding: Encoding,
    /// Files of features by id, whose columns are added to the rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lookups: Vec<Lookup>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            format: None,
            max_broken_share: 0.0,
            delimiter: None,
            header: None,
            encoding: Encoding::Utf8,
            lookups: Vec::new(),
        }
    }
}

/// A file format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Format {
    /// TFRecord of tf.train.Example, plain, gzip or zlib.
    TfRecord,
    /// Parquet.
    Parquet,
    /// Comma- or tab-separated text, plain, `.gz` or `.zst`.
    Csv,
    /// One JSON object a line, plain, `.gz` or `.zst`.
    JsonLines,
    /// Arrow: the file format (Feather of version 2) or the stream format.
    Arrow,
}

/// Division of the rows of [`DataPlan::train`] into training, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Split {
    /// By files.
    Files,
    /// By a hash of a column, so that a user or a session is in one part only. Rows without a value
    /// are of no user: each is placed by its number, as in [`Split::Row`].
    Hash {
        /// The column that is hashed.
        column: String,
        /// Share of validation, in (0, 1).
        valid: f64,
        /// Share of test, in [0, 1).
        test: f64,
        /// Another seed gives another split.
        seed: u64,
    },
    /// By a hash of the row's number (from 0, over all files of `train` in order): for logs without
    /// users or sessions, or where the test rows show the same users as the training rows.
    Row {
        /// Share of validation, in (0, 1).
        valid: f64,
        /// Share of test, in [0, 1).
        test: f64,
        /// Another seed gives another split.
        seed: u64,
    },
    /// By a time column: time stamps, texts in ISO 8601 or in a form that is stated, or numbers.
    Time {
        /// The column.
        column: String,
        /// Rows from here on are validation.
        valid_from: Moment,
        /// Rows from here on are test.
        test_from: Option<Moment>,
        /// The form of the column's texts, where it is not ISO 8601.
        format: Option<TimeFormat>,
    },
    /// The latest shares of the rows by a time column: where they begin, the files tell; see
    /// [`resolve`](crate::split::resolve), which makes a [`Split::Time`] of it.
    Latest {
        /// The column.
        column: String,
        /// Share of validation, in (0, 1).
        valid: f64,
        /// Share of test, in [0, 1); these rows come after those of validation.
        test: f64,
        /// The form of the column's texts, where it is not ISO 8601.
        format: Option<TimeFormat>,
    },
}
