//! Finds the distinct ids of a range of slots of a table, and sums their gradients.

use crate::attention::EventGradients;
use crate::kernels::prefetch_range;
use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use ncs_features::Batch;

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
    /// Number of slots in the range that the table has.
    n_slots: usize,
    /// A bit for each slot from `first` on, set if the batch has its id.
    bits: Vec<u64>,
    /// For each word of `bits`, the number of set bits before it.
    before: Vec<u32>,
    /// Buffer: the position of each id of a field.
    positions: Vec<u32>,
    /// Number of distinct ids.
    pub(super) n_ids: usize,
}

/// Ids of a batch, with the gradients of its field vectors.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, R> {
    pub(super) spec: &'a Spec,
    pub(super) batch: &'a Batch,
    pub(super) resolved: &'a ResolvedIds,
    /// Those of the resolved rows, `[rows, vector fields * dim]`.
    pub(super) d_vectors: &'a [R],
    pub(super) events: &'a EventGradients<R>,
}

/// The ids of a part and their gradients, to be filled in.
pub(super) struct PartSums<'a, R> {
    pub(super) ids: &'a mut [u32],
    pub(super) slots: &'a mut [u32],
    /// `[ids, dim]`
    pub(super) values: &'a mut [R],
}

impl<R: Real> Terms<'_, R> {
    /// Returns the fields of a table, each with its place in a row of `d_vectors`.
    fn fields_of(&self, table: usize) -> impl Iterator<Item = (usize, usize)> {
        let fields = self.spec.vector_fields().enumerate();
        fields.filter(move |&(_, f)| self.spec.fields[f].table == table)
    }
}

impl Part {
    /// Sets the range of slots, `first` to `last` inclusive; empty if `first > last`.
    pub(super) fn set_slots(&mut self, first: u32, last: u32) {
        (self.first, self.last) = (first, last);
    }

    /// Marks the ids in the range, of a table with `n_slots` slots.
    pub(super) fn mark<R: Real>(&mut self, terms: Terms<'_, R>, table: usize, n_slots: usize) {
        let end = n_slots.min(self.last as usize + 1);
        self.n_slots = end.saturating_sub(self.first as usize);
        self.bits.clear();
        self.bits.resize(self.n_slots.div_ceil(64), 0);
        for (_, f) in terms.fields_of(table) {
            let field = terms.spec.fields[f];
            terms.resolved.each_slot(terms.batch, field, f, |slot| {
                assert!(slot != 0, "a row of the batch is not initialised");
                if let Some(at) = self.own(slot) {
                    self.bits[at / 64] |= 1 << (at % 64);
                }
            });
        }
        let mut n = 0;
        self.before.clear();
        self.before.extend(self.bits.iter().map(|word| {
            let before = n;
            n += word.count_ones();
            before
        }));
        self.n_ids = n as usize;
    }

    /// Returns the place of a slot in the range, or `None` if it is not in it.
    #[inline]
    fn own(&self, slot: u32) -> Option<usize> {
        let at = slot.wrapping_sub(self.first) as usize;
        (at < self.n_slots).then_some(at)
    }

    /// Returns the position of a slot among those of the batch, or `None` if it is not in the range.
    #[inline]
    fn position(&self, slot: u32) -> Option<u32> {
        let at = self.own(slot)?;
        let before = self.bits[at / 64] & ((1 << (at % 64)) - 1);
        Some(self.before[at / 64] + before.count_ones())
    }

    /// Writes the ids, in the order of slots, and the sums of their gradients. `table_ids` holds the id of each slot.
    pub(super) fn sum<R: Real>(
        &mut self,
        terms: Terms<'_, R>,
        table: usize,
        table_ids: &[u32],
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
        for (place, f) in terms.fields_of(table) {
            match terms.events.of(f) {
                Some(d_events) => self.sum_events(terms, f, d_events, values),
                None => self.sum_field(terms, place, f, values),
            }
        }
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
            if let Some(position) = self.position(slot) {
                let at = position as usize * dim;
                add_scaled(&mut values[at..at + dim], R::ONE, gradients);
            }
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
            positions.extend(self.position(slot))
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
            resolved.each(batch, field, f, row, |slot, weight| {
                if self.own(slot).is_none() {
                    return;
                }
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
