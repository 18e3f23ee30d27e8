//! Sigmoids, and products and sums of nodes, feature by feature.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{Lanes, mix};
use crate::number::Real;

pub(super) fn sigmoid<R: Real>(
    nodes: NodeOutputs<'_, R>,
    from: usize,
    scale: f64,
    output: &mut [Lanes<R>],
) {
    for (y, x) in output.iter_mut().zip(nodes.all(from)) {
        for (y, x) in y.0.iter_mut().zip(&x.0) {
            *y = R::of(scale * crate::sigmoid(x.wide()));
        }
    }
}

/// Adds the gradients of the inputs to `below`; `y` and `dy` are the outputs and their gradients.
pub(super) fn sigmoid_backward<R: Real>(
    from: usize,
    scale: f64,
    y: &[Lanes<R>],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    let inverse = R::of(1.0 / scale);
    let pairs = y.iter().zip(dy);
    for (dx, (y, dy)) in below.gradients[from].iter_mut().zip(pairs) {
        for ((dx, &y), &dy) in dx.0.iter_mut().zip(&y.0).zip(&dy.0) {
            *dx += dy * y * (R::ONE - y * inverse);
        }
    }
}

pub(super) fn product<R: Real>(
    nodes: NodeOutputs<'_, R>,
    [a, b]: [usize; 2],
    output: &mut [Lanes<R>],
) {
    output.fill(Lanes::all(R::ZERO));
    let pairs = nodes.all(a).iter().zip(nodes.all(b));
    for (y, (a, b)) in output.iter_mut().zip(pairs) {
        mix::add_product(y, a, b);
    }
}

/// Adds the gradients of both nodes to `below`.
pub(super) fn product_backward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    [a, b]: [usize; 2],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    for (node, other) in [(a, b), (b, a)] {
        let terms = nodes.all(other).iter().zip(dy);
        for (dx, (other, dy)) in below.gradients[node].iter_mut().zip(terms) {
            mix::add_product(dx, other, dy);
        }
    }
}

pub(super) fn sum<R: Real>(nodes: NodeOutputs<'_, R>, parts: &[usize], output: &mut [Lanes<R>]) {
    output.fill(Lanes::all(R::ZERO));
    for &part in parts {
        let pairs = output.iter_mut().zip(nodes.all(part));
        pairs.for_each(|(sum, part)| mix::add_scaled(sum, R::ONE, part));
    }
}

/// Adds the gradients of the parts to `below`.
pub(super) fn sum_backward<R: Real>(
    parts: &[usize],
    dy: &[Lanes<R>],
    below: &mut NodeGradients<'_, R>,
) {
    for &part in parts {
        let gradients = below.gradients[part].iter_mut().zip(dy);
        gradients.for_each(|(gradient, dy)| mix::add_scaled(gradient, R::ONE, dy));
    }
}
