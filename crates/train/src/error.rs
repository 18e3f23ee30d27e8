//! Why a training ended early.

use ncs_model::TensorFileError;
use ncs_readers::cache::CacheError;
use std::path::{Path, PathBuf};

/// Training ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A stop was requested; a checkpoint was written.
    #[error("stopped at step {step} of {phase}; run the same command again to go on from there")]
    Stopped {
        /// Phase of the run.
        phase: String,
        /// Steps that are done and saved.
        step: u64,
    },
    /// A loss that is NaN or infinite.
    #[error(
        "{phase}, step {step} (epoch {epoch}, batch {batch}): the loss of task \"{task}\" is {loss}; \
         {culprit}"
    )]
    NotFinite {
        /// Phase of the run.
        phase: String,
        /// The step, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// The batch in its epoch, from 1.
        batch: u64,
        /// The task.
        task: String,
        /// The loss.
        loss: f64,
        /// Location of the first NaN or infinity.
        culprit: String,
    },
    /// No validation row has a score.
    #[error(
        "{phase}, step {step}: the score of task \"{task}\" is NaN or infinite on all validation rows; {culprit}"
    )]
    NoScores {
        /// Phase of the run.
        phase: String,
        /// Steps that are done.
        step: u64,
        /// The task.
        task: String,
        /// Location of the first NaN or infinity.
        culprit: String,
    },
    /// A part of the data lacks what a task needs.
    #[error("the {part} rows cannot {purpose} task \"{task}\": {found}; {remedy}")]
    Labels {
        /// `train`, `valid`.
        part: &'static str,
        /// `train` or `validate`.
        purpose: &'static str,
        /// The task.
        task: String,
        /// Labels that were found.
        found: String,
        /// Suggested remedy.
        remedy: &'static str,
    },
    /// The folder is in use by a run with other settings or data.
    #[error(
        "{}: the folder holds another run (other settings, other data or another number of threads); \
         choose another folder with --out, or start over with --fresh", folder.display()
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
    },
    /// The rows could not be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A checkpoint, a mask or a model could not be written or read.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// A saved file is whole, but does not fit this network.
    #[error("{}: {what}; start over with --fresh", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Mismatch that was found.
        what: String,
    },
    /// A file that the run was to resume from has changed or is cut short.
    #[error(
        "{}: it is damaged ({what}); delete this file and run again: what it held is computed anew, the rest of \
         the run is kept", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Description of the error.
        what: String,
    },
    /// A folder cannot be made.
    #[error("{}: cannot make this folder: {source}{}", path.display(), ncs_features::system::after(source))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Threads could not be started.
    #[error("cannot start {threads} worker threads: {reason}; lower `threads`")]
    Threads {
        /// Number of threads.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

/// The error of a file in the run's folder that is not what the run needs.
pub(crate) fn unfit(path: &Path, what: String) -> TrainError {
    TrainError::Unfit {
        path: path.to_owned(),
        what,
    }
}
