//! Methods given as score files: predictions of another program, or of another version of this one, for the
//! evaluated rows. They are evaluated like runs, but neither tuned nor trained here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_config::RunFile;
use ncs_eval::comparison::{MeasuredRun, RunCost, row_values};
use ncs_eval::{MetricSettings, Metrics, Predictions, Resampling};
use ncs_features::{LabelKind, Schema};
use ncs_readers::batches::BatchPlan;
use ncs_readers::{Cache, Prepared};
use ncs_train::predict;

use super::plan::{Cell, Plan, absolute};
use super::score_table::ScoreTable;
use super::toml_types::{DATA, SEED};
use crate::error::Error;
use crate::progress::Progress;
use crate::run_report::{EvaluatedPart, calibration_curves};
use crate::training;

/// Evaluated score files of each cell, in the order of the seeds.
pub(crate) type Scored = HashMap<Cell, Vec<MeasuredRun>>;

/// Returns the score file of a cell and a seed.
fn path(plan: &Plan, cell: &Cell, seed: u64) -> PathBuf {
    let name = plan.method(cell).scores.as_deref().unwrap_or_default();
    let name = name
        .replace(DATA, &cell.data)
        .replace(SEED, &seed.to_string());
    plan.scores.join(name)
}

/// Reads and evaluates the score files of all cells.
///
/// Fails if a file is missing, does not fit the evaluated rows, or has a value that is not a probability; if
/// rows of a data set cannot be read; or if the process is interrupted.
pub(crate) fn read_all(
    plan: &Plan,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Scored, Error> {
    for cell in plan.scored_cells() {
        check_present(plan, cell)?;
    }
    let mut scored = Scored::new();
    for data in plan.file.data.keys() {
        let cells: Vec<&Cell> = plan
            .scored_cells()
            .filter(|cell| cell.data == *data)
            .collect();
        let mut previous: Option<EvaluationRows> = None;
        for &seed in plan.file.seeds.iter().filter(|_| !cells.is_empty()) {
            let rows = match previous.take() {
                Some(rows) if rows.are_common => rows,
                _ => EvaluationRows::open(plan, data, seed, progress, stop)?,
            };
            for &cell in &cells {
                let run = rows.evaluate(plan, cell, seed)?;
                scored.entry(cell.clone()).or_default().push(run);
            }
            previous = Some(rows);
        }
    }
    Ok(scored)
}

/// Checks that every seed has its file.
fn check_present(plan: &Plan, cell: &Cell) -> Result<(), Error> {
    let of_seed = |&seed: &u64| (seed, path(plan, cell, seed));
    let files = plan.file.seeds.iter().map(of_seed);
    let missing: Vec<(u64, PathBuf)> = files.filter(|(_, path)| !path.is_file()).collect();
    let Some((_, first)) = missing.first() else {
        return Ok(());
    };
    let seeds: Vec<String> = missing.iter().map(|(seed, _)| seed.to_string()).collect();
    Err(format!(
        "data set {:?}, method {:?}: no scores of seed {}: {} is not there; write it, name its folder with \
         --scores, or leave the seed out",
        cell.data,
        cell.method,
        seeds.join(", "),
        first.display()
    ).into())
}

/// Rows on which a data set's methods are evaluated: test, or validation if there are no test rows.
struct EvaluationRows {
    data: Prepared,
    part: &'static str,
    /// True if other seeds are evaluated on the same rows.
    are_common: bool,
}

impl EvaluationRows {
    fn open(
        plan: &Plan,
        data: &str,
        seed: u64,
        progress: Progress,
        stop: &AtomicBool,
    ) -> Result<EvaluationRows, Error> {
        let mut settings = plan.data_settings(data, seed);
        settings.push(format!(
            "data.cache={:?}",
            absolute(&plan.folder.join("cache"))
        ));
        let path = plan.run_file(data, seed);
        let run = RunFile::open(&path, &settings)
            .map_err(|error| format!("data set {data:?}:\n{error}"))?;
        let prepared = training::prepare_rows(&run.plan, progress, stop)?;
        let part = match (&prepared.test, &prepared.valid) {
            (Some(_), _) => "test",
            (None, Some(_)) => "valid",
            (None, None) => {
                let text = format!(
                    "data set {data:?}: no rows to evaluate score files on; its run file needs data.test"
                );
                return Err(text.into());
            }
        };
        Ok(EvaluationRows {
            part,
            data: prepared,
            are_common: plan.file.data[data].synth.is_none(),
        })
    }

    fn rows(&self) -> &Cache {
        let rows = self.data.test.as_ref().or(self.data.valid.as_ref());
        rows.expect("either test or validation rows, as checked")
    }

    fn schema(&self) -> &Schema {
        &self.data.schema
    }

    fn evaluate(&self, plan: &Plan, cell: &Cell, seed: u64) -> Result<MeasuredRun, Error> {
        let path = path(plan, cell, seed);
        let tasks = self.schema().tasks.iter();
        let tasks: Vec<(String, LabelKind)> = tasks
            .map(|task| (task.name.clone(), task.objective.label_kind()))
            .collect();
        let n_rows = self.rows().n_rows() as usize;
        let read = ScoreTable::read(&path, &tasks, n_rows, seed);
        let in_cell = |error: Error| {
            format!(
                "data set {:?}, method {:?}: {error}",
                cell.data, cell.method
            )
        };
        let table = read.map_err(in_cell)?;
        let predictions = self.predictions(&table).map_err(in_cell)?;
        let settings = MetricSettings {
            resampling: Resampling {
                resamples: 0,
                ..Resampling::default()
            },
            ..MetricSettings::default()
        };
        let evaluated = EvaluatedPart {
            part: self.part,
            metrics: Metrics::of(&predictions, &settings)?,
            predictions,
        };
        let rows = if self.are_common {
            row_values(&evaluated.predictions)
        } else {
            Vec::new()
        };
        Ok(MeasuredRun {
            seed,
            folder: report_path(plan, &path),
            calibration: calibration_curves(&cell.method, &evaluated),
            rows,
            metrics: evaluated.metrics,
            cost: RunCost {
                seconds: table.cpu_seconds,
                ..RunCost::default()
            },
            ..MeasuredRun::default()
        })
    }

    /// Returns the evaluated rows' labels, groups and true probabilities, with the file's scores.
    fn predictions(&self, table: &ScoreTable) -> Result<Predictions, Error> {
        let mut predictions = predict::empty_predictions(&self.schema().tasks);
        let mut first = 0;
        for batch in self.rows().batches(BatchPlan::default()) {
            let batch = batch?;
            let end = first + batch.n_rows;
            let scores = table.rows(first..end, &batch.labels)?;
            predict::append(&mut predictions, &batch, &scores);
            first = end;
        }
        Ok(predictions)
    }
}

/// Returns the path of the file relative to the comparison's folder, or else its absolute path.
fn report_path(plan: &Plan, path: &Path) -> String {
    match path.strip_prefix(&plan.folder) {
        Ok(inside) => inside.display().to_string(),
        Err(_) => absolute(path),
    }
}
