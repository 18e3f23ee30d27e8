//! Operations on the units of a layer: ReLU backward, and heads.

use crate::kernels::versions::{CompiledLoop, add_product, add_products};
use crate::kernels::{LANES, Lanes};
use crate::number::Real;

/// Number of vectors that are summed together.
const SUMS: usize = 4;

/// The arguments of [`super::rectify_backward`].
pub(super) struct RectifyBackward<'a, R> {
    pub(super) scale: R,
    pub(super) y: &'a [Lanes<R>],
    pub(super) dy: &'a mut [Lanes<R>],
    pub(super) sums: &'a mut [R],
}

impl<R: Real> CompiledLoop for RectifyBackward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        for ((y, dy), sum) in self.y.iter().zip(self.dy).zip(self.sums) {
            for (dy, &y) in dy.0.iter_mut().zip(&y.0) {
                let gradient = *dy * self.scale;
                *dy = if y > R::ZERO { gradient } else { R::ZERO };
            }
            *sum += total(&dy.0);
        }
    }
}

/// The arguments of [`super::head`].
pub(super) struct Head<'a, R> {
    pub(super) bias: R,
    pub(super) weights: &'a [R],
    pub(super) h: &'a [Lanes<R>],
}

impl<R: Real> CompiledLoop for Head<'_, R> {
    type Out = Lanes<R>;

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) -> Lanes<R> {
        let mut logits = Lanes::all(self.bias);
        let parts = logits
            .0
            .as_chunks_mut::<WIDTH>()
            .0
            .as_chunks_mut::<SUMS>()
            .0;
        for (part, logits) in parts.iter_mut().enumerate() {
            let mut sums = *logits;
            for (&weight, h) in self.weights.iter().zip(self.h) {
                let h = h.0.as_chunks::<WIDTH>().0;
                for k in 0..SUMS {
                    let h = &h[part * SUMS + k];
                    add_products::<FUSED, WIDTH, R>(&mut sums[k], &[weight; WIDTH], h);
                }
            }
            *logits = sums;
        }
        logits
    }
}

/// The arguments of [`super::head_backward`].
pub(super) struct HeadBackward<'a, R> {
    pub(super) weights: &'a [R],
    pub(super) gradients: &'a Lanes<R>,
    pub(super) h: &'a [Lanes<R>],
    pub(super) dh: &'a mut [Lanes<R>],
    pub(super) sums: &'a mut [R],
}

impl<R: Real> CompiledLoop for HeadBackward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        let units = self.weights.iter().zip(self.h).zip(self.dh).zip(self.sums);
        for (((&weight, h), dh), sum) in units {
            for (dh, &gradient) in dh.0.iter_mut().zip(&self.gradients.0) {
                *dh = add_product::<FUSED, R>(*dh, weight, gradient);
            }
            let products = std::array::from_fn(|lane| h.0[lane] * self.gradients.0[lane]);
            *sum += total(&products);
        }
    }
}

/// Returns the sum over lanes, added pairwise.
#[inline(always)]
fn total<R: Real>(lanes: &[R; LANES]) -> R {
    let mut sums = *lanes;
    for half in [32, 16, 8, 4, 2, 1] {
        let (low, high) = sums.split_at_mut(half);
        low.iter_mut()
            .zip(high)
            .for_each(|(low, high)| *low += *high);
    }
    sums[0]
}
