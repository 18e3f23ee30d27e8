//! Events of a run, for its listeners: progress bars, logs, TensorBoard.

use std::time::SystemTime;

/// Receiver of the events of a run. It cannot change the run.
pub trait Listener {
    /// Something happened.
    fn on_event(&mut self, event: &Event<'_>);
}

/// The place at which a training resumes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resumed {
    /// Epochs done.
    pub epoch: f64,
    /// Time at which the checkpoint was written, if the file system provides it.
    pub saved: Option<SystemTime>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A training begins or resumes.
    Began {
        /// Such as `search/ctr/round-1` or `train`.
        phase: &'a str,
        /// Steps that it takes at most.
        total_steps: u64,
        /// Steps that were done before; 0 at the start.
        done: u64,
        /// Position from which the training resumes, if a checkpoint was found.
        resumed: Option<Resumed>,
        /// True if the training is already complete.
        finished: bool,
    },
    /// Steps were made.
    Stepped {
        /// Steps done in all.
        done: u64,
    },
    /// A task was validated.
    Validated {
        /// Which training.
        phase: &'a str,
        /// Steps done.
        step: u64,
        /// Epochs done.
        epoch: f64,
        /// The task.
        task: &'a str,
        /// Mean training loss since the last validation.
        train_loss: Option<f64>,
        /// Loss on the validation rows.
        validation_loss: f64,
        /// `AUC` or `squared error`.
        metric: &'static str,
        /// Its value on the validation rows.
        value: f64,
        /// True if it is the best so far.
        best: bool,
    },
    /// A training ended.
    Ended {
        /// Which.
        phase: &'a str,
        /// Steps done.
        steps: u64,
        /// Why, in words.
        reason: &'a str,
    },
    /// Something worth a line in the log.
    Noted(&'a str),
}

/// Listener that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopListener;

impl Listener for NoopListener {
    fn on_event(&mut self, _event: &Event<'_>) {}
}
