//! `ncs schema`: the JSON schema of a file of settings, for editors and other programs.

use super::{Outcome, print};
use crate::arguments::{Schema, SchemaOf};
use crate::compare;
use crate::run_file;

/// Prints the schema.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &Schema) -> Outcome {
    print(&match arguments.of {
        SchemaOf::Run => run_file::json_schema(),
        SchemaOf::Compare => compare::json_schema(),
    })
}
