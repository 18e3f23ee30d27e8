//! `ncs replay`

use ncs_model::Precision;
use ncs_serve::version::Version;

use super::{Outcome, print, print_json};
use crate::arguments::serve::Replay;
use crate::interrupt;
use crate::progress::Progress;
use crate::replay;

/// Scores the rows of a score log again and compares.
///
/// # Errors
/// The model or the log cannot be read, it was asked to stop, or a row that this very model scored now
/// has another score.
pub fn run(arguments: &Replay, progress: Progress) -> Outcome {
    let asked = interrupt::flag()?;
    let version = Version::load(
        &crate::scoring::model_folder(&arguments.model),
        &"replay".into(),
        0,
        Precision::Single,
    )?;
    let mut job = progress.job("replay", None, "rows");
    let report = replay::replay(
        &arguments.log,
        &version,
        arguments.tolerance,
        asked,
        &mut job,
    )?;
    job.finish();
    if arguments.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    match report.beyond() {
        [0, _] => Ok(()),
        [beyond, rows] => Err(format!(
            "{}: {beyond} of {rows} rows have other scores than the server gave, by more than {}",
            arguments.log.display(),
            arguments.tolerance
        )
        .into()),
    }
}
