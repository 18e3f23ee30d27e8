//! Weights that decay with the age of events: a mean of events, weighted by age, and what attention adds to its weights.
//! See [`ncs_features::event_decay`].

use super::row_vectors::{Row, RowGradients};
use super::{softmax, softmax_backward};
use crate::number::Real;

/// Buffers of one row.
#[derive(Clone, Debug, Default)]
pub(super) struct DecayBuffers<R> {
    weights: Vec<R>,
    d_weights: Vec<R>,
}

impl<R: Real> DecayBuffers<R> {
    /// Adds the weighted mean of the events of a row to `pooled`, which is 0.
    pub(super) fn forward(&mut self, row: Row<'_, R>, pooled: &mut [R]) {
        self.weigh(row);
        let events = row.events.chunks_exact(pooled.len());
        for (&weight, event) in self.weights.iter().zip(events) {
            let sums = pooled.iter_mut().zip(event);
            sums.for_each(|(sum, &x)| *sum += weight * x);
        }
    }

    /// Computes the gradients of a row from those of the mean.
    pub(super) fn backward(
        &mut self,
        row: Row<'_, R>,
        d_pooled: &[R],
        gradients: RowGradients<'_, R>,
    ) {
        self.weigh(row);
        let width = d_pooled.len();
        let inner = |event: &[R]| event.iter().zip(d_pooled).map(|(&x, &d)| x * d).sum::<R>();
        self.d_weights.clear();
        self.d_weights
            .extend(row.events.chunks_exact(width).map(inner));
        softmax_backward(&self.weights, &mut self.d_weights);
        gradients.decays.copy_from_slice(&self.d_weights);
        for (d_event, &weight) in gradients.events.chunks_exact_mut(width).zip(&self.weights) {
            let pairs = d_event.iter_mut().zip(d_pooled);
            pairs.for_each(|(d_event, &d)| *d_event = weight * d);
        }
    }

    fn weigh(&mut self, row: Row<'_, R>) {
        self.weights.clear();
        self.weights.extend_from_slice(row.decays);
        softmax(&mut self.weights);
    }
}

/// Multiplies weights by what age leaves of them.
pub(super) fn scale<R: Real>(decays: &[R], weights: &mut [R]) {
    let pairs = weights.iter_mut().zip(decays);
    pairs.for_each(|(weight, decay)| *weight = *weight * R::of(decay.wide().exp()));
}

/// Turns the gradients of scaled weights into those of the weights before, and writes those of the decays. `scaled` are the
/// weights after [`scale`].
pub(super) fn scale_backward<R: Real>(
    decays: &[R],
    scaled: &[R],
    d_weights: &mut [R],
    d_decays: &mut [R],
) {
    let outputs = d_decays.iter_mut().zip(scaled);
    for ((d_weight, decay), (d_decay, &scaled)) in d_weights.iter_mut().zip(decays).zip(outputs) {
        *d_decay = *d_weight * scaled;
        *d_weight = *d_weight * R::of(decay.wide().exp());
    }
}
