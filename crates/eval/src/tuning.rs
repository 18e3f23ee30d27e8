//! Trials and results of a tuning, for rendering and storage.

use serde::{Deserialize, Serialize};

/// Trials of a tuning and its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Title of the page.
    pub title: String,
    /// Best trial of the last rung.
    pub best: Option<TuningTrial>,
    /// Score of trial 0, the unmodified run file, in the last rung.
    pub untouched: Option<f64>,
    /// Effect of each setting, largest first.
    pub effects: Vec<TuningEffect>,
    /// All trials in order.
    pub trials: Vec<TuningTrial>,
}

/// One training of a tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningTrial {
    /// Trial number; 0 is the unmodified run file.
    pub number: usize,
    /// Rung, from 0; later rungs train longer.
    pub rung: usize,
    /// Validation score, higher is better; `None` if the training failed.
    #[serde(rename = "goodness")]
    pub validation_score: Option<f64>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Run-file keys and their values.
    pub settings: Vec<(String, String)>,
}

/// Mean score in the first rung by the values of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningEffect {
    /// Run-file key.
    pub setting: String,
    /// Values of the setting, or ranges of them.
    pub levels: Vec<TuningLevel>,
}

/// A value of a setting, or a range of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningLevel {
    /// The value, or the first and the last of the range.
    pub name: String,
    /// Mean score of the trials.
    pub mean: f64,
    /// Number of trials.
    pub trials: usize,
}

impl TuningEffect {
    /// Returns the difference between the best and the worst level.
    pub fn spread(&self) -> f64 {
        let means = || self.levels.iter().map(|level| level.mean);
        let spread =
            means().fold(f64::NEG_INFINITY, f64::max) - means().fold(f64::INFINITY, f64::min);
        if spread.is_finite() { spread } else { 0.0 }
    }
}
