//! `ncs inspect`

use ncs_experiments::inspection::{summary, text};
use ncs_experiments::scoring::LoadedModel;

use super::{Outcome, print, print_json};
use crate::arguments::Inspect;

/// Shows what a model holds.
///
/// # Errors
/// The model cannot be read.
pub fn run(arguments: &Inspect) -> Outcome {
    let loaded = LoadedModel::open(&arguments.model)?;
    if arguments.json {
        print_json(&summary(&loaded))
    } else {
        print(&text(&loaded)?)
    }
}
