//! Slices of evaluated rows: the rows of each value of a column.

use indexmap::IndexMap;
use ncs_eval::{Predictions, TaskMetrics, TaskPredictions};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, EncodeError};
use ncs_readers::{ReadError, RowsBlock};
use serde::Serialize;

use crate::task_metrics::metrics_of;

/// Most values of a column that are shown or compared: those with the most rows.
const MOST_VALUES: usize = 50;

/// Name of the slice of rows without a value.
const NO_VALUE: &str = "(no value)";

/// The rows with one value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceRows {
    pub(crate) column: String,
    pub(crate) value: String,
    pub(crate) rows: Vec<usize>,
}

/// Metrics of the rows with one value of a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SliceMetrics {
    /// The column.
    pub column: String,
    /// Its value.
    pub value: String,
    /// Rows with this value.
    pub rows: u64,
    /// Metrics of each task, without intervals; those that need both classes are absent where one is missing.
    pub tasks: IndexMap<String, TaskMetrics>,
}

/// Evaluates the tasks slice by slice.
pub(crate) fn metrics(predictions: &Predictions, slices: Vec<SliceRows>) -> Vec<SliceMetrics> {
    let of_slice = |slice: SliceRows| SliceMetrics {
        rows: slice.rows.len() as u64,
        tasks: predictions
            .tasks
            .iter()
            .map(|task| (task.name.clone(), metrics_of(selected(task, &slice.rows))))
            .collect(),
        column: slice.column,
        value: slice.value,
    };
    slices.into_iter().map(of_slice).collect()
}

/// Returns the labels and scores of some rows.
pub(crate) fn selected(task: &TaskPredictions, rows: &[usize]) -> TaskPredictions {
    let pick = |values: &[f32]| rows.iter().map(|&row| values[row]).collect();
    TaskPredictions {
        name: task.name.clone(),
        kind: task.kind,
        labels: pick(&task.labels),
        scores: pick(&task.scores),
        truths: Vec::new(),
        weights: if task.weights.is_empty() {
            Vec::new()
        } else {
            pick(&task.weights)
        },
    }
}

/// Collects the values of slice columns, row by row.
#[derive(Clone, Debug)]
pub(crate) struct SliceColumns {
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
    pub(crate) fn new(names: &[String]) -> SliceColumns {
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
    pub(crate) fn add(&mut self, rows: &RowsBlock, block: &Block) -> Result<(), ReadError> {
        self.add_block(block).map_err(|error| rows.error(error))
    }

    /// Does the same without a place for an error.
    ///
    /// # Errors
    /// A row holds several values.
    pub(crate) fn add_block(&mut self, block: &Block) -> Result<(), EncodeError> {
        let mut buffer = TextBuffer::default();
        for slice in &mut self.columns {
            let Some(column) = block.column(&slice.name) else {
                continue;
            };
            for row in 0..block.n_rows {
                let only = column.only(row)?;
                let value = only.map(|i| String::from_utf8_lossy(buffer.text(&column.values, i)));
                let value = value.map_or(NO_VALUE.to_owned(), |value| value.into_owned());
                slice.values.entry(value).or_default().push(slice.n_rows);
                slice.n_rows += 1;
            }
        }
        Ok(())
    }

    /// Returns the rows of the most frequent values of each column, and the number of further values.
    pub(crate) fn finish(self) -> (Vec<SliceRows>, usize) {
        let (mut slices, mut beyond) = (Vec::new(), 0);
        for mut column in self.columns {
            beyond += column.values.len().saturating_sub(MOST_VALUES);
            column.values.sort_by(|a, rows_a, b, rows_b| {
                rows_b.len().cmp(&rows_a.len()).then_with(|| a.cmp(b))
            });
            let values = column.values.into_iter().take(MOST_VALUES);
            slices.extend(values.map(|(value, rows)| SliceRows {
                column: column.name.clone(),
                value,
                rows,
            }));
        }
        (slices, beyond)
    }
}
