//! The second source of a feature's values, beside its column.

use crate::time::TimeUnit;
use serde::{Deserialize, Serialize};

/// A second source of a feature's values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// For an attribute of events: how old each event is, by which its weight decays ([`EventDecay`](crate::EventDecay)).
    Ages(EventAges),
}

/// Source of the ages of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventAges {
    /// The column with a list of ages, or of moments, one for each event.
    pub column: String,
    /// For moments: the column with the moment from which ages are counted, in hours. `None`: the list holds ages.
    pub at: Option<String>,
    /// Unit of moments that are numbers; `None`: told by their size ([`TimeUnit::of_size`]).
    pub unit: Option<TimeUnit>,
    /// The age at which an event counts half, above 0, in hours or the unit of the ages.
    pub half_life: f64,
}

impl Beside {
    /// Returns true if there is no second source.
    pub fn is_none(&self) -> bool {
        *self == Beside::None
    }

    /// Returns the second column, if there is one.
    pub fn column(&self) -> Option<&String> {
        self.columns().next()
    }

    /// Returns the columns that are read beside the feature's own: two at most.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        let (second, third) = match self {
            Beside::Since { column, .. } | Beside::Weights { column } => (Some(column), None),
            Beside::Ages(ages) => (Some(&ages.column), ages.at.as_ref()),
            Beside::None | Beside::WeightAfter { .. } => (None, None),
        };
        second.into_iter().chain(third)
    }

    /// Returns true if each id of a list comes with a number: a weight, or how far its weight has decayed.
    pub fn has_numbers(&self) -> bool {
        self.weighs() || matches!(self, Beside::Ages(_))
    }

    /// Returns true if the values of a list have weights.
    pub fn weighs(&self) -> bool {
        matches!(self, Beside::Weights { .. } | Beside::WeightAfter { .. })
    }
}
