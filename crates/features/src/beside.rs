//! The second source of a feature's values, beside its column.

use crate::time::TimeUnit;
use serde::{Deserialize, Serialize};

/// A second source of a feature's values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    /// None.
    #[default]
    None,
    /// For a number: it is the time in hours from the moment in this column to the one in the feature's own.
    Since {
        /// The column of the earlier moment.
        column: String,
        /// Unit of moments that are numbers; `None`: told by their size ([`TimeUnit::of_size`]).
        unit: Option<TimeUnit>,
    },
    /// For a list: the column with a list of weights, one for each value.
    Weights {
        /// The column of the weights.
        column: String,
    },
    /// For a list of texts: each holds a value, this character and the weight; one without the character has weight 1.
    WeightAfter {
        /// The character between value and weight; the last one of a text counts.
        separator: char,
    },
}

impl Beside {
    /// Returns true if there is no second source.
    pub fn is_none(&self) -> bool {
        *self == Beside::None
    }

    /// Returns the second column, if there is one.
    pub fn column(&self) -> Option<&String> {
        match self {
            Beside::Since { column, .. } | Beside::Weights { column } => Some(column),
            Beside::None | Beside::WeightAfter { .. } => None,
        }
    }

    /// Returns true if the values of a list have weights.
    pub fn weighs(&self) -> bool {
        matches!(self, Beside::Weights { .. } | Beside::WeightAfter { .. })
    }
}
