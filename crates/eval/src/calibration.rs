//! Calibration: predicted probabilities against observed rates, in total and bin by bin.

use serde::{Deserialize, Serialize};

use crate::auc::{Ranking, Real};
use crate::errors::known_rows;
use crate::weights::Weights;

/// PCOC: sum of predictions over sum of labels, over the rows whose label is known. Above 1 the
/// model over-predicts. `None` if the labels sum to zero.
pub fn predicted_over_observed<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<f64> {
    predicted_over_observed_by_weight(labels, scores, Weights::NONE)
}

/// The same where a row counts by its weight.
pub fn predicted_over_observed_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let mut sums = Sums::default();
    known_rows(labels, scores, weights).for_each(|row| sums.add(row.label, row.score, row.weight));
    let (observed, predicted) = (sums.observed, sums.predicted);
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
    /// Sum of their weights, if rows count by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// Returns the non-empty bins in ascending order of score, over the rows whose label is known. Empty if there
/// are no rows or a score is NaN.
pub fn calibration_bins<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    binning: Binning,
) -> Vec<CalibrationBin> {
    let mut bins = calibration_bins_by_weight(labels, scores, binning, Weights::NONE);
    bins.iter_mut().for_each(|bin| bin.weight = None);
    bins
}

/// The same where a row counts by its weight, as in a bin's share of all rows.
pub fn calibration_bins_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    binning: Binning,
    weights: Weights<'_>,
) -> Vec<CalibrationBin> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let Some(ranking) = Ranking::of(labels, scores) else {
        return Vec::new();
    };
    let weight_of = |&(_, row): &(u64, u32)| weights.get(row as usize);
    let all: f64 = ranking.rows.iter().map(weight_of).sum();
    let mut bins: Vec<(usize, Sums)> = Vec::new();
    let mut before = 0.0;
    for tied in ranking.rows.chunk_by(|a, b| a.0 == b.0) {
        let score = scores[tied[0].1 as usize].into();
        let bin = binning.bin_of(score, before, all);
        if bins.last().is_none_or(|(last, _)| *last != bin) {
            bins.push((bin, Sums::default()));
        }
        let sums = &mut bins.last_mut().expect("one was pushed").1;
        for ranked in tied {
            let label = labels[ranked.1 as usize].into();
            sums.add(label, score, weight_of(ranked));
            before += weight_of(ranked);
        }
    }
    bins.into_iter().map(|(_, sums)| sums.bin()).collect()
}

impl Binning {
    /// Returns the bin of a score that has rows of weight `before`, of `all`, below it.
    fn bin_of(self, score: f64, before: f64, all: f64) -> usize {
        match self {
            Binning::EqualCount(n_bins) => (before * n_bins as f64 / all) as usize,
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
    weight: f64,
}

impl Sums {
    fn add(&mut self, label: f64, score: f64, weight: f64) {
        self.predicted += weight * score;
        self.observed += weight * label;
        self.rows += 1;
        self.weight += weight;
    }

    fn bin(&self) -> CalibrationBin {
        CalibrationBin {
            predicted: self.predicted / self.weight,
            observed: self.observed / self.weight,
            rows: self.rows,
            weight: Some(self.weight),
        }
    }
}

/// Returns the ECE: mean absolute difference between predicted and observed rate, bins weighted by their rows (or
/// the weights of these). `None` without bins.
pub fn expected_calibration_error(bins: &[CalibrationBin]) -> Option<f64> {
    let weight = |bin: &CalibrationBin| bin.weight.unwrap_or(bin.rows as f64);
    let distance = |bin: &CalibrationBin| weight(bin) * (bin.predicted - bin.observed).abs();
    let all: f64 = bins.iter().map(weight).sum();
    (all > 0.0).then(|| bins.iter().map(distance).sum::<f64>() / all)
}
