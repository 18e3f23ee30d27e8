//! What happens to the units of a layer beside its product: ReLU backward, and heads.

use super::versions::{Work, add_product, add_products};
use crate::kernels::Lanes;
use crate::number::Real;

/// Sums side by side of a sum over lanes.
const SUMS: usize = 16;

/// The arguments of [`super::rectify_backward`].
pub(super) struct RectifyBackward<'a, R> {
    pub(super) scale: R,
    pub(super) y: &'a [Lanes<R>],
    pub(super) dy: &'a mut [Lanes<R>],
    pub(super) sums: &'a mut [R],
}

impl<R: Real> Work for RectifyBackward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        for ((y, dy), sum) in self.y.iter().zip(self.dy).zip(self.sums) {
            let mut sums = [R::ZERO; SUMS];
            let (y, dy) = (y.0.as_chunks::<SUMS>(), dy.0.as_chunks_mut::<SUMS>());
            for (y, dy) in y.0.iter().zip(dy.0) {
                for lane in 0..SUMS {
                    let slope = dy[lane] * self.scale;
                    dy[lane] = if y[lane] > R::ZERO { slope } else { R::ZERO };
                    sums[lane] += dy[lane];
                }
            }
            *sum += sum_of(sums);
        }
    }
}

/// The arguments of [`super::head`].
pub(super) struct Head<'a, R> {
    pub(super) bias: R,
    pub(super) weights: &'a [R],
    pub(super) h: &'a [Lanes<R>],
}

impl<R: Real> Work for Head<'_, R> {
    type Out = Lanes<R>;

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) -> Lanes<R> {
        let mut logits = Lanes::all(self.bias);
        for (&weight, h) in self.weights.iter().zip(self.h) {
            for (logit, &h) in logits.0.iter_mut().zip(&h.0) {
                *logit = add_product::<FUSED, R>(*logit, weight, h);
            }
        }
        logits
    }
}

/// The arguments of [`super::head_backward`].
pub(super) struct HeadBackward<'a, R> {
    pub(super) weights: &'a [R],
    pub(super) slopes: &'a Lanes<R>,
    pub(super) h: &'a [Lanes<R>],
    pub(super) dh: &'a mut [Lanes<R>],
    pub(super) sums: &'a mut [R],
}

impl<R: Real> Work for HeadBackward<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        let units = self.weights.iter().zip(self.h).zip(self.dh).zip(self.sums);
        for (((&weight, h), dh), sum) in units {
            for (dh, &slope) in dh.0.iter_mut().zip(&self.slopes.0) {
                *dh = add_product::<FUSED, R>(*dh, weight, slope);
            }
            let mut sums = [R::ZERO; SUMS];
            let (h, slopes) = (h.0.as_chunks::<SUMS>(), self.slopes.0.as_chunks::<SUMS>());
            for (h, slopes) in h.0.iter().zip(slopes.0) {
                add_products::<FUSED, SUMS, R>(&mut sums, h, slopes);
            }
            *sum += sum_of(sums);
        }
    }
}

/// The sum, in pairs.
#[inline(always)]
fn sum_of<R: Real>(mut sums: [R; SUMS]) -> R {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            let other = sums[lane + half];
            sums[lane] += other;
        }
    }
    sums[0]
}
