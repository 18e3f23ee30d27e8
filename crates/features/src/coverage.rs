//! Rows against what training saw, column by column: values never seen, nulls, numbers clipped.
//!
//! A value of a vocabulary is seen where the vocabulary holds it (one that was rarer in training than its
//! `min_count` is not); a value of a hashed column where some training row had its bucket. What was seen of
//! hashed columns, [`SeenIds`] tells over rows, and a trained model by the table rows that it holds.

mod frequent;
mod seen;

pub use seen::SeenIds;

use crate::batch::{Batch, FieldIds};
use crate::block::Block;
use crate::schema::{Field, Schema};
use crate::value::{FieldReader, shown_text};
use frequent::Frequent;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// New values that are shown of a column.
const SHOWN: usize = 5;

/// What some rows hold of a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnCoverage {
    /// The feature's name.
    pub column: String,
    /// Number of rows.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Values that are not missing, list items one by one.
    pub values: u64,
    /// Values of them that training never saw; 0 for numbers.
    pub unseen: u64,
    /// Numbers that were clipped to `range`.
    pub clipped: u64,
    /// The range of the training rows, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// The first number that was clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_clipped: Option<Clipped>,
    /// The most frequent values that training never saw, where the rows' texts were at hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_values: Vec<NewValue>,
    /// The labels of rows by whether they hold an unseen value, one for each task with known labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelsBySeen>,
}

/// A number that was clipped, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clipped {
    /// Its file and row.
    pub place: String,
    /// The number.
    pub value: f64,
}

/// A value that training never saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewValue {
    /// Its text, control characters escaped, at most 60 characters.
    pub value: String,
    /// How often it was found, at least.
    pub count: u64,
    /// Its id; 1 in a vocabulary.
    #[serde(skip)]
    pub id: u32,
}

/// The labels of a task by whether their row holds a value that training never saw; rows without a value are
/// in neither.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelsBySeen {
    /// The task's name.
    pub task: String,
    /// Rows all of whose values were seen.
    pub seen: KnownLabels,
    /// Rows with a value that was not.
    pub unseen: KnownLabels,
}

/// Known labels and those above 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownLabels {
    /// Labels that are known.
    pub known: u64,
    /// Labels above 0.
    pub positives: u64,
}

impl KnownLabels {
    fn add(&mut self, label: f32) {
        self.known += u64::from(!label.is_nan());
        self.positives += u64::from(label > 0.0);
    }

    /// Share of positives; `None` where no label is known.
    pub fn rate(&self) -> Option<f64> {
        (self.known > 0).then(|| self.positives as f64 / self.known as f64)
    }
}

/// Shares of a column, to compare those of other rows with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Of values that training never saw, among values.
    pub unseen: f64,
    /// Of rows without a value, among rows.
    pub nulls: f64,
}

/// A share that jumped against the rows that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// That of values that training never saw.
    Unseen,
    /// That of nulls.
    Nulls,
}

impl ColumnCoverage {
    /// Its shares; 0 where there is nothing to have one.
    pub fn shares(&self) -> Shares {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        Shares {
            unseen: share(self.unseen, self.values),
            nulls: share(self.nulls, self.rows),
        }
    }

    /// Whether a share is far above that of `reference`: at least half, and what it leaves is less than half
    /// of what the reference's leaves. Without a reference, only 95 % and more is far above.
    pub fn jump(&self, reference: Option<Shares>) -> Option<Jump> {
        let own = self.shares();
        let is_jump = |share: f64, before: Option<f64>| match before {
            None => share >= 0.95,
            Some(before) => share >= 0.5 && 1.0 - share < (1.0 - before) / 2.0,
        };
        if is_jump(own.unseen, reference.map(|shares| shares.unseen)) {
            Some(Jump::Unseen)
        } else if is_jump(own.nulls, reference.map(|shares| shares.nulls)) {
            Some(Jump::Nulls)
        } else {
            None
        }
    }
}

/// Counts rows, batch by batch.
#[derive(Clone, Debug)]
pub struct Coverage {
    schema: Arc<Schema>,
    columns: Vec<ColumnCoverage>,
    /// One for each column.
    new_values: Vec<Frequent>,
}

impl Coverage {
    /// No rows yet.
    pub fn new(schema: &Arc<Schema>) -> Coverage {
        let labels = |_: &Field| -> Vec<LabelsBySeen> {
            let of_task = |task: &crate::schema::Task| LabelsBySeen {
                task: task.name.clone(),
                ..LabelsBySeen::default()
            };
            schema.tasks.iter().map(of_task).collect()
        };
        let column = |field: &Field| ColumnCoverage {
            column: field.name.clone(),
            range: schema.tables[field.table].range,
            labels: labels(field),
            ..ColumnCoverage::default()
        };
        Coverage {
            columns: schema.fields.iter().map(column).collect(),
            new_values: vec![Frequent::default(); schema.fields.len()],
            schema: schema.clone(),
        }
    }

