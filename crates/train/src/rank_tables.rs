//! Where the processes of a training hold its tables.

use serde::{Deserialize, Serialize};

/// Where the ranks of a training on several processes hold the tables, with their optimizer moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RankTables {
    /// Every process holds all rows: nothing is looked up, and memory is that of one process.
    #[default]
    Replicated,
    /// Each process holds the rows that a hash of their ids gives it, so that their memory divides among the processes. A step
    /// looks up the rows of its batch at their owners.
    Sharded,
}

/// Files of the table rows of a model that several processes have trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModelFiles {
    /// One with all rows.
    #[default]
    Whole,
    /// One of each process, with the rows that a hash of their ids gives it.
    Sharded,
}

impl RankTables {
    /// Returns true if every process holds all rows.
    pub(crate) fn are_replicated(&self) -> bool {
        *self == RankTables::Replicated
    }
}
