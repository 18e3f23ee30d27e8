//! Losses of a task in the run file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind_or_table::KindOrTable;

/// Loss of a task, by name or with settings.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "LossSettings")]
pub(crate) enum Loss {
    /// Cross-entropy of a label in {0, 1}.
    CrossEntropy {},
    /// Focal loss of a label in {0, 1}: -alpha (1-p)^gamma log p for ones, -(1-alpha) p^gamma log(1-p) for zeros, with
    /// alpha 0.75 and gamma 2 unless stated.
    Focal {
        /// Weight of the ones.
        #[serde(default = "focal_alpha")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        alpha: f64,
        /// Focus on hard rows.
        #[serde(default = "focal_gamma")]
        #[schemars(range(min = 0.0))]
        gamma: f64,
    },
    /// Squared error of the sigmoid against a label clipped to [0, 1], over rows with a positive label.
    Ratio {},
    /// Squared error of a label that is a number, such as seconds watched: the mean is predicted.
    Squared {},
    /// Huber's loss of a label that is a number: squared up to delta, linear beyond it, so that a few large labels do
    /// not decide.
    Huber {
        /// Where it becomes linear, in standard deviations of the training labels.
        #[serde(default = "huber_delta")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        delta: f64,
    },
    /// Poisson deviance of a count or an amount, at least 0: the mean is predicted, as an exponential.
    Poisson {},
    /// Weighted logistic regression of an amount, at least 0 (Covington et al. 2016): a row is a one that counts by its
    /// label, and a zero that counts once; the odds are the mean, which is predicted.
    WeightedLogistic {},
    /// Zero-inflated log-normal loss of an amount, at least 0, which is mostly 0 and has a few large values (Wang et al. 2019):
    /// three outputs, for the chance of a value above 0 and the mean and deviation of its logarithm; the mean is predicted.
    Ziln {},
}

pub(crate) fn cross_entropy() -> KindOrTable<Loss> {
    KindOrTable(Loss::CrossEntropy {})
}

/// The paper's alpha.
fn focal_alpha() -> f64 {
    0.75
}

/// With normal errors 95 % as efficient as the squared error (Huber 1964).
fn huber_delta() -> f64 {
    1.345
}

/// The paper's gamma.
fn focal_gamma() -> f64 {
    2.0
}
