//! One run from its plan to its folder: prepare the rows, search and train, judge, write.
//!
//! ```text
//! DIR/run.toml  model/  metrics.json  report.html  report.json  log.txt  tensorboard/
//!     checkpoint.safetensors  search/  run.id  cost.json
//! ```

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_eval::{MetricSettings, Metrics, Predictions, Resampling, RunReport, render_html};
use ncs_model::{Pass, Scorer, tensor_file};
use ncs_readers::batches::BatchPlan;
use ncs_readers::{Cache, Prepared, Stage, prepare};
use ncs_train::{Run, TrainError, Trained, predict};
use serde::Serialize;

mod frozen;

use crate::cost::Meter;
use crate::predictions_file;
use crate::progress::{Job, Progress};
use crate::run_file::{RunFile, RunPlan};
use crate::run_log::RunLog;
use crate::run_report::{self, Judged};

const UNFIT: &str = "the trained weights do not fit the network";

/// Labels and scores of the judged rows, where `evaluation.keep_scores` asks for them.
pub const SCORES: &str = "scores.safetensors";

/// What a finished run showed.
#[derive(Debug)]
pub struct Finished {
    /// The report, as it was written.
    pub report: RunReport,
    /// The test rows first, where there are any, then the validation rows.
    pub judged: Vec<Judged>,
}

/// Reads and encodes the rows of a plan, or finds them in the id cache.
///
/// # Errors
/// The files cannot be read, or `stop` was set.
pub fn prepare_rows(
    plan: &RunPlan,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Prepared, Box<dyn Error>> {
    let mut job: Option<(Stage, Job)> = None;
    let mut on = |now: ncs_readers::Progress| {
        if job.as_ref().is_none_or(|(stage, _)| *stage != now.stage) {
            let title = match now.stage {
                Stage::Fit => "read columns",
                Stage::Encode => "encode rows",
            };
            if let Some((_, job)) = job.take() {
                job.finish();
            }
            job = Some((now.stage, progress.job(title, None, "rows")));
        }
        if let Some((_, job)) = &mut job {
            job.reach(now.rows);
        }
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let prepared = prepare(&plan.data, &plan.schema, &mut on)?;
    if let Some((_, job)) = job {
        job.finish();
    }
    if prepared.was_cached {
        progress.say("rows: found in the id cache");
    }
    for note in &prepared.report.notes {
        progress.say(&format!("note: {note}"));
    }
    Ok(prepared)
}

/// Runs `file` into `folder`, from where it stopped if it did; `stop` ends it after the block
/// of rows or the step under way.
///
/// # Errors
/// Rows, labels, the folder or the disk; or it was stopped.
pub fn run(
    file: &RunFile,
    folder: &Path,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Finished, Box<dyn Error>> {
    let plan = &file.plan;
    check_folder(folder)?;
    let meter = Meter::start(folder);
    crate::memory::check(file)?;
    let data = prepare_rows(plan, progress, stop)?;
    fs::create_dir_all(folder).map_err(|error| {
        format!(
            "{}: cannot make this folder: {error}; choose another with --out",
            folder.display()
        )
    })?;
    claim(folder)?;
    let run = Run {
        network: &plan.network,
        plan: &plan.train,
        schema: &data.schema,
        train: &data.train,
        valid: data.valid.as_ref(),
        data_key: data.key,
        folder,
        stop,
    };
    let mut log = RunLog::open(folder, progress)
        .map_err(|error| format!("{}/log.txt: {error}", folder.display()))?;
    let trained = match run.run(&mut log) {
        Ok(trained) => trained,
        Err(error) => {
            if let TrainError::Stopped { .. } = error {
                meter.pause(folder)?;
            }
            return Err(located(file, error));
        }
    };
    if let Some(error) = log.finish() {
        progress.say(&format!(
            "note: the log or the curves for TensorBoard are incomplete: {error}"
        ));
    }
    finish(file, folder, &data, &trained, &meter)
}

/// Marks a folder as that of a run, though of no run yet, so that a first attempt that fails leaves it
/// usable.
fn claim(folder: &Path) -> Result<(), Box<dyn Error>> {
    let id = folder.join("run.id");
    match id.exists() {
        true => Ok(()),
        false => write(&id, ""),
    }
}

/// A run writes into a new or empty folder, or into its own.
///
/// # Errors
/// The folder holds files and no run, or is no folder.
pub fn check_folder(folder: &Path) -> Result<(), String> {
    if !folder.exists() || folder.join("run.id").exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder);
    let mut entries = entries.map_err(|error| {
        format!(
            "{}: cannot be the folder of a run: {error}; choose another with --out",
            folder.display()
        )
    })?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(format!(
            "{}: the folder holds files that no run wrote; choose a new or empty one with --out",
            folder.display()
        )),
    }
}

/// Labels that cannot teach or judge are a mistake in the run file: the error names its line.
fn located(file: &RunFile, error: TrainError) -> Box<dyn Error> {
    match &error {
        TrainError::Labels { task, .. } => file
            .error_at(&["tasks", task, "label"], error.to_string())
            .into(),
        _ => error.into(),
    }
}

fn finish(
    file: &RunFile,
    folder: &Path,
    data: &Prepared,
    trained: &Trained,
    meter: &Meter,
) -> Result<Finished, Box<dyn Error>> {
    let plan = &file.plan;
    let (artifact, notes) = frozen::freeze(plan, data, trained)?;
    artifact.write(&folder.join("model"))?;
    let scorer = Scorer::new(&artifact).ok_or(UNFIT)?;
    let parts = [("test", &data.test), ("valid", &data.valid)];
    let mut judged = Vec::new();
    for (part, rows) in parts {
        if let Some(rows) = rows {
            judged.push(judge(plan, &scorer, part, rows)?);
        }
    }
    let mut report = run_report::report(plan, &data.report, trained, &judged);
    report.notes.extend(notes);
    write_json(&folder.join("metrics.json"), &figures(&judged))?;
    write_json(&folder.join("report.json"), &report)?;
    write(&folder.join("report.html"), &render_html(&report))?;
    write(&folder.join("run.toml"), &file.standing_alone())?;
    if let (true, Some(first)) = (plan.evaluation.keep_scores, judged.first()) {
        predictions_file::write(&folder.join(SCORES), &first.predictions)?;
    }
    meter.finish(folder, trained, &scorer)?;
    Ok(Finished { report, judged })
}

/// `metrics.json`: the figures of the test rows (or the validation rows, where there are none), as
/// `ncs evaluate --json` prints them, and beside them those of the other parts.
#[derive(Serialize)]
struct Figures<'a> {
    part: Option<&'static str>,
    #[serde(flatten)]
    metrics: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<&'a Metrics>,
}