    /// Counts all rows of a batch, whose texts are not at hand. `is_unseen(field, id)` says what training
    /// never saw.
    pub fn observe(&mut self, batch: &Batch, is_unseen: impl Fn(usize, u32) -> bool) {
        let rows: Vec<usize> = (0..batch.n_rows).collect();
        for (f, column) in self.columns.iter_mut().enumerate() {
            column.count(&batch.fields[f], &batch.labels, &rows, |id| {
                is_unseen(f, id)
            });
        }
    }

    /// Counts the rows `rows` (ascending) of a batch, and the texts of `block`, which it was encoded from.
    /// `place(row)` says where a row stands, for messages.
    pub fn observe_rows(
        &mut self,
        block: &Block,
        batch: &Batch,
        rows: &[usize],
        place: impl Fn(usize) -> String,
        is_unseen: impl Fn(usize, u32) -> bool,
    ) {
        let schema = self.schema.clone();
        for (f, field) in schema.fields.iter().enumerate() {
            let ids = &batch.fields[f];
            let is_unseen = |id| is_unseen(f, id);
            let column = &mut self.columns[f];
            let fresh = column.count(ids, &batch.labels, rows, is_unseen);
            let clipped = ids.clipped.iter().map(|&row| row as usize);
            let clipped: Vec<usize> = clipped
                .filter(|row| rows.binary_search(row).is_ok())
                .collect();
            column.clipped += clipped.len() as u64;
            // The rows were encoded, so that they can be read.
            let Ok(mut reader) = FieldReader::new(field, block, schema.value_rule) else {
                continue;
            };
            if let (Some(&row), None, Some(range)) =
                (clipped.first(), &column.first_clipped, column.range)
            {
                let value = first_beyond(&mut reader, row, range);
                let place = place(row);
                column.first_clipped = value.map(|value| Clipped { place, value });
            }
            for row in fresh {
                let mut row_ids = ids.ids[ids.range(row)].iter();
                let new_values = &mut self.new_values[f];
                let _ = reader.texts(row, |text| {
                    let id = row_ids
                        .next()
                        .copied()
                        .filter(|&id| id > 0 && is_unseen(id));
                    if let (Some(text), Some(id)) = (text, id) {
                        new_values.add(text, id);
                    }
                    Ok(())
                });
            }
        }
    }

    /// What was counted, with the most frequent new values. `is_unseen` says which of them are new after all
    /// rows are known; a task without known labels is left out.
    pub fn finish(self, is_unseen: impl Fn(usize, u32) -> bool) -> Vec<ColumnCoverage> {
        let columns = self.columns.into_iter().zip(self.new_values).enumerate();
        let finished = |(f, (mut column, new_values)): (usize, (ColumnCoverage, Frequent))| {
            let new = new_values.most_frequent().into_iter();
            let new = new.filter(|(_, id, _)| is_unseen(f, *id)).take(SHOWN);
            column.new_values = new
                .map(|(text, id, count)| NewValue {
                    value: escaped(&text),
                    count,
                    id,
                })
                .collect();
            let has_labels = |labels: &LabelsBySeen| labels.seen.known + labels.unseen.known > 0;
            column.labels.retain(has_labels);
            column
        };
        columns.map(finished).collect()
    }
}

impl ColumnCoverage {
    /// Counts some rows and returns those with an unseen value.
    fn count(
        &mut self,
        ids: &FieldIds,
        labels: &[Vec<f32>],
        rows: &[usize],
        is_unseen: impl Fn(u32) -> bool,
    ) -> Vec<usize> {
        let mut fresh = Vec::new();
        // A number may have several ids: it is one value.
        let is_number = !ids.weights.is_empty();
        for &row in rows {
            let row_ids = &ids.ids[ids.range(row)];
            let values = row_ids.iter().filter(|&&id| id > 0).count();
            let unseen = match is_number {
                true => 0,
                false => row_ids
                    .iter()
                    .filter(|&&id| id > 0 && is_unseen(id))
                    .count(),
            };
            self.rows += 1;
            self.nulls += u64::from(values == 0);
            self.values += if is_number { values.min(1) } else { values } as u64;
            self.unseen += unseen as u64;
            if unseen > 0 {
                fresh.push(row);
            }
            if values > 0 {
                self.count_labels(labels, row, unseen > 0);
            }
        }
        fresh
    }

    fn count_labels(&mut self, labels: &[Vec<f32>], row: usize, has_unseen: bool) {
        for (counts, labels) in self.labels.iter_mut().zip(labels) {
            if let Some(&label) = labels.get(row) {
                let counts = if has_unseen {
                    &mut counts.unseen
                } else {
                    &mut counts.seen
                };
                counts.add(label);
            }
        }
    }
}

/// The first number of a row beyond the range.
fn first_beyond(reader: &mut FieldReader<'_>, row: usize, [least, most]: [f64; 2]) -> Option<f64> {
    let mut found = None;
    let is_beyond = |x: &f64| *x < least || most < *x;
    let read = reader.numbers(row, |x| found = found.or(x.filter(is_beyond)));
    read.ok().and(found)
}

/// On one line and short, whatever the rows hold.
fn escaped(text: &[u8]) -> String {
    let shown = shown_text(text);
    shown
        .chars()
        .flat_map(|c| {
            let escape = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests;
