//! Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019): what a trained model loses if the values of
//! one column are exchanged between rows.
//!
//! The values are exchanged in the rows as the log has them, before they are encoded: all features of the column change
//! together, past rates and categories of a number included. The model is not trained again, so columns that
//! replace each other both look unimportant.

mod sample;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_eval::diagnoses::{ImportanceBar, ImportanceBars, TaskBars};
use ncs_eval::{
    PairedDifference, Predictions, RunReport, TaskPredictions, difference_by_weight, render_html,
};
use ncs_features::{Block, Column, Encoder, LabelKind};
use ncs_model::{Workspace, tensor_file};
use ncs_train::predict;
use serde::Serialize;

use crate::error::Error;
use crate::scoring::{EvaluationListener, LoadedModel, Rows, Stopped};
use sample::{Sample, Shuffled};

/// Standard errors above zero from which a column counts as used.
const USED: f64 = 2.0;

/// Options of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct ImportanceSettings {
    /// Most rows to use; of more, a sample of at least half of this number is drawn.
    pub rows: usize,
    /// Permutations of each column.
    pub repeats: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

/// Importance of every column, largest first.
#[derive(Clone, Debug, Serialize)]
pub struct Importance {
    /// Rows that were used.
    pub rows: u64,
    /// Permutations of each column.
    pub repeats: usize,
    /// The columns.
    pub columns: Vec<ColumnImportance>,
    /// Columns whose loss is not significant (2 standard errors) for any task.
    pub unused: Vec<String>,
    /// What it costs to permute all of them together, if there are two or more.
    pub unused_together: Option<ColumnImportance>,
}

/// Importance of one column of the log.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnImportance {
    /// Its name; those of the columns of a sequence, which are permuted together, with ` + ` between them.
    pub column: String,
    /// Loss of each task, in the order of the model.
    pub tasks: Vec<TaskImportance>,
}

/// Importance of a column for a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskImportance {
    /// The task.
    pub task: String,
    /// `AUC` or `squared error`.
    pub metric: &'static str,
    /// Loss of AUC (of a ratio: gain of squared error) when the column is permuted, mean of the permutations. `None`
    /// without two labels of each class.
    pub loss: Option<f64>,
    /// Standard error of the loss over rows (DeLong for AUC).
    pub error: Option<f64>,
}

impl TaskImportance {
    /// Returns the loss in standard errors; 0 if the scores do not change.
    fn strength(&self) -> f64 {
        match (self.loss, self.error) {
            (Some(loss), Some(error)) if error > 0.0 => loss / error,
            _ => 0.0,
        }
    }
}

impl ColumnImportance {
    fn largest_loss(&self) -> f64 {
        let losses = self.tasks.iter().filter_map(|task| task.loss);
        losses.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns true if the loss of some task is significant, by 2 standard errors.
    pub fn is_used(&self) -> bool {
        self.tasks.iter().any(|task| task.strength() > USED)
    }
}

impl Importance {
    /// Returns the importance as the bars of a report: for each task the columns, those of the largest loss first.
    pub fn bars(&self) -> ImportanceBars {
        let tasks = self.columns.first().map_or(&[][..], |column| &column.tasks);
        let of_task = |(t, task): (usize, &TaskImportance)| {
            let bar = |column: &ColumnImportance| {
                let found = column.tasks.get(t)?;
                Some(ImportanceBar {
                    column: column.column.clone(),
                    loss: found.loss?,
                    error: found.error,
                })
            };
            let mut bars: Vec<ImportanceBar> = self.columns.iter().filter_map(bar).collect();
            bars.sort_by(|a, b| b.loss.total_cmp(&a.loss));
            TaskBars {
                task: task.task.clone(),
                metric: task.metric.to_owned(),
                bars,
            }
        };
        ImportanceBars {
            rows: self.rows,
            repeats: self.repeats as u64,
            tasks: tasks.iter().enumerate().map(of_task).collect(),
        }
    }

