//! Why calibrators cannot be fitted to rows.

/// Why calibrators could not be fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecalibrationError {
    /// A task that the model does not have.
    #[error("the model has no task {task:?}; it has {}", known.join(", "))]
    NoTask {
        /// The name.
        task: String,
        /// The tasks of the model.
        known: Vec<String>,
    },
    /// A task whose label is a ratio.
    #[error("task {task:?} predicts a ratio, which has no calibrator; leave it out of --task")]
    Ratio {
        /// The task.
        task: String,
    },
    /// The model has only tasks whose label is a ratio.
    #[error("every task of the model predicts a ratio, which has no calibrator")]
    NoBinary,
    /// Tasks with too few labels.
    #[error(
        "too few labels to calibrate: {}; give --data more rows, calibrate other tasks only (--task), or accept a \
         less certain fit (--min-labels)",
        tasks.join("; ")
    )]
    TooFew {
        /// A sentence for each task, with the number needed.
        tasks: Vec<String>,
    },
    /// The observed rate does not rise with the score.
    #[error(
        "task {task:?}: the observed rate does not rise with the score on these rows, so no calibrator fits; check \
         the label column, or train again"
    )]
    NotRising {
        /// The task.
        task: String,
    },
}
