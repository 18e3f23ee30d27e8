//! Sorts the ids of a range of slots of a table, and sums their gradients.

use crate::kernels::prefetch;
use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use crate::tables::Table;
use ncs_features::Batch;

/// Maximum number of bits of a slot that one pass of the radix sort uses.
const MOST_BITS: u32 = 12;
/// Gradients are prefetched this many terms ahead.
const AHEAD: usize = 16;

/// A range of slots of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Part<R> {
    first: u32,
    last: u32,
    /// The slot in the upper half, the number of the term in the lower half.
    keys: Vec<u64>,
    spare: Vec<u64>,
    /// In the order of fields and rows.
    terms: Vec<Term<R>>,
    /// Number of distinct ids.
    pub(super) n_ids: usize,
}

/// The contribution of one id of one row to the gradient of the id.
#[derive(Clone, Copy, Debug, Default)]
struct Term<R> {
    /// The number of the field vector whose gradient it is.
    vector: u32,
    weight: R,
}

impl<R: Real> Part<R> {
    /// Sets the range of slots, `first` to `last` inclusive; empty if `first > last`.
    pub(super) fn set_slots(&mut self, first: u32, last: u32) {
        (self.first, self.last) = (first, last);
    }

    /// Collects the terms of the ids in the range, and sorts them by slot.
    pub(super) fn sort(
        &mut self,
        spec: &Spec,
        rows: &Table<R>,
        batch: &Batch,
        table: usize,
        resolved: &ResolvedIds,
    ) {
        self.collect(spec, batch, table, resolved);
        let bits = u32::BITS - (rows.ids().len().max(2) as u32 - 1).leading_zeros();
        let width = bits.div_ceil(bits.div_ceil(MOST_BITS));
        self.spare.resize(self.keys.len(), 0);
        for shift in (0..bits).step_by(width as usize) {
            sort_by_digit(&self.keys, &mut self.spare, u32::BITS + shift, width);
            std::mem::swap(&mut self.keys, &mut self.spare);
        }
        let changes = self
            .keys
            .windows(2)
            .filter(|pair| slot(pair[0]) != slot(pair[1]));
        self.n_ids = changes.count() + usize::from(!self.keys.is_empty());
    }

    fn collect(&mut self, spec: &Spec, batch: &Batch, table: usize, resolved: &ResolvedIds) {
        self.keys.clear();
        self.terms.clear();
        let own = self.first..=self.last;
        let n_vectors = spec.vector_fields().count();
        let of_table = spec.vector_fields().enumerate();
        for (place, f) in of_table.filter(|&(_, f)| spec.fields[f].table == table) {
            for row in 0..batch.n_rows {
                let vector = (row * n_vectors + place) as u32;
                resolved.each(batch, spec.fields[f], f, row, |slot, weight| {
                    assert!(slot != 0, "a row of the batch is not initialised");
                    if own.contains(&slot) {
                        self.keys
                            .push(u64::from(slot) << 32 | self.terms.len() as u64);
                        let weight = R::of(weight);
                        self.terms.push(Term { vector, weight });
                    }
                });
            }
        }
    }

    /// Writes the ids, in the order of slots, and the sums of their gradients, `[ids, dim]`. `table_ids` holds the id
    /// of each slot.
    pub(super) fn sum(
        &self,
        d_vectors: &[R],
        table_ids: &[u32],
        ids: &mut [u32],
        values: &mut [R],
    ) {
        if self.keys.is_empty() {
            return;
        }
        let dim = values.len() / ids.len();
        let term = |key: u64| self.terms[key as u32 as usize];
        let start = |key: u64| term(key).vector as usize * dim;
        let runs = self.keys.chunk_by(|a, b| slot(*a) == slot(*b));
        let mut at = 0;
        for ((run, id), sums) in runs.zip(ids).zip(values.chunks_exact_mut(dim)) {
            *id = table_ids[slot(run[0]) as usize];
            for (i, &key) in run.iter().enumerate() {
                if let Some(&ahead) = self.keys.get(at + AHEAD) {
                    prefetch(d_vectors, start(ahead));
                }
                at += 1;
                let weight = term(key).weight;
                let gradients = &d_vectors[start(key)..start(key) + dim];
                match i {
                    0 => set_scaled(sums, weight, gradients),
                    _ => add_scaled(sums, weight, gradients),
                }
            }
        }
    }
}

fn slot(key: u64) -> u32 {
    (key >> 32) as u32
}

/// Copies `keys` to `sorted`, ordered by the `width` bits from bit `shift` on; the sort is stable.
fn sort_by_digit(keys: &[u64], sorted: &mut [u64], shift: u32, width: u32) {
    let mask = (1 << width) - 1;
    let digit = |key: u64| (key >> shift & mask) as usize;
    let mut places = vec![0_u32; 1 << width];
    keys.iter().for_each(|&key| places[digit(key)] += 1);
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    for &key in keys {
        let place = &mut places[digit(key)];
        sorted[*place as usize] = key;
        *place += 1;
    }
}

fn set_scaled<R: Real>(sums: &mut [R], weight: R, gradients: &[R]) {
    let pairs = sums.iter_mut().zip(gradients);
    pairs.for_each(|(sum, &gradient)| *sum = weight * gradient);
}

fn add_scaled<R: Real>(sums: &mut [R], weight: R, gradients: &[R]) {
    let pairs = sums.iter_mut().zip(gradients);
    pairs.for_each(|(sum, &gradient)| *sum += weight * gradient);
}
