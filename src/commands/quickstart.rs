//! `ncs quickstart`

use super::{Outcome, print};
use crate::arguments::Quickstart;
use crate::interrupt;
use ncs_eval::render_text;
use ncs_experiments::progress::Progress;
use ncs_experiments::quick_start;

/// Generates the logs, trains every network on each, and prints means, intervals and verdicts.
///
/// # Errors
/// The folder cannot be written, or the run was asked to stop; run it again to resume.
pub fn run(arguments: &Quickstart, progress: Progress) -> Outcome {
    let stop = interrupt::flag()?;
    let report = quick_start::run(&arguments.out, arguments.seeds, progress, stop)?;
    print(&render_text(&report))?;
    let path = arguments.out.join("report.html");
    progress.log(&format!("report: {}", path.display()));
    Ok(())
}
