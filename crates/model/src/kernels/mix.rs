//! Softmax, mixtures and inner products of tiles, forward and backward. One tile is `[features]` lanes.

use super::{LANES, Lanes};
use crate::number::Real;

/// Computes the softmax over the features, in each lane.
pub(crate) fn softmax<R: Real>(x: &[Lanes<R>], y: &mut [Lanes<R>]) {
    let mut largest = Lanes::all(R::of(f64::NEG_INFINITY));
    for x in x {
        for (largest, &x) in largest.0.iter_mut().zip(&x.0) {
            if x > *largest {
                *largest = x;
            }
        }
    }
    let mut sum = Lanes::all(R::ZERO);
    for (y, x) in y.iter_mut().zip(x) {
        for lane in 0..LANES {
            let e = R::of((x.0[lane] - largest.0[lane]).wide().exp());
            y.0[lane] = e;
            sum.0[lane] += e;
        }
    }
    for y in y {
        y.0.iter_mut()
            .zip(&sum.0)
            .for_each(|(y, &sum)| *y = *y / sum);
    }
}

/// Adds to `dx` the gradients of a softmax's inputs: `dx_k += y_k (dy_k - sum_j y_j dy_j)`.
pub(crate) fn softmax_backward<R: Real>(y: &[Lanes<R>], dy: &[Lanes<R>], dx: &mut [Lanes<R>]) {
    let mut mean = Lanes::all(R::ZERO);
    y.iter()
        .zip(dy)
        .for_each(|(y, dy)| add_product(&mut mean, y, dy));
    for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
        for lane in 0..LANES {
            dx.0[lane] += y.0[lane] * (dy.0[lane] - mean.0[lane]);
        }
    }
}

/// Computes `sum += a * b`, lane by lane.
pub(crate) fn add_product<R: Real>(sum: &mut Lanes<R>, a: &Lanes<R>, b: &Lanes<R>) {
    for ((sum, &a), &b) in sum.0.iter_mut().zip(&a.0).zip(&b.0) {
        *sum += a * b;
    }
}

/// Computes `sum += factor * x`, lane by lane.
pub(crate) fn add_scaled<R: Real>(sum: &mut Lanes<R>, factor: R, x: &Lanes<R>) {
    for (sum, &x) in sum.0.iter_mut().zip(&x.0) {
        *sum += factor * x;
    }
}

/// Returns the sum over lanes and features of `a * b`.
pub(crate) fn inner<R: Real>(a: &[Lanes<R>], b: &[Lanes<R>]) -> R {
    let mut sums = Lanes::all(R::ZERO);
    a.iter()
        .zip(b)
        .for_each(|(a, b)| add_product(&mut sums, a, b));
    sums.0.into_iter().sum()
}
