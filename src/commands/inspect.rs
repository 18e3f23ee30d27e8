//! `ncs inspect`

use super::Outcome;
use crate::arguments::Inspect;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Inspect) -> Outcome {
    Err("ncs inspect: not built yet".into())
}
