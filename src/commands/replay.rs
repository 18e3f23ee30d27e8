//! `ncs replay`

use ncs_experiments::Error;
use ncs_experiments::progress::Progress;
use ncs_model::Precision;
use ncs_score_log::replay::{self, ReplayError};
use ncs_serve::version::Version;

use super::{Outcome, print, print_json};
use crate::arguments::serve::Replay;
use crate::interrupt;

/// Scores the rows of a score log again and compares.
///
/// # Errors
/// The model or the log cannot be read, it was asked to stop, or a row that this very model scored now
/// has another score.
pub fn run(arguments: &Replay, progress: Progress) -> Outcome {
    let stop_requested = interrupt::flag()?;
    let version = Version::load(
        &ncs_experiments::scoring::model_folder(&arguments.model),
        &"replay".into(),
        0,
        Precision::Single,
    )?;
    let mut job = progress.job("replay", None, "rows");
    let report = replay::replay(
        &arguments.log,
        &version,
        arguments.tolerance,
        stop_requested,
        &mut |rows| job.advance(rows),
    )
    .map_err(reason)?;
    job.finish();
    if arguments.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    match report.beyond() {
        [0, _] => Ok(()),
        [beyond, rows] => Err(format!(
            "{}: {beyond} of {rows} rows differ from the logged scores by more than {}",
            arguments.log.display(),
            arguments.tolerance
        )
        .into()),
    }
}

/// The error, of the kind that its reason has.
fn reason(error: ReplayError) -> Error {
    match error {
        ReplayError::Read(error) => error.into(),
        other => other.to_string().into(),
    }
}
