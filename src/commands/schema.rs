//! `ncs schema`: the JSON schema of a file of settings, for editors and other programs, or the reference page of
//! the run file.

use ncs_experiments::compare;

use super::{Outcome, print};
use crate::arguments::{Schema, SchemaOf};

/// Prints the schema or the page.
///
/// # Errors
/// Standard output cannot be written, or a page is asked for of a file that has none.
pub fn run(arguments: &Schema) -> Outcome {
    if arguments.markdown && matches!(arguments.of, SchemaOf::Compare) {
        return Err("--markdown prints the reference of the run file only; drop `compare`".into());
    }
    print(&match arguments.of {
        SchemaOf::Run if arguments.markdown => ncs_config::reference(),
        SchemaOf::Run => ncs_config::json_schema(),
        SchemaOf::Compare => compare::json_schema(),
    })
}
