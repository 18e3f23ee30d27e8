//! From the slopes of field vectors to those of table rows: every id of a batch once.
//!
//! The ids of a table are sorted, those that are equal in the order of fields and rows; then the slopes
//! of each are added up in this order. With several threads each sorts and adds up a range of ids. So
//! the sums do not depend on the number of threads.

mod part;

use crate::number::Real;
use crate::spec::{FieldSpec, Spec};
use ncs_features::{Batch, FieldIds, Pooling};
use part::Part;
use rayon::prelude::*;

/// Fewer ids than this are not worth a thread.
const LEAST_IDS: usize = 2048;

/// The gradient of the rows that one step touches: each row once.
#[derive(Clone, Debug, Default)]
pub struct TableGradient<R> {
    /// The touched rows, ascending.
    pub ids: Vec<u32>,
    /// Their gradients, `[ids, dim]`.
    pub values: Vec<R>,
    /// What sorts and sums; kept for the next batch.
    parts: Vec<Part<R>>,
}

impl<R: Real> TableGradient<R> {
    /// The gradients `values`, `[ids, dim]`, of these rows.
    ///
    /// # Panics
    /// If the ids do not ascend, or the values are not a multiple of their number.
    pub fn new(ids: Vec<u32>, values: Vec<R>) -> TableGradient<R> {
        assert!(ids.is_sorted_by(|a, b| a < b), "ids ascend, each once");
        assert_eq!(
            values.len() % ids.len().max(1),
            0,
            "as many values for each id"
        );
        TableGradient {
            ids,
            values,
            parts: Vec::new(),
        }
    }
}

/// Sums the slopes `d_vectors` of a batch's field vectors, `[rows, fields * dim]`, by table and id, on at
/// most `n_threads` threads of the current pool. The buffers of `tables` are used again; their contents
/// are replaced. `longest` is the length of the longest list of each field.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn gather<R: Real>(
    spec: &Spec,
    batch: &Batch,
    longest: &[usize],
    d_vectors: &[R],
    n_threads: usize,
    tables: &mut Vec<TableGradient<R>>,
) {
    let n_vectors = batch.n_rows * spec.fields.len();
    assert_eq!(
        d_vectors.len(),
        n_vectors * spec.plan.dim,
        "slopes of another batch"
    );
    tables.resize_with(spec.tables.len(), || {
        TableGradient::new(Vec::new(), Vec::new())
    });
    for (t, table) in tables.iter_mut().enumerate() {
        table.divide(spec, batch, t, n_threads);
    }
    let mut parts: Vec<(usize, &mut Part<R>)> = Vec::new();
    for (t, table) in tables.iter_mut().enumerate() {
        parts.extend(table.parts.iter_mut().map(|part| (t, part)));
    }
    each_on(n_threads, parts, |(t, part)| {
        part.sort(spec, batch, t, longest)
    });
    let sums: Vec<_> = tables
        .iter_mut()
        .flat_map(|table| table.sums(spec.plan.dim))
        .collect();
    each_on(n_threads, sums, |(part, ids, values)| {
        part.sum(d_vectors, ids, values)
    });
}

fn each_on<T: Send>(n_threads: usize, items: Vec<T>, each: impl Fn(T) + Sync + Send) {
    match n_threads {
        0 | 1 => items.into_iter().for_each(each),
        _ => items.into_par_iter().for_each(each),
    }
}

impl<R: Real> TableGradient<R> {
    /// Divides the ids of table `number` among threads.
    fn divide(&mut self, spec: &Spec, batch: &Batch, number: usize, n_threads: usize) {
        let of_table = |n: usize| fields_of(spec, n).map(|f| batch.fields[f].ids.len());
        let n_ids: usize = of_table(number).sum();
        let all: usize = (0..spec.tables.len()).flat_map(of_table).sum();
        // A share of the threads by the share of the ids, rounded up.
        let share = (n_ids * n_threads).div_ceil(all.max(1));
        let n_parts = share.min(n_ids / LEAST_IDS).max(1);
        self.parts.resize_with(n_parts, Part::default);
        let cuts = cuts(spec, batch, number, n_parts);
        for (part, (first, last)) in self.parts.iter_mut().zip(cuts) {
            part.own(first, last);
        }
    }

    /// Each part with the room for its ids and sums.
    fn sums(&mut self, dim: usize) -> Vec<(&Part<R>, &mut [u32], &mut [R])> {
        let n_ids = self.parts.iter().map(|part| part.n_ids).sum();
        // Every number is written: nothing needs to be cleared but what is new.
        self.ids.resize(n_ids, 0);
        self.values.resize(n_ids * dim, R::ZERO);
        let (mut ids, mut values) = (self.ids.as_mut_slice(), self.values.as_mut_slice());
        let mut rooms = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (own_ids, ids_behind) = ids.split_at_mut(part.n_ids);
            let (own_values, values_behind) = values.split_at_mut(part.n_ids * dim);
            (ids, values) = (ids_behind, values_behind);
            rooms.push((part, own_ids, own_values));
        }
        rooms
    }
}

/// The fields that look into a table.
fn fields_of(spec: &Spec, table: usize) -> impl Iterator<Item = usize> {
    let fields = spec.fields.iter().enumerate();
    fields
        .filter(move |(_, field)| field.table == table)
        .map(|(f, _)| f)
}

/// First and last id of each part: about as many ids of the batch in each, by a sample of them.
fn cuts(spec: &Spec, batch: &Batch, table: usize, n_parts: usize) -> Vec<(u32, u32)> {
    if n_parts == 1 {
        return vec![(0, u32::MAX)];
    }
    const EVERY: usize = 61;
    let fields = fields_of(spec, table).map(|f| &batch.fields[f].ids);
    let mut sample: Vec<u32> = fields
        .flat_map(|ids| ids.iter().step_by(EVERY).copied())
        .collect();
    sample.sort_unstable();
    let mut firsts: Vec<u32> = (1..n_parts)
        .map(|i| sample[i * sample.len() / n_parts])
        .collect();
    firsts.retain(|&first| first > 0);
    firsts.dedup();
    let ends = firsts.iter().map(|first| first - 1).chain([u32::MAX]);
    let mut cuts: Vec<_> = [0]
        .into_iter()
        .chain(firsts.iter().copied())
        .zip(ends)
        .collect();
    // Where most ids are equal there are fewer parts: the rest own nothing.
    cuts.resize(n_parts, (1, 0));
    cuts
}

/// The length of a field's longest list in a batch; 1 for fields of one id a row.
pub(crate) fn longest_list(ids: &FieldIds) -> usize {
    let lengths = ids
        .offsets
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as usize);
    lengths.max().unwrap_or(1)
}

/// Calls `each` with every id of a row and its weight in the field vector.
#[inline]
pub(crate) fn each_id(
    ids: &FieldIds,
    field: FieldSpec,
    row: usize,
    longest: usize,
    mut each: impl FnMut(u32, f64),
) {
    let range = ids.range(row);
    let length = range.len();
    let weight = match field.pooling {
        None | Some(Pooling::Sum) => 1.0,
        Some(Pooling::Mean) => 1.0 / length.max(1) as f64,
        Some(Pooling::PaddedMean) => 1.0 / longest.max(1) as f64,
    };
    if ids.weights.is_empty() {
        ids.ids[range].iter().for_each(|&id| each(id, weight));
    } else {
        for i in range {
            each(ids.ids[i], f64::from(ids.weights[i]) * weight);
        }
    }
    if field.pooling == Some(Pooling::PaddedMean) && length < longest {
        each(0, (longest - length) as f64 * weight);
    }
}
