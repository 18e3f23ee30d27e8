//! Finds the distinct ids of a range of slots of a table, and sums their gradients.

use super::terms::{PartTerms, Term, Terms};
use crate::kernels::prefetch_range;
use crate::number::Real;

/// Sums are prefetched this many terms ahead, gradients as many rows ahead.
const AHEAD: usize = 16;

/// A range of slots of a table.
///
/// A slot's position among those of the batch is the number of set bits before its own. So the sums are in
/// the order of slots without any sorting.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    first: u32,
    last: u32,
    /// A bit for each slot from `first` on, set if the batch has its id.
    bits: Vec<u64>,
    /// For each word of `bits`, the number of set bits before it.
    before: Vec<u32>,
    /// Buffer: the position of each id of a field, or of each term.
    positions: Vec<u32>,
    /// Number of distinct ids.
    pub(super) n_ids: usize,
}

/// The ids of a part and their gradients, to be filled in.
pub(super) struct PartSums<'a, R> {
    pub(super) ids: &'a mut [u32],
    pub(super) slots: &'a mut [u32],
    /// `[ids, dim]`
    pub(super) values: &'a mut [R],
}

impl Part {
    /// Sets the range of slots, `first` to `last` inclusive; empty if `first > last`.
    pub(super) fn set_slots(&mut self, first: u32, last: u32) {
        (self.first, self.last) = (first, last);
    }

    /// Marks the ids in the range, of a table with `n_slots` slots: those of all fields, or its own where they are sorted.
    pub(super) fn mark<R: Real>(
        &mut self,
        terms: Terms<'_, R>,
        table: usize,
        n_slots: usize,
        part_terms: PartTerms<'_>,
    ) {
        let end = n_slots.min(self.last as usize + 1);
        let n_slots = end.saturating_sub(self.first as usize);
        self.bits.clear();
        self.bits.resize(n_slots.div_ceil(64), 0);
        let bits = &mut self.bits;
        let first = self.first;
        let mut mark = |slot: u32| {
            assert!(slot != 0, "a row of the batch is not initialised");
            let at = (slot - first) as usize;
            bits[at / 64] |= 1 << (at % 64);
        };
        if !part_terms.are_sorted() {
            for (_, f) in terms.fields_of(table) {
                let field = terms.spec.fields[f];
                let resolved = terms.resolved;
                resolved.each_slot(terms.batch, field, f, &mut mark);
            }
        }
        let own = part_terms.iter().flat_map(|(_, terms)| terms);
        own.for_each(|term| mark(term.slot));
        let mut n = 0;
        self.before.clear();
        self.before.extend(self.bits.iter().map(|word| {
            let before = n;
            n += word.count_ones();
            before
        }));
        self.n_ids = n as usize;
    }

    /// Returns the position of a marked slot among those of the batch in the range.
    #[inline]
    fn position(&self, slot: u32) -> u32 {
        let at = (slot - self.first) as usize;
        let before = self.bits[at / 64] & ((1 << (at % 64)) - 1);
        self.before[at / 64] + before.count_ones()
    }

    /// Writes the ids, in the order of slots, and the sums of their gradients. `table_ids` holds the id of each slot; the
    /// terms are those of [`Part::mark`].
    pub(super) fn sum<R: Real>(
        &mut self,
        terms: Terms<'_, R>,
        table: usize,
        table_ids: &[u32],
        part_terms: PartTerms<'_>,
        sums: PartSums<'_, R>,
    ) {
        let PartSums { ids, slots, values } = sums;
        let own = self
            .bits
            .iter()
            .zip(0..)
            .flat_map(|(&word, at)| ones(word).map(move |bit| at * 64 + bit));
        for ((own, id), slot) in own.zip(ids).zip(slots) {
            *slot = self.first + own;
            *id = table_ids[*slot as usize];
        }
        // Adding to -0 gives every number itself, 0 and -0 too.
        values.fill(-R::ZERO);
        if part_terms.are_sorted() {
            let dim = terms.spec.plan.dim;
            for (sorted, own) in part_terms.iter() {
                self.sum_terms(own, sorted.gradients(terms), dim, values);
            }
            return;
        }
        for (place, f) in terms.fields_of(table) {
            match terms.events.of(f) {
                Some(d_events) => self.sum_events(terms, f, d_events, values),
                None => self.sum_field(terms, place, f, values),
            }
        }
    }

