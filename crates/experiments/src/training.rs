//! One run from its plan to its folder: prepare the rows, search and train, evaluate, write.
//!
//! ```text
//! DIR/run.toml  model/  metrics.json  report.html  report.json  log.txt  tensorboard/
//!     checkpoint.safetensors  search/  rows/  run.id  run.lock  cost.json
//! ```

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indexmap::IndexMap;
use ncs_collective::{Collective, Solo, Wait};
use ncs_config::{RunFile, RunFileError, RunPlan};
use ncs_eval::note::Note;
use ncs_eval::{
    MetricSettings, Metrics, PartColumns, Predictions, Resampling, RunReport, render_html,
};
use ncs_features::ColumnCoverage;
use ncs_model::{Scorer, Workspace, tensor_file};
use ncs_readers::batches::BatchPlan;
use ncs_readers::{
    Cache, PrepareError, Prepared, Report, Stage, prepare, prepare_all, prepare_from,
};
use ncs_train::{Listener, NoopListener, RefitRows, Run, TrainError, Trained, predict};
use serde::Serialize;

mod earlier;
mod frozen;
mod logged;
mod ranks;
mod rows;
mod shards;

use crate::cost::{self, Meter};
use crate::error::Error;
use crate::leaks;
use crate::predictions_file;
use crate::progress::{Job, Progress};
use crate::run_folder::RunFolder;
use crate::run_report::{self, EvaluatedPart};
use crate::table_init;

const UNFIT: &str = "the trained weights do not fit the network";

/// File of labels and scores of the evaluated rows, if `evaluation.keep_scores` asks for them.
pub const SCORES: &str = "scores.safetensors";

/// Default folder of a run's rows as ids, within the run's folder.
pub const ROWS: &str = "rows";

/// Maximum time that a crash costs, if checkpoints are quick to write.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Results of a finished run.
#[derive(Debug)]
pub struct Finished {
    /// The report, as it was written.
    pub report: RunReport,
    /// The test rows first, where there are any, then the validation rows.
    pub evaluated: Vec<EvaluatedPart>,
}

