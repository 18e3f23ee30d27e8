//! The loss of a task over the rows of a batch, and its gradient with respect to each logit, in f64.
//!
//! ```
//! use ncs_features::schema::Objective;
//! use ncs_train::loss::loss;
//! // A click, a row without a label, no click; all logits are 0.
//! let found = loss(Objective::CrossEntropy, &[0.0, 0.0, 0.0], &[1.0, f32::NAN, 0.0]);
//! assert_eq!(found.rows, 2);
//! assert_eq!(found.loss, 2.0_f64.ln());
//! assert_eq!(found.gradients, [-0.25, 0.0, 0.25]);
//! ```

pub use ncs_model::sigmoid;

use ncs_features::RowTerms;
use ncs_features::schema::Objective;

/// A mean loss and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct LossAndGradients {
    /// Mean over the rows that count; 0 if none does.
    pub loss: f64,
    /// Gradient of the mean with respect to each logit; 0 for a row that does not count.
    pub gradients: Vec<f64>,
    /// Number of rows that count.
    pub rows: usize,
}

/// The mean loss over the rows that count, and its gradient with respect to each logit.
///
/// A row whose label is NaN does not count; for [`Objective::Ratio`], nor does one whose label is not
/// positive (NCS4CVR's weighted squared error).
///
/// # Panics
/// If there are not as many labels as logits.
pub fn loss(objective: Objective, logits: &[f64], labels: &[f32]) -> LossAndGradients {
    weighted_loss(objective, logits, labels, &RowTerms::default())
}

/// The same where a row counts by its weight: `sum w l / sum w`.
///
/// # Panics
/// If there are not as many labels as logits.
pub fn weighted_loss(
    objective: Objective,
    logits: &[f64],
    labels: &[f32],
    terms: &RowTerms,
) -> LossAndGradients {
    assert_eq!(logits.len(), labels.len(), "a label for each logit");
    let batch = BatchLoss::new(objective, labels, terms, 1.0);
    let counted: Vec<_> = (0..labels.len())
        .map(|row| batch.row(row, logits[row]))
        .collect();
    let mass = batch.divisor();
    LossAndGradients {
        loss: counted.iter().flatten().map(|row| row.loss).sum::<f64>() / mass,
        gradients: counted
            .iter()
            .map(|row| row.map_or(0.0, |row| row.gradient / mass))
            .collect(),
        rows: counted.iter().flatten().count(),
    }
}

/// The loss of one task over a batch whose logits are computed in chunks by several threads.
#[derive(Clone, Copy, Debug)]
pub struct BatchLoss<'a> {
    objective: Objective,
    labels: &'a [f32],
    terms: &'a RowTerms,
    /// Sum of the weights of the rows that count.
    mass: f64,
    /// Factor of the mean in the gradients.
    weight: f64,
}

impl<'a> BatchLoss<'a> {
    /// The loss for the labels of all rows of a batch, and for what else counts of them. Gradients are those of
    /// `weight` times the mean.
    pub fn new(
        objective: Objective,
        labels: &'a [f32],
        terms: &'a RowTerms,
        weight: f64,
    ) -> BatchLoss<'a> {
        // Whether a row counts does not depend on its logit.
        let counts = |row: &usize| row_loss(objective, 0.0, labels[*row]).is_some();
        let counted = (0..labels.len()).filter(counts);
        BatchLoss {
            objective,
            labels,
            terms,
            mass: counted.map(|row| terms.weight(row)).sum(),
            weight,
        }
    }

    /// Sum of the weights of the rows of the batch that count: their number where each counts once.
    pub fn mass(&self) -> f64 {
        self.mass
    }

    /// What sums over the rows are divided by: 1 where no row counts.
    pub(crate) fn divisor(&self) -> f64 {
        divisor(self.mass)
    }

    /// The weighted loss of one row of the batch; `None` if it does not count.
    fn row(&self, row: usize, logit: f64) -> Option<RowLoss> {
        let logit = logit + self.terms.offset(row);
        let found = row_loss(self.objective, logit, self.labels[row])?;
        Some(found.times(self.terms.weight(row)))
    }

    /// Writes the gradients with respect to these logits and returns the sum of the losses.
    pub fn gradients(&self, rows: &[u32], logits: &[f32], gradients: &mut [f32]) -> f64 {
        let scale = self.weight / self.divisor();
        let mut sum = 0.0;
        for ((&row, &logit), gradient) in rows.iter().zip(logits).zip(gradients) {
            let row = self.row(row as usize, f64::from(logit));
            *gradient = row.map_or(0.0, |row| row.gradient * scale) as f32;
            sum += row.map_or(0.0, |row| row.loss);
        }
        sum
    }
}

