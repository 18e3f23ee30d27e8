//! A trained model run on rows: what `ncs score`, `ncs evaluate` and the Python package share.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_eval::report::Note;
use ncs_eval::{MetricSettings, Metrics, PartColumns, Predictions};
use ncs_features::coverage::farthest;
use ncs_features::value::shown;
use ncs_features::{Batch, Block, ColumnCoverage, Coverage, Encoder, Schema, Task};
use ncs_model::artifact::{Artifact, ArtifactError};
use ncs_model::{Scorer, Workspace};
use ncs_readers::{Encoded, Frame, ReadError, Reading, RowsBlock};
use ncs_train::predict;
use serde::Serialize;

use crate::run_report::doubts;

/// The folder of the model that `path` names: itself, or the `model` in a folder of `ncs train`.
pub fn model_folder(path: &Path) -> PathBuf {
    let inner = path.join("model");
    match inner.is_dir() && !path.join("manifest.json").exists() {
        true => inner,
        false => path.to_owned(),
    }
}

/// A model that was read, ready to run.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// The folder that holds it.
    pub folder: PathBuf,
    /// What the folder holds.
    pub artifact: Arc<Artifact>,
    /// The same, made to run.
    pub scorer: Arc<Scorer>,
}

/// A model that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Its files do not belong together.
    #[error(
        "{}: the weights are of another network than the manifest; train again, or take the model from where it \
         came from",
        folder.display()
    )]
    Unfit {
        /// The folder.
        folder: PathBuf,
    },
}

impl LoadedModel {
    /// Reads the model that `path` names: its folder, or that of the run that made it.
    ///
    /// # Errors
    /// There is no model, or it was changed.
    pub fn open(path: &Path) -> Result<LoadedModel, ModelError> {
        let folder = model_folder(path);
        let artifact = Artifact::read(&folder)?;
        match Scorer::new(&artifact) {
            None => Err(ModelError::Unfit { folder }),
            Some(scorer) => Ok(LoadedModel {
                folder,
                artifact: Arc::new(artifact),
                scorer: Arc::new(scorer),
            }),
        }
    }

    /// What rows mean to it.
    pub fn schema(&self) -> &Arc<Schema> {
        self.scorer.schema()
    }

    /// The tasks, then their product where one is about another's positives: the columns of its scores.
    pub fn outputs(&self) -> Vec<String> {
        let tasks = self.schema().tasks.iter().map(|task| task.name.clone());
        let product = self.schema().product().map(|product| product.name);
        tasks.chain(product).collect()
    }
}

/// Labelled or unlabelled rows that a model is run on.
#[derive(Debug)]
pub enum Rows {
    /// Files, in order.
    Files {
        /// Their paths.
        files: Vec<PathBuf>,
        /// How they are read.
        reading: Reading,
    },
    /// Record batches of a program.
    Frame(Frame),
}

impl Rows {
    /// What messages call the rows, and their columns; `None` without files.
    fn columns(&self) -> Result<Option<(PathBuf, Vec<String>)>, ReadError> {
        match self {
            Rows::Files { files, reading } => ncs_readers::first_column_names(files, reading),
            Rows::Frame(frame) => Ok(Some((frame.name().into(), frame.columns()))),
        }
    }

    /// The rows as batches; of files, the columns `keep` too, as they are.
    ///
    /// # Errors
    /// A frame lacks a column, or has one of a type without values for us.
    pub fn encoded(
        self,
        encoder: Encoder,
        with_labels: bool,
        keep: &[String],
    ) -> Result<Encoded, ReadError> {
        match self {
            Rows::Files { files, reading } => Ok(Encoded::open_keeping(
                files,
                &reading,
                encoder,
                with_labels,
                keep,
            )),
            Rows::Frame(frame) => Encoded::of_frame(frame, encoder, with_labels),
        }
    }
}

/// A pass with so many threads; all cores where none are stated.
pub fn pass(threads: Option<usize>) -> Workspace {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Workspace::new(threads.unwrap_or_else(cores))
}

/// It was asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stopped; {left_undone}")]
pub struct Stopped {
    /// What was left undone.
    pub left_undone: &'static str,
}

