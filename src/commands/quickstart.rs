//! `ncs quickstart`

use super::Outcome;
use crate::arguments::Quickstart;
use crate::progress::Progress;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Quickstart, _progress: Progress) -> Outcome {
    Err("ncs quickstart: not built yet".into())
}
