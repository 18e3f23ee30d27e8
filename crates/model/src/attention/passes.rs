//! The attention of some rows of a batch, forward and backward.

use super::row::AttentionBuffers;
use super::{AttentionSums, PreparedAttention};
use crate::kernels::SimdLevel;
use crate::number::Real;
use crate::resolved_ids::Fields;
use ncs_features::Batch;
use std::ops::Range;

/// Buffers of a chunk of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttendedRows<R> {
    buffers: AttentionBuffers<R>,
    /// The pooled vectors of all attributes, `[rows, attended fields * dim]`.
    values: Vec<R>,
    /// Gradients of one row's pooled vectors.
    d_pooled: Vec<R>,
    /// One for each attention.
    pub(crate) sums: Vec<AttentionSums<R>>,
}

/// The vectors that attention has pooled, for some rows.
#[derive(Clone, Copy)]
pub(crate) struct Attended<'a, R> {
    /// The fields in the order of their vectors in a row.
    pub(crate) fields: &'a [usize],
    pub(crate) first_row: usize,
    pub(crate) dim: usize,
    /// `[rows, fields * dim]`
    pub(crate) values: &'a [R],
}

impl<'a, R: Real> Attended<'a, R> {
    /// Returns the vector of field `f` in a row, if it is one that attention pools.
    pub(crate) fn vector(&self, f: usize, row: usize) -> Option<&'a [R]> {
        let place = self.fields.iter().position(|&field| field == f)?;
        let start = ((row - self.first_row) * self.fields.len() + place) * self.dim;
        Some(&self.values[start..start + self.dim])
    }
}

impl<R: Real> AttendedRows<R> {
    /// Pools the events of these rows.
    pub(crate) fn forward(
        &mut self,
        level: SimdLevel,
        attentions: &[PreparedAttention<R>],
        fields: Fields<'_, R>,
        rows: Range<usize>,
    ) {
        let width: usize = attentions.iter().map(PreparedAttention::width).sum();
        // Every value is overwritten.
        self.values.resize(rows.len() * width, R::ZERO);
        let mut rest = self.values.as_mut_slice();
        for row in rows {
            for attention in attentions {
                let (pooled, others) = rest.split_at_mut(attention.width());
                rest = others;
                self.buffers.gather_events(attention, fields, row);
                self.buffers.gather_targets(attention, |_| (fields, row));
                self.buffers.forward(level, attention, pooled);
            }
        }
    }

    /// Returns the pooled vectors; `fields` are those of the attentions, in order.
    pub(crate) fn attended<'a>(
        &'a self,
        fields: &'a [usize],
        first_row: usize,
        dim: usize,
    ) -> Attended<'a, R> {
        Attended {
            fields,
            first_row,
            dim,
            values: &self.values,
        }
    }

    /// Turns the gradients of pooled vectors into those of targets, which are added to `d_vectors`, of events, which
    /// `d_events` receives, and of weights. `d_vectors` is `[rows, vector fields * dim]`, and `d_events` holds, for each
    /// field, `[events of these rows, dim]`.
    pub(crate) fn backward(
        &mut self,
        level: SimdLevel,
        attentions: &[PreparedAttention<R>],
        fields: Fields<'_, R>,
        rows: Range<usize>,
        d_vectors: &mut [R],
        d_events: &mut [&mut [R]],
    ) {
        let dim = fields.spec.plan.dim;
        let places = Places::new(fields, dim);
        self.sums
            .resize_with(attentions.len(), AttentionSums::default);
        self.sums
            .iter_mut()
            .zip(attentions)
            .for_each(|(sums, attention)| sums.clear(attention));
        for row in rows.clone() {
            let d_vectors = &mut d_vectors[(row - rows.start) * places.width..][..places.width];
            let mut number = 0;
            for (attention, sums) in attentions.iter().zip(&mut self.sums) {
                let buffers = &mut self.buffers;
                buffers.gather_events(attention, fields, row);
                buffers.gather_targets(attention, |_| (fields, row));
                self.d_pooled.clear();
                for &f in &attention.sequence().fields {
                    self.d_pooled.extend_from_slice(&d_vectors[places.of(f)]);
                }
                buffers.backward(level, attention, &self.d_pooled, sums);
                for (k, &f) in attention.sequence().fields.iter().enumerate() {
                    let ids = &fields.batch.fields[f];
                    let first = ids.range(row).start - ids.range(rows.start).start;
                    let own = d_events[number][first * dim..].chunks_exact_mut(dim);
                    let events = buffers.d_events.chunks_exact(attention.width());
                    own.zip(events).for_each(|(own, event)| {
                        own.copy_from_slice(&event[k * dim..(k + 1) * dim]);
                    });
                    number += 1;
                }
                let targets = attention.sequence().targets.iter().flatten();
                for (&target, gradients) in targets.zip(buffers.d_targets.chunks_exact(dim)) {
                    let sums = d_vectors[places.of(target)].iter_mut();
                    sums.zip(gradients)
                        .for_each(|(sum, &gradient)| *sum += gradient);
                }
            }
        }
    }
}