/// Reads and encodes the rows of a plan, or finds them in the id cache.
///
/// # Errors
/// The files cannot be read, or `stop` was set.
pub fn prepare_rows(
    plan: &RunPlan,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Prepared, Error> {
    let earlier = plan.start.as_ref().map(|start| &start.earlier);
    let prepared = read(progress, stop, |on| match earlier {
        Some(earlier) => prepare_from(&plan.data, &plan.schema, &earlier.artifact.schema, on),
        None => prepare(&plan.data, &plan.schema, on),
    })?;
    if prepared.was_cached {
        progress.log("rows: found in the id cache");
    }
    for note in &prepared.report.notes {
        progress.log(&format!("note: {note}"));
    }
    if let Some(earlier) = earlier {
        for evicted in &earlier.evicted {
            progress.log(&evicted.to_string());
        }
        for note in earlier::growth(&earlier.artifact.schema, &prepared.schema) {
            progress.log(&note);
        }
    }
    Ok(prepared)
}

/// Prepares the rows of a plan again, for a refit on all of them, if the plan asks for it.
///
/// # Errors
/// The errors of [`prepare_rows`].
pub fn prepare_refit(
    plan: &RunPlan,
    base: &Prepared,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Option<Prepared>, Error> {
    if !plan.train.refit || base.valid.is_none() {
        return Ok(None);
    }
    let all = read(progress, stop, |on| {
        let start = plan.start.as_ref();
        let earlier = start.map(|start| &*start.earlier.artifact.schema);
        prepare_all(&plan.data, &plan.schema, base, earlier, on)
    })?;
    Ok(Some(all))
}

/// Reads the rows and shows the progress.
fn read(
    progress: Progress,
    stop: &AtomicBool,
    prepare: impl FnOnce(
        &mut dyn FnMut(ncs_readers::Progress) -> ControlFlow<()>,
    ) -> Result<Prepared, PrepareError>,
) -> Result<Prepared, Error> {
    let mut job: Option<(Stage, Job)> = None;
    let mut on = |now: ncs_readers::Progress| {
        if job.as_ref().is_none_or(|(stage, _)| *stage != now.stage) {
            let title = match now.stage {
                Stage::Times => "read times",
                Stage::Fit => "read columns",
                Stage::Past => "count the past",
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
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let prepared = prepare(&mut on)?;
    if let Some((_, job)) = job {
        job.finish();
    }
    Ok(prepared)
}

/// Runs `file` into the folder at `path`, from where it stopped if it did; `stop` ends it after the block
/// of rows or the step under way.
///
/// # Errors
/// Rows, labels, the folder or the disk; another process works in the folder; or it was stopped.
pub fn run(
    file: &RunFile,
    path: &Path,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Finished, Error> {
    crate::memory::check(file)?;
    run_in(file, &RunFolder::hold(path)?, progress, stop)
}

/// Runs as [`run`] does, in a folder that this process has already locked.
///
/// # Errors
/// The errors of [`run`].
pub fn run_in(
    file: &RunFile,
    folder: &RunFolder,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Finished, Error> {
    run_with_listener(file, folder, progress, stop, &mut NoopListener)
}

/// Runs as [`run_in`] does; `listener` receives the events of the training, after the log.
///
/// # Errors
/// The errors of [`run`].
pub fn run_with_listener(
    file: &RunFile,
    folder: &RunFolder,
    progress: Progress,
    stop: &AtomicBool,
    listener: &mut (dyn Listener + Send),
) -> Result<Finished, Error> {
    let finished = run_on_ranks(file, folder, &Solo, progress, stop, listener)?;
    Ok(finished.expect("the only rank is the first"))
}

/// Runs as [`run_with_listener`] does, as one of several ranks, all of which call this with the same run file and the
/// same folder. The first rank alone writes into it; it returns the results, the others `None` once all is
/// written.
///
/// # Errors
/// The errors of [`run`]; a rank has ended or does not answer, or the ranks are not alike.
pub fn run_on_ranks(
    file: &RunFile,
    folder: &RunFolder,
    ranks: &dyn Collective,
    progress: Progress,
    stop: &AtomicBool,
    listener: &mut (dyn Listener + Send),
) -> Result<Option<Finished>, Error> {
    if ranks.rank() > 0 {
        ranks::follow(file, folder.path(), ranks, stop)?;
        return Ok(None);
    }
    if !folder.is_locked() {
        progress.log(
            "note: the file system of the run's folder has no locks; see to it that no other run uses it",
        );
    }
    let folder = folder.path();
    let meter = Meter::start(folder);
    let plan = &in_folder(&file.plan, folder);
    table_init::check(file)?;
    crate::memory::disk::check_folder(plan, folder)?;
    let data = prepare_rows(plan, progress, stop)?;
    check_features(file, &data.report.varies)?;
    let all = prepare_refit(plan, &data, progress, stop)?;
    if !plan.shares_cache {
        rows::keep_only(&plan.data.cache, &data, all.as_ref(), progress)?;
    }
    // The other ranks now find the rows in the id cache.
    ranks.barrier(Wait::Unlimited)?;
    let largest = all.as_ref().unwrap_or(&data);
    crate::memory::check_fitted(file, &largest.schema, ranks.n_ranks())?;
    let initial = table_init::read(plan, &largest.schema)?;
    tell(&data.report, &initial.notes, progress);
    let in_files = crate::memory::disk::notes(plan, &largest.schema, folder);
    in_files.iter().for_each(|text| progress.log(text));
    let run = Run {
        initial_rows: &initial.tables,
        ..ranks::run_of(plan, &data, all.as_ref(), folder, stop)
    };
    let (trained, worked) = match logged::run(&run, ranks, progress, listener)? {
        Ok(trained) => trained,
        Err(error) => {
            if let TrainError::Stopped { .. } = error {
                meter.pause(folder)?;
            }
            return Err(located(file, error));
        }
    };
    let clock = (worked || !cost::is_finished(folder)).then_some(&meter);
    let data = Data {
        rows: &data,
        all: all.as_ref(),
        notes: &initial.notes,
    };
    let finished = finish(file, folder, data, &trained, clock, ranks)?;
    ranks.barrier(Wait::Unlimited)?;
    Ok(Some(finished))
}

/// Logs what is noticed of the rows, and of tables that begin at vectors of a file.
fn tell(rows: &Report, of_tables: &[ncs_eval::note::Note], progress: Progress) {
    let parts = run_report::part_columns(rows);
    for note in parts.iter().flat_map(PartColumns::remarks) {
        progress.log(&note.line());
    }
    of_tables.iter().for_each(|note| progress.log(&note.text));
}

fn refit_rows(all: &Prepared) -> RefitRows<'_> {
    RefitRows {
        train: &all.train,
        schema: &all.schema,
        data_key: all.key,
    }
}

/// The rows of a run.
#[derive(Clone, Copy)]
struct Data<'a> {
    rows: &'a Prepared,
    /// With validation rows among the training rows, for a refit.
    all: Option<&'a Prepared>,
    /// Notes for the report.
    notes: &'a [ncs_eval::note::Note],
}

/// Returns the plan of a run in this folder: rows are cached there, unless the plan states another place.
fn in_folder(plan: &RunPlan, folder: &Path) -> RunPlan {
    let mut plan = plan.clone();
    if !plan.shares_cache {
        plan.data.cache = folder.join(ROWS);
    }
    plan
}

/// Refuses features of which none differs between the training rows; `varies` holds a flag for each, or
/// nothing where an earlier version counted.
///
/// # Errors
/// There is nothing to learn from.
pub(crate) fn check_features(file: &RunFile, varies: &[bool]) -> Result<(), RunFileError> {
    if varies.is_empty() || varies.contains(&true) {
        return Ok(());
    }
    Err(file.error_at(
        &["columns"],
        "no feature differs between the training rows: each is the same, unknown or missing on all of \
         them, so nothing can be learned from them; ncs check says why, column by column",
    ))
}

/// Adds the line of the run file to an error about labels that do not allow training or evaluation.
pub(crate) fn located(file: &RunFile, error: TrainError) -> Error {
    match &error {
        TrainError::Labels { task, .. } => file
            .error_at(&["tasks", task, "label"], error.to_string())
            .into(),
        _ => error.into(),
    }
}

/// Evaluates and writes; `clock` is `None` if the training was already complete.
fn finish(
    file: &RunFile,
    folder: &Path,
    Data {
        rows: data,
        all,
        notes: of_tables,
    }: Data<'_>,
    trained: &Trained,
    clock: Option<&Meter>,
    ranks: &dyn Collective,
) -> Result<Finished, Error> {
    let plan = &file.plan;
    let frozen::Frozen {
        artifact,
        chosen,
        notes,
    } = frozen::freeze(plan, data, trained)?;
    let of_delta = earlier::write_model(plan, &artifact, &folder.join("model"), ranks)?;
    let scorer = Scorer::new(&artifact).ok_or(UNFIT)?;
    // Validation rows are for a model that has not learned from them.
    let chosen = chosen.map(|chosen| Scorer::new(&chosen).ok_or(UNFIT));
    let chosen = chosen.transpose()?;
    let test = all.map_or(&data.test, |all| &all.test);
    let mut evaluated = Vec::new();
    if let (true, Some(rows)) = (plan.evaluation.test, test) {
        evaluated.push(evaluate_part(plan, &scorer, "test", rows)?);
    }
    if let Some(rows) = &data.valid {
        let scorer = chosen.as_ref().unwrap_or(&scorer);
        evaluated.push(evaluate_part(plan, scorer, "valid", rows)?);
    }
    let mut report = run_report::report(plan, &data.report, trained, &evaluated);
    report.notes.extend(notes);
    if let Some(first) = evaluated.first() {
        report.slices = run_report::slices::tables(plan, first)?;
    }
    report.notes.extend(leaks(data, test.as_ref(), &evaluated)?);
    report.notes.extend_from_slice(of_tables);
    let of_moments = trained.moments.as_deref();
    let of_start = earlier::note(plan, &data.schema, of_moments);
    report.notes.extend(of_start);
    report.notes.extend(of_delta);
    report.notes.extend(earlier::waiting(&artifact));
    let before = || cost::wall_seconds(folder);
    report.seconds = clock.map_or_else(before, |meter| Some(meter.wall_seconds()));
    let figures = figures(&evaluated, &data.report);
    write_json(&folder.join("metrics.json"), &figures)?;
    write_json(&folder.join("report.json"), &report)?;
    write(&folder.join("report.html"), &render_html(&report))?;
    write(&folder.join("run.toml"), &file.standing_alone())?;
    if let (true, Some(first)) = (plan.evaluation.keep_scores, evaluated.first()) {
        predictions_file::keep(&folder.join(SCORES), &first.predictions)?;
    }
    // A run that had nothing left to do has cost what it had cost.
    if let Some(meter) = clock {
        meter.finish(folder, trained, &scorer, report.seconds)?;
    }
    Ok(Finished { report, evaluated })
}

/// Returns the warnings about the rows of each evaluated part.
fn leaks(
    data: &Prepared,
    test: Option<&Cache>,
    evaluated: &[EvaluatedPart],
) -> Result<Vec<Note>, Error> {
    let mut notes = Vec::new();
    for (part, rows) in [("test", test), ("valid", data.valid.as_ref())] {
        let is_evaluated = evaluated.iter().any(|evaluated| evaluated.part == part);
        if let Some(rows) = rows.filter(|_| is_evaluated) {
            let found = leaks::warnings(&data.schema, &data.train, rows, part)?;
            notes.extend(found);
        }
    }
    Ok(notes)
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
    /// By part: each column against what training saw.
    columns: IndexMap<&'static str, &'a [ColumnCoverage]>,
}

fn figures<'a>(evaluated: &'a [EvaluatedPart], data: &'a Report) -> Figures<'a> {
    let columns = data
        .parts
        .iter()
        .map(|part| (part.part.name(), &part.columns[..]));
    let of_valid = evaluated
        .iter()
        .skip(1)
        .find(|evaluated| evaluated.part == "valid");
    Figures {
        part: evaluated.first().map(|evaluated| evaluated.part),
        metrics: evaluated.first().map(|evaluated| &evaluated.metrics),
        valid: of_valid.map(|evaluated| &evaluated.metrics),
        columns: columns.collect(),
    }
}

fn evaluate_part(
    plan: &RunPlan,
    scorer: &Scorer,
    part: &'static str,
    rows: &Cache,
) -> Result<EvaluatedPart, Error> {
    let predictions = predictions(plan.train.threads, scorer, rows)?;
    let settings = MetricSettings {
        resampling: Resampling {
            resamples: plan.evaluation.bootstrap as usize,
            ..Resampling::default()
        },
        ..MetricSettings::default()
    };
    Ok(EvaluatedPart {
        part,
        metrics: Metrics::of(&predictions, &settings)?,
        predictions,
    })
}

fn predictions(threads: usize, scorer: &Scorer, rows: &Cache) -> Result<Predictions, Error> {
    let mut pass = Workspace::new(threads);
    let mut predictions = predict::empty_predictions(&scorer.schema().tasks);
    for batch in rows.batches(BatchPlan::default()) {
        let batch = batch?;
        let scores = scorer.score(&batch, &mut pass);
        predict::append(&mut predictions, &batch, &scores);
    }
    Ok(predictions)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, &text)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    Ok(tensor_file::write_bytes(path, text.as_bytes())?)
}