/// Scores rows: `each` gets the kept columns of some rows, and their scores `[output][row]`, in order. Returns the
/// columns against what training saw.
///
/// # Errors
/// A row cannot be read or has no score, `each` fails, or `stop` was set.
pub fn score(
    model: &LoadedModel,
    encoded: &mut Encoded,
    pass: &mut Workspace,
    stop: &AtomicBool,
    mut each: impl FnMut(Block, Vec<Vec<f32>>) -> Result<(), Box<dyn Error>>,
) -> Result<PartColumns, Box<dyn Error>> {
    let scorer = &model.scorer;
    let product = scorer.schema().product();
    let mut coverage = Coverage::new(scorer.schema());
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next?;
        if stop.load(Ordering::Relaxed) {
            let left_undone = "no scores were written";
            return Err(Stopped { left_undone }.into());
        }
        let mut scores = scorer.score(&batch, pass);
        check_scores(&rows, &batch, &scores, scorer)?;
        cover(&mut coverage, scorer, &rows, &batch);
        scores.extend(product.as_ref().map(|product| product.of(&scores)));
        each(encoded.kept(&rows.block), scores)?;
    }
    Ok(part_columns(
        model,
        coverage.finish(|field, id| scorer.is_unseen(field, id)),
    ))
}

fn part_columns(model: &LoadedModel, columns: Vec<ColumnCoverage>) -> PartColumns {
    PartColumns {
        part: "rows".to_owned(),
        columns,
        reference: model.artifact.shares.clone(),
        compared_with: "validation".to_owned(),
    }
}

/// How good a model is on labelled rows: as JSON, what `ncs evaluate --json` prints.
#[derive(Debug)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// The columns against what training saw.
    pub columns: PartColumns,
    /// What is worth knowing.
    pub notes: Vec<Note>,
}

impl Serialize for Evaluation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The figures, and beside them the columns.
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            metrics: &'a Metrics,
            columns: &'a [ColumnCoverage],
            notes: &'a [Note],
        }
        let shown = Shown {
            metrics: &self.metrics,
            columns: &self.columns.columns,
            notes: &self.notes,
        };
        shown.serialize(serializer)
    }
}

/// How an evaluation tells what it does.
pub struct EvaluationListener<'a> {
    /// Hears of what is left out.
    pub note: &'a mut dyn FnMut(String),
    /// Hears of so many more rows.
    pub advance: &'a mut dyn FnMut(u64),
    /// Hears what is worth telling of the files, at the end.
    pub finish: &'a mut dyn FnMut(&Encoded) -> Result<(), ReadError>,
}

/// Evaluates a model on labelled rows.
///
/// # Errors
/// The rows cannot be read, a row has no score, a label is absent, or `stop` was set.
pub fn evaluate(
    model: &LoadedModel,
    rows: Rows,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<Evaluation, Box<dyn Error>> {
    let (predictions, columns) = predictions(model, rows, pass, stop, listener)?;
    let metrics = Metrics::of(&predictions, &MetricSettings::default())?;
    let columns = part_columns(model, columns);
    let mut notes = doubts("these rows", &predictions, &metrics);
    notes.extend(columns.remarks());
    Ok(Evaluation {
        metrics,
        columns,
        notes,
    })
}

fn predictions(
    model: &LoadedModel,
    rows: Rows,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<(Predictions, Vec<ColumnCoverage>), Box<dyn Error>> {
    let scorer = &model.scorer;
    let schema = match rows.columns()? {
        Some((file, columns)) => present(scorer.schema(), &file, &columns, listener.note),
        None => scorer.schema().clone(),
    };
    let tasks = schema.tasks.clone();
    let mut predictions = predict::no_predictions(&tasks);
    let mut coverage = Coverage::new(&schema);
    let encoded = rows.encoded(Encoder::new(schema), true, &[]);
    let mut encoded = encoded.map_err(|error| absent_label(error, &tasks))?;
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next.map_err(|error| absent_label(error, &tasks))?;
        if stop.load(Ordering::Relaxed) {
            let left_undone = "nothing was evaluated";
            return Err(Stopped { left_undone }.into());
        }
        let scores = scorer.score(&batch, pass);
        check_scores(&rows, &batch, &scores, scorer)?;
        cover(&mut coverage, scorer, &rows, &batch);
        predict::append(&mut predictions, &batch, &scores);
        (listener.advance)(batch.n_rows as u64);
    }
    (listener.finish)(&encoded)?;
    let columns = coverage.finish(|field, id| scorer.is_unseen(field, id));
    Ok((predictions, columns))
}

/// The schema without the group and the truths that the rows lack: what they are for is left out.
fn present(
    schema: &Arc<Schema>,
    file: &Path,
    columns: &[String],
    note: &mut dyn FnMut(String),
) -> Arc<Schema> {
    let mut schema = Schema::clone(schema);
    let mut note = |column: &str, without: &str| {
        let file = file.display();
        note(format!(
            "{file}: note: no column {column:?}, so no {without}"
        ));
    };
    if let Some(group) = schema.group.take_if(|group| !columns.contains(group)) {
        note(&group, "grouped AUC");
    }
    for task in &mut schema.tasks {
        if let Some(truth) = task.truth.take_if(|truth| !columns.contains(truth)) {
            note(&truth, "entire-space AUC");
        }
    }
    Arc::new(schema)
}

/// A label that is absent from rows to be evaluated.
#[derive(Debug, thiserror::Error)]
#[error(
    "{error}; it is the label of task {task:?}, and a model is judged by labels (ncs score needs none)"
)]
pub struct AbsentLabel {
    /// Which column is missing, and where.
    pub error: ReadError,
    /// The task that it belongs to.
    pub task: String,
}

