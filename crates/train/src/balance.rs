//! Methods that combine the losses of several tasks into one step: learned loss weights and PCGrad.

use crate::error::TrainError;
use crate::evidence::RowShrinkage;
use crate::plan::Balance;
use crate::ranks::Ranks;
use ncs_model::Gradient;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// Learned loss weights: `sum_t exp(-s_t) L_t + s_t / 2` (Kendall et al. 2018, section 3.3), `s_t` the
/// logarithm of a task's variance. Updated by Adam, once per training step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogVariances {
    tasks: Vec<Moments>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    value: f64,
    first: f64,
    second: f64,
    steps: i32,
}

impl LogVariances {
    /// All 0, so that every task starts with weight 1.
    pub fn new(n_tasks: usize) -> LogVariances {
        LogVariances::of(&vec![0.0; n_tasks])
    }

    /// Creates log variances from the values `s`, one for each task.
    pub fn of(values: &[f64]) -> LogVariances {
        let moments = |&value: &f64| Moments {
            value,
            ..Moments::default()
        };
        LogVariances {
            tasks: values.iter().map(moments).collect(),
        }
    }

    /// Returns the factor of a task's loss: `exp(-s)`.
    pub fn weight(&self, task: usize) -> f64 {
        (-self.tasks[task].value).exp()
    }

    /// Returns the gradient of the total loss with respect to `s` if the task's loss is `loss`: `1/2 - exp(-s) loss`.
    pub fn gradient(&self, task: usize, loss: f64) -> f64 {
        0.5 - self.weight(task) * loss
    }

    /// Makes one Adam step with the default betas.
    pub fn step(&mut self, task: usize, loss: f64, learning_rate: f64) {
        const BETAS: [f64; 2] = [0.9, 0.999];
        let gradient = self.gradient(task, loss);
        let own = &mut self.tasks[task];
        own.steps += 1;
        own.first += (1.0 - BETAS[0]) * (gradient - own.first);
        own.second += (1.0 - BETAS[1]) * (gradient * gradient - own.second);
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(own.steps));
        own.value -= learning_rate * (own.first / first) / ((own.second / second).sqrt() + 1e-8);
    }
}

/// Combines the gradients of the heads into that of a joint step. Also returns the factor of each table row's update,
/// `[table][id of the gradient]`; empty: no scaling. `evidence`: the row shrinkage of each head.
pub(crate) fn combine(
    balance: Balance,
    gradients: Vec<Gradient>,
    evidence: &[Option<&RowShrinkage>],
    ranks: Ranks<'_>,
) -> Result<(Gradient, Vec<Vec<f32>>), TrainError> {
    let of_heads = evidence.iter().zip(&gradients);
    let mut shares: Vec<Vec<Vec<f32>>> = of_heads
        .map(|(evidence, gradient)| evidence.map_or(Vec::new(), |own| own.parts(gradient)))
        .collect();
    let parts = if evidence.iter().all(Option::is_some) {
        normalise_factors(&mut shares)
    } else {
        Vec::new()
    };
    let sum = match balance {
        Balance::PcGrad if ranks.table_share().is_some() => {
            let dot = |a: &Gradient, b: &Gradient| {
                let [dense, tables] = dots(a, b);
                let [tables] = ranks.sums_over_rows([tables])?;
                Ok::<f64, TrainError>(dense + tables)
            };
            projected(&gradients, dot)?
        }
        Balance::PcGrad => pcgrad(&gradients),
        _ => sum_scaled(gradients, &shares),
    };
    Ok((sum, parts))
}

/// The sum of the tasks' gradients of one batch, each projected onto the normal plane of a conflicting one (PCGrad: Yu et
/// al. 2020, algorithm 1): where `g_i . g_j < 0`, `g_i -= (g_i . g_j) / |g_j|^2 g_j`, the others in
/// their order from the next task on. Layers and tables form one vector.
///
/// # Panics
/// If there is no gradient, or they are of different connections or rows.
pub fn pcgrad(gradients: &[Gradient]) -> Gradient {
    let projected = projected(gradients, |a, b| Ok::<f64, Infallible>(dot(a, b)));
    let Ok(sum) = projected;
    sum
}

/// Makes the projections of [`pcgrad`] by these products of two gradients.
fn projected<E>(
    gradients: &[Gradient],
    dot: impl Fn(&Gradient, &Gradient) -> Result<f64, E>,
) -> Result<Gradient, E> {
    let squares: Result<Vec<f64>, E> = gradients.iter().map(|g| dot(g, g)).collect();
    let squares = squares?;
    let mut sum: Option<Gradient> = None;
    for (i, own) in gradients.iter().enumerate() {
        let mut own = own.clone();
        for j in (1..gradients.len()).map(|ahead| (i + ahead) % gradients.len()) {
            let product = dot(&own, &gradients[j])?;
            if product < 0.0 && squares[j] > 0.0 {
                add(&mut own, -product / squares[j], &gradients[j]);
            }
        }
        match &mut sum {
            None => sum = Some(own),
            Some(sum) => add(sum, 1.0, &own),
        }
    }
    Ok(sum.expect("there is a gradient"))
}

