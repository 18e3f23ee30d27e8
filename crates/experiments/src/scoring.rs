//! Running a trained model on rows: shared by `ncs score`, `ncs evaluate` and the Python package.

mod half;
mod looked_up;
mod present;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ncs_eval::report::Note;
use ncs_eval::{MetricSettings, Metrics, PartColumns, Predictions};
use ncs_features::coverage::farthest;
use ncs_features::value::shown;
use ncs_features::{Batch, Block, ColumnCoverage, Coverage, Encoder, Schema, Task};
use ncs_model::artifact::{Artifact, ArtifactError};
use ncs_model::{Precision, Scorer, Workspace};
use ncs_readers::{Encoded, Frame, Lookup, ReadError, Reading, RowsBlock};
use ncs_train::predict;
use serde::Serialize;

use crate::error::Error;
use crate::run_report::doubts;
use crate::slices::{self, SliceColumns, SliceMetrics};
use half::HalfScorer;
pub use looked_up::{check_looked_up, lookups};
use present::present;

/// Returns the model folder that `path` names: `path` itself, or `model` inside a run folder of `ncs train`.
pub fn model_folder(path: &Path) -> PathBuf {
    let inner = path.join("model");
    if inner.is_dir() && !path.join("manifest.json").exists() {
        inner
    } else {
        path.to_owned()
    }
}

/// Loaded model, ready to score.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Folder of the model.
    pub folder: PathBuf,
    /// Contents of the folder.
    pub artifact: Arc<Artifact>,
    /// Scorer built from the artifact.
    pub scorer: Arc<Scorer>,
}

/// Error of loading a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The weights do not match the manifest.
    #[error(
        "{}: the weights are of another network than the manifest; train again, or take the model from where it \
         came from",
        folder.display()
    )]
    Unfit {
        /// Folder of the model.
        folder: PathBuf,
    },
}

impl LoadedModel {
    /// Reads the model that `path` names: a model folder, or a run folder.
    ///
    /// # Errors
    /// There is no model, or its files were modified.
    pub fn open(path: &Path) -> Result<LoadedModel, ModelError> {
        let folder = model_folder(path);
        let artifact = Artifact::read(&folder)?;
        LoadedModel::of(artifact, folder)
    }

    /// Opens the model as [`LoadedModel::open`] does, but leaves the vectors of tables in the file of the weights, which is
    /// mapped: memory may be smaller than the tables, and scores are the same.
    ///
    /// # Errors
    /// Those of [`LoadedModel::open`].
    pub fn map(path: &Path) -> Result<LoadedModel, ModelError> {
        let folder = model_folder(path);
        let artifact = Artifact::map(&folder)?;
        LoadedModel::of(artifact, folder)
    }

    fn of(artifact: Artifact, folder: PathBuf) -> Result<LoadedModel, ModelError> {
        match Scorer::new(&artifact) {
            None => Err(ModelError::Unfit { folder }),
            Some(scorer) => Ok(LoadedModel {
                folder,
                artifact: Arc::new(artifact),
                scorer: Arc::new(scorer),
            }),
        }
    }

    /// Returns the schema of the input rows.
    pub fn schema(&self) -> &Arc<Schema> {
        self.scorer.schema()
    }

    /// Returns the names of the score columns: the tasks, then the product of each task that is defined on another's
    /// positives.
    pub fn outputs(&self) -> Vec<String> {
        let tasks = self.schema().tasks.iter().map(|task| task.name.clone());
        let products = self.schema().products().into_iter();
        tasks.chain(products.map(|product| product.name)).collect()
    }
}

/// Labelled or unlabelled rows to score.
#[derive(Debug)]
pub enum Rows {
    /// Files, in order.
    Files {
        /// Paths of the files.
        files: Vec<PathBuf>,
        /// Options of the reader.
        reading: Reading,
    },
    /// Record batches of a calling program.
    Frame {
        /// The batches.
        frame: Frame,
        /// Files of features by id.
        lookups: Vec<Lookup>,
    },
}

impl Rows {
    /// Returns the name used for the rows in messages, and their columns; `None` if there are no files.
    fn columns(&self) -> Result<Option<(PathBuf, Vec<String>)>, ReadError> {
        match self {
            Rows::Files { files, reading } => ncs_readers::first_column_names(files, reading),
            Rows::Frame { frame, lookups } => {
                let name = Path::new(frame.name());
                looked_up::with_looked_up(frame.columns(), name, lookups).map(Some)
            }
        }
    }

