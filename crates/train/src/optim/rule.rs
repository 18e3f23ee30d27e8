//! Update rule of one number in a step.

use crate::plan::{Optimizer, OptimizerKind};
use ncs_model::Real;

/// Number of values that the inner loop updates together, so that the compiler vectorises it.
const LANES: usize = 8;

/// Numbers that a step moves: all of one length.
pub(super) struct Row<'a, R> {
    pub(super) weights: &'a mut [R],
    pub(super) gradients: &'a [R],
    /// First moments.
    pub(super) first: &'a mut [R],
    /// Second moments.
    pub(super) second: &'a mut [R],
}

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

    /// Moves weights, with their moments.
    #[inline(always)]
    pub(super) fn apply(self, row: Row<'_, R>) {
        self.apply_by(row, |_, moved| moved);
    }

    /// Makes a fraction of a step, in weights and moments alike, so that a row with
    /// little information keeps what it learned from other tasks.
    #[inline(always)]
    pub(super) fn apply_in_part(self, share: R, row: Row<'_, R>) {
        self.apply_by(row, |before, moved| before + share * (moved - before));
    }

    /// Replaces each number by what `by` makes of it and of the number that the whole step would make it.
    #[inline(always)]
    fn apply_by(self, row: Row<'_, R>, by: impl Fn(R, R) -> R) {
        match self {
            Rule::Adam {
                rate,
                beta1,
                beta2,
                epsilon,
                decay,
            } => each(row, |weight, gradient, old_m, old_v| {
                let m = beta1 * old_m + (R::ONE - beta1) * gradient;
                let v = beta2 * old_v + (R::ONE - beta2) * gradient * gradient;
                let change = rate * m / (v.root() + epsilon) + decay * weight;
                (by(weight, weight - change), by(old_m, m), by(old_v, v))
            }),
            Rule::Adagrad {
                rate,
                epsilon,
                decay,
            } => each(row, |weight, gradient, m, old_v| {
                let v = old_v + gradient * gradient;
                let change = rate * gradient / (v.root() + epsilon) + decay * weight;
                (by(weight, weight - change), by(m, m), by(old_v, v))
            }),
        }
    }
}

/// Applies `moved` to each weight with its gradient and moments.
#[inline(always)]
fn each<R: Real>(row: Row<'_, R>, moved: impl Fn(R, R, R, R) -> (R, R, R)) {
    let (weights, last_weights) = row.weights.as_chunks_mut::<LANES>();
    let (gradients, last_gradients) = row.gradients.as_chunks::<LANES>();
    let (m, last_m) = row.first.as_chunks_mut::<LANES>();
    let (v, last_v) = row.second.as_chunks_mut::<LANES>();
    for (((weights, gradients), m), v) in weights.iter_mut().zip(gradients).zip(m).zip(v) {
        // In copies: the compiler does not know that the slices are apart.
        let gradients = *gradients;
        let (mut new, mut new_m, mut new_v) = (*weights, *m, *v);
        for i in 0..LANES {
            (new[i], new_m[i], new_v[i]) = moved(new[i], gradients[i], new_m[i], new_v[i]);
        }
        (*weights, *m, *v) = (new, new_m, new_v);
    }
    let last = last_weights.iter_mut().zip(last_gradients);
    for ((weight, &gradient), (m, v)) in last.zip(last_m.iter_mut().zip(last_v)) {
        (*weight, *m, *v) = moved(*weight, gradient, *m, *v);
    }
}
