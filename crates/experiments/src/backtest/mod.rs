//! `ncs backtest`: a run file in time order. Every day a model is trained further on the day and evaluated on the next
//! one, beside a training from scratch on the latest days and a model that is never trained again.
//!
//! ```text
//! DIR/backtest.json  backtest.html  steps.json  models/DAY-KEY/  days/DAY/
//! ```
//!
//! A training has a key, the hash of its settings, its rows and the training before; finished trainings and
//! evaluations are kept by key in `steps.json`. Labels that come late are those that were known at the end of a
//! training's last day; every day is evaluated on the final ones. So an interrupted backtest resumes, and one that is
//! called again with later days only does these.

mod days;
mod late;
mod separate;
mod steps;
mod trainings;

use crate::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use ncs_eval::{Backtest, BacktestDay, BacktestLine, render_backtest_html};
use ncs_model::tensor_file;
use ncs_readers::Split;

use crate::progress::Progress;
use crate::run_folder::RunFolder;
use days::Day;
use late::LateTasks;
use ncs_config::{RunFile, RunFileError};
use steps::Steps;
use trainings::{Step, Trainings};

/// Options of a backtest.
#[derive(Clone, Debug)]
pub struct BacktestPlan<'a> {
    /// The run file.
    pub run: &'a Path,
    /// Overrides of its keys.
    pub assignments: &'a [String],
    /// Folder for all files.
    pub folder: &'a Path,
    /// Column or name of folders by day; `None`: found.
    pub by: Option<&'a str>,
    /// First and last day, `FIRST..LAST`; `None`: all.
    pub days: Option<&'a str>,
    /// Days that the first model is trained on.
    pub initial: usize,
    /// Days of a training from scratch, for comparison.
    pub window: Option<usize>,
    /// Whether the first model is evaluated on all days, for comparison.
    pub frozen: bool,
    /// Share of validation rows where the run file's split is not by hash or row.
    pub valid: f64,
    /// Whether every model is kept.
    pub keep_models: bool,
}

/// Runs a backtest, or goes on with one.
///
/// # Errors
/// The run file or its data are wrong, there are too few days, another process works in the folder, or a stop was
/// requested; finished days are kept.
pub fn run(
    plan: &BacktestPlan<'_>,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Backtest, Error> {
    let base = open(plan)?;
    let folder = RunFolder::hold(plan.folder)?;
    let (days, notes) = days::find(&base, plan, progress, stop)?;
    let late = LateTasks::of(&base, &days)?;
    if days.len() <= plan.initial {
        return Err(format!(
            "{} days with rows, and a backtest needs at least {}: {} for the first training (--initial), and one to \
             evaluate it; give data.train more days, or change --days",
            days.len(),
            plan.initial + 1,
            plan.initial
        )
        .into());
    }
    let steps = Steps::open(folder.path())?;
    let mut lines = Lines::new(plan);
    let mut backtest = Backtest {
        title: format!("Backtest of {}", plan.run.display()),
        lines: Vec::new(),
        notes,
    };
    let mut trainings = Trainings::new(plan, &base, &days, late, steps, progress, stop)?;
    for last in plan.initial - 1..days.len() - 1 {
        lines.evaluate_next_day(&mut trainings, last)?;
        backtest.lines = lines.shown();
        let mut shown = backtest.clone();
        shown.notes.extend(trainings.notes().iter().cloned());
        write(&shown, folder.path())?;
        if last + 2 == days.len() {
            backtest = shown;
        }
    }
    Ok(backtest)
}

/// Opens the run file. One without validation rows is right too, since each training gets some of its day.
fn open(plan: &BacktestPlan<'_>) -> Result<RunFile, RunFileError> {
    RunFile::open(plan.run, plan.assignments).or_else(|error| {
        let mut assignments = plan.assignments.to_vec();
        assignments.push(trainings::split(&Split::Files, plan.valid));
        RunFile::open(plan.run, &assignments).map_err(|_| error)
    })
}

/// The lines of the report, and the models that they are at.
struct Lines<'a> {
    plan: &'a BacktestPlan<'a>,
    further: BacktestLine,
    window: BacktestLine,
    frozen: BacktestLine,
    first: Option<Rc<Step>>,
    current: Option<Rc<Step>>,
}

impl<'a> Lines<'a> {
    fn new(plan: &'a BacktestPlan<'a>) -> Lines<'a> {
        let line = |name: String| BacktestLine {
            name,
            days: Vec::new(),
        };
        let n = plan.window.unwrap_or_default();
        let plural = if n == 1 { "" } else { "s" };
        Lines {
            plan,
            further: line("trained further".to_owned()),
            window: line(format!("from scratch, last {n} day{plural}")),
            frozen: line("frozen".to_owned()),
            first: None,
            current: None,
        }
    }

    /// Trains on the days up to `last`, an index, and evaluates on the next one.
    fn evaluate_next_day(
        &mut self,
        trainings: &mut Trainings<'_>,
        last: usize,
    ) -> Result<(), Error> {
        let is_first = self.current.is_none();
        let days = if is_first { 0..=last } else { last..=last };
        let step = trainings.train(days, self.current.clone())?;
        let Some(step) = step.or_else(|| self.current.clone()) else {
            // Not even the first days allow a training; the next day joins them.
            return Ok(());
        };
        let current = self.current.as_ref();
        let is_new = current.is_none_or(|current| current.key != step.key);
        let before = self.current.replace(step.clone());
        let first = self.first.get_or_insert_with(|| step.clone()).clone();
        self.further
            .days
            .extend(trainings.evaluate(&step, last + 1, is_new)?);
        if let Some(before) = before.filter(|before| is_new && before.key != first.key) {
            trainings.drop_model(&before)?;
        }
        if let Some(window) = self.plan.window {
            let days = (last + 1).saturating_sub(window)..=last;
            if let Some(own) = trainings.train(days, None)? {
                self.window
                    .days
                    .extend(trainings.evaluate(&own, last + 1, true)?);
                if own.key != first.key && own.key != step.key {
                    trainings.drop_model(&own)?;
                }
            }
        }
        if self.plan.frozen {
            self.frozen
                .days
                .extend(trainings.evaluate(&first, last + 1, is_first)?);
        }
        Ok(())
    }

    fn shown(&self) -> Vec<BacktestLine> {
        let mut lines = vec![self.further.clone()];
        lines.extend(self.plan.window.map(|_| self.window.clone()));
        lines.extend(self.plan.frozen.then(|| self.frozen.clone()));
        lines
    }
}

fn write(backtest: &Backtest, folder: &Path) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(backtest)? + "\n";
    let page = render_backtest_html(backtest);
    for (name, text) in [("backtest.json", json), ("backtest.html", page)] {
        tensor_file::write_bytes(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Returns the day's figures from an evaluation, without what differs between the lines.
fn day_of(day: &Day, evaluation: &crate::scoring::Evaluation) -> BacktestDay {
    let columns = evaluation.columns.columns.iter();
    let ids = columns.filter(|column| column.values > 0 && column.range.is_none());
    BacktestDay {
        day: day.key.to_string(),
        rows: day.rows,
        metrics: evaluation.metrics.clone(),
        unseen: ids
            .map(|column| {
                let share = column.unseen as f64 / column.values as f64;
                (column.column.clone(), share)
            })
            .collect(),
        ..BacktestDay::default()
    }
}
