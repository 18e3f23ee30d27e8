//! Attention scores: a feature for each pair of nodes, `scale (a . b)`.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn forward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    pairs: &[(usize, usize)],
    scale: f64,
    output: &mut [Lanes<R>],
) {
    let scale = R::of(scale);
    output.fill(Lanes::all(R::ZERO));
    for (t, output) in output.chunks_exact_mut(pairs.len()).enumerate() {
        for (score, &(a, b)) in output.iter_mut().zip(pairs) {
            let features = nodes.tile(a, t).iter().zip(nodes.tile(b, t));
            features.for_each(|(a, b)| mix::add_product(score, a, b));
            multiply(score, scale);
        }
    }
}

/// Adds the gradients of both nodes of each pair to `below`.
pub(super) fn backward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    pairs: &[(usize, usize)],
    scale: f64,
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    let scale = R::of(scale);
    for (t, dy) in dy.chunks_exact(pairs.len()).enumerate() {
        for (dy, &(a, b)) in dy.iter().zip(pairs) {
            let mut gradient = *dy;
            multiply(&mut gradient, scale);
            for (node, other) in [(a, b), (b, a)] {
                let pairs = below.tile(node, t).iter_mut().zip(nodes.tile(other, t));
                pairs.for_each(|(sum, other)| mix::add_product(sum, &gradient, other));
            }
        }
    }
}

fn multiply<R: Real>(lanes: &mut Lanes<R>, scale: R) {
    lanes.0.iter_mut().for_each(|value| *value = *value * scale);
}
