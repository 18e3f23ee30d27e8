//! Raw rows to cached ids.

use crate::split::Part;
use ncs_features::LabelCounts;
use serde::{Deserialize, Serialize};

/// What was read, part by part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The parts that have rows.
    pub parts: Vec<PartReport>,
    /// Rows that could not be read and were left out.
    pub broken_rows: u64,
}

/// What one part holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    /// Which part.
    pub part: Part,
    /// Its rows and labels.
    pub labels: LabelCounts,
}
