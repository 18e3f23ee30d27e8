//! Sums of features of a node, and copies that pass no gradient.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn forward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    from: usize,
    sums: &[Vec<u32>],
    output: &mut [Lanes<R>],
) {
    output.fill(Lanes::all(R::ZERO));
    for (t, output) in output.chunks_exact_mut(sums.len()).enumerate() {
        let x = nodes.tile(from, t);
        for (sum, places) in output.iter_mut().zip(sums) {
            for &place in places {
                mix::add_scaled(sum, R::of(1.0), &x[place as usize]);
            }
        }
    }
}

/// Adds the gradients of the features of `from` to `below`.
pub(super) fn backward<R: Real>(
    from: usize,
    sums: &[Vec<u32>],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    for (t, dy) in dy.chunks_exact(sums.len()).enumerate() {
        let dx = below.tile(from, t);
        for (dy, places) in dy.iter().zip(sums) {
            for &place in places {
                mix::add_scaled(&mut dx[place as usize], R::of(1.0), dy);
            }
        }
    }
}

/// Copies the features of `from`.
pub(super) fn copy<R: Real>(nodes: NodeOutputs<'_, R>, from: usize, output: &mut [Lanes<R>]) {
    output.copy_from_slice(nodes.all(from));
}
