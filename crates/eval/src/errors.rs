//! Prediction errors: log-loss for binary tasks, squared error for ratios. [`crate::values`] has those of numbers.

use crate::auc::Real;
use crate::weights::Weights;

/// Probabilities are kept this far from 0 and 1 before the logarithm.
pub const LOG_LOSS_CLIP: f64 = 1e-7;

/// Mean of -y ln p - (1 - y) ln(1 - p) over the rows whose label is known, p clipped to
/// [`LOG_LOSS_CLIP`], 1 - [`LOG_LOSS_CLIP`]. `None` without rows or with a score that is not a
/// number.
pub fn log_loss<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<f64> {
    log_loss_by_weight(labels, scores, Weights::NONE)
}

/// The same where a row counts by its weight.
pub fn log_loss_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let loss = |KnownRow { label, score, .. }| {
        let p = score.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
        -label * p.ln() - (1.0 - label) * (1.0 - p).ln()
    };
    mean(known_rows(labels, scores, weights).map(|row| (loss(row), row.weight)))
}

/// Range of the label of a ratio task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelRange {
    /// Clipped to [0, 1], as in the training loss.
    Clipped,
    /// As logged, as in the paper's released metric.
    Unclipped,
}

/// Mean squared error over the rows with a known, positive label. `None` without such rows or
/// with a score that is not a number.
pub fn squared_error<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    range: LabelRange,
) -> Option<f64> {
    squared_error_by_weight(labels, scores, range, Weights::NONE)
}

/// The same where a row counts by its weight.
pub fn squared_error_by_weight<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    range: LabelRange,
    weights: Weights<'_>,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let error = |KnownRow { label, score, .. }| match range {
        LabelRange::Clipped => (label.min(1.0) - score).powi(2),
        LabelRange::Unclipped => (label - score).powi(2),
    };
    mean(
        known_rows(labels, scores, weights)
            .filter(|row| row.label > 0.0)
            .map(|row| (error(row), row.weight)),
    )
}

/// A row whose label is known.
#[derive(Clone, Copy)]
pub(crate) struct KnownRow {
    pub(crate) label: f64,
    pub(crate) score: f64,
    pub(crate) weight: f64,
}

/// Returns the rows whose label is known.
pub(crate) fn known_rows<'a, L: Real, S: Real>(
    labels: &'a [L],
    scores: &'a [S],
    weights: Weights<'a>,
) -> impl Iterator<Item = KnownRow> + 'a {
    let rows = labels.iter().zip(scores).enumerate();
    let rows = rows.map(move |(row, (&label, &score))| KnownRow {
        label: label.into(),
        score: score.into(),
        weight: weights.get(row),
    });
    rows.filter(|row| !row.label.is_nan())
}

/// Returns the mean of values by their weights; `None` if it is not finite.
pub(crate) fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let add = |(sum, mass), (value, weight)| (sum + weight * value, mass + weight);
    let (sum, mass) = values.fold((0.0, 0.0), add);
    let mean = sum / mass;
    mean.is_finite().then_some(mean)
}
