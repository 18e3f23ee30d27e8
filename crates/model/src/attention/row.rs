//! The attention of one row, of either kind.

use super::decay::DecayBuffers;
use super::din::DinBuffers;
use super::heads::HeadsBuffers;
use super::row_vectors::{Row, RowGradients};
use super::{AttentionSums, Prepared, PreparedAttention};
use crate::kernels::SimdLevel;
use crate::number::Real;

/// Buffers for the attention of one row; they grow to the longest sequence and are reused.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttentionBuffers<R> {
    /// The vectors of the events, `[events, attributes * dim]`.
    pub(super) events: Vec<R>,
    /// The vectors of the targets, `[targets * dim]`.
    pub(super) targets: Vec<R>,
    /// For each event the logarithm of what its age leaves of its weight; empty without decay.
    pub(super) decays: Vec<R>,
    d_decays: Vec<R>,
    /// Gradients of the events.
    pub(super) d_events: Vec<R>,
    /// Gradients of the targets.
    pub(super) d_targets: Vec<R>,
    din: DinBuffers<R>,
    heads: HeadsBuffers<R>,
    decay: DecayBuffers<R>,
}

impl<R: Real> AttentionBuffers<R> {
    /// Pools the events: `pooled` receives `[attributes * dim]`, zeros without an event.
    pub(crate) fn forward(
        &mut self,
        level: SimdLevel,
        attention: &PreparedAttention<R>,
        pooled: &mut [R],
    ) {
        pooled.fill(R::ZERO);
        if self.events.is_empty() {
            return;
        }
        let row = Row {
            level,
            events: &self.events,
            targets: &self.targets,
            decays: &self.decays,
        };
        match &attention.weights {
            Prepared::Din(din) => self.din.forward(din, row, pooled),
            Prepared::Heads(heads) => self.heads.forward(heads, row, pooled),
            Prepared::Mean => self.decay.forward(row, pooled),
        }
    }

    /// Computes the gradients of the events and targets from those of the pooled vectors, and adds those of the weights
    /// to `sums`.
    pub(super) fn backward(
        &mut self,
        level: SimdLevel,
        attention: &PreparedAttention<R>,
        d_pooled: &[R],
        sums: &mut AttentionSums<R>,
    ) {
        super::fill(&mut self.d_events, self.events.len());
        super::fill(&mut self.d_targets, self.targets.len());
        super::fill(&mut self.d_decays, self.decays.len());
        if self.events.is_empty() {
            return;
        }
        let row = Row {
            level,
            events: &self.events,
            targets: &self.targets,
            decays: &self.decays,
        };
        let gradients = RowGradients {
            events: &mut self.d_events,
            targets: &mut self.d_targets,
            decays: &mut self.d_decays,
            sums: &mut *sums,
        };
        match &attention.weights {
            Prepared::Din(din) => self.din.backward(din, row, d_pooled, gradients),
            Prepared::Heads(heads) => self.heads.backward(heads, row, d_pooled, gradients),
            Prepared::Mean => self.decay.backward(row, d_pooled, gradients),
        }
        // The decays are the rate times what the encoder says: with the logarithm of the rate they change by themselves.
        let terms = self.decays.iter().zip(&self.d_decays);
        sums.log_rate += terms.map(|(&decay, &d)| decay * d).sum::<R>();
    }
}
