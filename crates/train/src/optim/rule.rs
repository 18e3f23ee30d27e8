//! Update rule of one number in a step.

use crate::plan::{Optimizer, OptimizerKind};
use ncs_model::Real;

/// Numbers that the inner loop moves together, so that the compiler makes vectors of them.
const LANES: usize = 8;

/// A step's optimizer, its rates corrected for the number of steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule<R> {
    Adam {
        rate: R,
        beta1: R,
        beta2: R,
        epsilon: R,
        decay: R,
    },
    Adagrad {
        rate: R,
        epsilon: R,
        decay: R,
    },
}

impl<R: Real> Rule<R> {
    /// For weights that `count` steps have moved, this one included.
    pub(super) fn new(optimizer: Optimizer, count: u64, factor: f64, decay: f64) -> Rule<R> {
        let rate = optimizer.learning_rate * factor;
        match optimizer.kind {
            OptimizerKind::Adam {
                beta1,
                beta2,
                epsilon,
            } => {
                let n = count.min(i32::MAX as u64) as i32;
                let corrected = rate * (1.0 - beta2.powi(n)).sqrt() / (1.0 - beta1.powi(n));
                Rule::Adam {
                    rate: R::of(corrected),
                    beta1: R::of(beta1),
                    beta2: R::of(beta2),
                    epsilon: R::of(epsilon),
                    decay: R::of(rate * decay),
                }
            }
            OptimizerKind::Adagrad { epsilon } => Rule::Adagrad {
                rate: R::of(rate),
                epsilon: R::of(epsilon),
                decay: R::of(rate * decay),
            },
        }
    }

    /// Moves `weights`; `m` and `v` are their moments. All are of one length.
    #[inline]
    pub(super) fn apply(self, weights: &mut [R], gradients: &[R], m: &mut [R], v: &mut [R]) {
        match self {
            Rule::Adam {
                rate,
                beta1,
                beta2,
                epsilon,
                decay,
            } => each(weights, gradients, m, v, |weight, gradient, m, v| {
                let m = beta1 * m + (R::ONE - beta1) * gradient;
                let v = beta2 * v + (R::ONE - beta2) * gradient * gradient;
                let change = rate * m / (v.root() + epsilon) + decay * weight;
                (weight - change, m, v)
            }),
            Rule::Adagrad {
                rate,
                epsilon,
                decay,
            } => each(weights, gradients, m, v, |weight, gradient, m, v| {
                let v = v + gradient * gradient;
                let change = rate * gradient / (v.root() + epsilon) + decay * weight;
                (weight - change, m, v)
            }),
        }
    }
}

/// Replaces weights and moments by what `moved` makes of them and the gradients.
#[inline(always)]
fn each<R: Real>(
    weights: &mut [R],
    gradients: &[R],
    m: &mut [R],
    v: &mut [R],
    moved: impl Fn(R, R, R, R) -> (R, R, R),
) {
    let (weights, last_weights) = weights.as_chunks_mut::<LANES>();
    let (gradients, last_gradients) = gradients.as_chunks::<LANES>();
    let (m, last_m) = m.as_chunks_mut::<LANES>();
    let (v, last_v) = v.as_chunks_mut::<LANES>();
    for (((weights, gradients), m), v) in weights.iter_mut().zip(gradients).zip(m).zip(v) {
        let (old, old_m, old_v) = (*weights, *m, *v);
        for i in 0..LANES {
            (weights[i], m[i], v[i]) = moved(old[i], gradients[i], old_m[i], old_v[i]);
        }
    }
    let last = last_weights.iter_mut().zip(last_gradients);
    for ((weight, &gradient), (m, v)) in last.zip(last_m.iter_mut().zip(last_v)) {
        (*weight, *m, *v) = moved(*weight, gradient, *m, *v);
    }
}
