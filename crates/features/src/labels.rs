//! Labels of rows: the population of each task, and counts of labels.

use crate::batch::{Batch, RowTerms};
use crate::block::{Block, Column, Values};
use crate::error::EncodeError;
use crate::objective::Objective;
pub use crate::row_terms::terms;
use crate::schema::{Population, Task};
use crate::value::{number_of_text, shown_label};
use serde::{Deserialize, Serialize};

/// Returns the labels of every task, `[task][row]`: NaN if null, empty, NaN, or outside the task's
/// population.
///
/// # Errors
/// A label's column is absent; a binary label is neither the number 0 or 1 nor a text of one (`1`, `1.00`,
/// `1e0`, `+1`, `true`); a ratio, a count or an amount is negative or not finite; another number is not finite.
pub fn labels(tasks: &[Task], block: &Block) -> Result<Vec<Vec<f32>>, EncodeError> {
    let read = |task: &Task| {
        let column = block.require(&task.label, &format!("the label of task \"{}\"", task.name))?;
        (0..block.n_rows)
            .map(|row| label(task, column, row))
            .collect()
    };
    let all: Vec<Vec<f32>> = tasks.iter().map(read).collect::<Result<_, _>>()?;
    let kept = |t: usize, row: usize| {
        if is_about(tasks, &all, t, row) {
            all[t][row]
        } else {
            f32::NAN
        }
    };
    let of_task = |t: usize| (0..block.n_rows).map(|row| kept(t, row)).collect();
    Ok((0..tasks.len()).map(of_task).collect())
}

/// Returns the true probabilities of every task, `[task][row]`; empty for a task without them, NaN for a
/// null.
///
/// # Errors
/// A column is absent or holds something other than finite numbers.
pub fn truths(tasks: &[Task], block: &Block) -> Result<Vec<Vec<f32>>, EncodeError> {
    let read = |task: &Task| {
        let Some(name) = &task.truth else {
            return Ok(Vec::new());
        };
        let column = block.require(name, &format!("the truth of task \"{}\"", task.name))?;
        (0..block.n_rows).map(|row| truth(column, row)).collect()
    };
    tasks.iter().map(read).collect()
}

fn truth(column: &Column, row: usize) -> Result<f32, EncodeError> {
    let number = match column.only(row)? {
        Some(i) => column.number(row, i)?,
        None => None,
    };
    Ok(number.map_or(f32::NAN, |x| x as f32))
}

/// Returns true if row `row` is in the population of task `t`, of the task that it refers to, and so on. A
/// chain has at most as many tasks as the schema.
fn is_about(tasks: &[Task], labels: &[Vec<f32>], t: usize, row: usize) -> bool {
    let mut population = tasks[t].population;
    for _ in tasks {
        let Population::Where(other) = population else {
            return true;
        };
        if labels[other][row] != 1.0 {
            return false;
        }
        population = tasks[other].population;
    }
    true
}

fn label(task: &Task, column: &Column, row: usize) -> Result<f32, EncodeError> {
    let Some(i) = column.only(row)? else {
        return Ok(f32::NAN);
    };
    let (found, wanted) = match task.objective {
        Objective::Value(value) if !value.loss.is_of_exponential() => {
            (finite(&column.values, i), "a finite number")
        }
        Objective::Ratio | Objective::Value(_) => {
            (ratio(&column.values, i), "a finite number, at least 0")
        }
        _ => (binary(&column.values, i), "0 or 1"),
    };
    found.ok_or_else(|| EncodeError::Label {
        column: column.name.clone(),
        row: row as u64 + 1,
        task: task.name.clone(),
        found: shown_label(&column.values, i),
        wanted,
    })
}

fn binary(values: &Values, i: usize) -> Option<f32> {
    match label_number(values, i)? {
        0.0 => Some(0.0),
        1.0 => Some(1.0),
        _ => None,
    }
}

fn ratio(values: &Values, i: usize) -> Option<f32> {
    finite(values, i).filter(|ratio| *ratio >= 0.0)
}

fn finite(values: &Values, i: usize) -> Option<f32> {
    let number = label_number(values, i)? as f32;
    number.is_finite().then_some(number)
}

/// Returns the number of a value or of its text; `None` for dates and times, since midnight is not a label.
pub(crate) fn label_number(values: &Values, i: usize) -> Option<f64> {
    match values {
        Values::Int(numbers) => Some(numbers[i] as f64),
        Values::Float(numbers) => Some(numbers[i]),
        Values::Text(texts) => number_of_text(texts.get(i)),
        Values::Time(_) => None,
    }
}

/// Number of rows, and counts of their known labels, task by task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// Number of rows.
    pub rows: u64,
    /// One for each task.
    pub tasks: Vec<TaskCounts>,
}

/// The labels of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Rows whose label is known.
    pub known: u64,
    /// Rows whose label is above 0.
    pub positives: u64,
    /// The smallest and the largest label; `None` where none is known.
    pub range: Option<(f32, f32)>,
    /// The sums of the weights of the rows whose label is known and of those whose label is above 0, as if no row of
    /// label 0 had been left out; `None` where every row counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masses: Option<[f64; 2]>,
}

impl LabelCounts {
    /// Creates counts without rows for `n_tasks` tasks.
    pub fn new(n_tasks: usize) -> LabelCounts {
        LabelCounts {
            rows: 0,
            tasks: vec![TaskCounts::default(); n_tasks],
        }
    }

    /// Counts the rows of a batch.
    pub fn observe(&mut self, batch: &Batch) {
        self.rows += batch.n_rows as u64;
        for (t, (task, labels)) in self.tasks.iter_mut().zip(&batch.labels).enumerate() {
            labels.iter().for_each(|&label| task.observe(label));
            task.weigh(labels, batch.terms(t));
        }
    }
}

impl TaskCounts {
    fn observe(&mut self, label: f32) {
        if label.is_nan() {
            return;
        }
        self.known += 1;
        self.positives += u64::from(label > 0.0);
        let (least, most) = self.range.unwrap_or((label, label));
        self.range = Some((least.min(label), most.max(label)));
    }

    /// Adds the weights of rows, if they have some.
    fn weigh(&mut self, labels: &[f32], terms: &RowTerms) {
        if !terms.weigh() {
            return;
        }
        let masses = self.masses.get_or_insert_default();
        for (row, label) in labels.iter().enumerate().filter(|(_, l)| !l.is_nan()) {
            let weight = terms.weight_among_all(row, *label);
            masses[0] += weight;
            masses[1] += if *label > 0.0 { weight } else { 0.0 };
        }
    }

    /// Returns the weight of the rows whose label is known, and of those whose label is above 0.
    pub fn masses(&self) -> [f64; 2] {
        self.masses
            .unwrap_or([self.known as f64, self.positives as f64])
    }

    /// Returns the share of positives by weight; not a number where no label is known.
    pub fn weighted_rate(&self) -> f64 {
        let [known, positives] = self.masses();
        positives / known
    }

    /// Returns the label that every known row has, if they all have the same.
    pub fn constant(&self) -> Option<f32> {
        self.range
            .filter(|(least, most)| least == most)
            .map(|(label, _)| label)
    }

    /// Returns the share of positives among the rows with known labels; 0 if there are none.
    pub fn rate(&self) -> f64 {
        self.positives as f64 / self.known.max(1) as f64
    }
}
