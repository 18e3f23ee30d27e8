//! A learned mixture of nodes (cross-stitch): `y = sum_k a_k part_k` with one trained number `a_k` for each part.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn forward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    weights: &[R],
    parts: &[usize],
    output: &mut [Lanes<R>],
) {
    output.fill(Lanes::all(R::ZERO));
    for (&weight, &part) in weights.iter().zip(parts) {
        let pairs = output.iter_mut().zip(nodes.all(part));
        pairs.for_each(|(sum, part)| mix::add_scaled(sum, weight, part));
    }
}

/// Adds the gradients of the weights to `sums`, and those of the parts to `below`.
pub(super) fn backward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    weights: &[R],
    parts: &[usize],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
    sums: &mut [R],
) {
    for ((&weight, sum), &part) in weights.iter().zip(sums).zip(parts) {
        *sum += mix::inner(nodes.all(part), dy);
        let gradients = below.gradients[part].iter_mut().zip(dy);
        gradients.for_each(|(gradient, dy)| mix::add_scaled(gradient, weight, dy));
    }
}
