//! `ncs check`

use ncs_experiments::data_check::check;
use ncs_experiments::progress::Progress;

use super::{Outcome, open, print, print_json};
use crate::arguments::Check;

/// Checks the run file and shows what the first rows hold.
///
/// # Errors
/// The run file is wrong, its files cannot be read, or a row or a label is not what it should be.
pub fn run(arguments: &Check, progress: Progress) -> Outcome {
    let file = open(&arguments.run, progress)?;
    let checked = check(&file, arguments.rows, arguments.all, progress)?;
    if arguments.json {
        print_json(&checked)
    } else {
        print(&checked.text())
    }
}
