//! Prediction errors: log-loss for binary tasks, squared error for ratios.

use crate::auc::Real;

/// Probabilities are kept this far from 0 and 1 before the logarithm.
pub const LOG_LOSS_CLIP: f64 = 1e-7;

/// Mean of -y ln p - (1 - y) ln(1 - p) over the rows whose label is known, p clipped to
/// [`LOG_LOSS_CLIP`], 1 - [`LOG_LOSS_CLIP`]. `None` without rows or with a score that is not a
/// number.
pub fn log_loss<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let loss = |(y, p): (f64, f64)| {
        let p = p.clamp(LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP);
        -y * p.ln() - (1.0 - y) * (1.0 - p).ln()
    };
    mean(known_pairs(labels, scores).map(loss))
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
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let error = |(label, score): (f64, f64)| match range {
        LabelRange::Clipped => (label.min(1.0) - score).powi(2),
        LabelRange::Unclipped => (label - score).powi(2),
    };
    mean(
        known_pairs(labels, scores)
            .filter(|(label, _)| *label > 0.0)
            .map(error),
    )
}

/// Returns `(label, score)` of the rows whose label is known.
pub(crate) fn known_pairs<'a, L: Real, S: Real>(
    labels: &'a [L],
    scores: &'a [S],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let pairs = labels
        .iter()
        .zip(scores)
        .map(|(&label, &score)| (label.into(), score.into()));
    pairs.filter(|(label, _): &(f64, f64)| !label.is_nan())
}

/// Returns the mean; `None` if it is not finite.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
    let mean = sum / n as f64;
    mean.is_finite().then_some(mean)
}
