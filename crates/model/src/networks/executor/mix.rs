//! A mixture of nodes by a gate: `y = sum_k gate_k part_k`.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn forward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    gate: usize,
    parts: &[usize],
    output: &mut [Lanes<R>],
) {
    let width = nodes.width(parts[0]);
    output.fill(Lanes::all(R::ZERO));
    for (t, output) in output.chunks_exact_mut(width).enumerate() {
        for (gate, &part) in nodes.tile(gate, t).iter().zip(parts) {
            let pairs = output.iter_mut().zip(nodes.tile(part, t));
            pairs.for_each(|(sum, part)| mix::add_product(sum, gate, part));
        }
    }
}

/// Adds the gradients of the gate and the parts to `below`.
pub(super) fn backward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    gate: usize,
    parts: &[usize],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    let width = nodes.width(parts[0]);
    for (t, dy) in dy.chunks_exact(width).enumerate() {
        for (k, &part) in parts.iter().enumerate() {
            let factor = nodes.tile(gate, t)[k];
            let gradients = below.tile(part, t).iter_mut().zip(dy);
            gradients.for_each(|(gradient, dy)| mix::add_product(gradient, &factor, dy));
            let gradient = &mut below.tile(gate, t)[k];
            let features = nodes.tile(part, t).iter().zip(dy);
            features.for_each(|(part, dy)| mix::add_product(gradient, part, dy));
        }
    }
}
