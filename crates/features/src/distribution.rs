//! Distributions of columns and scores in a few bins, to compare later rows with those of the training.
//!
//! They are of encoded rows, so that training and serving have the same bins: numbers by tenths of the training rows,
//! ids by the most frequent ones.

use crate::batch::{Batch, FieldIds};
use crate::schema::{IdSpace, Schema};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::Range;

/// Most ids with a bin of their own.
const MOST_IDS: usize = 30;

/// Bins of numbers.
const TENTHS: usize = 10;

/// What a model keeps of the rows of its training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distributions {
    /// Training rows that were counted: all, or an even sample.
    pub rows: u64,
    /// One for each feature of the schema.
    pub columns: Vec<Distribution>,
    /// Rows whose scores were counted: validation rows, or training rows where there are none.
    pub score_rows: u64,
    /// One for each task, and for the product of the tasks where there is one.
    pub scores: Vec<Distribution>,
}

/// Counts of values by bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The bins.
    pub bins: Bins,
    /// Values in each bin; one more than ids or edges.
    pub counts: Vec<u64>,
    /// Rows without a value.
    pub missing: u64,
}

/// Bins of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// These ids have a bin each, all others share the last one.
    Ids(Vec<u32>),
    /// Ascending: numbers up to the first edge, those up to the next one, and so on; those above all of them.
    Edges(Vec<f32>),
}

/// A value of an encoded row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Id(u32),
    Number(f32),
    Missing,
}

impl Distribution {
    /// Returns the same bins without values.
    pub fn emptied(&self) -> Distribution {
        Distribution {
            bins: self.bins.clone(),
            counts: vec![0; self.counts.len()],
            missing: 0,
        }
    }

    /// Returns the distribution of numbers in tenths of them; those that are NaN are missing.
    pub fn of_numbers(mut numbers: Vec<f32>) -> Distribution {
        let n_all = numbers.len();
        numbers.retain(|number| !number.is_nan());
        numbers.sort_unstable_by(f32::total_cmp);
        let tenth = |k: usize| numbers[(k * numbers.len()).div_ceil(TENTHS).max(1) - 1];
        let mut edges: Vec<f32> = match numbers.is_empty() {
            true => Vec::new(),
            false => (1..TENTHS).map(tenth).collect(),
        };
        edges.dedup();
        // Nothing lies above the greatest number.
        edges.pop_if(|last| numbers.last().is_some_and(|most| *last >= *most));
        if let (true, Some(&only)) = (edges.is_empty(), numbers.first()) {
            // Other numbers than the only one have bins of their own.
            edges = vec![only.next_down(), only];
        }
        let mut found = Distribution {
            counts: vec![0; edges.len() + 1],
            bins: Bins::Edges(edges),
            missing: (n_all - numbers.len()) as u64,
        };
        numbers.iter().for_each(|&number| found.add_number(number));
        found
    }

    /// Counts a number; NaN is missing.
    pub fn add_number(&mut self, number: f32) {
        self.add(match number.is_nan() {
            true => Value::Missing,
            false => Value::Number(number),
        });
    }

    fn add(&mut self, value: Value) {
        let missing = self.counts.len();
        match self.bin(value) {
            Some(bin) if bin < missing => self.counts[bin] += 1,
            Some(_) => self.missing += 1,
            None => {}
        }
    }

    /// Returns the bin of a value, that of missing ones behind all others; `None` where a field has ids and the bins
    /// are of numbers, or the other way round.
    fn bin(&self, value: Value) -> Option<usize> {
        match (value, &self.bins) {
            (Value::Missing, _) => Some(self.counts.len()),
            (Value::Id(id), Bins::Ids(ids)) => {
                Some(ids.iter().position(|own| *own == id).unwrap_or(ids.len()))
            }
            (Value::Number(number), Bins::Edges(edges)) => {
                Some(edges.partition_point(|edge| *edge < number))
            }
            (Value::Id(_) | Value::Number(_), _) => None,
        }
    }

    /// Returns the bin of a number, that of NaN behind all others.
    pub fn bin_of_number(&self, number: f32) -> usize {
        let value = match number.is_nan() {
            true => Value::Missing,
            false => Value::Number(number),
        };
        self.bin(value).unwrap_or(self.counts.len())
    }

