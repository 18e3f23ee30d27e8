//! Coverage of rows by the training rows, column by column: unseen values, nulls, clipped numbers.
//!
//! A value of a vocabulary is seen if the vocabulary holds it (not if it was rarer in training than its
//! `min_count`); a value of a hashed column is seen if some training row had its bucket. For hashed columns,
//! [`SeenIds`] records this over rows, and a trained model by the table rows that it holds.

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

/// Minimum number of rows for a share to be meaningful.
const FEWEST_ROWS: u64 = 10;

/// New values that are shown of a column.
const SHOWN: usize = 5;

/// So many deviations from the mean no column of a log goes, and from there the sums of a network may overflow.
pub const FAR: f32 = 1e6;

/// Returns the scaled number of a row that is farthest from the mean, in deviations, and its field, if it is
/// farther than [`FAR`] or not a number. It is the likely cause of a score that is not a number.
pub fn farthest(batch: &Batch, row: usize) -> Option<(f32, usize)> {
    let scaled = batch.fields.iter().enumerate();
    let scaled = scaled.filter(|(_, ids)| !ids.weights.is_empty());
    let distances = scaled.flat_map(|(f, ids)| {
        let factors = ids.weights[ids.range(row)].iter();
        factors.map(move |factor| (factor.abs(), f))
    });
    // NaN is not within either.
    let is_within = |distance: f32| distance <= FAR;
    let far = distances.filter(|(distance, _)| !is_within(*distance));
    far.max_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// Returns the number of values of a field in all rows of a batch, and of those that training did not see; a
/// number (a field whose rows [`crate::IdSpace::weighs_rows`]) is one value, and has no id.
pub fn count_values(
    ids: &FieldIds,
    is_number: bool,
    is_unseen: impl Fn(u32) -> bool,
) -> (u64, u64) {
    if !ids.numbers.is_empty() {
        let rows = ids.numbers.chunks(ids.width.max(1));
        return (rows.filter(|row| !row[0].is_nan()).count() as u64, 0);
    }
    let known = ids.ids.iter().filter(|&&id| id > 0);
    if !is_number {
        let unseen = known.clone().filter(|&&id| is_unseen(id)).count();
        return (known.count() as u64, unseen as u64);
    }
    let rows = ids.offsets.windows(2);
    let has_number = |ends: &&[u32]| {
        let range = ends[0] as usize..ends[1] as usize;
        ids.ids[range].iter().any(|&id| id > 0)
    };
    (rows.filter(has_number).count() as u64, 0)
}

/// Coverage counts of one column over some rows.
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
    /// First clipped number that lies far beyond the range, or else the first clipped number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_clipped: Option<Clipped>,
    /// The most frequent values that training never saw, where the rows' texts were at hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_values: Vec<NewValue>,
    /// The labels of rows by whether they hold an unseen value, one for each task with known labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelsBySeen>,
}

/// A clipped number and its position.
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
    /// Lower bound of its number of occurrences.
    pub count: u64,
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

    /// Returns the share of positives; `None` where no label is known.
    pub fn rate(&self) -> Option<f64> {
        (self.known > 0).then(|| self.positives as f64 / self.known as f64)
    }
}