/// Says of a missing column that it is a label, and what works without.
fn absent_label(error: ReadError, tasks: &[Task]) -> Box<dyn Error> {
    let ReadError::MissingColumn { column, .. } = &error else {
        return error.into();
    };
    match tasks.iter().find(|task| task.label == *column) {
        None => error.into(),
        Some(task) => {
            let task = task.name.clone();
            AbsentLabel { error, task }.into()
        }
    }
}

/// Counts rows, against what the training of `scorer` saw.
fn cover(coverage: &mut Coverage, scorer: &Scorer, rows: &RowsBlock, batch: &Batch) {
    let all: Vec<usize> = (0..batch.n_rows).collect();
    let place = |row| {
        let (file, row) = place(rows, row);
        format!("{}: row {row}", file.display())
    };
    coverage.observe_rows(&rows.block, batch, &all, place, |field, id| {
        scorer.is_unseen(field, id)
    });
}

/// File and row, counted from 1, of row `row` of a block, counted from 0.
fn place(rows: &RowsBlock, row: usize) -> (PathBuf, u64) {
    (rows.file.clone(), rows.in_file(row as u64 + 1))
}

/// A score that is no number.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: row {row}: {what}", file.display())]
pub struct NoScore {
    /// The file.
    pub file: PathBuf,
    /// The row in it, from 1.
    pub row: u64,
    /// The column that is to blame, where one is.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// Refuses a score that is no number, and names the row, the column and the value that are to blame.
fn check_scores(
    rows: &RowsBlock,
    batch: &Batch,
    scores: &[Vec<f32>],
    scorer: &Scorer,
) -> Result<(), NoScore> {
    let of_task = |scores: &Vec<f32>| scores.iter().position(|score| score.is_nan());
    let Some(at) = scores.iter().filter_map(of_task).min() else {
        return Ok(());
    };
    let (file, row) = place(rows, at);
    let Some((distance, f)) = farthest(batch, at) else {
        return Err(NoScore {
            file,
            row,
            column: None,
            what: "the model's weights give no score; train again".to_owned(),
        });
    };
    let column = &scorer.schema().fields[f].column;
    let raw = rows.block.column(column);
    let value = raw.and_then(|raw| raw.range(at).next().map(|i| shown(&raw.values, i)));
    let what = format!(
        "no score: column {column:?} is {}, {distance:e} deviations from the mean of the training rows; \
         leave the value out where it is unknown, or train again: newer models clip such numbers",
        value.unwrap_or_default()
    );
    Err(NoScore {
        file,
        row,
        column: Some(column.clone()),
        what,
    })
}
