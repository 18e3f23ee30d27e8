//! Update rule of one number in a step.

use crate::plan::{Optimizer, OptimizerKind};
use ncs_model::Real;

/// Number of values that the inner loop updates together, so that the compiler vectorises it.
const LANES: usize = 8;

/// Update rule of a step, with the bias-corrected learning rate.
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
    /// Creates the rule for weights that have had `count` updates, this one included.
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

    /// Updates `weights` and their moments `m` and `v`. All slices have the same length.
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

/// Applies `moved` to each weight with its gradient and moments.
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
