//! `ncs score`

use super::Outcome;
use crate::arguments::Score;
use crate::progress::Progress;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Score, _progress: Progress) -> Outcome {
    Err("ncs score: not built yet".into())
}
