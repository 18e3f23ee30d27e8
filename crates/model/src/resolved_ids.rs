//! Look-up of a batch's ids in the embedding tables, and the field vectors that result.

use crate::attention::Attended;
use crate::number::Real;
use crate::spec::{FieldSpec, Spec};
use crate::tables::{Table, fetch_rows};
use ncs_features::{Batch, FieldIds, Pooling};
use rayon::prelude::*;
use std::ops::Range;

/// The table rows of a batch, or of a range of its rows: for each field, the slot of each of its ids. Looking up ids is
/// bound by memory latency, so it is done once for a pass.
#[derive(Clone, Debug, Default)]
pub struct ResolvedIds {
    fields: Vec<FieldSlots>,
    /// The rows of the batch whose ids are looked up.
    rows: Range<usize>,
}

/// The slots of one field.
#[derive(Clone, Debug, Default)]
struct FieldSlots {
    /// In the order of the field's ids; those of rows before the range are 0, those of rows after it are left out.
    slots: Vec<u32>,
    /// The slots of the rows in the range.
    own: Range<usize>,
    /// The slot of row 0, with which lists are padded.
    padding: u32,
    /// The length of the field's longest list.
    longest: usize,
}

/// Slots are prefetched this many ids ahead.
const SLOTS_AHEAD: usize = 32;

impl FieldSlots {
    fn find<R: Real>(
        &mut self,
        table: &Table<R>,
        unknown: Option<u32>,
        ids: &FieldIds,
        rows: &Range<usize>,
    ) {
        // Ids not seen in training use the row of unknown ids.
        let unseen = unknown.map_or(0, |id| table.slot(id));
        self.own = ids_of_rows(ids, rows);
        self.slots.clear();
        self.slots.resize(self.own.start, 0);
        let own = &ids.ids[self.own.clone()];
        for (i, &id) in own.iter().enumerate() {
            if let Some(&ahead) = own.get(i + SLOTS_AHEAD) {
                table.prefetch_slot(ahead);
            }
            let slot = table.slot(id);
            self.slots.push(if slot == 0 { unseen } else { slot });
        }
        self.padding = if table.n_rows() > 0 { table.slot(0) } else { 0 };
        self.longest = longest_list(ids);
    }
}

impl ResolvedIds {
    /// Looks up the ids of the fields for which `is_needed` is true, on at most `n_threads` threads of the current
    /// pool. Ids must lie inside their tables.
    pub fn find<R: Real>(
        &mut self,
        spec: &Spec,
        tables: &[Table<R>],
        batch: &Batch,
        is_needed: impl Fn(usize) -> bool + Sync,
        n_threads: usize,
    ) {
        self.find_of_rows(spec, tables, batch, 0..batch.n_rows, is_needed, n_threads);
    }

    /// Looks up the ids of a range of the batch's rows only.
    pub(crate) fn find_of_rows<R: Real>(
        &mut self,
        spec: &Spec,
        tables: &[Table<R>],
        batch: &Batch,
        rows: Range<usize>,
        is_needed: impl Fn(usize) -> bool + Sync,
        n_threads: usize,
    ) {
        self.rows = rows;
        let rows = &self.rows;
        self.fields
            .resize_with(spec.fields.len(), FieldSlots::default);
        let find = |(f, slots): (usize, &mut FieldSlots)| {
            if is_needed(f) {
                let table = spec.fields[f].table;
                let unknown = spec.tables[table].unknown;
                slots.find(&tables[table], unknown, &batch.fields[f], rows);
            }
        };
        match n_threads {
            0 | 1 => self.fields.iter_mut().enumerate().for_each(find),
            _ => self.fields.par_iter_mut().enumerate().for_each(find),
        }
        let in_files = tables.iter().enumerate();
        let in_files = in_files.filter(|(_, table)| table.rows().is_in_file());
        let wanted = in_files.map(|(t, table)| {
            let fields = (0..spec.fields.len()).filter(|&f| is_needed(f));
            let fields = fields.filter(|&f| spec.fields[f].table == t);
            let slots: Vec<&[u32]> = fields.map(|f| self.own_slots_of(f)).collect();
            (table.rows(), slots.concat())
        });
        fetch_rows(&wanted.collect::<Vec<_>>());
    }

    /// Returns the slots of all ids of a field, in their order.
    pub(crate) fn slots_of(&self, f: usize) -> &[u32] {
        &self.fields[f].slots
    }

    /// Returns the rows whose ids are looked up.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Returns the slots of the ids of these rows in field `f`, in their order.
    pub(crate) fn own_slots_of(&self, f: usize) -> &[u32] {
        let field = &self.fields[f];
        &field.slots[field.own.clone()]
    }

    /// Returns the position of the first of these slots among those of all rows.
    pub(crate) fn first_slot_of(&self, f: usize) -> usize {
        self.fields[f].own.start
    }

