//! Warnings about rows that a model was evaluated on: a column that alone ranks a label too well to be known before it, and
//! rows of validation or test that are in training as well.

use ncs_eval::auc::auc;
use ncs_eval::note::Note;
use ncs_features::hash::split_mix;
use ncs_features::{Batch, Schema};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{Cache, CacheError};
use std::collections::HashMap;

use crate::column_auc::{ColumnValues, auc_of_number, auc_of_values};
use crate::progress::grouped;

/// AUC that no single feature known before the event reaches.
const SUSPICIOUS: f64 = 0.99;

/// AUC of a feature on training rows, and how far below it that on the evaluated rows has to be, for a warning.
const SUSPICIOUS_IN_TRAINING: (f64, f64) = (0.95, 0.1);

/// Least number of labels of each class for a test of a feature.
const LEAST_LABELS: usize = 20;

/// Rows on which features are tested, and rows that are compared, at most; of more, a sample.
const MOST_ROWS: u64 = 100_000;
const MOST_COMPARED: u64 = 1_000_000;

/// Rows of the training part that are read at most.
const MOST_READ: u64 = 20_000_000;

/// Share of rows that are in training as well, beyond what rows of the training part repeat each other, for a warning.
const SUSPICIOUS_SHARE: f64 = 0.02;

/// Returns the warnings about the rows of `part`, called `name`.
///
/// # Errors
/// The rows cannot be read.
pub(crate) fn warnings(
    schema: &Schema,
    train: &Cache,
    part: &Cache,
    name: &str,
) -> Result<Vec<Note>, CacheError> {
    let mut of_train = Rows::new(train.n_rows().min(MOST_READ));
    for batch in train.batches(BatchPlan::default()) {
        of_train.add(&batch?);
        if of_train.n_read >= MOST_READ {
            break;
        }
    }
    let mut of_part = Rows::new(part.n_rows());
    // The same rows are compared in both parts.
    of_part.compared_in = of_train.compared_in;
    for batch in part.batches(BatchPlan::default()) {
        of_part.add(&batch?);
    }
    let mut texts = suspects(schema, &of_train.batch, &of_part.batch, name);
    texts.extend(repeated(&of_train.hashes, &of_part.hashes, name));
    let note = |text: String| Note {
        warning: true,
        text,
    };
    Ok(texts.into_iter().map(note).collect())
}

/// A sample of the rows of a part, and hashes of more of them.
struct Rows {
    /// One row in so many is in `batch`.
    sampled_in: u64,
    /// Rows whose hash is divisible by this are compared.
    compared_in: u64,
    n_read: u64,
    batch: Batch,
    /// Number of rows of each hash.
    hashes: HashMap<u64, u64>,
}

impl Rows {
    fn new(n_rows: u64) -> Rows {
        Rows {
            sampled_in: n_rows.div_ceil(MOST_ROWS).max(1),
            compared_in: n_rows.div_ceil(MOST_COMPARED).max(1),
            n_read: 0,
            batch: Batch::default(),
            hashes: HashMap::new(),
        }
    }

    fn add(&mut self, batch: &Batch) {
        if self.n_read == 0 {
            self.batch = Batch::empty_like(batch);
        }
        for row in 0..batch.n_rows {
            let hash = hash(batch, row);
            if hash.is_multiple_of(self.compared_in) {
                *self.hashes.entry(hash).or_default() += 1;
            }
            if self.n_read.is_multiple_of(self.sampled_in) {
                self.batch.push_row(batch, row);
            }
            self.n_read += 1;
        }
    }
}

/// Returns a hash of all features and labels of a row.
fn hash(batch: &Batch, row: usize) -> u64 {
    let mut state = 0x5EED;
    let mut hash = 0_u64;
    let mut add = |number: u64| {
        state ^= number;
        hash = hash.rotate_left(7) ^ split_mix(&mut state);
    };
    for field in &batch.fields {
        let range = field.range(row);
        add(range.len() as u64);
        field.ids[range.clone()]
            .iter()
            .for_each(|&id| add(id.into()));
        let weights = field.weights.get(range).unwrap_or_default();
        let numbers = weights.iter().chain(field.numbers_of(row));
        numbers.for_each(|number| add(number.to_bits().into()));
    }
    for labels in &batch.labels {
        add(labels[row].to_bits().into());
    }
    hash
}