/// Returns the products of the dense weights of two gradients, and of their table rows.
fn dots(a: &Gradient, b: &Gradient) -> [f64; 2] {
    let tables = parts(a).zip(parts(b)).skip(1);
    [
        dot_of(&a.dense, &b.dense),
        tables.map(|(a, b)| dot_of(a, b)).sum(),
    ]
}

/// Iterates over the slices of a gradient: dense weights, then each table.
fn parts(gradient: &Gradient) -> impl Iterator<Item = &[f32]> {
    let tables = gradient.tables.iter().map(|table| &*table.values);
    std::iter::once(gradient.dense.as_slice()).chain(tables)
}

fn dot(a: &Gradient, b: &Gradient) -> f64 {
    parts(a).zip(parts(b)).map(|(a, b)| dot_of(a, b)).sum()
}

fn dot_of(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "gradients of one batch");
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

/// Sums the gradients of one batch, each scaled for each table row: `parts[table][id of
/// the gradient]`, one for each gradient; empty: no scaling.
///
/// # Panics
/// If there is no gradient, or they are of different connections or rows.
fn sum_scaled(gradients: Vec<Gradient>, parts: &[Vec<Vec<f32>>]) -> Gradient {
    let scaled = gradients
        .into_iter()
        .zip(parts)
        .map(|(mut gradient, parts)| {
            for (table, parts) in gradient.tables.iter_mut().zip(parts) {
                let dim = table.values.len() / parts.len().max(1);
                for (values, &part) in table.values.chunks_mut(dim.max(1)).zip(parts) {
                    values.iter_mut().for_each(|value| *value *= part);
                }
            }
            gradient
        });
    let whole = scaled.reduce(|mut sum, gradient| {
        add(&mut sum, 1.0, &gradient);
        sum
    });
    whole.expect("there is a gradient")
}

/// Divides the factors of each table row, `parts[task][table][id of the gradient]`, by the largest of the tasks', and
/// returns the largest. A sum of scaled gradients needs a step scaled by that factor, since a factor
/// on the whole gradient cancels in Adam.
fn normalise_factors(parts: &mut [Vec<Vec<f32>>]) -> Vec<Vec<f32>> {
    let Some((first, others)) = parts.split_first() else {
        return Vec::new();
    };
    let mut largest = first.clone();
    for other in others {
        let rows = largest.iter_mut().flatten().zip(other.iter().flatten());
        rows.for_each(|(largest, &other)| *largest = largest.max(other));
    }
    for own in parts {
        let rows = own.iter_mut().flatten().zip(largest.iter().flatten());
        rows.for_each(|(own, &largest)| *own = if largest > 0.0 { *own / largest } else { 0.0 });
    }
    largest
}

fn add(sum: &mut Gradient, factor: f64, other: &Gradient) {
    let factor = factor as f32;
    let tables = sum.tables.iter_mut().map(|table| &mut *table.values);
    for (sum, other) in std::iter::once(sum.dense.as_mut_slice())
        .chain(tables)
        .zip(parts(other))
    {
        sum.iter_mut()
            .zip(other)
            .for_each(|(sum, &other)| *sum += factor * other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::TableGradient;

    fn gradient(dense: &[f32], table: &[f32]) -> Gradient {
        Gradient {
            dense: dense.to_vec(),
            tables: vec![TableGradient::new(vec![3], table.to_vec())],
        }
    }

    #[test]
    fn conflicting_gradients_lose_their_conflict() {
        let sum = pcgrad(&[gradient(&[1.0], &[0.0]), gradient(&[-1.0], &[1.0])]);
        // g1 . g2 = -1: g1 + g2 / 2 = (0.5, 0.5), g2 + g1 = (0, 1).
        assert_eq!(
            (sum.dense, sum.tables[0].values.to_vec()),
            (vec![0.5], vec![1.5])
        );
        let sum = pcgrad(&[gradient(&[1.0], &[0.0]), gradient(&[1.0], &[1.0])]);
        assert_eq!(
            (sum.dense, sum.tables[0].values.to_vec()),
            (vec![2.0], vec![1.0])
        );
    }

    #[test]
    fn parts_are_relative_to_the_largest_of_each_row() {
        let mut parts = [
            vec![vec![0.5, 0.0, 0.2], vec![]],
            vec![vec![0.25, 0.0, 0.8], vec![]],
        ];
        let largest = normalise_factors(&mut parts);
        assert_eq!(largest, [vec![0.5, 0.0, 0.8], vec![]]);
        assert_eq!(parts[0], [vec![1.0, 0.0, 0.25], vec![]]);
        assert_eq!(parts[1], [vec![0.5, 0.0, 1.0], vec![]]);
        assert!(normalise_factors(&mut []).is_empty());
    }

    #[test]
    fn learned_weights_settle_where_each_task_weighs_half() {
        let mut variances = LogVariances::new(2);
        for _ in 0..20_000 {
            variances.step(0, 2.0, 1e-3);
            variances.step(1, 0.1, 1e-3);
        }
        // The minimum of exp(-s) L + s / 2 has exp(-s) L = 1/2.
        assert!((variances.weight(0) * 2.0 - 0.5).abs() < 0.01);
        assert!((variances.weight(1) * 0.1 - 0.5).abs() < 0.01);
    }
}
