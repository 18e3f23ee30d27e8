//! Labels of rows, the scores of two models, and the slices that the rows are in.

use crate::error::Error;
use std::sync::Arc;

use indexmap::IndexMap;
use ncs_eval::auc::{funnel_labels, funnel_scores};
use ncs_eval::{Predictions, TaskPredictions};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Schema};
use ncs_readers::RowsBlock;

/// Most values of a slice column that are compared: those with the most rows.
const MOST_VALUES: usize = 50;

/// Name of the slice of rows without a value.
const NO_VALUE: &str = "(no value)";

/// One task of both models on the same rows.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The candidate's; `None`: it has no such task.
    pub(super) candidate: Option<TaskPredictions>,
    /// The live model's; `None`: there is no live model, or it has no such task.
    pub(super) live: Option<TaskPredictions>,
}

impl Pair {
    pub(super) fn name(&self) -> &str {
        let task = self.candidate.as_ref().or(self.live.as_ref());
        task.map_or("", |task| &task.name)
    }
}

/// The tasks of two models and the slices of their rows.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// The tasks, in the order of the live model, then further ones of the candidate.
    pub(super) tasks: Vec<Pair>,
    /// The rows of each value, by column.
    pub(super) slices: Vec<(String, String, Vec<usize>)>,
    /// Values of slice columns beyond those that are compared.
    pub(super) beyond: usize,
}

impl Pairs {
    /// Pairs the tasks of both models by name.
    ///
    /// # Errors
    /// A task has other labels in one of the models, so that they cannot be compared.
    pub(super) fn new(
        candidate: Predictions,
        live: Option<Predictions>,
        slices: SliceColumns,
    ) -> Result<Pairs, Error> {
        let mut candidates: IndexMap<String, TaskPredictions> = by_name(candidate);
        let live = live.map(by_name).unwrap_or_default();
        let mut tasks = Vec::new();
        for (name, live) in live {
            let candidate = candidates.shift_remove(&name);
            if candidate
                .as_ref()
                .is_some_and(|candidate| !same_labels(candidate, &live))
            {
                return Err(format!(
                    "task {name:?} has other labels in the candidate than in the live model (another label column or \
                     another `where`), so the two cannot be compared; give the task another name in the candidate"
                )
                .into());
            }
            tasks.push(Pair {
                candidate,
                live: Some(live),
            });
        }
        let further = candidates.into_values().map(|candidate| Pair {
            candidate: Some(candidate),
            live: None,
        });
        tasks.extend(further);
        let (slices, beyond) = slices.finish();
        Ok(Pairs {
            tasks,
            slices,
            beyond,
        })
    }
}

fn by_name(predictions: Predictions) -> IndexMap<String, TaskPredictions> {
    let tasks = predictions.tasks.into_iter();
    tasks.map(|task| (task.name.clone(), task)).collect()
}

fn same_labels(one: &TaskPredictions, other: &TaskPredictions) -> bool {
    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    one.binary == other.binary
        && one.labels.len() == other.labels.len()
        && one.labels.iter().zip(&other.labels).all(same)
}

/// Adds the product of a click and a conversion task as a further task, if the model predicts it.
pub(super) fn with_product(mut predictions: Predictions, schema: &Arc<Schema>) -> Predictions {
    let (Some(product), Some((click, conversion))) = (schema.product(), predictions.funnel) else {
        return predictions;
    };
    let [click, conversion] = [click, conversion].map(|task| &predictions.tasks[task]);
    if click.binary && conversion.binary {
        let labels = funnel_labels(&click.labels, &conversion.labels);
        let scores = funnel_scores(&click.scores, &conversion.scores);
        let task = TaskPredictions {
            name: product.name,
            binary: true,
            labels: labels.into_iter().map(|label| label as f32).collect(),
            scores: scores.into_iter().map(|score| score as f32).collect(),
            truths: Vec::new(),
        };
        predictions.tasks.push(task);
    }
    predictions
}

/// Collects the values of slice columns, row by row.
#[derive(Clone, Debug)]
pub(super) struct SliceColumns {
    columns: Vec<SliceColumn>,
}

#[derive(Clone, Debug)]
struct SliceColumn {
    name: String,
    /// The rows of each value.
    values: IndexMap<String, Vec<usize>>,
    n_rows: usize,
}

impl SliceColumns {
    pub(super) fn new(names: &[String]) -> SliceColumns {
        let column = |name: &String| SliceColumn {
            name: name.clone(),
            values: IndexMap::new(),
            n_rows: 0,
        };
        SliceColumns {
            columns: names.iter().map(column).collect(),
        }
    }

    /// Adds the rows of a block. A block without the columns, of a pass that does not read them, adds nothing.
    ///
    /// # Errors
    /// A row holds several values.
    pub(super) fn add(&mut self, rows: &RowsBlock, block: &Block) -> Result<(), Error> {
        let mut buffer = TextBuffer::default();
        for slice in &mut self.columns {
            let Some(column) = block.column(&slice.name) else {
                continue;
            };
            for row in 0..block.n_rows {
                let only = column.only(row).map_err(|error| rows.error(error))?;
                let value = only.map(|i| String::from_utf8_lossy(buffer.text(&column.values, i)));
                let value = value.map_or(NO_VALUE.to_owned(), |value| value.into_owned());
                slice.values.entry(value).or_default().push(slice.n_rows);
                slice.n_rows += 1;
            }
        }
        Ok(())
    }

    /// Returns the rows of the most frequent values of each column, and the number of further values.
    fn finish(self) -> (Vec<(String, String, Vec<usize>)>, usize) {
        let (mut slices, mut beyond) = (Vec::new(), 0);
        for mut column in self.columns {
            beyond += column.values.len().saturating_sub(MOST_VALUES);
            column.values.sort_by(|a, rows_a, b, rows_b| {
                rows_b.len().cmp(&rows_a.len()).then_with(|| a.cmp(b))
            });
            let values = column.values.into_iter().take(MOST_VALUES);
            slices.extend(values.map(|(value, rows)| (column.name.clone(), value, rows)));
        }
        (slices, beyond)
    }
}
