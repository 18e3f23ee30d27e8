//! Update rule of one number in a step.

use crate::optimizer::{Optimizer, OptimizerKind};
use ncs_model::Real;

/// Number of values that the inner loop updates together, so that the compiler vectorises it.
const LANES: usize = 8;

/// Numbers that a step moves: all of one length, but for moments that the rule does not have.
pub(super) struct Row<'a, R> {
    pub(super) weights: &'a mut [R],
    pub(super) gradients: &'a [R],
    /// First moments; Adagrad reads none.
    pub(super) first: &'a mut [R],
    /// Second moments; one alone for rules that are row-wise.
    pub(super) second: &'a mut [R],
}

/// Update rule of a step, with the bias-corrected learning rate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule<R> {
    Adam(Adam<R>),
    Adagrad(Adagrad<R>),
    /// Adam whose second moment is of the mean square of the row's gradients.
    RowwiseAdam(Adam<R>),
    /// Adagrad that adds up the mean squares of the row's gradients.
    RowwiseAdagrad(Adagrad<R>),
}

/// Settings of Adam in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adam<R> {
    rate: R,
    beta1: R,
    beta2: R,
    epsilon: R,
    decay: R,
}

/// Settings of Adagrad in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adagrad<R> {
    rate: R,
    epsilon: R,
    decay: R,
}

impl<R: Real> Rule<R> {
    /// Creates the rule for weights that have had `count` updates, this one included.
    pub(super) fn new(optimizer: Optimizer, count: u64, factor: f64, decay: f64) -> Rule<R> {
        let rate = optimizer.learning_rate * factor;
        let adam = |beta1: f64, beta2: f64, epsilon| {
            let n = count.min(i32::MAX as u64) as i32;
            let corrected = rate * (1.0 - beta2.powi(n)).sqrt() / (1.0 - beta1.powi(n));
            Adam {
                rate: R::of(corrected),
                beta1: R::of(beta1),
                beta2: R::of(beta2),
                epsilon: R::of(epsilon),
                decay: R::of(rate * decay),
            }
        };
        let adagrad = |epsilon| Adagrad {
            rate: R::of(rate),
            epsilon: R::of(epsilon),
            decay: R::of(rate * decay),
        };
        match optimizer.kind {
            OptimizerKind::Adam {
                beta1,
                beta2,
                epsilon,
            } => Rule::Adam(adam(beta1, beta2, epsilon)),
            OptimizerKind::Adagrad { epsilon } => Rule::Adagrad(adagrad(epsilon)),
            OptimizerKind::RowwiseAdam {
                beta1,
                beta2,
                epsilon,
            } => Rule::RowwiseAdam(adam(beta1, beta2, epsilon)),
            OptimizerKind::RowwiseAdagrad { epsilon } => Rule::RowwiseAdagrad(adagrad(epsilon)),
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
            Rule::Adam(adam) => each(row, |weight, gradient, old_m, old_v| {
                let m = adam.first(old_m, gradient);
                let v = adam.beta2 * old_v + (R::ONE - adam.beta2) * gradient * gradient;
                let moved = adam.moved(weight, m, v.root());
                (by(weight, moved), by(old_m, m), by(old_v, v))
            }),
            Rule::Adagrad(adagrad) => {
                let Row {
                    weights,
                    gradients,
                    second,
                    ..
                } = row;
                each_with_one(weights, gradients, second, |weight, gradient, old_v| {
                    let v = old_v + gradient * gradient;
                    let moved = adagrad.moved(weight, gradient, v.root());
                    (by(weight, moved), by(old_v, v))
                });
            }
            Rule::RowwiseAdam(adam) => {
                let Some(old_v) = row.second.first_mut() else {
                    return;
                };
                let square = mean_square(row.gradients);
                let v = adam.beta2 * *old_v + (R::ONE - adam.beta2) * square;
                *old_v = by(*old_v, v);
                let root = v.root();
                let Row {
                    weights,
                    gradients,
                    first,
                    ..
                } = row;
                each_with_one(weights, gradients, first, |weight, gradient, old_m| {
                    let m = adam.first(old_m, gradient);
                    (by(weight, adam.moved(weight, m, root)), by(old_m, m))
                });
            }
            Rule::RowwiseAdagrad(adagrad) => {
                let Some(old_v) = row.second.first_mut() else {
                    return;
                };
                let v = *old_v + mean_square(row.gradients);
                *old_v = by(*old_v, v);
                let root = v.root();
                let pairs = row.weights.iter_mut().zip(row.gradients);
                pairs.for_each(|(weight, &gradient)| {
                    *weight = by(*weight, adagrad.moved(*weight, gradient, root));
                });
            }
        }
    }
}

impl<R: Real> Adam<R> {
    #[inline(always)]
    fn first(self, m: R, gradient: R) -> R {
        self.beta1 * m + (R::ONE - self.beta1) * gradient
    }

    /// Returns the weight after a step; `root` is the root of the second moment.
    #[inline(always)]
    fn moved(self, weight: R, m: R, root: R) -> R {
        let change = self.rate * m / (root + self.epsilon) + self.decay * weight;
        weight - change
    }
}

impl<R: Real> Adagrad<R> {
    #[inline(always)]
    fn moved(self, weight: R, gradient: R, root: R) -> R {
        let change = self.rate * gradient / (root + self.epsilon) + self.decay * weight;
        weight - change
    }
}

