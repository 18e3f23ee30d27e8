//! From the slopes of field vectors to those of table rows.

use crate::number::Real;
use crate::spec::{FieldSpec, Spec};
use crate::tables::TableGradient;
use ncs_features::{Batch, FieldIds, Pooling};
use rayon::prelude::*;

/// Sums the slopes of the field vectors, `[rows, fields * dim]`, by table row.
pub(crate) fn gather<R: Real>(
    spec: &Spec,
    batch: &Batch,
    longest: &[usize],
    d_vectors: &[R],
    n_threads: usize,
    tables: &mut Vec<TableGradient<R>>,
) {
    let dim = spec.plan.dim;
    let width = spec.fields.len() * dim;
    tables.resize_with(spec.tables.len(), TableGradient::default);
    let sum = |(t, sum): (usize, &mut TableGradient<R>)| {
        sum.clear();
        let fields = spec.fields.iter().enumerate();
        for (f, &field) in fields.filter(|(_, field)| field.table == t) {
            for (row, slopes) in d_vectors.chunks_exact(width).enumerate() {
                let slope = &slopes[f * dim..(f + 1) * dim];
                each_id(&batch.fields[f], field, row, longest[f], |id, weight| {
                    sum.add(id, R::of(weight), slope);
                });
            }
        }
    };
    match n_threads {
        1 => tables.iter_mut().enumerate().for_each(sum),
        _ => tables.par_iter_mut().enumerate().for_each(sum),
    }
}

/// The length of the longest list.
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
