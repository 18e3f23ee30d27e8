//! Calibration: predicted probabilities against observed rates, in total and bin by bin.

use serde::{Deserialize, Serialize};

use crate::auc::{Ranking, Real};
use crate::errors::known_pairs;

/// PCOC: sum of predictions over sum of labels, over the rows whose label is known. Above 1 the
/// model over-predicts. `None` if the labels sum to zero.
pub fn predicted_over_observed<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let sum = |(labels, scores): (f64, f64), (label, score)| (labels + label, scores + score);
    let (observed, predicted) = known_pairs(labels, scores).fold((0.0, 0.0), sum);
    let ratio = predicted / observed;
    (observed > 0.0 && ratio.is_finite()).then_some(ratio)
}

/// Assignment of rows to bins by score. Rows of equal score are in the same bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binning {
    /// This many bins with (nearly) equal numbers of rows.
    EqualCount(usize),
    /// This many bins of equal width over [0, 1]; scores beyond fall into the outer bins.
    EqualWidth(usize),
}

/// Rows of similar score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean prediction of the rows.
    pub predicted: f64,
    /// Mean label of the rows.
    pub observed: f64,
    /// Rows in the bin, at least one.
    pub rows: u64,
}

/// Returns the non-empty bins in ascending order of score, over the rows whose label is known. Empty if there
/// are no rows or a score is NaN.
pub fn calibration_bins<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    binning: Binning,
) -> Vec<CalibrationBin> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let Some(ranking) = Ranking::of(labels, scores) else {
        return Vec::new();
    };
    let mut bins: Vec<(usize, Sums)> = Vec::new();
    let mut n_before = 0;
    for tied in ranking.rows.chunk_by(|a, b| a.0 == b.0) {
        let score = scores[tied[0].1 as usize].into();
        let bin = binning.bin_of(score, n_before, ranking.rows.len());
        if bins.last().is_none_or(|(last, _)| *last != bin) {
            bins.push((bin, Sums::default()));
        }
        let sums = &mut bins.last_mut().expect("one was pushed").1;
        tied.iter()
            .for_each(|&(_, row)| sums.add(labels[row as usize].into(), score));
        n_before += tied.len();
    }
    bins.into_iter().map(|(_, sums)| sums.bin()).collect()
}

impl Binning {
    /// Returns the bin of a score that has `n_before` of `n_rows` rows below it.
    fn bin_of(self, score: f64, n_before: usize, n_rows: usize) -> usize {
        match self {
            Binning::EqualCount(n_bins) => n_before * n_bins / n_rows,
            Binning::EqualWidth(n_bins) => {
                ((score * n_bins as f64) as usize).min(n_bins.saturating_sub(1))
            }
        }
    }
}

#[derive(Default)]
struct Sums {
    predicted: f64,
    observed: f64,
    rows: u64,
}

impl Sums {
    fn add(&mut self, label: f64, score: f64) {
        self.predicted += score;
        self.observed += label;
        self.rows += 1;
    }

    fn bin(&self) -> CalibrationBin {
        let n_rows = self.rows as f64;
        CalibrationBin {
            predicted: self.predicted / n_rows,
            observed: self.observed / n_rows,
            rows: self.rows,
        }
    }
}

/// Returns the ECE: mean absolute difference between predicted and observed rate, bins weighted by their rows.
/// `None` without bins.
pub fn expected_calibration_error(bins: &[CalibrationBin]) -> Option<f64> {
    let distance = |bin: &CalibrationBin| bin.rows as f64 * (bin.predicted - bin.observed).abs();
    let n_rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    (n_rows > 0).then(|| bins.iter().map(distance).sum::<f64>() / n_rows as f64)
}