    /// Opens the rows as encoded batches; the columns `keep` are also returned unchanged.
    ///
    /// # Errors
    /// A frame lacks a column, or has one of an unsupported type.
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
            Rows::Frame { frame, lookups } => {
                Encoded::of_frame(frame, &lookups, encoder, with_labels, keep)
            }
        }
    }
}

/// Returns the schema of rows of which the columns of weights, true probabilities and groups may be missing, and
/// whether all labels are there.
///
/// # Errors
/// The columns of the rows cannot be read.
pub(crate) fn present_schema(
    schema: &Arc<Schema>,
    rows: &Rows,
    note: &mut dyn FnMut(String),
) -> Result<(Arc<Schema>, bool), ReadError> {
    let Some((file, columns)) = rows.columns()? else {
        return Ok((schema.clone(), true));
    };
    let has_label = |task: &Task| columns.contains(&task.label);
    if !schema.tasks.iter().all(has_label) {
        return Ok((schema.clone(), false));
    }
    Ok((present(schema, &file, &columns, note), true))
}

/// Creates a workspace with `threads` threads (default: all cores).
pub fn pass(threads: Option<usize>) -> Workspace {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Workspace::new(threads.unwrap_or_else(cores))
}

/// Error of an interrupted command.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stopped; {left_undone}")]
pub struct Stopped {
    /// Description of the unfinished work.
    pub left_undone: &'static str,
}

/// Scores rows: calls `each`, in order, with the kept columns of some rows and their scores `[output][row]`. Returns
/// the columns compared with those of the training.
///
/// # Errors
/// A row cannot be read or has no score, `each` fails, or `stop` was set.
pub fn score(
    model: &LoadedModel,
    encoded: &mut Encoded,
    pass: &mut Workspace,
    precision: Precision,
    stop: &AtomicBool,
    mut each: impl FnMut(Block, Vec<Vec<f32>>) -> Result<(), Error>,
) -> Result<PartColumns, Error> {
    let scorer = &model.scorer;
    let products = scorer.schema().products();
    let rank = HalfScorer::new(model, precision)?;
    let mut coverage = Coverage::new(scorer.schema());
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next?;
        if stop.load(Ordering::Relaxed) {
            let left_undone = "no scores were written";
            return Err(Stopped { left_undone }.into());
        }
        let mut scores = match &rank {
            Some(rank) => rank.score(&batch, pass.n_threads()),
            None => scorer.score(&batch, pass),
        };
        check_scores(&rows, &batch, &scores, scorer)?;
        cover(&mut coverage, scorer, &rows, &batch);
        let of_rows = products.iter().map(|product| product.of(&scores));
        let of_rows: Vec<Vec<f32>> = of_rows.collect();
        scores.extend(of_rows);
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

/// Result of an evaluation on labelled rows; its JSON is the output of `ncs evaluate --json`.
#[derive(Debug)]
pub struct Evaluation {
    /// Metrics.
    pub metrics: Metrics,
    /// Columns compared with those of the training.
    pub columns: PartColumns,
    /// Metrics of the slices that were asked for: by column, values with the most rows first.
    pub slices: Vec<SliceMetrics>,
    /// Notes for the user.
    pub notes: Vec<Note>,
}

impl Serialize for Evaluation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// JSON form: the metrics, with the columns and notes beside them.
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            metrics: &'a Metrics,
            columns: &'a [ColumnCoverage],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            slices: &'a [SliceMetrics],
            notes: &'a [Note],
        }
        let shown = Shown {
            metrics: &self.metrics,
            columns: &self.columns.columns,
            slices: &self.slices,
            notes: &self.notes,
        };
        shown.serialize(serializer)
    }
}

/// Callbacks of an evaluation.
pub struct EvaluationListener<'a> {
    /// Called with a note on each omitted part.
    pub note: &'a mut dyn FnMut(String),
    /// Called with the number of further rows processed.
    pub advance: &'a mut dyn FnMut(u64),
    /// Called at the end with the reader, to report on the files.
    pub finish: &'a mut dyn FnMut(&Encoded) -> Result<(), ReadError>,
}

