//! `ncs backtest`: a run file in time order, day by day.

use super::{Outcome, print, print_json};
use crate::arguments::daily::Backtest;
use crate::backtest::{self, BacktestPlan};
use crate::interrupt;
use crate::progress::Progress;
use ncs_eval::backtest_text;

/// Runs a backtest and prints its table.
///
/// # Errors
/// The run file, its data, its days or the folder; or it was asked to stop.
pub fn run(arguments: &Backtest, progress: Progress) -> Outcome {
    let found = backtest::run(&plan(arguments), progress, interrupt::flag()?)?;
    if arguments.json {
        print_json(&found)?
    } else {
        print(&backtest_text(&found))?
    }
    let report = arguments.out.join("backtest.html");
    progress.log(&format!("report: {}", report.display()));
    Ok(())
}

/// Returns what the arguments ask for.
pub fn plan(arguments: &Backtest) -> BacktestPlan<'_> {
    BacktestPlan {
        run: &arguments.run.file,
        assignments: &arguments.run.assignments,
        folder: &arguments.out,
        by: arguments.by.as_deref(),
        days: arguments.days.as_deref(),
        initial: arguments.initial,
        window: arguments.window,
        frozen: arguments.frozen,
        valid: arguments.valid,
        keep_models: arguments.keep_models,
    }
}