    /// Calls `each` with the bins of the values of some rows of a field, that of missing ones behind all others.
    pub fn bins_of(
        &self,
        ids: &IdSpace,
        field: &FieldIds,
        rows: Range<usize>,
        mut each: impl FnMut(usize),
    ) {
        for row in rows {
            values(ids, field, row, |value| {
                self.bin(value).into_iter().for_each(&mut each);
            });
        }
    }

    /// Returns the counts, with those of missing values as the last one.
    pub fn all_counts(&self) -> Vec<u64> {
        self.counts.iter().copied().chain([self.missing]).collect()
    }

    /// Returns the number of values, missing ones included.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.missing
    }

    /// Makes the bins of these ids part of the rest.
    pub fn forget(&mut self, is_erased: impl Fn(u32) -> bool) {
        let Bins::Ids(own) = &mut self.bins else {
            return;
        };
        while let Some(at) = own.iter().position(|id| is_erased(*id)) {
            own.remove(at);
            let count = self.counts.remove(at);
            *self.counts.last_mut().expect("the rest has a bin") += count;
        }
    }

    /// Returns true if the bins are those of a column or score: for files of unknown origin.
    pub fn is_whole(&self) -> bool {
        let (n_bins, is_ordered) = match &self.bins {
            Bins::Ids(ids) => (ids.len() + 1, true),
            Bins::Edges(edges) => (edges.len() + 1, edges.is_sorted_by(|a, b| a < b)),
        };
        self.counts.len() == n_bins && is_ordered
    }
}

/// Added to the count of each bin, so that an empty one has a logarithm.
const SMOOTHING: f64 = 0.5;

/// Returns the population stability index of counts by bin: the sum over the bins that hold values of
/// `(q - p) ln(q / p)`, with shares `p` before and `q` now. `None` if one of both has no values.
pub fn stability_index(before: &[u64], now: &[u64]) -> Option<f64> {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (n, m) = (total(before), total(now));
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let bins = before.iter().zip(now).filter(|(p, q)| **p + **q > 0);
    let n_bins = bins.clone().count() as f64;
    let share = |count: u64, of: f64| (count as f64 + SMOOTHING) / (of + SMOOTHING * n_bins);
    let term = |(&before, &now): (&u64, &u64)| {
        let (p, q) = (share(before, n), share(now, m));
        (q - p) * (q / p).ln()
    };
    Some(bins.map(term).sum())
}

/// Calls `each` with the values of a row of a field.
fn values(ids: &IdSpace, field: &FieldIds, row: usize, mut each: impl FnMut(Value)) {
    let numbers = field.numbers_of(row);
    if let Some(first) = numbers.first() {
        let number = match ids {
            // The standardised number; the place is limited to the knots.
            IdSpace::Piecewise(_) | IdSpace::Rate(_) => numbers.get(1).copied(),
            _ => Some(numbers.iter().map(|x| x * x).sum::<f32>().sqrt()),
        };
        return each(match number {
            Some(number) if !first.is_nan() && !number.is_nan() => Value::Number(number),
            _ => Value::Missing,
        });
    }
    let range = field.range(row);
    let known = range.clone().filter(|&i| field.ids[i] > 0);
    let mut is_missing = true;
    for i in known {
        is_missing = false;
        match ids {
            IdSpace::Quantiles { .. } => each(Value::Number(field.ids[i] as f32)),
            _ if ids.weighs_rows() => {
                // One number a row, however many table rows it weighs.
                return each(Value::Number(field.weights.get(i).copied().unwrap_or(1.0)));
            }
            _ => each(Value::Id(field.ids[i])),
        }
    }
    if is_missing {
        each(Value::Missing);
    }
}

/// Counts the rows of a batch in the bins of a training.
pub fn count(schema: &Schema, batch: &Batch, columns: &mut [Distribution]) {
    let fields = schema.fields.iter().zip(&batch.fields).zip(columns);
    for ((field, ids), found) in fields {
        let space = &schema.tables[field.table].ids;
        (0..batch.n_rows).for_each(|row| values(space, ids, row, |value| found.add(value)));
    }
}

/// Values of the columns of some rows, from which bins follow.
#[derive(Clone, Debug)]
pub struct ColumnSample {
    columns: Vec<Sample>,
    rows: u64,
}