/// The places of the fields in a row of vectors.
struct Places {
    dim: usize,
    width: usize,
    /// By field.
    numbers: Vec<usize>,
}

impl Places {
    fn new<R: Real>(fields: Fields<'_, R>, dim: usize) -> Places {
        let mut numbers = vec![0; fields.spec.fields.len()];
        for (number, f) in fields.spec.vector_fields().enumerate() {
            numbers[f] = number;
        }
        Places {
            dim,
            width: fields.spec.vector_fields().count() * dim,
            numbers,
        }
    }

    fn of(&self, f: usize) -> Range<usize> {
        let first = self.numbers[f] * self.dim;
        first..first + self.dim
    }
}

impl<R: Real> AttentionBuffers<R> {
    /// Looks up the vectors of a row's events.
    pub(crate) fn gather_events(
        &mut self,
        attention: &PreparedAttention<R>,
        fields: Fields<'_, R>,
        row: usize,
    ) {
        let (dim, width) = (fields.spec.plan.dim, attention.width());
        let attributes = &attention.sequence().fields;
        let lengths = attributes
            .iter()
            .map(|&f| fields.batch.fields[f].range(row).len());
        // The encoder makes them equal.
        let n_events = lengths.min().unwrap_or(0);
        // Every value is overwritten.
        self.events.resize(n_events * width, R::ZERO);
        for (k, &f) in attributes.iter().enumerate() {
            let rows = fields.tables[fields.spec.fields[f].table].rows();
            let slots = &fields.ids.slots_of(f)[fields.batch.fields[f].range(row)];
            for (event, &slot) in self.events.chunks_exact_mut(width).zip(slots) {
                event[k * dim..(k + 1) * dim].copy_from_slice(rows.row(slot));
            }
        }
        self.decays.clear();
        if attention.sequence().decay.is_some()
            && let Some(ids) = attributes.first().map(|&f| &fields.batch.fields[f])
        {
            let decays = ids.weights[ids.range(row)].iter();
            self.decays
                .extend(decays.map(|&decay| attention.rate * R::of(decay.into())));
        }
    }

    /// Looks up the vectors of the targets; `source` returns the fields and the row in which a target is.
    pub(crate) fn gather_targets<'a>(
        &mut self,
        attention: &PreparedAttention<R>,
        source: impl Fn(usize) -> (Fields<'a, R>, usize),
    ) {
        let (dim, targets) = (attention.layout.dim, &attention.sequence().targets);
        self.targets
            .resize(attention.sequence().n_targets() * dim, R::ZERO);
        let vectors = self.targets.chunks_exact_mut(dim);
        for (&target, vector) in targets.iter().flatten().zip(vectors) {
            let (fields, row) = source(target);
            fields.vector(target, row, vector);
        }
    }
}

/// Gradients of the vectors of a batch's events, by field.
#[derive(Clone, Debug, Default)]
pub struct EventGradients<R> {
    fields: Vec<usize>,
    /// For each of the fields, `[ids, dim]`.
    values: Vec<Vec<R>>,
}

impl<R: Real> EventGradients<R> {
    /// Makes room for the events of a batch; `fields` are those of the attentions, in order.
    pub(crate) fn resize(&mut self, fields: &[usize], batch: &Batch, dim: usize) {
        self.fields.clear();
        self.fields.extend_from_slice(fields);
        self.values.resize_with(fields.len(), Vec::new);
        for (values, &f) in self.values.iter_mut().zip(fields) {
            values.clear();
            values.resize(batch.fields[f].ids.len() * dim, R::ZERO);
        }
    }

    /// Returns the gradients of the events of some rows, field by field, and removes them from `rest`.
    pub(crate) fn split<'a>(
        rest: &mut [&'a mut [R]],
        fields: &[usize],
        batch: &Batch,
        rows: Range<usize>,
        dim: usize,
    ) -> Vec<&'a mut [R]> {
        let own = fields.iter().zip(rest).map(|(&f, rest)| {
            let ids = &batch.fields[f];
            let n = match rows.clone().last() {
                Some(last) => ids.range(last).end - ids.range(rows.start).start,
                None => 0,
            };
            rest.split_off_mut(..n * dim).unwrap_or_default()
        });
        own.collect()
    }

    /// Returns the gradients of all events, field by field.
    pub(crate) fn all(&mut self) -> Vec<&mut [R]> {
        self.values.iter_mut().map(Vec::as_mut_slice).collect()
    }

    /// Returns the gradients of the events of field `f`, if attention pools it.
    pub(crate) fn of(&self, f: usize) -> Option<&[R]> {
        let place = self.fields.iter().position(|&field| field == f)?;
        Some(&self.values[place])
    }
}
