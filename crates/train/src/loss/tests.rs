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
                    found.loss.is_finite() && found.loss >= 0.0 && found.gradients[0].is_finite(),
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

#[test]
fn gradients_of_smoothed_labels_are_those_of_finite_differences() {
    let labels = [1.0, 0.0, f32::NAN, 1.0, 0.0];
    let logits = [0.3, -1.2, 0.7, 4.0, -5.0_f64];
    let terms = RowTerms {
        weights: vec![1.0, 2.0, 1.0, 0.5, 3.0],
        negative_rates: vec![1.0, 0.1, 0.1, 0.2, 1.0],
        ..RowTerms::default()
    };
    let smoothing = LabelSmoothing::new(0.2, 0.05);
    let batch = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
    let batch = batch.smoothed(Some(smoothing));
    for (row, &logit) in logits.iter().enumerate() {
        let Some(found) = batch.row(row, logit) else {
            assert!(labels[row].is_nan());
            continue;
        };
        let moved = |by: f64| batch.row(row, logit + by).unwrap().loss;
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((found.gradient - expected).abs() < 1e-8, "row {row}");
    }
}

#[test]
fn smoothed_labels_have_the_mean_of_the_labels_and_bound_the_logit() {
    // One click in 20 rows: the best constant prediction stays 0.05.
    let labels: Vec<f32> = (0..20).map(|row| f32::from(u8::from(row == 3))).collect();
    let terms = RowTerms::default();
    let batch = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
    let batch = batch.smoothed(Some(LabelSmoothing::new(0.3, 0.05)));
    let gradient_at = |logit: f64| -> f64 {
        let rows = (0..20).map(|row| batch.row(row, logit).unwrap().gradient);
        rows.sum()
    };
    assert!(gradient_at((0.05_f64 / 0.95).ln()).abs() < 1e-12);
    // A row that always clicks is best predicted by (1 - e) + e u.
    let most: f64 = 0.7 + 0.3 * 0.05;
    let of_click = |p: f64| batch.row(3, (p / (1.0 - p)).ln()).unwrap().gradient;
    assert!(of_click(most).abs() < 1e-12 && of_click(0.9) > 0.0);
    // Where 9 of 10 rows without a click are left out, clicks are 1 of 2.9 rows, and predictions are still of all rows.
    let kept = RowTerms {
        negative_rates: vec![0.1; 20],
        ..RowTerms::default()
    };
    let rows: Vec<f32> = (0..29).map(|row| f32::from(u8::from(row < 10))).collect();
    let kept = RowTerms {
        negative_rates: vec![0.1; rows.len()],
        ..kept
    };
    let batch = BatchLoss::new(Objective::CrossEntropy, &rows, &kept, 1.0);
    let batch = batch.smoothed(Some(LabelSmoothing::new(0.3, 10.0 / 200.0)));
    let sum: f64 = (0..rows.len())
        .map(|row| batch.row(row, (0.05_f64 / 0.95).ln()).unwrap().gradient)
        .sum();
    // Rates are of single precision.
    assert!(sum.abs() < 1e-6, "{sum}");
}

#[test]
fn only_a_cross_entropy_is_smoothed() {
    let (labels, terms) = ([1.0, 0.0], RowTerms::default());
    for objective in objectives() {
        let plain = BatchLoss::new(objective, &labels, &terms, 1.0);
        let smoothed = plain.smoothed(Some(LabelSmoothing::new(0.2, 0.3)));
        let is_changed = plain.row(0, 0.4) != smoothed.row(0, 0.4);
        assert_eq!(is_changed, objective == Objective::CrossEntropy);
    }
}
