//! Logit transfer between two tasks.
//!
//! `z_to = f_to(x) + kappa (z_from - mean)`: the logit of one task is added to that of another with one learned
//! coefficient. In training no gradient flows through `z_from`. `mean` is the mean of `z_from` over the rows of the
//! receiving task, so that the transfer changes the order of rows and not their mean.

use crate::number::Real;

/// The parameters of a logit transfer ([`crate::plan::Heads::takes`]), stored after the heads of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TakenLogit {
    /// The coefficient of the other logit.
    pub kappa: f64,
    /// The mean of the other logit over the rows of the receiving task.
    pub mean: f64,
    /// The Fisher information about kappa in about one pass over the training labels, with all other parameters fixed:
    /// for cross-entropy `sum p (1 - p) (z_from - mean)^2`.
    pub information: f64,
}

impl TakenLogit {
    /// Number of values in a network's dense weights.
    pub(crate) const NUMBERS: usize = 3;

    pub(crate) fn of<R: Real>(numbers: &[R]) -> Option<TakenLogit> {
        let [kappa, mean, information] = numbers else {
            return None;
        };
        Some(TakenLogit {
            kappa: kappa.wide(),
            mean: mean.wide(),
            information: information.wide(),
        })
    }

    /// Returns the logit of the receiving task, from the output of its head and the other task's logit.
    pub fn add(self, own: f64, other: f64) -> f64 {
        own + self.kappa * (other - self.mean)
    }

    /// Returns the standard error of kappa, with all other parameters fixed; `None` before the first step.
    pub fn error(self) -> Option<f64> {
        (self.information > 0.0).then(|| self.information.sqrt().recip())
    }
}