/// Returns what sums over rows of this mass are divided by: 1 where no row counts.
pub(crate) fn divisor(mass: f64) -> f64 {
    if mass > 0.0 { mass } else { 1.0 }
}

/// The loss of one row and its gradient with respect to the row's logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowLoss {
    /// The loss, at least 0.
    pub loss: f64,
    /// Its gradient.
    pub gradient: f64,
}

/// The loss of one row; `None` if the row does not count.
pub fn row_loss(objective: Objective, logit: f64, label: f32) -> Option<RowLoss> {
    let label = f64::from(label);
    match objective {
        _ if label.is_nan() => None,
        Objective::CrossEntropy => Some(cross_entropy(logit, label)),
        Objective::Focal { alpha, gamma } if label > 0.0 => Some(focal(alpha, gamma, logit)),
        Objective::Focal { alpha, gamma } => Some(focal(1.0 - alpha, gamma, -logit).mirrored()),
        Objective::Ratio => (label > 0.0).then(|| squared_error(logit, label.min(1.0))),
    }
}
/// `-y log p - (1 - y) log(1 - p)`, from the logit so that no logarithm of 0 is taken.
pub(crate) fn cross_entropy(z: f64, y: f64) -> RowLoss {
    RowLoss {
        loss: z.max(0.0) - z * y + (-z.abs()).exp().ln_1p(),
        gradient: sigmoid(z) - y,
    }
}

/// `-w (1 - p)^g log p` (Lin et al. 2017, equation 5), where `p` is the predicted probability of the true label.
///
/// Inside the logarithm `p` is at least 1e-8, as in NCS4CVR's code; below it, only `(1 - p)^g` has a gradient.
fn focal(weight: f64, gamma: f64, z: f64) -> RowLoss {
    const SMALLEST: f64 = 1e-8;
    let (p, q) = (sigmoid(z), sigmoid(-z));
    let ln_p = p.max(SMALLEST).ln();
    let gradient_of_ln_p = if p >= SMALLEST { q } else { 0.0 };
    let focus = weight * q.powf(gamma);
    // d q^g / dz = -g q^g p: no division, so q = 0 is safe.
    RowLoss {
        loss: -focus * ln_p,
        gradient: focus * (gamma * p * ln_p - gradient_of_ln_p),
    }
}

/// `(p - y)^2`.
fn squared_error(z: f64, y: f64) -> RowLoss {
    let (p, q) = (sigmoid(z), sigmoid(-z));
    RowLoss {
        loss: (p - y).powi(2),
        gradient: 2.0 * (p - y) * p * q,
    }
}

impl RowLoss {
    fn times(self, weight: f64) -> RowLoss {
        RowLoss {
            loss: weight * self.loss,
            gradient: weight * self.gradient,
        }
    }

