//! Layer normalisation with Swish behind it: `y = u s(u)`, `u = g x + b`, `x = (z - mean) / deviation` over the features of a
//! row, where `s` is the sigmoid.

use super::{NodeGradients, NodeOutputs};
use crate::kernels::{LANES, Lanes};
use crate::number::Real;

/// Added to the variance, so that equal features have no deviation of 0.
const EPSILON: f64 = 1e-5;

/// Mean and inverse deviation of the features of each row of a tile.
fn moments<R: Real>(z: &[Lanes<R>]) -> (Lanes<R>, Lanes<R>) {
    let n = R::of(1.0 / z.len() as f64);
    let (mut mean, mut inverse) = (Lanes::all(R::ZERO), Lanes::all(R::ZERO));
    for lane in 0..LANES {
        let sum: R = z.iter().map(|z| z.0[lane]).sum();
        mean.0[lane] = sum * n;
        let off = z.iter().map(|z| z.0[lane] - mean.0[lane]);
        let variance = off.map(|off| off * off).sum::<R>() * n;
        inverse.0[lane] = R::ONE / (variance + R::of(EPSILON)).root();
    }
    (mean, inverse)
}

pub(super) fn forward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    from: usize,
    weights: &[R],
    output: &mut [Lanes<R>],
) {
    let width = nodes.width(from);
    let (scales, shifts) = weights.split_at(width);
    for (t, output) in output.chunks_exact_mut(width).enumerate() {
        let z = nodes.tile(from, t);
        let (mean, inverse) = moments(z);
        for (i, (y, z)) in output.iter_mut().zip(z).enumerate() {
            for lane in 0..LANES {
                let x = (z.0[lane] - mean.0[lane]) * inverse.0[lane];
                let u = scales[i] * x + shifts[i];
                y.0[lane] = u * R::of(crate::sigmoid(u.wide()));
            }
        }
    }
}

/// Adds the gradients of the numbers to `sums`, and those of the features to `below`; `dy` become those of `x`.
pub(super) fn backward<R: Real>(
    nodes: NodeOutputs<'_, R>,
    from: usize,
    weights: &[R],
    dy: &mut [Lanes<R>],
    below: &mut NodeGradients<'_, R>,
    sums: &mut [R],
) {
    let width = nodes.width(from);
    let n = R::of(1.0 / width as f64);
    let (scales, shifts) = weights.split_at(width);
    let (of_scales, of_shifts) = sums.split_at_mut(width);
    for (t, dy) in dy.chunks_exact_mut(width).enumerate() {
        let z = nodes.tile(from, t);
        let (mean, inverse) = moments(z);
        let normalized = |i: usize, lane: usize| (z[i].0[lane] - mean.0[lane]) * inverse.0[lane];
        // Means of the gradients of `x`, and of these times `x`.
        let (mut plain, mut weighted) = (Lanes::all(R::ZERO), Lanes::all(R::ZERO));
        for (i, dy) in dy.iter_mut().enumerate() {
            for lane in 0..LANES {
                let x = normalized(i, lane);
                let u = scales[i] * x + shifts[i];
                let s = R::of(crate::sigmoid(u.wide()));
                let du = dy.0[lane] * (s + u * s * (R::ONE - s));
                of_scales[i] += du * x;
                of_shifts[i] += du;
                let dx = du * scales[i];
                plain.0[lane] += dx * n;
                weighted.0[lane] += dx * x * n;
                dy.0[lane] = dx;
            }
        }
        for (i, (dz, dx)) in below.tile(from, t).iter_mut().zip(&*dy).enumerate() {
            for lane in 0..LANES {
                let x = normalized(i, lane);
                let off = dx.0[lane] - plain.0[lane] - x * weighted.0[lane];
                dz.0[lane] += off * inverse.0[lane];
            }
        }
    }
}
