//! Logit transfer: learns its coefficient kappa, one scalar, together with the network.
//!
//! `z_to = f_to(x) + kappa c`, `c = z_from - mean`, where no gradient goes back through `z_from` ([`TakenLogit`]). The
//! mean is a moving average over the rows that the task is trained on. Kappa starts at 0 and has its own Adam, with
//! the rate 0.01 times the schedule's factor, along `dL/dkappa = mean over rows of dl/dz c`. Its information is summed
//! over the steps of about one pass: `sum p (1 - p) c^2`, the information of these labels about kappa, all else fixed.
//! So the standard error is conditional on a fixed network, and smaller than the deviation between seeds.

use crate::loss::{divisor, row_loss, sigmoid};
use ncs_features::Objective;
use ncs_model::{CounterRng, TakenLogit};
use serde::{Deserialize, Serialize};

/// Logit transfer from one task to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KappaPlan {
    /// Source task.
    pub from: usize,
    /// Receiving task.
    pub to: usize,
    /// If true, permutes the rows' logits first: a control. The coefficient then has no meaning, so
    /// the model does not use it in scoring.
    pub permuted: bool,
}

/// The learning rate of kappa.
const RATE: f64 = 0.01;

/// Adam's.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// Maximum decay of the moving average of the mean.
const MEAN_DECAY: f64 = 0.99;

/// State of kappa and its optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KappaState {
    kappa: f64,
    mean: f64,
    information: f64,
    first: f64,
    second: f64,
    steps: u64,
}

impl KappaState {
    /// Returns the coefficient, mean and information for the model.
    pub(crate) fn taken(self) -> TakenLogit {
        TakenLogit {
            kappa: self.kappa,
            mean: self.mean,
            information: self.information,
        }
    }

    /// Updates the mean with the logits of `rows`, and returns the logits of the batch minus the mean.
    pub(crate) fn centre(&mut self, logits: &[f64], rows: &[usize]) -> Vec<f64> {
        let sum: f64 = rows.iter().map(|&row| logits[row]).sum();
        let n = (self.steps + 1) as f64;
        let part = 1.0 - MEAN_DECAY.min(1.0 - 1.0 / n);
        self.mean += part * (sum / rows.len().max(1) as f64 - self.mean);
        logits.iter().map(|logit| logit - self.mean).collect()
    }

    /// Updates kappa. `factor` is the schedule's; `steps_per_epoch` those of a pass over the rows.
    pub(crate) fn step(&mut self, found: KappaGradient, factor: f64, steps_per_epoch: u64) {
        self.steps += 1;
        let [beta1, beta2] = BETAS;
        self.first = beta1 * self.first + (1.0 - beta1) * found.gradient;
        self.second = beta2 * self.second + (1.0 - beta2) * found.gradient * found.gradient;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let first = self.first / (1.0 - beta1.powi(steps));
        let second = self.second / (1.0 - beta2.powi(steps));
        self.kappa -= factor * RATE * first / (second.sqrt() + EPSILON);
        let kept = 1.0 - 1.0 / steps_per_epoch.max(1) as f64;
        self.information = kept * self.information + found.information;
    }
}

/// Gradient of the mean loss of a batch with respect to kappa, and the batch's information about kappa.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct KappaGradient {
    pub(crate) gradient: f64,
    pub(crate) information: f64,
}

/// A row of the task that takes in another's logit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KappaRow {
    /// The task's own logit.
    pub(crate) own: f64,
    /// The other logit less its mean.
    pub(crate) centred: f64,
    pub(crate) label: f32,
    /// The row's weight in the loss.
    pub(crate) weight: f64,
}

impl KappaGradient {
    /// Computes both from rows of the task.
    pub(crate) fn of(
        objective: Objective,
        kappa: f64,
        rows: impl Iterator<Item = KappaRow>,
    ) -> KappaGradient {
        let (mut found, mut mass) = (KappaGradient::default(), 0.0);
        for KappaRow {
            own,
            centred,
            label,
            weight,
        } in rows
        {
            let logit = own + kappa * centred;
            if let Some(row) = row_loss(objective, logit, label) {
                let p = sigmoid(logit);
                found.gradient += weight * row.gradient * centred;
                found.information += weight * p * (1.0 - p) * centred * centred;
                mass += weight;
            }
        }
        found.gradient /= divisor(mass);
        found
    }
}

