//! `ncs evaluate`

use super::Outcome;
use crate::arguments::Evaluate;
use crate::progress::Progress;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Evaluate, _progress: Progress) -> Outcome {
    Err("ncs evaluate: not built yet".into())
}
