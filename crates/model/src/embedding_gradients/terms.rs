//! Gradients of a batch's vectors, and which of them belong to which part of a table.
//!
//! With several parts, each thread goes through a share of the ids once and sorts them by part. A thread that sums a part
//! then reads its own only, so that the work of all threads together does not grow with their number.

use crate::attention::EventGradients;
use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use ncs_features::Batch;
use std::ops::Range;

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

impl<R: Real> Terms<'_, R> {
    /// Returns the fields of a table, each with its place in a row of `d_vectors`.
    pub(super) fn fields_of(&self, table: usize) -> impl Iterator<Item = (usize, usize)> {
        let fields = self.spec.vector_fields().enumerate();
        fields.filter(move |&(_, f)| self.spec.fields[f].table == table)
    }
}

/// A gradient that is added to a table row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) slot: u32,
    /// The number of its vector among those of [`SortedTerms::gradients`].
    pub(super) vector: u32,
    pub(super) weight: f64,
}

/// The terms of some rows of a field, by part of its table.
#[derive(Clone, Debug, Default)]
pub(super) struct SortedTerms {
    field: usize,
    /// The field's place in a row of gradients.
    place: usize,
    rows: Range<usize>,
    parts: Vec<Vec<Term>>,
}

impl SortedTerms {
    /// Divides the resolved rows of each field of a table, in order, so that there is work for `n_threads`.
    pub(super) fn divide<R: Real>(
        of_table: &mut Vec<SortedTerms>,
        terms: Terms<'_, R>,
        table: usize,
        n_threads: usize,
    ) {
        let rows = terms.resolved.rows();
        let n_fields = terms.fields_of(table).count().max(1);
        let n_pieces = (2 * n_threads).div_ceil(n_fields);
        of_table.resize_with(n_fields * n_pieces, SortedTerms::default);
        let mut all = of_table.iter_mut();
        for (place, field) in terms.fields_of(table) {
            for (piece, sorted) in all.by_ref().take(n_pieces).enumerate() {
                let row = |piece: usize| rows.start + rows.len() * piece / n_pieces;
                (sorted.field, sorted.place) = (field, place);
                sorted.rows = row(piece)..row(piece + 1);
            }
        }
    }

    /// Sorts its terms into parts that begin at these slots, ascending, the first of them 0.
    pub(super) fn sort<R: Real>(&mut self, terms: Terms<'_, R>, firsts: &[u32]) {
        self.parts.resize_with(firsts.len(), Vec::new);
        self.parts.iter_mut().for_each(Vec::clear);
        let (batch, f) = (terms.batch, self.field);
        let is_event = terms.events.of(f).is_some();
        let n_fields = terms.spec.vector_fields().count();
        let first_row = terms.resolved.rows().start;
        for row in self.rows.clone() {
            let of_row = ((row - first_row) * n_fields + self.place) as u32;
            let mut event = batch.fields[f].range(row).start as u32;
            let field = terms.spec.fields[f];
            terms.resolved.each(batch, field, f, row, |slot, weight| {
                let after = firsts.iter().skip(1).filter(|first| **first <= slot);
                let term = Term {
                    slot,
                    vector: if is_event { event } else { of_row },
                    weight: if is_event { 1.0 } else { weight },
                };
                event += 1;
                self.parts[after.count()].push(term);
            });
        }
    }

    /// Returns the gradients to which its terms point, vector after vector.
    pub(super) fn gradients<'a, R: Real>(&self, terms: Terms<'a, R>) -> &'a [R] {
        terms.events.of(self.field).unwrap_or(terms.d_vectors)
    }
}

/// The sorted terms of one part of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartTerms<'a> {
    pub(super) part: usize,
    /// Those of all parts, in the order of fields and rows.
    pub(super) sorted: &'a [SortedTerms],
}

impl<'a> PartTerms<'a> {
    /// Returns false for the only part of a table, whose terms are all of the batch, unsorted.
    pub(super) fn are_sorted(self) -> bool {
        !self.sorted.is_empty()
    }

    /// Iterates over its terms, some rows of a field at a time.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a SortedTerms, &'a [Term])> {
        let of_part = move |sorted: &'a SortedTerms| (sorted, &sorted.parts[self.part][..]);
        self.sorted.iter().map(of_part)
    }
}