/// Shares of a column, to compare those of other rows with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Of values that training never saw, among values; `None`: not known.
    pub unseen: Option<f64>,
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
    /// Returns the shares; 0 without values.
    pub fn shares(&self) -> Shares {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        Shares {
            unseen: Some(share(self.unseen, self.values)),
            nulls: share(self.nulls, self.rows),
        }
    }

    /// Returns true if a number lies more than one range width beyond the range. Numbers that are only
    /// slightly larger than those of the training rows, which any part may have, do not count.
    pub fn has_far_number(&self) -> bool {
        let first = self.first_clipped.as_ref().zip(self.range);
        first.is_some_and(|(first, range)| is_far(first.value, range))
    }

    fn note_clipped(
        &mut self,
        reader: &mut FieldReader<'_>,
        row: usize,
        place: impl Fn() -> String,
    ) {
        let value = self.range.and_then(|range| beyond(reader, row, range));
        let Some(value) = value else { return };
        let is_first = self.first_clipped.is_none();
        if is_first || self.range.is_some_and(|range| is_far(value, range)) {
            self.first_clipped = Some(Clipped {
                place: place(),
                value,
            });
        }
    }

    /// Returns the kind of share that is far above that of `reference`, if any; `None` for less than ten rows.
    /// Far above means: at least half, with a remainder less than half of the reference's remainder. Without a
    /// reference, only 95 % and more is far above.
    pub fn jump(&self, reference: Option<Shares>) -> Option<Jump> {
        if self.rows < FEWEST_ROWS {
            return None;
        }
        let own = self.shares();
        let is_jump = |share: f64, before: Option<f64>| match before {
            None => share >= 0.95,
            Some(before) => share >= 0.5 && 1.0 - share < (1.0 - before) / 2.0,
        };
        if is_jump(
            own.unseen.unwrap_or(0.0),
            reference.and_then(|shares| shares.unseen),
        ) {
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
    /// Creates a counter without rows.
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

    /// Counts all rows of a batch whose texts are not available. `is_unseen(field, id)` returns true for ids
    /// that training did not see.
    pub fn observe(&mut self, batch: &Batch, is_unseen: impl Fn(usize, u32) -> bool) {
        let rows: Vec<usize> = (0..batch.n_rows).collect();
        let labels = Labels::new(&batch.labels, &rows);
        for (f, column) in self.columns.iter_mut().enumerate() {
            let ids = &batch.fields[f];
            let table = &self.schema.tables[self.schema.fields[f].table];
            let is_number = table.ids.weighs_rows();
            let found = column.count(ids, &rows, is_number, |id| is_unseen(f, id));
            column.count_labels(&labels, &found);
        }
    }

    /// Counts the rows `rows` (ascending) of a batch, and the texts of `block`, from which it was encoded.
    /// `place(row)` returns the position of a row, for messages.
    pub fn observe_rows(
        &mut self,
        block: &Block,
        batch: &Batch,
        rows: &[usize],
        place: impl Fn(usize) -> String,
        is_unseen: impl Fn(usize, u32) -> bool,
    ) {
        let schema = self.schema.clone();
        let labels = Labels::new(&batch.labels, rows);
        for (f, field) in schema.fields.iter().enumerate() {
            let ids = &batch.fields[f];
            let is_unseen = |id| is_unseen(f, id);
            let column = &mut self.columns[f];
            let is_number = schema.tables[field.table].ids.weighs_rows();
            let found = column.count(ids, rows, is_number, is_unseen);
            column.count_labels(&labels, &found);
            let clipped = ids.clipped.iter().map(|&row| row as usize);
            let clipped = clipped.filter(|row| rows.binary_search(row).is_ok());
            let clipped: Vec<usize> = clipped.collect();
            column.clipped += clipped.len() as u64;
            let is_derived = schema.parts(f).is_some();
            if is_derived || clipped.is_empty() && found.fresh.is_empty() {
                continue;
            }
            // The rows were encoded, so that they can be read.
            let Ok(mut reader) = FieldReader::new(field, block, schema.value_rule) else {
                continue;
            };
            for row in clipped {
                if column.has_far_number() {
                    break;
                }
                column.note_clipped(&mut reader, row, || place(row));
            }
            for row in found.fresh {
                let row_ids = &ids.ids[ids.range(row)];
                self.new_values[f].add_row(&mut reader, row, row_ids, is_unseen);
            }
        }
    }

    /// Returns the counts with the most frequent new values. `is_unseen` returns true for values that are
    /// still new after all rows were read; a task without known labels is left out.
    pub fn finish(self, is_unseen: impl Fn(usize, u32) -> bool) -> Vec<ColumnCoverage> {
        let columns = self.columns.into_iter().zip(self.new_values).enumerate();
        let finished = |(f, (mut column, new_values)): (usize, (ColumnCoverage, Frequent))| {
            let new = new_values.most_frequent().into_iter();
            let new = new.filter(|(_, id, _)| is_unseen(f, *id)).take(SHOWN);
            column.new_values = new
                .map(|(text, _, count)| NewValue {
                    value: escaped(&text),
                    count,
                })
                .collect();
            let has_labels = |labels: &LabelsBySeen| labels.seen.known + labels.unseen.known > 0;
            column.labels.retain(has_labels);
            column
        };
        columns.map(finished).collect()
    }
}

/// Rows of which a column has something to say.
struct Found {
    /// With a value that training never saw.
    fresh: Vec<usize>,
    /// Without a value.
    nulls: Vec<usize>,
}

/// The labels of some rows, `[task][row]`, and how many of them are known.
struct Labels<'a> {
    labels: &'a [Vec<f32>],
    totals: Vec<KnownLabels>,
}

