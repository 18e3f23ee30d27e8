//! Preview of the tasks.

use std::collections::HashSet;

use ncs_features::labels::labels;
use ncs_features::value::TextBuffer;
use ncs_features::{Population, Task};
use ncs_readers::{ReadError, RowsBlock};
use serde::Serialize;

use crate::progress::grouped;

/// Preview of a task from the first rows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskLook {
    /// The task's name.
    pub(crate) name: String,
    /// Column of the label.
    pub(crate) label: String,
    /// Number of rows in the task's population.
    pub(crate) rows: u64,
    /// Number of these rows with a known label.
    pub(crate) known: u64,
    /// Number of these rows with a label above 0.
    pub(crate) positives: u64,
    /// Positives divided by known.
    pub(crate) rate: Option<f64>,
    /// Smallest label.
    pub(crate) min: Option<f32>,
    /// Largest label.
    pub(crate) max: Option<f32>,
}

impl TaskLook {
    /// Returns the reason why nothing can be learned from these labels, if so.
    pub(crate) fn fault(&self) -> Option<String> {
        let TaskLook {
            name, label, known, ..
        } = self;
        match (self.min, self.max) {
            (None, _) => Some(format!(
                "task {name:?}: no row has a known label in column {label:?}; check the column \
                 and the setting where"
            )),
            (Some(least), Some(most)) if least == most => Some(format!(
                "task {name:?}: the label {label:?} is {least} on all {known} rows where it is \
                 known; nothing can be learned from a constant: check the column, or leave the \
                 task out"
            )),
            _ => None,
        }
    }
}

/// Returns the preview of each task.
///
/// # Errors
/// Fails if a label is invalid.
pub(super) fn tasks(tasks: &[Task], blocks: &[RowsBlock]) -> Result<Vec<TaskLook>, ReadError> {
    let mut looks: Vec<TaskLook> = tasks.iter().map(no_rows).collect();
    for rows in blocks {
        let labels = labels(tasks, &rows.block).map_err(|error| rows.error(error))?;
        for (task, (look, own)) in tasks.iter().zip(looks.iter_mut().zip(&labels)) {
            look.rows += match task.population {
                Population::All => own.len() as u64,
                Population::Where(other) => ones(&labels[other]),
            };
            own.iter()
                .filter(|label| !label.is_nan())
                .for_each(|label| look.add(*label));
        }
    }
    looks.iter_mut().for_each(TaskLook::take_rate);
    Ok(looks)
}

/// Returns the labels of all rows, `[task][row]`.
pub(super) fn labels_of(tasks: &[Task], blocks: &[RowsBlock]) -> Result<Vec<Vec<f32>>, ReadError> {
    let mut all = vec![Vec::new(); tasks.len()];
    for rows in blocks {
        let labels = labels(tasks, &rows.block).map_err(|error| rows.error(error))?;
        all.iter_mut()
            .zip(labels)
            .for_each(|(all, own)| all.extend(own));
    }
    Ok(all)
}

/// Warns about rows that are positive for a task restricted to another's positives, but not positive for that
/// other: conversions without a click.
pub(super) fn unclicked(tasks: &[Task], blocks: &[RowsBlock]) -> Result<Vec<String>, ReadError> {
    let unrestricted: Vec<Task> = tasks.iter().map(with_all_rows).collect();
    let labels = labels_of(&unrestricted, blocks)?;
    let of_task = |(task, own): (&Task, &Vec<f32>)| {
        let Population::Where(other) = task.population else {
            return None;
        };
        let pairs = own.iter().zip(&labels[other]);
        let count = |matches: fn(f32) -> bool| {
            pairs
                .clone()
                .filter(|(own, other)| **own > 0.0 && matches(**other))
                .count() as u64
        };
        let (zero, unknown) = (count(|other| other == 0.0), count(f32::is_nan));
        let n = own.iter().filter(|label| **label > 0.0).count() as u64;
        (zero + unknown > 0).then(|| {
            format!(
                "task {:?}: of {} rows whose label {:?} is above 0, {} have a {:?} of 0{}: they are \
                 ignored, since the task is restricted to rows where that is 1; check how the two were joined",
                task.name,
                grouped(n),
                task.label,
                grouped(zero),
                tasks[other].label,
                match unknown {
                    0 => String::new(),
                    unknown => format!(", and {} have none", grouped(unknown)),
                }
            )
        })
    };
    Ok(tasks.iter().zip(&labels).filter_map(of_task).collect())
}

/// Warns if the group column forms no groups. `which` describes the previewed rows: `on all rows`.
pub(super) fn ungrouped(group: Option<&str>, blocks: &[RowsBlock], which: &str) -> Option<String> {
    let group = group?;
    let mut names = HashSet::new();
    let mut buffer = TextBuffer::default();
    for block in blocks.iter().map(|rows| &rows.block) {
        let column = block.column(group)?;
        for row in 0..block.n_rows {
            // The rows have been encoded before, so each has at most one value. Nulls are handled separately.
            let name = match column.only(row) {
                Ok(Some(i)) => buffer.text(&column.values, i).to_vec(),
                _ => Vec::new(),
            };
            names.insert(name);
            if names.len() > 1 {
                return None;
            }
        }
    }
    let what = if names.contains(b"".as_slice()) {
        "null: there is no grouped AUC, and intervals resample single rows"
    } else {
        "the same: grouped AUC is the AUC, and there are no intervals, which resample whole groups"
    };
    (!names.is_empty()).then(|| {
        format!(
            "evaluation.group: column {group:?} is {what} ({which}); set it to the column of an impression, a session or \
             a user, or leave evaluation.group out"
        )
    })
}

/// Returns the task with all rows as its population.
fn with_all_rows(task: &Task) -> Task {
    Task {
        population: Population::All,
        ..task.clone()
    }
}

fn ones(labels: &[f32]) -> u64 {
    labels.iter().filter(|label| **label == 1.0).count() as u64
}

fn no_rows(task: &Task) -> TaskLook {
    TaskLook {
        name: task.name.clone(),
        label: task.label.clone(),
        rows: 0,
        known: 0,
        positives: 0,
        rate: None,
        min: None,
        max: None,
    }
}

impl TaskLook {
    fn add(&mut self, label: f32) {
        self.known += 1;
        self.positives += u64::from(label > 0.0);
        self.min = Some(self.min.map_or(label, |least| least.min(label)));
        self.max = Some(self.max.map_or(label, |most| most.max(label)));
    }

    fn take_rate(&mut self) {
        self.rate = (self.known > 0).then(|| self.positives as f64 / self.known as f64);
    }
}