/// Returns a warning if more rows are in training than training rows repeat each other.
fn repeated(train: &HashMap<u64, u64>, part: &HashMap<u64, u64>, name: &str) -> Option<String> {
    let of_train: u64 = train.values().sum();
    let again: u64 = train.values().filter(|&&n| n > 1).sum();
    let n_rows: u64 = part.values().sum();
    let found = part.iter().filter(|(hash, _)| train.contains_key(hash));
    let found: u64 = found.map(|(_, n)| n).sum();
    let share = |n: u64, of: u64| n as f64 / of.max(1) as f64;
    let (share_found, usual) = (share(found, n_rows), share(again, of_train));
    (share_found > 2.0 * usual + SUSPICIOUS_SHARE).then(|| {
        format!(
            "{:.1} % of the {name} rows are in the training rows as well, with the same features and labels (of the training \
             rows {:.1} % occur more than once; {} rows compared): their figures are of rows that the model has learned; \
             remove the copies, or split by time or by a hash of the user",
            100.0 * share_found,
            100.0 * usual,
            grouped(n_rows)
        )
    })
}

/// Returns a warning for each feature that ranks a label too well.
fn suspects(schema: &Schema, train: &Batch, part: &Batch, name: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let binary = schema.tasks.iter().enumerate();
    for (t, task) in binary.filter(|(_, task)| task.objective.is_binary()) {
        let (Some(of_train), Some(of_part)) = (Labels::of(train, t), Labels::of(part, t)) else {
            continue;
        };
        for (f, field) in schema.fields.iter().enumerate() {
            let n_values = schema.tables[field.table].ids.n_rows();
            let [in_train, in_part] = [train, part].map(|batch| FieldValues {
                batch,
                field: f,
                n_values,
            });
            let here = on_later_rows(&in_train, &of_train, &in_part, &of_part);
            let before = alone(&in_train, &of_train);
            let (high, fall) = SUSPICIOUS_IN_TRAINING;
            let of = format!(
                "feature {:?} alone ranks the label of task {:?}",
                field.name, task.name
            );
            if here > SUSPICIOUS {
                texts.push(format!(
                    "{of} with an AUC of {here:.3} on the {name} rows: probably a leak, written after the event; leave it out \
                     unless it is known when the model is asked"
                ));
            } else if before > high && here < before - fall {
                texts.push(format!(
                    "{of} with an AUC of {before:.3} on training rows and {here:.3} on the {name} rows: it may know the label in \
                     training rows only; leave it out unless it is known when the model is asked"
                ));
            }
        }
    }
    texts
}

/// Rows whose label of a task is known, and the labels.
struct Labels {
    rows: Vec<usize>,
    labels: Vec<f32>,
}

impl Labels {
    /// Returns the labels of a task; `None` if there are too few of a class.
    fn of(batch: &Batch, task: usize) -> Option<Labels> {
        let all = batch.labels.get(task)?;
        let rows: Vec<usize> = (0..all.len()).filter(|&row| !all[row].is_nan()).collect();
        let labels: Vec<f32> = rows.iter().map(|&row| all[row]).collect();
        let positives = labels.iter().filter(|label| **label > 0.5).count();
        let rarer = positives.min(labels.len() - positives);
        (rarer >= LEAST_LABELS).then_some(Labels { rows, labels })
    }
}

/// Returns the AUC of a feature within some rows, each scored by rows of the other half.
fn alone(values: &FieldValues<'_>, labels: &Labels) -> f64 {
    let Labels { rows, labels } = labels;
    match values.is_number() {
        true => auc_of_number(values, rows, labels),
        false => auc_of_values(values, rows, labels),
    }
}

