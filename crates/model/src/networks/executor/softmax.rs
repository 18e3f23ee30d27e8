//! Softmax over the features of a row.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn forward<R: Real>(nodes: NodeOutputs<'_, R>, from: usize, output: &mut [Lanes<R>]) {
    let width = nodes.width(from);
    for (t, output) in output.chunks_exact_mut(width).enumerate() {
        mix::softmax(nodes.tile(from, t), output);
    }
}

/// Adds the gradients of the inputs to `below`; `y` and `dy` are the outputs and their gradients.
pub(super) fn backward<R: Real>(
    from: usize,
    y: &[Lanes<R>],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    let width = below.width(from);
    let tiles = y.chunks_exact(width).zip(dy.chunks_exact(width));
    for (t, (y, dy)) in tiles.enumerate() {
        mix::softmax_backward(y, dy, below.tile(from, t));
    }
}
