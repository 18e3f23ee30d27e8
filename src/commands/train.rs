//! `ncs train`

use super::{Outcome, open};
use crate::arguments::Train;
use crate::progress::Progress;

/// Checks the run file; runs nothing.
///
/// # Errors
/// The run file is wrong; or training is not built yet.
pub fn run(arguments: &Train, progress: Progress) -> Outcome {
    open(&arguments.run, progress)?;
    Err("ncs train: not built yet".into())
}
