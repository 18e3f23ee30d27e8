//! Progress of a training: its position, its mean losses, early stopping, and the log of its validations.

use crate::balance::LogVariances;
use crate::taken::KappaState;
use serde::{Deserialize, Serialize};

/// Progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) step: u64,
    pub(crate) finished: bool,
    /// Number of validations since the last improvement.
    idle: u32,
    /// For each task of the schema: sum of losses and number of steps since the last validation.
    losses: Vec<(f64, u64)>,
    /// Learned loss weights.
    pub(crate) variances: LogVariances,
    /// Coefficient (kappa) of another task's logit.
    #[serde(default)]
    pub(crate) kappa: KappaState,
    pub(crate) history: Vec<ValidationRecord>,
}

/// One validation of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// The task's number.
    pub task: usize,
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// Mean training loss since the last validation, over the steps that had rows.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows.
    pub validation_loss: f64,
    /// `AUC` or `squared error` on the validation rows.
    pub validation_metric: f64,
    /// True if this validation was the best so far for this task.
    pub best: bool,
}

impl Progress {
    /// Creates the initial state for `n_tasks` tasks.
    pub(crate) fn new(n_tasks: usize) -> Progress {
        Progress {
            losses: vec![(0.0, 0); n_tasks],
            variances: LogVariances::new(n_tasks),
            ..Progress::default()
        }
    }

    /// Adds the mean loss of a step with rows of the task.
    pub(crate) fn add_loss(&mut self, task: usize, mean: f64) {
        self.losses[task].0 += mean;
        self.losses[task].1 += 1;
    }

    /// Returns the mean loss of a task since the last validation, and starts the next mean.
    pub(crate) fn take_mean_loss(&mut self, task: usize) -> Option<f64> {
        let (sum, n) = std::mem::take(&mut self.losses[task]);
        (n > 0).then(|| sum / n as f64)
    }

    /// Ends the training if no validation has improved for as long as `patience` allows.
    pub(crate) fn stop_early(&mut self, improved: bool, patience: Option<u32>) {
        self.idle = if improved { 0 } else { self.idle + 1 };
        self.finished |= patience.is_some_and(|most| self.idle >= most);
    }
}