#[derive(Clone, Debug, Default)]
struct Sample {
    ids: HashMap<u32, u64>,
    numbers: Vec<f32>,
    missing: u64,
}

impl ColumnSample {
    /// Returns a sample without rows.
    pub fn new(schema: &Schema) -> ColumnSample {
        ColumnSample {
            columns: vec![Sample::default(); schema.fields.len()],
            rows: 0,
        }
    }

    /// Adds rows of a batch.
    pub fn add(&mut self, schema: &Schema, batch: &Batch, rows: impl Iterator<Item = usize>) {
        for row in rows {
            self.rows += 1;
            let fields = schema.fields.iter().zip(&batch.fields);
            for ((field, ids), sample) in fields.zip(&mut self.columns) {
                let space = &schema.tables[field.table].ids;
                values(space, ids, row, |value| match value {
                    Value::Id(id) => *sample.ids.entry(id).or_default() += 1,
                    Value::Number(number) => sample.numbers.push(number),
                    Value::Missing => sample.missing += 1,
                });
            }
        }
    }

    /// Returns the number of rows, and the distribution of each column.
    pub fn finish(self) -> (u64, Vec<Distribution>) {
        (
            self.rows,
            self.columns.into_iter().map(Sample::finish).collect(),
        )
    }
}

impl Sample {
    fn finish(self) -> Distribution {
        if !self.numbers.is_empty() {
            let mut found = Distribution::of_numbers(self.numbers);
            found.missing += self.missing;
            return found;
        }
        let mut by_count: Vec<(u32, u64)> = self.ids.into_iter().collect();
        by_count.sort_unstable_by_key(|&(id, count)| (std::cmp::Reverse(count), id));
        let rest = by_count.iter().skip(MOST_IDS).map(|(_, count)| count).sum();
        by_count.truncate(MOST_IDS);
        let counts = by_count.iter().map(|(_, count)| *count);
        Distribution {
            counts: counts.chain([rest]).collect(),
            bins: Bins::Ids(by_count.iter().map(|(id, _)| *id).collect()),
            missing: self.missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_in_tenths() {
        let numbers: Vec<f32> = (1..=1000)
            .rev()
            .map(|x| x as f32)
            .chain([f32::NAN])
            .collect();
        let found = Distribution::of_numbers(numbers);
        assert_eq!(found.counts, [100; 10]);
        assert_eq!((found.missing, found.total()), (1, 1001));
        let mut later = found.emptied();
        [100.0, 100.5, 5000.0, f32::NAN]
            .into_iter()
            .for_each(|x| later.add_number(x));
        assert_eq!(later.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(later.missing, 1);
        assert!(found.is_whole() && later.is_whole());
    }

    #[test]
    fn equal_numbers_share_a_bin() {
        let found = Distribution::of_numbers([vec![0.0; 95], vec![7.0; 5]].concat());
        assert_eq!(found.bins, Bins::Edges(vec![0.0]));
        assert_eq!(found.counts, [95, 5]);
        let one = Distribution::of_numbers(vec![3.0; 4]);
        assert_eq!(one.counts, [0, 4, 0]);
        let mut later = one.emptied();
        [2.0, 3.0, 4.0]
            .into_iter()
            .for_each(|x| later.add_number(x));
        assert_eq!(later.counts, [1, 1, 1]);
        let none = Distribution::of_numbers(vec![f32::NAN; 2]);
        assert_eq!((none.counts, none.missing), (vec![0], 2));
    }

    #[test]
    fn frequent_ids_have_bins_and_an_erased_one_has_none() {
        let mut sample = Sample::default();
        sample
            .ids
            .extend((1..=40).map(|id| (id, 100 - u64::from(id))));
        sample.missing = 3;
        let mut found = sample.finish();
        let Bins::Ids(ids) = &found.bins else {
            panic!("ids");
        };
        assert_eq!((ids.len(), ids[0], found.counts[0]), (30, 1, 99));
        let (total, rest) = (found.total(), found.counts[30]);
        assert_eq!(rest, (60..70).sum::<u64>());
        found.forget(|id| id == 2 || id == 35);
        assert_eq!((found.counts.len(), found.total()), (30, total));
        assert_eq!(found.counts[29], rest + 98);
        assert!(found.is_whole());
    }
}
