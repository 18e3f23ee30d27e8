//! `ncs train`: searches masks, trains, evaluates, writes; resumes an interrupted run.

use super::{Outcome, open, print};
use crate::arguments::Train;
use crate::interrupt;
use crate::ranks;
use ncs_collective::Collective;
use ncs_eval::render_text;
use ncs_experiments::memory;
use ncs_experiments::progress::Progress;
use ncs_experiments::run_folder::RunFolder;
use ncs_experiments::training;
use ncs_train::NoopListener;

/// Runs a run file into its folder and prints the report.
///
/// # Errors
/// The run file, its data or the folder; or the run was asked to stop.
pub fn run(arguments: &Train, progress: Progress) -> Outcome {
    let ranks = ranks::join(arguments.rank_timeout)?;
    let outcome = train(arguments, &*ranks, progress);
    if let Err(error) = &outcome {
        ranks::end(&*ranks, error);
    }
    outcome
}

/// Trains as one of these ranks; the first prints the report.
fn train(arguments: &Train, ranks: &dyn Collective, progress: Progress) -> Outcome {
    let is_first = ranks.rank() == 0;
    let progress = if is_first { progress } else { Progress::Quiet };
    let mut run = arguments.run.clone();
    if let Some(model) = &arguments.from {
        // Relative to where the command runs, not to the run file.
        let model = std::path::absolute(model)?.display().to_string();
        run.assignments
            .push(format!("start.model={}", toml::Value::String(model)));
    }
    let file = open(&run, progress)?;
    memory::check_on(&file, ranks.n_ranks())?;
    let folder = if is_first {
        RunFolder::hold(&arguments.out)?
    } else {
        RunFolder::of_first_rank(&arguments.out)
    };
    if is_first && arguments.fresh {
        folder.forget()?;
    }
    let stop = interrupt::flag()?;
    let listener = &mut NoopListener;
    let finished = training::run_on_ranks(&file, &folder, ranks, progress, stop, listener)?;
    let Some(finished) = finished else {
        return Ok(());
    };
    print(&render_text(&finished.report))?;
    let report = arguments.out.join("report.html");
    progress.log(&format!("report: {}", report.display()));
    Ok(())
}