    /// The same loss as a function of the negated logit.
    fn mirrored(self) -> RowLoss {
        RowLoss {
            gradient: -self.gradient,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::Path;

    const FOCAL: Objective = Objective::Focal {
        alpha: 0.75,
        gamma: 2.0,
    };

    fn objectives() -> Vec<Objective> {
        let mut all = vec![Objective::CrossEntropy, Objective::Ratio];
        for gamma in [0.0, 0.5, 1.0, 2.0, 5.0] {
            all.extend([0.1, 0.75].map(|alpha| Objective::Focal { alpha, gamma }));
        }
        all
    }

    /// Uniform in [0, 1): SplitMix64.
    fn uniform(state: &mut u64) -> f64 {
        (ncs_features::hash::split_mix(state) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn random_label(objective: Objective, state: &mut u64) -> f32 {
        match (uniform(state), objective) {
            (u, _) if u < 0.2 => f32::NAN,
            (_, Objective::Ratio) => (3.0 * uniform(state) - 0.5) as f32,
            (u, _) => f32::from(u8::from(u < 0.5)),
        }
    }

    #[track_caller]
    fn check_gradients(objective: Objective, logits: &[f64], labels: &[f32]) {
        let found = loss(objective, logits, labels);
        for (row, gradient) in found.gradients.iter().enumerate() {
            let h = 1e-5;
            let moved = |by: f64| {
                let mut logits = logits.to_vec();
                logits[row] += by;
                loss(objective, &logits, labels).loss
            };
            let expected = (moved(h) - moved(-h)) / (2.0 * h);
            let error = (gradient - expected).abs();
            assert!(
                error < 1e-8,
                "{objective:?}, logit {}, label {}: {gradient}, not {expected}",
                logits[row],
                labels[row]
            );
        }
    }

    #[test]
    fn pieces_come_to_the_same_as_the_whole() {
        let mut state = 2;
        for objective in objectives() {
            let labels: Vec<f32> = (0..100)
                .map(|_| random_label(objective, &mut state))
                .collect();
            let logits: Vec<f32> = labels
                .iter()
                .map(|_| (8.0 * uniform(&mut state) - 4.0) as f32)
                .collect();
            let wide: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
            let whole = loss(objective, &wide, &labels);
            let terms = RowTerms::default();
            let pieces = BatchLoss::new(objective, &labels, &terms, 1.5);
            assert_eq!(pieces.mass(), whole.rows as f64);
            let mut sum = 0.0;
            for rows in [(0..37).collect::<Vec<u32>>(), (37..100).collect()] {
                let logits: Vec<f32> = rows.iter().map(|&row| logits[row as usize]).collect();
                let mut gradients = vec![0.0; rows.len()];
                sum += pieces.gradients(&rows, &logits, &mut gradients);
                for (&row, &gradient) in rows.iter().zip(&gradients) {
                    let expected = 1.5 * whole.gradients[row as usize];
                    assert!((f64::from(gradient) - expected).abs() < 1e-8);
                }
            }
            let mean = sum / whole.rows.max(1) as f64;
            assert!((mean - whole.loss).abs() < 1e-12, "{objective:?}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut state = 1;
        for objective in objectives() {
            for n_rows in (1..8).cycle().take(300) {
                // Within 18 of 0: at 18.42 the focal loss has the kink of its clipping.
                let logits: Vec<_> = (0..n_rows)
                    .map(|_| 36.0 * uniform(&mut state) - 18.0)
                    .collect();
                let labels: Vec<_> = (0..n_rows)
                    .map(|_| random_label(objective, &mut state))
                    .collect();
                check_gradients(objective, &logits, &labels);
            }
            check_gradients(
                objective,
                &[-19.0, 19.0, -30.0, 30.0],
                &[1.0, 0.0, 1.0, 0.0],
            );
        }
    }

    #[test]
    fn rows_that_do_not_count_have_no_part_in_the_mean() {
        let mut state = 2;
        for objective in objectives() {
            for _ in 0..100 {
                let logits: Vec<_> = (0..20).map(|_| 8.0 * uniform(&mut state) - 4.0).collect();
                let labels: Vec<_> = (0..20)
                    .map(|_| random_label(objective, &mut state))
                    .collect();
                let counted: Vec<_> = (0..20)
                    .filter(|&row| match objective {
                        Objective::Ratio => labels[row] > 0.0,
                        _ => !labels[row].is_nan(),
                    })
                    .collect();
                let alone = loss(
                    objective,
                    &counted.iter().map(|&row| logits[row]).collect::<Vec<_>>(),
                    &counted.iter().map(|&row| labels[row]).collect::<Vec<_>>(),
                );
                let all = loss(objective, &logits, &labels);
                assert_eq!((all.loss, all.rows), (alone.loss, counted.len()));
                let mut expected = vec![0.0; 20];
                for (&row, &gradient) in counted.iter().zip(&alone.gradients) {
                    expected[row] = gradient;
                }
                assert_eq!(all.gradients, expected);
            }
        }
    }

    #[test]
    fn no_row_that_counts_gives_no_loss() {
        for objective in objectives() {
            let none = LossAndGradients {
                loss: 0.0,
                gradients: vec![0.0; 2],
                rows: 0,
            };
            assert_eq!(loss(objective, &[0.3, -800.0], &[f32::NAN; 2]), none);
        }
        assert_eq!(loss(Objective::Ratio, &[0.3, 0.4], &[0.0, -1.0]).rows, 0);
        assert_eq!(loss(FOCAL, &[], &[]).rows, 0);
    }

    #[test]
    fn extreme_logits_give_finite_losses() {
        for objective in objectives() {
            for logit in [-1e300, -800.0, -40.0, 40.0, 800.0, 1e300] {
                for label in [0.0, 1.0] {
                    let found = loss(objective, &[logit], &[label]);
                    assert!(
                        found.loss.is_finite()
                            && found.loss >= 0.0
                            && found.gradients[0].is_finite(),
                        "{objective:?}, logit {logit}, label {label}: {found:?}"
                    );
                }
            }
        }
        let wrong = loss(Objective::CrossEntropy, &[800.0, -800.0], &[0.0, 1.0]);
        assert_eq!((wrong.loss, wrong.gradients), (800.0, vec![0.5, -0.5]));
    }

    #[test]
    fn focal_loss_without_focus_is_weighted_cross_entropy() {
        let half = Objective::Focal {
            alpha: 0.5,
            gamma: 0.0,
        };
        let (logits, labels) = ([-3.0, -0.5, 0.0, 2.0], [1.0, 0.0, 1.0, 0.0]);
        let focal = loss(half, &logits, &labels);
        let plain = loss(Objective::CrossEntropy, &logits, &labels);
        assert!((focal.loss - plain.loss / 2.0).abs() < 1e-15);
        for (focal, plain) in focal.gradients.iter().zip(&plain.gradients) {
            assert!((focal - plain / 2.0).abs() < 1e-15);
        }
    }

    #[test]
    fn a_ratio_above_one_counts_as_one() {
        let [above, one] = [2.5, 1.0].map(|label| loss(Objective::Ratio, &[0.0], &[label]));
        assert_eq!(above, one);
        assert_eq!(
            one,
            LossAndGradients {
                loss: 0.25,
                gradients: vec![-0.25],
                rows: 1
            }
        );
    }

    #[test]
    fn sigmoid_meets_its_known_values() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!((sigmoid(-800.0), sigmoid(800.0)), (0.0, 1.0));
        assert!((sigmoid(3.0_f64.ln()) - 0.75).abs() < 1e-15);
        assert!((sigmoid(-(3.0_f64.ln())) - 0.25).abs() < 1e-15);
    }

    struct Fixture(Value);

    impl Fixture {
        /// The arrays of `ncs_ref.py`, or `None` where the folder beside the repository is absent.
        fn open() -> Option<Fixture> {
            let path = Path::new(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/reference/ncs_fixture.json"
            ));
            if !path.exists() {
                println!("skipped: ../shared is absent");
                return None;
            }
            let text = std::fs::read_to_string(path).unwrap();
            Some(Fixture(serde_json::from_str(&text).unwrap()))
        }

        fn array(&self, key: &str) -> Vec<f64> {
            let data = self.0["arrays"][key]["data"].as_array();
            let data = data.unwrap_or_else(|| panic!("the fixture has no array {key}"));
            data.iter().map(|value| value.as_f64().unwrap()).collect()
        }

        fn labels(&self, name: &str) -> Vec<f32> {
            self.array(&format!("batch/00/{name}"))
                .iter()
                .map(|&label| label as f32)
                .collect()
        }

        #[track_caller]
        fn check(&self, run: &str, name: &str, task: &str, objective: Objective, labels: &[f32]) {
            let logits = self.array(&format!("fwd/{run}/logit_{task}"));
            let found = loss(objective, &logits, labels);
            let expected = self.array(&format!("fwd/{run}/loss/{name}"))[0];
            assert!(
                (found.loss - expected).abs() < 1e-10,
                "{run} {name}: {}",
                found.loss
            );
            let gradients = self.array(&format!("fwd/{run}/dlogit/{name}"));
            assert_eq!(found.gradients.len(), gradients.len());
            for (row, (found, expected)) in found.gradients.iter().zip(&gradients).enumerate() {
                let error = (found - expected).abs();
                assert!(
                    error < 1e-10,
                    "{run} {name} row {row}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_reference() {
        let Some(fixture) = Fixture::open() else {
            return;
        };
        let [click, watch, conv] = ["click", "watch", "conv"].map(|name| fixture.labels(name));
        let conv_if_clicked: Vec<_> = click
            .iter()
            .zip(&conv)
            .map(|(&click, &conv)| if click == 1.0 { conv } else { f32::NAN })
            .collect();
        for pool in ["padded", "masked"] {
            for mask in ["none", "ctr", "cvr"] {
                let run = format!("{pool}/{mask}");
                fixture.check(&run, "bce_ctr", "ctr", Objective::CrossEntropy, &click);
                fixture.check(&run, "focal_ctr", "ctr", FOCAL, &click);
                fixture.check(&run, "wmse_cvr", "cvr", Objective::Ratio, &watch);
                let cross_entropy = Objective::CrossEntropy;
                fixture.check(
                    &run,
                    "bce_cvr_clicked",
                    "cvr",
                    cross_entropy,
                    &conv_if_clicked,
                );
            }
        }
    }
}
