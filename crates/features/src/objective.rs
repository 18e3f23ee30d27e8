//! What is minimised for a task, and how its predictions follow from the network's output.

use crate::zero_inflated;
use serde::{Deserialize, Serialize};

/// Objective of a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Cross-entropy of a label in {0, 1}.
    CrossEntropy,
    /// Focal loss of a label in {0, 1}: `-a (1-p)^g log p` for ones, `-(1-a) p^g log(1-p)` for zeros.
    Focal {
        /// Weight of the ones, in (0, 1).
        alpha: f64,
        /// Focus on hard rows, at least 0.
        gamma: f64,
    },
    /// Squared error of the sigmoid against a label clipped to [0, 1], over rows with a positive label.
    Ratio,
    /// The expectation of a number, such as seconds watched or money spent.
    Value(ValueObjective),
}

/// Kind of a task's labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// 0 or 1.
    #[default]
    Binary,
    /// Numbers from 0 on, of which those above 0 count, clipped at 1.
    Ratio,
    /// Any numbers.
    Value,
}

/// The objective of a label that is a number. The network learns the label in units of the training rows, so that
/// the learning rate does not depend on the units of the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueObjective {
    /// The loss.
    pub loss: ValueLoss,
    /// What is subtracted from a label: the mean of the training labels, or 0 for losses of an exponential.
    pub centre: f64,
    /// What a label is divided by then, above 0: the standard deviation of the training labels, or their mean for
    /// losses of an exponential; the geometric mean of the labels above 0 for [`ValueLoss::Ziln`].
    pub scale: f64,
}

/// Loss of a label `y` that is a number, in units of [`ValueObjective`], against the network's output `z`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueLoss {
    /// `(z - y)^2`: the mean is predicted.
    Squared,
    /// Huber's loss (1964): `e^2` up to `|e| = delta`, `2 delta |e| - delta^2` beyond, where `e = z - y`.
    Huber {
        /// Where the loss becomes linear, in standard deviations of the labels; above 0.
        delta: f64,
    },
    /// Half the Poisson deviance, `e^z - y z` up to a constant: labels are counts or amounts, at least 0.
    Poisson,
    /// Weighted logistic regression (Covington et al. 2016): a row is a one that counts by its label, and a zero that
    /// counts once. The odds, `e^z`, are the mean.
    WeightedLogistic,
    /// A label that is 0 or log-normal (Wang et al. 2019), with three outputs of the network: see
    /// [`crate::zero_inflated`]. Here `z` is the logarithm of the mean that follows from them.
    Ziln,
}

/// From the network's output `z` to a prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// A probability, `1 / (1 + e^-z)`.
    #[default]
    Sigmoid,
    /// `centre + scale z`
    Linear {
        /// The prediction at `z = 0`.
        centre: f64,
        /// The change of the prediction where `z` changes by 1.
        scale: f64,
    },
    /// `scale e^z`
    Exponential {
        /// The prediction at `z = 0`.
        scale: f64,
    },
}

impl Objective {
    /// Returns true if labels are 0 or 1.
    pub fn is_binary(&self) -> bool {
        self.label_kind() == LabelKind::Binary
    }

    /// Returns the kind of the labels.
    pub fn label_kind(&self) -> LabelKind {
        match self {
            Objective::CrossEntropy | Objective::Focal { .. } => LabelKind::Binary,
            Objective::Ratio => LabelKind::Ratio,
            Objective::Value(_) => LabelKind::Value,
        }
    }

    /// Returns the number of outputs that a task needs beside its own.
    pub fn n_further_outputs(&self) -> usize {
        match self {
            Objective::Value(value) => value.loss.n_further_outputs(),
            _ => 0,
        }
    }

    /// Returns how predictions follow from the network's output.
    pub fn link(&self) -> Link {
        match *self {
            Objective::Value(ValueObjective {
                loss,
                centre,
                scale,
            }) => {
                if loss.is_of_exponential() {
                    Link::Exponential { scale }
                } else {
                    Link::Linear { centre, scale }
                }
            }
            _ => Link::Sigmoid,
        }
    }

    /// Returns the objective without what is fitted to rows.
    pub fn unfitted(self) -> Objective {
        match self {
            Objective::Value(ValueObjective { loss, .. }) => Objective::Value(loss.into()),
            other => other,
        }
    }
}

impl From<ValueLoss> for ValueObjective {
    /// Creates an objective that is not fitted to rows yet: labels are taken as they are.
    fn from(loss: ValueLoss) -> ValueObjective {
        ValueObjective {
            loss,
            centre: 0.0,
            scale: 1.0,
        }
    }
}

impl ValueLoss {
    /// Returns true if an exponential of the network's output is predicted; labels are at least 0 then.
    pub fn is_of_exponential(self) -> bool {
        !matches!(self, ValueLoss::Squared | ValueLoss::Huber { .. })
    }

    /// Returns the number of outputs that a task needs beside its own.
    pub fn n_further_outputs(self) -> usize {
        match self {
            ValueLoss::Ziln => zero_inflated::OUTPUTS - 1,
            _ => 0,
        }
    }
}

/// Returns `1 / (1 + e^-z)`, without overflow.
pub fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 {
        1.0 / (1.0 + e)
    } else {
        e / (1.0 + e)
    }
}

impl Link {
    /// Returns the prediction for an output of the network, at most the largest `f32`.
    pub fn value(self, z: f64) -> f64 {
        match self {
            Link::Sigmoid => sigmoid(z),
            Link::Linear { centre, scale } => centre + scale * z,
            Link::Exponential { scale } => (scale * z.exp()).min(f64::from(f32::MAX)),
        }
    }

    /// Returns by how much more than a probability a prediction changes with the output, at least 1: the unit in which
    /// differences of scores are measured. A probability changes by at most a quarter of what its output does.
    pub fn unit(self, value: f64) -> f64 {
        let gradient = match self {
            Link::Sigmoid => 0.25,
            Link::Linear { scale, .. } => scale,
            Link::Exponential { .. } => value.abs(),
        };
        (4.0 * gradient).max(1.0)
    }

    /// Returns the output of the network that gives a prediction. Probabilities are kept `1e-12` from 0 and 1,
    /// exponentials from 0.
    pub fn output(self, value: f64) -> f64 {
        match self {
            Link::Sigmoid => {
                let p = value.clamp(1e-12, 1.0 - 1e-12);
                (p / (1.0 - p)).ln()
            }
            Link::Linear { centre, scale } => (value - centre) / scale,
            Link::Exponential { scale } => (value / scale).max(1e-12).ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_prediction() {
        assert_eq!(Link::Sigmoid.unit(0.9), 1.0);
        let linear = Link::Linear {
            centre: 30.0,
            scale: 12.5,
        };
        assert_eq!(linear.unit(0.0), 50.0);
        assert_eq!(Link::Exponential { scale: 4.0 }.unit(10.0), 40.0);
        assert_eq!(Link::Exponential { scale: 4.0 }.unit(0.1), 1.0);
    }

    #[test]
    fn links_and_outputs_are_inverse() {
        let links = [
            Link::Sigmoid,
            Link::Linear {
                centre: 30.0,
                scale: 12.5,
            },
            Link::Exponential { scale: 4.0 },
        ];
        for link in links {
            for z in [-3.0, 0.0, 0.25, 4.0] {
                let found = link.output(link.value(z));
                assert!((found - z).abs() < 1e-9, "{link:?}: {found}, not {z}");
            }
        }
        let large = Link::Exponential { scale: 2.0 }.value(1e4);
        assert_eq!(large as f32, f32::MAX);
    }
}