/// Returns the mean of the squares, added up in a fixed order.
#[inline(always)]
fn mean_square<R: Real>(gradients: &[R]) -> R {
    let (chunks, last) = gradients.as_chunks::<LANES>();
    let mut sums = [R::ZERO; LANES];
    for chunk in chunks {
        for (sum, &gradient) in sums.iter_mut().zip(chunk) {
            *sum += gradient * gradient;
        }
    }
    for (sum, &gradient) in sums.iter_mut().zip(last) {
        *sum += gradient * gradient;
    }
    sums.into_iter().sum::<R>() / R::of(gradients.len() as f64)
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

/// Applies `moved` to each weight with its gradient and one moment.
#[inline(always)]
fn each_with_one<R: Real>(
    weights: &mut [R],
    gradients: &[R],
    moments: &mut [R],
    moved: impl Fn(R, R, R) -> (R, R),
) {
    let (weights, last_weights) = weights.as_chunks_mut::<LANES>();
    let (gradients, last_gradients) = gradients.as_chunks::<LANES>();
    let (moments, last_moments) = moments.as_chunks_mut::<LANES>();
    for ((weights, gradients), moments) in weights.iter_mut().zip(gradients).zip(moments) {
        // In copies, as in `each`.
        let gradients = *gradients;
        let (mut new, mut new_moments) = (*weights, *moments);
        for i in 0..LANES {
            (new[i], new_moments[i]) = moved(new[i], gradients[i], new_moments[i]);
        }
        (*weights, *moments) = (new, new_moments);
    }
    let last = last_weights.iter_mut().zip(last_gradients);
    for ((weight, &gradient), moment) in last.zip(last_moments) {
        (*weight, *moment) = moved(*weight, gradient, *moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::CounterRng;

    const RATE: f64 = 0.1;
    const DECAY: f64 = 0.01;
    const EPSILON: f64 = 1e-8;

    /// Weights and moments of a row after three steps by a rule, each made by the share `part`.
    fn stepped(kind: OptimizerKind, dim: usize, part: f64) -> [Vec<f64>; 3] {
        let rng = CounterRng::new(dim as u64, "row");
        let normal = |stream: u64| (0..dim as u64).map(move |i| rng.at(stream).normal(i));
        let [n_first, n_second] = kind.moments_per_row(dim);
        let mut weights: Vec<f64> = normal(0).collect();
        let (mut first, mut second) = (vec![0.0; n_first], vec![0.0; n_second]);
        for step in 1..=3 {
            let optimizer = Optimizer {
                learning_rate: RATE,
                kind,
            };
            let gradients: Vec<f64> = normal(step).collect();
            let row = Row {
                weights: &mut weights,
                gradients: &gradients,
                first: &mut first,
                second: &mut second,
            };
            Rule::new(optimizer, step, 1.0, DECAY).apply_in_part(part, row);
        }
        [weights, first, second]
    }

    /// The same for the row-wise rules, written as in their definition.
    fn expected(is_adam: bool, dim: usize, part: f64) -> [Vec<f64>; 3] {
        let rng = CounterRng::new(dim as u64, "row");
        let normal = |stream: u64| -> Vec<f64> {
            (0..dim as u64).map(|i| rng.at(stream).normal(i)).collect()
        };
        let (mut weights, mut m, mut v) = (normal(0), vec![0.0; dim], 0.0);
        for step in 1..=3 {
            let g = normal(step);
            let square = g.iter().map(|g| g * g).sum::<f64>() / dim as f64;
            let new_v: f64 = if is_adam {
                0.999 * v + 0.001 * square
            } else {
                v + square
            };
            for i in 0..dim {
                let (change, new_m) = if is_adam {
                    let new_m = 0.9 * m[i] + 0.1 * g[i];
                    let n = step as i32;
                    let rate = RATE * (1.0 - 0.999_f64.powi(n)).sqrt() / (1.0 - 0.9_f64.powi(n));
                    (rate * new_m / (new_v.sqrt() + EPSILON), new_m)
                } else {
                    (RATE * g[i] / (new_v.sqrt() + EPSILON), 0.0)
                };
                weights[i] -= part * (change + RATE * DECAY * weights[i]);
                m[i] += part * (new_m - m[i]);
            }
            v += part * (new_v - v);
        }
        [weights, if is_adam { m } else { Vec::new() }, vec![v]]
    }

    #[test]
    fn row_wise_rules_share_one_second_moment_of_the_mean_square() {
        let adam = OptimizerKind::RowwiseAdam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: EPSILON,
        };
        let adagrad = OptimizerKind::RowwiseAdagrad { epsilon: EPSILON };
        for (kind, is_adam) in [(adam, true), (adagrad, false)] {
            for dim in [1, 5, 8, 19] {
                for part in [1.0, 0.25] {
                    let found = stepped(kind, dim, part);
                    for (found, expected) in found.iter().zip(expected(is_adam, dim, part)) {
                        assert_eq!(found.len(), expected.len());
                        let pairs = found.iter().zip(&expected);
                        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                        assert!(worst < 1e-12, "{kind:?}, {dim}, {part}: {worst}");
                    }
                }
            }
        }
    }

    /// A row of one number has the mean of one square.
    #[test]
    fn row_wise_rules_are_the_usual_ones_on_rows_of_one_number() {
        let adagrad = OptimizerKind::Adagrad { epsilon: EPSILON };
        let rowwise = OptimizerKind::RowwiseAdagrad { epsilon: EPSILON };
        assert_eq!(stepped(adagrad, 1, 0.5), stepped(rowwise, 1, 0.5));
        let rowwise = OptimizerKind::RowwiseAdam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: EPSILON,
        };
        let of_one = |kind| stepped(kind, 1, 1.0).map(|values| values[0]);
        let pairs = of_one(OptimizerKind::adam())
            .into_iter()
            .zip(of_one(rowwise));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-15, "{a} {b}"));
    }
}