    /// Calls `each` with the slot of every id of all these rows of a field, and of the padding of each row that has any:
    /// in the order of [`ResolvedIds::each`].
    #[inline]
    pub(crate) fn each_slot(
        &self,
        batch: &Batch,
        field: FieldSpec,
        f: usize,
        mut each: impl FnMut(u32),
    ) {
        if field.pooling == Some(Pooling::PaddedMean) {
            self.rows()
                .for_each(|row| self.each(batch, field, f, row, |slot, _| each(slot)));
        } else {
            self.own_slots_of(f).iter().for_each(|&slot| each(slot));
        }
    }

    /// Calls `each` with the slot of every id of a row and its weight in the field vector.
    #[inline]
    pub(crate) fn each(
        &self,
        batch: &Batch,
        field: FieldSpec,
        f: usize,
        row: usize,
        mut each: impl FnMut(u32, f64),
    ) {
        let (ids, field_slots) = (&batch.fields[f], &self.fields[f]);
        let range = ids.range(row);
        let length = range.len();
        let weight = match field.pooling {
            None | Some(Pooling::Sum) => 1.0,
            // Events with an attention are pooled by it, before.
            Some(Pooling::Mean | Pooling::Events(_)) => 1.0 / length.max(1) as f64,
            Some(Pooling::PaddedMean) => 1.0 / field_slots.longest.max(1) as f64,
        };
        let slots = &field_slots.slots[range.clone()];
        if ids.weights.is_empty() {
            slots.iter().for_each(|&slot| each(slot, weight));
        } else {
            for (&slot, &factor) in slots.iter().zip(&ids.weights[range]) {
                each(slot, f64::from(factor) * weight);
            }
        }
        if field.pooling == Some(Pooling::PaddedMean) && length < field_slots.longest {
            each(
                field_slots.padding,
                (field_slots.longest - length) as f64 * weight,
            );
        }
    }
}

/// The fields of a batch with their resolved ids.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a, R: Real> {
    pub(crate) spec: &'a Spec,
    pub(crate) tables: &'a [Table<R>],
    pub(crate) batch: &'a Batch,
    pub(crate) ids: &'a ResolvedIds,
    /// The vectors that attention has pooled, if any field has such.
    pub(crate) attended: Option<Attended<'a, R>>,
}

impl<R: Real> Fields<'_, R> {
    /// Fills `vector` with the vector of field `f` in a row.
    #[inline]
    pub(crate) fn vector(&self, f: usize, row: usize, vector: &mut [R]) {
        // Its ids may be in another batch.
        if let Some(attended) = self.attended
            && let Some(pooled) = attended.vector(f, row)
        {
            return vector.copy_from_slice(pooled);
        }
        let (field, ids) = (self.spec.fields[f], &self.batch.fields[f]);
        let rows = self.tables[field.table].rows();
        if ids.offsets.is_empty() && ids.weights.is_empty() {
            let slot = self.ids.fields[f].slots[row];
            return vector.copy_from_slice(rows.row(slot));
        }
        vector.fill(R::ZERO);
        self.ids.each(self.batch, field, f, row, |slot, weight| {
            let weight = R::of(weight);
            let values = vector.iter_mut().zip(rows.row(slot));
            values.for_each(|(sum, &value)| *sum += weight * value);
        });
    }

    /// Fills `vectors`, `[rows, dim]`, with the vectors of field `f` in some rows.
    pub(crate) fn vectors(
        &self,
        f: usize,
        rows: impl ExactSizeIterator<Item = usize>,
        vectors: &mut Vec<R>,
    ) {
        let dim = self.spec.plan.dim;
        // Every value is overwritten.
        vectors.resize(rows.len() * dim, R::ZERO);
        for (row, vector) in rows.zip(vectors.chunks_exact_mut(dim)) {
            self.vector(f, row, vector);
        }
    }

    /// Prefetches the table rows of field `f`, if there is such a field and attention has not pooled them already.
    pub(crate) fn prefetch(&self, f: Option<usize>, rows: impl Iterator<Item = usize>) {
        let Some((f, field)) = f.and_then(|f| Some((f, self.spec.fields.get(f)?))) else {
            return;
        };
        if field.pooling.is_some_and(Pooling::is_attention) {
            return;
        }
        let (table, ids) = (self.tables[field.table].rows(), &self.batch.fields[f]);
        let slots = self.ids.slots_of(f);
        for row in rows {
            slots[ids.range(row)]
                .iter()
                .for_each(|&slot| table.prefetch(slot));
        }
    }
}

/// Returns the positions of the ids of some rows of a field.
pub(crate) fn ids_of_rows(ids: &FieldIds, rows: &Range<usize>) -> Range<usize> {
    let Some(last) = rows.clone().last() else {
        return 0..0;
    };
    // Fields of numbers have no ids.
    let end = ids.range(last).end.min(ids.ids.len());
    ids.range(rows.start).start.min(end)..end
}

/// Returns the length of a field's longest list in a batch; 1 for fields of one id a row.
fn longest_list(ids: &FieldIds) -> usize {
    let lengths = ids
        .offsets
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as usize);
    lengths.max().unwrap_or(1)
}
