//! `ncs synth`

use super::Outcome;
use crate::arguments::Synth;
use crate::progress::Progress;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Synth, _progress: Progress) -> Outcome {
    Err("ncs synth: not built yet".into())
}
