//! Label smoothing: a task is trained on labels that are a little nearer to its rate.
//!
//! Szegedy et al. (2016, section 7) replace a label `y` by `(1 - e) y + e u`. Their `u` is uniform over the classes: for
//! a click of one in a hundred rows, 1/2 would move the mean of the labels, and with it every probability. Here `u` is the
//! task's rate among its training rows, the prior that they mention beside it: the mean of the labels stays. At its best
//! the network predicts `(1 - e) p + e u` where the probability is `p`, in the same order, and a logit is at most
//! `ln((1 - e + e u) / (e - e u))` (docs/decisions/0085-regularisation.md).
//!
//! ```
//! use ncs_train::label_smoothing::LabelSmoothing;
//! let smoothing = LabelSmoothing::new(0.1, 0.2);
//! assert!((smoothing.label(1.0, 0.0) - 0.92).abs() < 1e-12);
//! assert!((smoothing.label(0.0, 0.0) - 0.02).abs() < 1e-12);
//! ```

use ncs_features::LabelCounts;
use ncs_model::sigmoid;

/// Smoothing of the labels of one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelSmoothing {
    share: f64,
    /// Logit of the task's rate.
    logit: f64,
}

impl LabelSmoothing {
    /// Creates a smoothing by `share`, in [0, 1), towards `rate`, in (0, 1).
    pub fn new(share: f64, rate: f64) -> LabelSmoothing {
        LabelSmoothing {
            share,
            logit: (rate / (1.0 - rate)).ln(),
        }
    }

    /// Returns the label to train on. `offset` is what the loss adds to the row's logit
    /// ([`ncs_features::RowTerms::offset`]): among rows of which some without a label of 1 were left out, the rate is higher by
    /// as much.
    pub fn label(&self, label: f64, offset: f64) -> f64 {
        (1.0 - self.share) * label + self.share * sigmoid(self.logit + offset)
    }
}

/// Returns the smoothing of each task by its share; empty if none is asked for. A task whose labels are all alike has none.
pub(crate) fn of_tasks(shares: &[f64], counts: &LabelCounts) -> Vec<Option<LabelSmoothing>> {
    let shares = shares.iter().zip(&counts.tasks);
    let of_task = |(&share, counts): (&f64, &ncs_features::TaskCounts)| {
        let rate = counts.weighted_rate();
        let can_smooth = share > 0.0 && rate > 0.0 && rate < 1.0;
        can_smooth.then(|| LabelSmoothing::new(share, rate))
    };
    shares.map(of_task).collect()
}