    /// Adds the importance to the report of a run, or replaces an earlier one, and returns the path of the page.
    ///
    /// # Errors
    /// The folder holds no report of a run, or it cannot be written.
    pub fn add_to_report(&self, run: &Path) -> Result<PathBuf, Error> {
        let (stored, page) = (run.join("report.json"), run.join("report.html"));
        let text = std::fs::read_to_string(&stored).map_err(|error| {
            let folder = run.display();
            format!("{folder}: --report adds to the report of a run, and report.json cannot be read: {error}")
        })?;
        let mut report: RunReport = serde_json::from_str(&text)?;
        report.importance = Some(self.bars());
        report.seconds = crate::cost::wall_seconds(run);
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        tensor_file::write_bytes(&stored, text.as_bytes())?;
        tensor_file::write_bytes(&page, render_html(&report).as_bytes())?;
        Ok(page)
    }
}

/// Measures the importance of every column on labelled rows. `progress` is called with the number of columns measured
/// so far and the number of all.
///
/// # Errors
/// The rows cannot be read, a label is absent, or `stop` was set.
pub fn measure(
    model: &LoadedModel,
    rows: Rows,
    settings: ImportanceSettings,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Importance, Error> {
    let mut sample = Sample::read(model, rows, settings.rows, stop, listener)?;
    let encoder = Encoder::new(sample.schema.clone());
    let mut base = predict::empty_predictions(&sample.schema.tasks);
    for block in &sample.blocks {
        let batch = encoder.encode(block)?;
        let scores = model.scorer.score(&batch, pass);
        predict::append(&mut base, &batch, &scores);
    }
    let names = sample.columns();
    let n_rows = sample.n_rows();
    let mut permute = |group: &[String]| {
        let name = group.join(" + ");
        let shuffled = Shuffled::new(&sample.blocks, group);
        let mut differences = vec![Vec::new(); base.tasks.len()];
        for repeat in 0..settings.repeats {
            let seed = settings.seed + repeat as u64;
            let mut permuted = vec![Vec::new(); base.tasks.len()];
            let places = shuffled.permuted(seed, &name);
            for (block, places) in sample.blocks.iter_mut().zip(places) {
                refuse_stop(stop)?;
                let scores = scores(model, &encoder, block, shuffled.columns(&places), pass)?;
                for (all, scores) in permuted.iter_mut().zip(scores) {
                    all.extend(scores);
                }
            }
            for (differences, (task, scores)) in
                differences.iter_mut().zip(base.tasks.iter().zip(&permuted))
            {
                differences.push(difference(task, scores));
            }
        }
        Ok::<_, Error>(ColumnImportance {
            column: name,
            tasks: of_tasks(&base, &differences),
        })
    };
    let mut columns = Vec::new();
    for (done, group) in names.iter().enumerate() {
        progress(done as u64, names.len() as u64);
        columns.push(permute(group)?);
    }
    // Columns that replace each other look unimportant one by one, and not together.
    let of_no_use = names.iter().zip(&columns);
    let of_no_use = of_no_use.filter(|(_, column)| !column.is_used());
    let of_no_use: Vec<&Vec<String>> = of_no_use.map(|(group, _)| group).collect();
    let all: Vec<String> = of_no_use.iter().copied().flatten().cloned().collect();
    let unused_together = match of_no_use.len() {
        0 | 1 => None,
        _ => Some(permute(&all)?),
    };
    progress(names.len() as u64, names.len() as u64);
    columns.sort_by(|a, b| b.largest_loss().total_cmp(&a.largest_loss()));
    let unused = columns.iter().filter(|column| !column.is_used());
    Ok(Importance {
        rows: n_rows,
        repeats: settings.repeats,
        unused: unused.map(|column| column.column.clone()).collect(),
        unused_together,
        columns,
    })
}

/// Scores a block with other columns in the place of its own; the block is left as it was.
fn scores(
    model: &LoadedModel,
    encoder: &Encoder,
    block: &mut Block,
    columns: Vec<Column>,
    pass: &mut Workspace,
) -> Result<Vec<Vec<f32>>, Error> {
    let mut kept = Vec::with_capacity(columns.len());
    for column in columns {
        let own = block.columns.iter_mut().find(|own| own.name == column.name);
        let own = own.ok_or_else(|| format!("column {:?} is not in the rows", column.name))?;
        kept.push(std::mem::replace(own, column));
    }
    let batch = encoder.encode_features(block);
    for column in kept {
        if let Some(own) = block.columns.iter_mut().find(|own| own.name == column.name) {
            *own = column;
        }
    }
    Ok(model.scorer.score(&batch?, pass))
}

fn refuse_stop(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) {
        let left_undone = "nothing was measured";
        return Err(Stopped { left_undone }.into());
    }
    Ok(())
}

/// Returns by how much the permuted scores are worse.
fn difference(task: &TaskPredictions, permuted: &[f32]) -> Option<PairedDifference> {
    let weights = task.row_weights();
    difference_by_weight(task.kind, &task.labels, &task.scores, permuted, weights)
}

/// Averages the permutations. Their errors are over the same rows, so that averaging does not reduce them.
fn of_tasks(
    base: &Predictions,
    differences: &[Vec<Option<PairedDifference>>],
) -> Vec<TaskImportance> {
    let tasks = base.tasks.iter().zip(differences);
    tasks
        .map(|(task, found)| {
            let found: Option<Vec<PairedDifference>> = found.iter().copied().collect();
            let found = found.filter(|found| !found.is_empty());
            let mean = |of: fn(&PairedDifference) -> f64| {
                let found = found.as_ref()?;
                Some(found.iter().map(of).sum::<f64>() / found.len() as f64)
            };
            TaskImportance {
                task: task.name.clone(),
                metric: match task.kind {
                    LabelKind::Binary => "AUC",
                    LabelKind::Ratio => "squared error",
                    LabelKind::Value => "relative squared error",
                },
                loss: mean(|found| found.value),
                error: mean(|found| found.error),
            }
        })
        .collect()
}
