//! Reading report of a data set, part by part.

use crate::split::Part;
use ncs_features::{ColumnCoverage, LabelCounts};
use serde::{Deserialize, Serialize};

/// Report on the rows that were read, part by part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The parts that have rows.
    pub parts: Vec<PartReport>,
    /// Rows that could not be read and were left out.
    pub broken_rows: u64,
    /// Notes about the files: files without rows, rows that look wrong.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The files, in their order. Empty where an earlier version wrote the cache.
    #[serde(default)]
    pub files: Vec<FileReport>,
    /// For each field, whether its ids differ between training rows: one that is always the same, unknown
    /// or missing teaches nothing. Empty where an earlier version wrote the cache.
    #[serde(default)]
    pub varies: Vec<bool>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The part under which the plan lists it.
    pub part: Part,
    /// The file.
    pub path: String,
    /// Its rows that can be used.
    pub rows: u64,
}

/// Counts of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    /// The part.
    pub part: Part,
    /// Its rows and labels.
    pub labels: LabelCounts,
    /// Its columns, against the values of the training rows, in the order of the features.
    #[serde(default)]
    pub columns: Vec<ColumnCoverage>,
}