    /// Adds the vectors of some terms out of `gradients`.
    fn sum_terms<R: Real>(&mut self, own: &[Term], gradients: &[R], dim: usize, values: &mut [R]) {
        let mut positions = std::mem::take(&mut self.positions);
        positions.clear();
        positions.extend(own.iter().map(|term| self.position(term.slot)));
        let vector = |number: u32| number as usize * dim..(number as usize + 1) * dim;
        for (i, (term, &position)) in own.iter().zip(&positions).enumerate() {
            if let (Some(ahead), Some(&position)) = (own.get(i + AHEAD), positions.get(i + AHEAD)) {
                prefetch_range(gradients, vector(ahead.vector));
                prefetch_range(values, vector(position));
            }
            let sums = &mut values[vector(position)];
            add_scaled(sums, R::of(term.weight), &gradients[vector(term.vector)]);
        }
        self.positions = positions;
    }

    /// Adds the gradients of the events of field `f`, each with its own.
    fn sum_events<R: Real>(&self, terms: Terms<'_, R>, f: usize, d_events: &[R], values: &mut [R]) {
        let (field, dim) = (terms.spec.fields[f], terms.spec.plan.dim);
        let first = terms.resolved.first_slot_of(f) * dim;
        let mut gradients = d_events[first..].chunks_exact(dim);
        terms.resolved.each_slot(terms.batch, field, f, |slot| {
            let Some(gradients) = gradients.next() else {
                return;
            };
            let at = self.position(slot) as usize * dim;
            add_scaled(&mut values[at..at + dim], R::ONE, gradients);
        });
    }

    /// Adds the gradients of one field, whose vectors have this place in a row.
    fn sum_field<R: Real>(
        &mut self,
        terms: Terms<'_, R>,
        place: usize,
        f: usize,
        values: &mut [R],
    ) {
        let Terms {
            spec,
            batch,
            resolved,
            d_vectors,
            ..
        } = terms;
        let (field, dim) = (spec.fields[f], spec.plan.dim);
        let mut positions = std::mem::take(&mut self.positions);
        positions.clear();
        resolved.each_slot(batch, field, f, |slot| {
            positions.push(self.position(slot));
        });
        let width = spec.vector_fields().count() * dim;
        let mut next = 0;
        let rows = resolved.rows();
        let first_row = rows.start;
        for row in rows {
            let start = (row - first_row) * width + place * dim;
            let ahead = start + AHEAD * width;
            prefetch_range(d_vectors, ahead..ahead + dim);
            let gradients = &d_vectors[start..start + dim];
            resolved.each(batch, field, f, row, |_, weight| {
                if let Some(&ahead) = positions.get(next + AHEAD) {
                    let ahead = ahead as usize * dim;
                    prefetch_range(values, ahead..ahead + dim);
                }
                let at = positions[next] as usize * dim;
                next += 1;
                add_scaled(&mut values[at..at + dim], R::of(weight), gradients);
            });
        }
        self.positions = positions;
    }
}

/// Iterates over the positions of the bits that are set, ascending.
pub(super) fn ones(word: u64) -> impl Iterator<Item = u32> {
    let rest = |&bits: &u64| Some(bits & (bits - 1)).filter(|&rest| rest != 0);
    std::iter::successors(Some(word).filter(|&word| word != 0), rest).map(u64::trailing_zeros)
}

pub(super) fn add_scaled<R: Real>(sums: &mut [R], weight: R, gradients: &[R]) {
    let pairs = sums.iter_mut().zip(gradients);
    pairs.for_each(|(sum, &gradient)| *sum += weight * gradient);
}
