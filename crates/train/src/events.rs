//! Events of a run, for its listeners: progress bars, logs, TensorBoard.

use std::fmt::{self, Display, Formatter};
use std::time::SystemTime;

use serde::Serialize;

/// Receiver of the events of a run. It cannot change the run.
pub trait Listener {
    /// Handles an event.
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

/// Event of a run. Serialised as a JSON object with the name of the variant as `kind`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A training begins or resumes.
    Began {
        /// Such as `search/ctr/level-1` or `train`.
        phase: &'a str,
        /// Steps that it takes at most.
        total_steps: u64,
        /// Steps that were done before; 0 at the start.
        done: u64,
        /// Position from which the training resumes, if a checkpoint was found.
        #[serde(skip)]
        resumed: Option<Resumed>,
        /// True if the training is already complete.
        finished: bool,
    },
    /// A step was completed.
    Stepped {
        /// Total number of completed steps.
        done: u64,
    },
    /// A task was validated.
    Validated(Validated<'a>),
    /// A training ended.
    Ended {
        /// Name of the phase.
        phase: &'a str,
        /// Steps done.
        steps: u64,
        /// Reason, as text.
        reason: &'a str,
    },
    /// Message for the log.
    Noted {
        /// Text of the message.
        text: &'a str,
    },
}

/// The validation of a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Validated<'a> {
    /// The training.
    pub phase: &'a str,
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// The task.
    pub task: &'a str,
    /// Mean training loss since the last validation.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows.
    pub validation_loss: f64,
    /// `AUC` or `squared error`.
    pub metric: &'static str,
    /// Its value on the validation rows.
    pub value: f64,
    /// True if it is the best so far.
    pub best: bool,
}

/// Formats the validation as a line of the log.
impl Display for Validated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: epoch {:.2}, {}: ",
            self.phase, self.epoch, self.task
        )?;
        if let Some(loss) = self.train_loss {
            write!(f, "loss {loss:.4}, ")?;
        }
        let mark = if self.best { ", the best so far" } else { "" };
        write!(
            f,
            "validation loss {:.4}, {} {:.4}{mark}",
            self.validation_loss, self.metric, self.value
        )
    }
}

/// Listener that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopListener;

impl Listener for NoopListener {
    fn on_event(&mut self, _event: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALIDATED: Validated<'_> = Validated {
        phase: "train",
        step: 40,
        epoch: 0.5,
        task: "ctr",
        train_loss: Some(0.25),
        validation_loss: 0.5,
        metric: "AUC",
        value: 0.75,
        best: true,
    };

    #[test]
    fn a_validation_is_one_line() {
        assert_eq!(
            VALIDATED.to_string(),
            "train: epoch 0.50, ctr: loss 0.2500, validation loss 0.5000, AUC 0.7500, the best so far"
        );
        let plain = Validated {
            train_loss: None,
            best: false,
            ..VALIDATED
        };
        assert_eq!(
            plain.to_string(),
            "train: epoch 0.50, ctr: validation loss 0.5000, AUC 0.7500"
        );
    }

    #[test]
    fn events_are_objects_with_their_kind() {
        let check = |event: Event<'_>, expected| {
            assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        };
        let began = Event::Began {
            phase: "train",
            total_steps: 9,
            done: 2,
            resumed: None,
            finished: false,
        };
        check(
            began,
            json!({"kind": "began", "phase": "train", "total_steps": 9, "done": 2, "finished": false}),
        );
        check(
            Event::Validated(VALIDATED),
            json!({
                "kind": "validated", "phase": "train", "step": 40, "epoch": 0.5, "task": "ctr", "train_loss": 0.25,
                "validation_loss": 0.5, "metric": "AUC", "value": 0.75, "best": true,
            }),
        );
        let text = "a line";
        check(
            Event::Noted { text },
            json!({"kind": "noted", "text": text}),
        );
    }
}