/// Returns the AUC of a feature on later rows: of its number, or of the rates of its values among training rows.
fn on_later_rows(
    train: &FieldValues<'_>,
    of_train: &Labels,
    part: &FieldValues<'_>,
    of_part: &Labels,
) -> f64 {
    if part.is_number() {
        return auc_of_number(part, &of_part.rows, &of_part.labels);
    }
    let all: f64 = of_train.labels.iter().map(|&label| f64::from(label)).sum();
    let prior = all / of_train.labels.len() as f64;
    let mut counts: HashMap<u32, (f64, f64)> = HashMap::new();
    for (&row, &label) in of_train.rows.iter().zip(&of_train.labels) {
        for &value in train.values_of(row) {
            let count = counts.entry(value).or_default();
            *count = (count.0 + 1.0, count.1 + f64::from(label));
        }
    }
    let rate = |value: &u32| {
        let (rows, positives) = counts.get(value).copied().unwrap_or_default();
        (positives + prior) / (rows + 1.0)
    };
    let score = |&row: &usize| match part.values_of(row) {
        [] => prior,
        values => values.iter().map(rate).sum::<f64>() / values.len() as f64,
    };
    let scores: Vec<f64> = of_part.rows.iter().map(score).collect();
    auc(&of_part.labels, &scores).unwrap_or(0.5)
}

/// The values of a field in encoded rows.
struct FieldValues<'a> {
    batch: &'a Batch,
    field: usize,
    n_values: usize,
}

impl FieldValues<'_> {
    /// Returns true if rows hold a number in the place of ids: piecewise, or the factor of a vector.
    fn is_number(&self) -> bool {
        let field = &self.batch.fields[self.field];
        field.width > 0 || !field.weights.is_empty()
    }
}

impl ColumnValues for FieldValues<'_> {
    fn n_values(&self) -> usize {
        self.n_values
    }

    fn values_of(&self, row: usize) -> &[u32] {
        let field = &self.batch.fields[self.field];
        &field.ids[field.range(row)]
    }

    fn number_of(&self, row: usize) -> Option<f64> {
        let field = &self.batch.fields[self.field];
        let number = match field.width {
            0 => {
                let range = field.range(row);
                // A missing number is the row 0 alone.
                let is_missing = field.ids[range.clone()] == [0];
                field.weights.get(range.start).filter(|_| !is_missing)
            }
            _ => field.numbers_of(row).first(),
        };
        number
            .map(|&number| f64::from(number))
            .filter(|number| !number.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(u64, u64)]) -> HashMap<u64, u64> {
        rows.iter().copied().collect()
    }

    #[test]
    fn copies_are_told_from_rows_that_are_alike() {
        let apart: Vec<(u64, u64)> = (0..100).map(|hash| (hash, 1)).collect();
        let train = counts(&apart);
        assert_eq!(repeated(&train, &counts(&[(200, 50)]), "test"), None);
        let copies = repeated(&train, &counts(&[(3, 1), (4, 1), (200, 8)]), "test").unwrap();
        assert!(copies.starts_with("20.0 % of the test rows"), "{copies}");
        // Where half of the training rows occur more than once, so may others.
        let alike: Vec<(u64, u64)> = (0..100).map(|hash| (hash, 1 + hash % 2)).collect();
        let part = counts(&[(3, 6), (4, 1), (200, 3)]);
        assert_eq!(repeated(&counts(&alike), &part, "test"), None);
        assert_eq!(repeated(&counts(&[]), &counts(&[]), "test"), None);
    }

    #[test]
    fn a_row_is_hashed_by_features_and_labels() {
        let ids = |ids: Vec<u32>| ncs_features::FieldIds {
            ids,
            ..Default::default()
        };
        let batch = Batch {
            n_rows: 4,
            fields: vec![ids(vec![1, 1, 2, 1]), ids(vec![5, 5, 5, 6])],
            labels: vec![vec![0.0, 1.0, 0.0, 0.0]],
            ..Batch::default()
        };
        let hashes: Vec<u64> = (0..4).map(|row| hash(&batch, row)).collect();
        for (a, first) in hashes.iter().enumerate() {
            assert!(hashes[a + 1..].iter().all(|second| second != first));
        }
        assert_eq!(hash(&batch.select(&[2]), 0), hashes[2]);
    }
}