impl<'a> Labels<'a> {
    fn new(labels: &'a [Vec<f32>], rows: &[usize]) -> Labels<'a> {
        let mut labels = Labels {
            labels,
            totals: Vec::new(),
        };
        labels.totals = labels.of(rows);
        labels
    }

    /// Returns the known labels of some rows, task by task; empty if rows have no labels.
    fn of(&self, rows: &[usize]) -> Vec<KnownLabels> {
        let of_task = |labels: &Vec<f32>| {
            let mut counts = KnownLabels::default();
            let known = rows.iter().filter_map(|&row| labels.get(row));
            known.for_each(|&label| counts.add(label));
            counts
        };
        self.labels.iter().map(of_task).collect()
    }
}

impl ColumnCoverage {
    /// Counts the values of some rows.
    fn count(
        &mut self,
        ids: &FieldIds,
        rows: &[usize],
        is_number: bool,
        is_unseen: impl Fn(u32) -> bool,
    ) -> Found {
        let (mut fresh, mut nulls) = (Vec::new(), Vec::new());
        for &row in rows {
            let (mut values, mut unseen) = (0, 0);
            if let Some(number) = ids.numbers_of(row).first() {
                values = u64::from(!number.is_nan());
            }
            for &id in ids.ids[ids.range(row)].iter().filter(|&&id| id > 0) {
                values += 1;
                unseen += u64::from(!is_number && is_unseen(id));
            }
            self.values += if is_number { values.min(1) } else { values };
            self.unseen += unseen;
            if unseen > 0 {
                fresh.push(row);
            }
            if values == 0 {
                nulls.push(row);
            }
        }
        self.rows += rows.len() as u64;
        self.nulls += nulls.len() as u64;
        Found { fresh, nulls }
    }

    /// Labels of rows that are neither null nor hold an unseen value, and of those that do.
    fn count_labels(&mut self, labels: &Labels<'_>, found: &Found) {
        let (fresh, nulls) = (labels.of(&found.fresh), labels.of(&found.nulls));
        let of_tasks = labels.totals.iter().zip(fresh.iter().zip(&nulls));
        for (counts, (total, (fresh, nulls))) in self.labels.iter_mut().zip(of_tasks) {
            counts.seen.known += total.known - fresh.known - nulls.known;
            counts.seen.positives += total.positives - fresh.positives - nulls.positives;
            counts.unseen.known += fresh.known;
            counts.unseen.positives += fresh.positives;
        }
    }
}

fn is_far(x: f64, [least, most]: [f64; 2]) -> bool {
    let width = most - least;
    x < least - width || most + width < x
}

/// Returns the number of a row that lies beyond the range; of several, the farthest.
fn beyond(reader: &mut FieldReader<'_>, row: usize, [least, most]: [f64; 2]) -> Option<f64> {
    let mut found: Option<(f64, f64)> = None;
    let read = reader.numbers(row, |x| {
        let Some(x) = x else { return };
        let distance = (least - x).max(x - most);
        if distance > found.map_or(0.0, |(distance, _)| distance) {
            found = Some((distance, x));
        }
    });
    read.ok().and(found).map(|(_, x)| x)
}

/// Returns the text on one short line, with special characters escaped.
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