/// Evaluates a model on labelled rows, and within the rows of each value of the columns `slices`.
///
/// # Errors
/// The rows cannot be read, a row has no score, a label or a column of `slices` is absent, or `stop` was set.
pub fn evaluate(
    model: &LoadedModel,
    rows: Rows,
    slices: &[String],
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<Evaluation, Error> {
    let mut columns_of_slices = SliceColumns::new(slices);
    let labelled = Labelled {
        before_calibration: false,
        keep: slices,
        kept: &mut |rows, block| Ok(columns_of_slices.add(rows, &block)?),
    };
    let (predictions, columns) = predictions(model, rows, labelled, pass, stop, listener)?;
    let metrics = Metrics::of(&predictions, &MetricSettings::default())?;
    let columns = part_columns(model, columns);
    let mut notes = doubts("these rows", &predictions, &metrics);
    notes.extend(columns.remarks());
    let (slices, beyond) = columns_of_slices.finish();
    if beyond > 0 {
        notes.push(Note {
            warning: false,
            text: format!("{beyond} values of the slice columns have fewer rows than those shown."),
        });
    }
    Ok(Evaluation {
        slices: slices::metrics(&predictions, slices),
        metrics,
        columns,
        notes,
    })
}

/// Values that are read from labelled rows besides their labels.
pub(crate) struct Labelled<'a> {
    /// Whether scores are those before the calibrators.
    pub(crate) before_calibration: bool,
    /// Columns of the files to pass on unchanged.
    pub(crate) keep: &'a [String],
    /// Called for each block with these columns of its rows.
    pub(crate) kept: &'a mut dyn FnMut(&RowsBlock, Block) -> Result<(), Error>,
}

/// Returns labels and scores of all rows, and their columns compared with those of the training.
///
/// # Errors
/// The errors of [`evaluate`], and those of `labelled.kept`.
pub(crate) fn predictions(
    model: &LoadedModel,
    rows: Rows,
    labelled: Labelled<'_>,
    pass: &mut Workspace,
    stop: &AtomicBool,
    listener: &mut EvaluationListener<'_>,
) -> Result<(Predictions, Vec<ColumnCoverage>), Error> {
    let scorer = &model.scorer;
    check_looked_up(model, &rows)?;
    let schema = match rows.columns()? {
        Some((file, columns)) => present(scorer.schema(), &file, &columns, listener.note),
        None => scorer.schema().clone(),
    };
    let tasks = schema.tasks.clone();
    let mut predictions = predict::empty_predictions(&tasks);
    let mut coverage = Coverage::new(&schema);
    let encoded = rows.encoded(Encoder::new(schema), true, labelled.keep);
    let mut encoded = encoded.map_err(|error| absent_label(error, &tasks))?;
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next.map_err(|error| absent_label(error, &tasks))?;
        if stop.load(Ordering::Relaxed) {
            let left_undone = "nothing was evaluated";
            return Err(Stopped { left_undone }.into());
        }
        let scores = if labelled.before_calibration {
            scorer.score_uncalibrated(&batch, pass)
        } else {
            scorer.score(&batch, pass)
        };
        check_scores(&rows, &batch, &scores, scorer)?;
        cover(&mut coverage, scorer, &rows, &batch);
        (labelled.kept)(&rows, encoded.kept(&rows.block))?;
        predict::append(&mut predictions, &batch, &scores);
        (listener.advance)(batch.n_rows as u64);
    }
    (listener.finish)(&encoded)?;
    let columns = coverage.finish(|field, id| scorer.is_unseen(field, id));
    Ok((predictions, columns))
}

/// Error: a label is absent from the rows to evaluate.
#[derive(Debug, thiserror::Error)]
#[error(
    "{error}; it is the label of task {task:?}, and a model is evaluated by labels (ncs score needs none)"
)]
pub struct AbsentLabel {
    /// Missing column, with its location.
    pub error: ReadError,
    /// Task of the label.
    pub task: String,
}

/// Converts the error of a missing column to [`AbsentLabel`] if the column is a label.
pub(crate) fn absent_label(error: ReadError, tasks: &[Task]) -> Error {
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

/// Counts rows, comparing them with the training data of `scorer`.
pub(crate) fn cover(coverage: &mut Coverage, scorer: &Scorer, rows: &RowsBlock, batch: &Batch) {
    let all: Vec<usize> = (0..batch.n_rows).collect();
    let place = |row| {
        let (file, row) = place(rows, row);
        format!("{}: row {row}", file.display())
    };
    coverage.observe_rows(&rows.block, batch, &all, place, |field, id| {
        scorer.is_unseen(field, id)
    });
}

/// Returns file and row (counted from 1) of row `row` (counted from 0) of a block.
fn place(rows: &RowsBlock, row: usize) -> (PathBuf, u64) {
    (rows.file.clone(), rows.in_file(row as u64 + 1))
}

/// Error: a score is NaN.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: row {row}: {what}", file.display())]
pub struct NoScore {
    /// File of the row.
    pub file: PathBuf,
    /// Row in the file, from 1.
    pub row: u64,
    /// Column that causes it, if known.
    pub column: Option<String>,
    /// Description of the problem.
    pub what: String,
}

/// Fails if a score is NaN, naming the row and, if known, the column and value that cause it.
pub(crate) fn check_scores(
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
