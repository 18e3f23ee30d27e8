//! `ncs check`

use super::Outcome;
use crate::arguments::Check;
use crate::progress::Progress;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Check, _progress: Progress) -> Outcome {
    Err("ncs check: not built yet".into())
}
