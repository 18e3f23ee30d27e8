//! Drift: how far the columns and scores of later rows are from those of a training.

use ncs_features::distribution::stability_index;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Population stability index from which a column has changed a little, as usual.
pub const MODERATE: f64 = 0.1;

/// The same from which it has changed much.
pub const LARGE: f64 = 0.25;

/// Chance of an index above [`PopulationShift::chance`] where nothing has changed.
const LEVEL: f64 = 0.05;

/// A distribution beside an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PopulationShift {
    /// Population stability index: the sum over the bins of `(q - p) ln(q / p)`, with shares `p` before and `q` now.
    pub psi: f64,
    /// The index that 5 % of samples of these sizes exceed where nothing has changed.
    pub chance: f64,
}

/// Verdict on a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftLevel {
    /// Below 0.1, or within chance.
    Stable,
    /// From 0.1.
    Moderate,
    /// From 0.25.
    Large,
}

impl DriftLevel {
    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            DriftLevel::Stable => "stable",
            DriftLevel::Moderate => "moderate",
            DriftLevel::Large => "large",
        }
    }
}

impl PopulationShift {
    /// Compares counts by bin; `None` if one of both has no values.
    ///
    /// Without a change, `psi / (1/n + 1/m)` of `n` and `m` values is nearly chi-squared, with a degree of freedom
    /// fewer than bins that are not empty.
    pub fn of(before: &[u64], now: &[u64]) -> Option<PopulationShift> {
        let psi = stability_index(before, now)?;
        let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
        let (n, m) = (total(before), total(now));
        let bins = before.iter().zip(now).filter(|(p, q)| **p + **q > 0);
        let n_bins = bins.count() as f64;
        let quantile = ChiSquared::new(n_bins - 1.0).map(|law| law.inverse_cdf(1.0 - LEVEL));
        Some(PopulationShift {
            psi,
            chance: quantile.unwrap_or(0.0) * (1.0 / n + 1.0 / m),
        })
    }

    /// Returns the verdict.
    pub fn level(&self) -> DriftLevel {
        match self.psi {
            psi if psi <= self.chance || psi < MODERATE => DriftLevel::Stable,
            psi if psi < LARGE => DriftLevel::Moderate,
            _ => DriftLevel::Large,
        }
    }
}

/// A bin of a column or score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftBin {
    /// Its values, as text.
    pub name: String,
    /// Share of the values of the training.
    pub before: f64,
    /// Share of the values now.
    pub now: f64,
}

/// A column of later rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The feature's name.
    pub column: String,
    /// Its shift; `None` where it has no values to compare.
    pub shift: Option<PopulationShift>,
    /// Share of values that training never saw; `None` for numbers.
    pub unseen: Option<f64>,
    /// The same on the validation rows of the training; `None`: not known.
    pub unseen_before: Option<f64>,
    /// Share of rows without a value.
    pub missing: f64,
    /// The same in training.
    pub missing_before: f64,
    /// The bins, missing values last.
    pub bins: Vec<DriftBin>,
}

/// Scores of a task on later rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreDrift {
    /// The task, or the product of two.
    pub name: String,
    /// The shift of its scores.
    pub shift: Option<PopulationShift>,
    /// Mean score.
    pub mean: f64,
    /// The bins.
    pub bins: Vec<DriftBin>,
    /// Where rows have labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<DriftLabels>,
}

/// Labels beside scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftLabels {
    /// Rows with a label.
    pub rows: u64,
    /// Sum of scores over sum of labels; `None` without positive labels.
    pub pcoc: Option<f64>,
    /// AUC; `None` for numbers, and where all labels are alike.
    pub auc: Option<f64>,
}

/// Later rows beside those of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Headline.
    pub title: String,
    /// Rows now.
    pub rows: u64,
    /// Rows of the training that were counted.
    pub training_rows: u64,
    /// Columns, the largest shift first.
    pub columns: Vec<ColumnDrift>,
    /// Scores, in the order of the tasks.
    pub scores: Vec<ScoreDrift>,
    /// Notes.
    pub notes: Vec<String>,
}

impl Drift {
    /// Returns the largest verdict on a column or score.
    pub fn level(&self) -> DriftLevel {
        let columns = self.columns.iter().map(|column| &column.shift);
        let shifts = columns.chain(self.scores.iter().map(|score| &score.shift));
        let levels = shifts.flatten().map(PopulationShift::level);
        levels.max().unwrap_or(DriftLevel::Stable)
    }

    /// Orders columns by their shift, those without one last.
    pub fn sort(&mut self) {
        let psi = |column: &ColumnDrift| column.shift.map_or(-1.0, |shift| shift.psi);
        self.columns.sort_by(|a, b| psi(b).total_cmp(&psi(a)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_that_of_its_definition() {
        let found = PopulationShift::of(&[500, 300, 200], &[250, 250, 500]).unwrap();
        // (.25 - .5) ln .5 + (.25 - .3) ln(.25/.3) + (.5 - .2) ln 2.5, but for the smoothing.
        let expected = -0.25 * 0.5_f64.ln() - 0.05 * (0.25_f64 / 0.3).ln() + 0.3 * 2.5_f64.ln();
        assert!(
            (found.psi - expected).abs() < 0.002,
            "{found:?}, not {expected}"
        );
        // The 95 % quantile of two degrees of freedom is -2 ln .05.
        assert!((found.chance - -2.0 * 0.05_f64.ln() * 0.002).abs() < 1e-6);
        assert_eq!(found.level(), DriftLevel::Large);
        let same = PopulationShift::of(&[500, 300, 200], &[50, 30, 20]).unwrap();
        assert!(same.psi < 0.001 && same.level() == DriftLevel::Stable);
        assert_eq!(PopulationShift::of(&[1, 2], &[0, 0]), None);
        let one = PopulationShift::of(&[5, 0], &[9, 0]).unwrap();
        assert_eq!((one.psi, one.chance), (0.0, 0.0));
    }

    #[test]
    fn few_rows_are_no_drift() {
        let before = [100; 10];
        let now = [2, 0, 1, 0, 3, 1, 0, 1, 0, 2];
        let found = PopulationShift::of(&before, &now).unwrap();
        assert!(found.psi > MODERATE, "{found:?}");
        assert_eq!(found.level(), DriftLevel::Stable);
    }

    /// Counts of equal chances by a simple generator: the share of indices beyond the limit is that of the level.
    #[test]
    fn chance_exceeds_its_limit_as_often_as_it_should() {
        let mut state = 1_u64;
        let mut bin = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % 8
        };
        let mut sample = |n: usize| {
            let mut counts = [0; 8];
            (0..n).for_each(|_| counts[bin()] += 1);
            counts
        };
        let mut beyond = 0;
        for _ in 0..1000 {
            let found = PopulationShift::of(&sample(2000), &sample(500)).unwrap();
            beyond += usize::from(found.psi > found.chance);
        }
        assert!((25..80).contains(&beyond), "{beyond} of 1000");
    }
}