/// Permutes the values of these rows.
pub(crate) fn permute(values: &mut [f64], rows: &[usize], rng: CounterRng) {
    let mut order: Vec<(u64, f64)> = rows
        .iter()
        .map(|&row| (rng.bits(row as u64), values[row]))
        .collect();
    order.sort_by_key(|&(place, _)| place);
    for (&row, (_, value)) in rows.iter().zip(order) {
        values[row] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::loss;

    fn rows() -> (Vec<f64>, Vec<f64>, Vec<f32>) {
        let rng = CounterRng::new(3, "rows");
        let normal = |at: u64| (0..40).map(|i| rng.at(at).normal(i)).collect();
        let mut labels: Vec<f32> = (0..40)
            .map(|i| f32::from(u8::from(rng.uniform(i) < 0.4)))
            .collect();
        labels[7] = f32::NAN;
        (normal(1), normal(2), labels)
    }

    #[test]
    fn the_gradient_is_the_derivative_of_the_loss() {
        let (own, centred, labels) = rows();
        let at = |kappa: f64| {
            let logits: Vec<f64> = own
                .iter()
                .zip(&centred)
                .map(|(f, c)| f + kappa * c)
                .collect();
            loss(Objective::CrossEntropy, &logits, &labels)
        };
        let all = || {
            own.iter()
                .zip(&centred)
                .zip(&labels)
                .map(|((&own, &centred), &label)| KappaRow {
                    own,
                    centred,
                    label,
                    weight: 1.0,
                })
        };
        for kappa in [-0.5, 0.0, 0.8] {
            let found = KappaGradient::of(Objective::CrossEntropy, kappa, all());
            let expected = (at(kappa + 1e-6).loss - at(kappa - 1e-6).loss) / 2e-6;
            assert!((found.gradient - expected).abs() < 1e-8);
            // Of a logistic loss, the information is the curvature of its sum.
            let gradient =
                |kappa| KappaGradient::of(Objective::CrossEntropy, kappa, all()).gradient;
            let curvature = 39.0 * (gradient(kappa + 1e-5) - gradient(kappa - 1e-5)) / 2e-5;
            assert!((found.information - curvature).abs() < 1e-5);
        }
    }

    #[test]
    fn the_mean_follows_the_rows_of_the_task() {
        let mut state = KappaState::default();
        let centred = state.centre(&[1.0, 100.0, 3.0], &[0, 2]);
        assert_eq!(centred, [-1.0, 98.0, 1.0]);
        assert_eq!(
            state.taken().mean,
            2.0,
            "the first batch is all that is known"
        );
        state.step(KappaGradient::default(), 1.0, 10);
        state.centre(&[4.0], &[0]);
        assert_eq!(state.taken().mean, 3.0);
    }

    /// Labels that follow the other logit by 0.5: kappa is found within three of its errors.
    #[test]
    fn kappa_is_found_with_its_error() {
        let rng = CounterRng::new(5, "labels");
        let mut state = KappaState::default();
        for step in 0..600u64 {
            // 20 batches of 200 rows, again and again.
            let rng = rng.at(step % 20);
            let rows = (0..200).map(|i| {
                let (own, centred) = (0.3 * rng.at(1).normal(i), rng.at(2).normal(i));
                let p = sigmoid(own + 0.5 * centred);
                KappaRow {
                    own,
                    centred,
                    label: f32::from(u8::from(rng.uniform(i) < p)),
                    weight: 1.0,
                }
            });
            let gradient = KappaGradient::of(Objective::CrossEntropy, state.kappa, rows);
            state.step(gradient, 1.0, 20);
        }
        let taken = state.taken();
        let error = taken.error().unwrap();
        assert!((0.025..0.045).contains(&error), "{error}");
        assert!((taken.kappa - 0.5).abs() < 3.0 * error, "{taken:?}");
        assert_eq!(KappaState::default().taken().error(), None);
    }

    #[test]
    fn permuted_rows_keep_their_numbers_among_themselves() {
        let mut values: Vec<f64> = (0..50).map(f64::from).collect();
        let rows: Vec<usize> = (0..50).step_by(2).collect();
        permute(&mut values, &rows, CounterRng::new(1, "permuted"));
        assert!((1..50).step_by(2).all(|row| values[row] == row as f64));
        let mut even: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
        assert!(even.windows(2).any(|pair| pair[0] > pair[1]));
        even.sort_by(f64::total_cmp);
        assert!(
            even.iter()
                .zip(&rows)
                .all(|(value, &row)| *value == row as f64)
        );
    }
}
