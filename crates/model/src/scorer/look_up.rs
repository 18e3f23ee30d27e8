//! Ids to the vectors of a field.

use crate::kernels::prefetch_range;
use crate::spec::FieldSpec;
use crate::tables::Table;
use ncs_features::{FieldIds, Pooling};

/// One field of a batch, and the table that it looks into.
#[derive(Clone, Copy)]
pub(super) struct LookUp<'a> {
    pub(super) table: &'a Table<f32>,
    pub(super) ids: &'a FieldIds,
    pub(super) field: FieldSpec,
    /// The length that shorter lists are padded to.
    pub(super) longest: usize,
}

impl LookUp<'_> {
    /// The field's vector in one row.
    pub(super) fn vector(&self, row: usize, vector: &mut [f32]) {
        let range = self.ids.range(row);
        let (ids, length) = (&self.ids.ids[range.clone()], range.len());
        let scale = match self.field.pooling {
            None | Some(Pooling::Sum) => 1.0,
            Some(Pooling::Mean) => 1.0 / length.max(1) as f32,
            Some(Pooling::PaddedMean) => 1.0 / self.longest.max(1) as f32,
        };
        if let ([id], true, None) = (ids, self.ids.weights.is_empty(), self.field.pooling) {
            return vector.copy_from_slice(self.table.row(*id));
        }
        vector.fill(0.0);
        if self.ids.weights.is_empty() {
            ids.iter()
                .for_each(|&id| add_scaled(vector, scale, self.table.row(id)));
        } else {
            for (&id, weight) in ids.iter().zip(&self.ids.weights[range]) {
                add_scaled(vector, weight * scale, self.table.row(id));
            }
        }
        if self.field.pooling == Some(Pooling::PaddedMean) && length < self.longest {
            let padding = (self.longest - length) as f32;
            add_scaled(vector, padding * scale, self.table.row(0));
        }
    }

    /// Asks memory for what [`LookUp::vector`] will read.
    pub(super) fn ask_ahead(&self, row: usize) {
        for &id in &self.ids.ids[self.ids.range(row)] {
            prefetch_range(self.table.row(id), 0..self.table.dim());
        }
    }
}

/// The length of the longest list, 1 for single values.
pub(super) fn longest_list(ids: &FieldIds) -> usize {
    let lengths = ids
        .offsets
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as usize);
    lengths.max().unwrap_or(1)
}

/// In steps of 16, which the compiler keeps in registers.
fn add_scaled(sums: &mut [f32], factor: f32, values: &[f32]) {
    let (sums, values) = (sums.as_chunks_mut::<16>(), values.as_chunks::<16>());
    for (sums, values) in sums.0.iter_mut().zip(values.0) {
        sums.iter_mut()
            .zip(values)
            .for_each(|(sum, value)| *sum += factor * value);
    }
    let rest = sums.1.iter_mut().zip(values.1);
    rest.for_each(|(sum, value)| *sum += factor * value);
}
