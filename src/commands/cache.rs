//! `ncs cache`

use super::Outcome;
use crate::arguments::Cache;

/// Runs the verb.
///
/// # Errors
/// It is not built yet.
pub fn run(_arguments: &Cache) -> Outcome {
    Err("ncs cache: not built yet".into())
}
