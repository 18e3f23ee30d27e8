//! The vectors of one row and their gradients, as either kind of attention takes them.

use super::AttentionSums;
use crate::kernels::SimdLevel;

/// The vectors of a row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a, R> {
    pub(super) level: SimdLevel,
    pub(super) events: &'a [R],
    pub(super) targets: &'a [R],
    /// For each event the logarithm of what its age leaves of its weight; empty without decay.
    pub(super) decays: &'a [R],
}

/// The gradients of a row's vectors, 0 before, and of the weights, which are added to.
pub(super) struct RowGradients<'a, R> {
    pub(super) events: &'a mut [R],
    pub(super) targets: &'a mut [R],
    pub(super) decays: &'a mut [R],
    pub(super) sums: &'a mut AttentionSums<R>,
}
