//! What a tuning tried and found, to be drawn and stored.

use serde::{Deserialize, Serialize};

/// The trials of a tuning and what they show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The title of the page.
    pub title: String,
    /// The best trial of the last rung.
    pub best: Option<TuningTrial>,
    /// The goodness of trial 0, the run file as it is, in the last rung.
    pub untouched: Option<f64>,
    /// How much each setting mattered, the most first.
    pub effects: Vec<TuningEffect>,
    /// All trials in their order.
    pub trials: Vec<TuningTrial>,
}

/// One training of a tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningTrial {
    /// 0 is the run file as it is.
    pub number: usize,
    /// The rung, from 0: later ones train longer.
    pub rung: usize,
    /// On the validation rows, higher is better; `None` where the training failed.
    pub goodness: Option<f64>,
    /// Wall time.
    pub seconds: f64,
    /// Keys of the run file and their values.
    pub settings: Vec<(String, String)>,
}

/// The first rung's mean goodness by the values of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningEffect {
    /// The key of the run file.
    pub setting: String,
    /// Its values, or ranges of them.
    pub levels: Vec<TuningLevel>,
}

/// A value of a setting, or a range of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningLevel {
    /// The value, or the first and the last of the range.
    pub name: String,
    /// Mean goodness of its trials.
    pub mean: f64,
    /// Number of trials.
    pub trials: usize,
}

impl TuningEffect {
    /// The difference between the best and the worst level.
    pub fn spread(&self) -> f64 {
        let means = || self.levels.iter().map(|level| level.mean);
        let spread =
            means().fold(f64::NEG_INFINITY, f64::max) - means().fold(f64::INFINITY, f64::min);
        if spread.is_finite() { spread } else { 0.0 }
    }
}
