//! Errors of training.

use ncs_collective::CollectiveError;
use ncs_model::{StorageError, TensorFileError};
use ncs_readers::cache::CacheError;
use std::path::{Path, PathBuf};

/// Error that ended a training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A stop was requested; a checkpoint was written.
    #[error("stopped at step {step} of {phase}; run the same command again to resume")]
    Stopped {
        /// Phase of the run.
        phase: String,
        /// Steps that are done and saved.
        step: u64,
    },
    /// A loss that is NaN or infinite.
    #[error(
        "{phase}, step {step} (epoch {epoch}, batch {batch}): the loss of task \"{task}\" is {loss}; \
         {nan_source}"
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
        nan_source: String,
    },
    /// No validation row has a score.
    #[error(
        "{phase}, step {step}: the score of task \"{task}\" is NaN or infinite on all validation rows; {nan_source}"
    )]
    NoScores {
        /// Phase of the run.
        phase: String,
        /// Steps that are done.
        step: u64,
        /// The task.
        task: String,
        /// Location of the first NaN or infinity.
        nan_source: String,
    },
    /// A part of the data lacks what a task needs.
    #[error("cannot {purpose} task \"{task}\" on the {part} rows: {found}; {remedy}")]
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
    /// A saved file is intact, but incompatible with this network.
    #[error("{}: {what}; start over with --fresh", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Mismatch that was found.
        what: String,
    },
    /// A file needed to resume is corrupted or truncated.
    #[error(
        "{}: it is damaged ({what}); delete this file and run again: its contents are recomputed, the rest of \
         the run is kept", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Description of the error.
        what: String,
    },
    /// A folder cannot be created.
    #[error("{}: cannot create this folder: {source}{}", path.display(), ncs_features::system::after(source))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The ranks of the run cannot exchange any more.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
    /// Another rank of the run has failed, such as the first, which writes its files.
    #[error("rank {rank}: {what}")]
    OtherRank {
        /// The rank.
        rank: usize,
        /// Its error.
        what: String,
    },
    /// The ranks of the run are not alike.
    #[error(
        "the ranks differ in {what}: {first} on rank 0, {other} on rank {rank}; start the same program with the same run \
         file on machines of one kind that share the run's folder"
    )]
    RanksDiffer {
        /// Name of what differs.
        what: &'static str,
        /// The first rank with another value than rank 0.
        rank: usize,
        /// Value on rank 0.
        first: String,
        /// Value on `rank`.
        other: String,
    },
    /// Table rows cannot be kept in files.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Threads could not be started.
    #[error("cannot start {threads} worker threads: {reason}; lower `threads`")]
    Threads {
        /// Number of threads.
        threads: usize,
        /// Cause.
        reason: String,
    },
}

/// Creates the error for an incompatible file in the run's folder.
pub(crate) fn unfit(path: &Path, what: String) -> TrainError {
    TrainError::Unfit {
        path: path.to_owned(),
        what,
    }
}
