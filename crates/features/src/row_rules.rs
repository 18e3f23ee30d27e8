//! Use of a task's rows beyond their labels.

use crate::batch::RowTerms;
use crate::late::LateRules;
use serde::{Deserialize, Serialize};

/// Use of a task's rows beyond their labels, in its loss and its metrics. Scoring needs none of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowRules {
    /// Column with the weight of each row; `None`: every row counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_column: Option<String>,
    /// Share of the training rows of label 0 that is kept, in (0, 1]; `None`: all. The loss corrects for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_rate: Option<f64>,
    /// Column with the share of rows of label 0 that the log has kept of rows like each; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_rate_column: Option<String>,
    /// Labels that become known after a while; `None`: they are known at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateRules>,
}

impl RowRules {
    /// Returns true if rows are used by their labels alone.
    pub fn are_none(&self) -> bool {
        *self == RowRules::default()
    }

    /// Returns the columns that the rules read.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        let late = self.late.iter();
        let times = late.flat_map(|late| {
            let times = [&late.click_time, &late.conversion_time];
            times.into_iter().chain(&late.by)
        });
        self.weight_column
            .iter()
            .chain(&self.negative_rate_column)
            .chain(times)
    }

    /// Returns true if rows of label 0 are left out, by the log or in training.
    pub fn leaves_out_negatives(&self) -> bool {
        self.negative_rate.is_some() || self.negative_rate_column.is_some()
    }

    /// Returns which of the columns of [`RowTerms`] rows have.
    pub fn terms(&self) -> [bool; RowTerms::COLUMNS] {
        let is_late = self.late.is_some();
        [
            self.weight_column.is_some(),
            self.leaves_out_negatives(),
            is_late,
            is_late,
            is_late,
        ]
    }
}
