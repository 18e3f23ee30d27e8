//! `ncs schema`: the JSON schema of the run file, for editors and other programs.

use super::{Outcome, print};
use crate::run_file::json_schema;

/// Prints the schema.
///
/// # Errors
/// Standard output cannot be written.
pub fn run() -> Outcome {
    print(&json_schema())
}