fn figures(judged: &[Judged]) -> Figures<'_> {
    let of_valid = judged.iter().skip(1).find(|judged| judged.part == "valid");
    Figures {
        part: judged.first().map(|judged| judged.part),
        metrics: judged.first().map(|judged| &judged.metrics),
        valid: of_valid.map(|judged| &judged.metrics),
    }
}

fn judge(
    plan: &RunPlan,
    scorer: &Scorer,
    part: &'static str,
    rows: &Cache,
) -> Result<Judged, Box<dyn Error>> {
    let predictions = predictions(plan.train.threads, scorer, rows)?;
    let settings = MetricSettings {
        resampling: Resampling {
            resamples: plan.evaluation.bootstrap as usize,
            ..Resampling::default()
        },
        ..MetricSettings::default()
    };
    Ok(Judged {
        part,
        metrics: Metrics::of(&predictions, &settings)?,
        predictions,
    })
}

fn predictions(
    threads: usize,
    scorer: &Scorer,
    rows: &Cache,
) -> Result<Predictions, Box<dyn Error>> {
    let mut pass = Pass::new(threads);
    let mut predictions = predict::no_predictions(&scorer.schema().tasks);
    for batch in rows.batches(BatchPlan::default()) {
        let batch = batch?;
        let scores = scorer.score(&batch, &mut pass);
        predict::append(&mut predictions, &batch, &scores);
    }
    Ok(predictions)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, &text)
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    Ok(tensor_file::write_bytes(path, text.as_bytes())?)
}
