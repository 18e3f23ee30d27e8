//! `ncs train`: searches masks, trains, evaluates, writes; resumes an interrupted run.

use super::{Outcome, open, print};
use crate::arguments::Train;
use crate::interrupt;
use ncs_eval::render_text;
use ncs_experiments::memory;
use ncs_experiments::progress::Progress;
use ncs_experiments::run_folder::RunFolder;
use ncs_experiments::training;

/// Runs a run file into its folder and prints the report.
///
/// # Errors
/// The run file, its data or the folder; or the run was asked to stop.
pub fn run(arguments: &Train, progress: Progress) -> Outcome {
    let mut run = arguments.run.clone();
    if let Some(model) = &arguments.from {
        // Relative to where the command runs, not to the run file.
        let model = std::path::absolute(model)?.display().to_string();
        run.assignments
            .push(format!("start.model={}", toml::Value::String(model)));
    }
    let file = open(&run, progress)?;
    memory::check(&file)?;
    let folder = RunFolder::hold(&arguments.out)?;
    if arguments.fresh {
        folder.forget()?;
    }
    let finished = training::run_in(&file, &folder, progress, interrupt::flag()?)?;
    print(&render_text(&finished.report))?;
    let report = arguments.out.join("report.html");
    progress.log(&format!("report: {}", report.display()));
    Ok(())
}
