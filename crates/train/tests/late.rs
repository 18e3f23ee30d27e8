//! Losses of labels that were not final: finite differences, plain formulas, and what they are unbiased for.

use ncs_features::{Delays, LateMethod, LateRules, Objective, RowTerms};
use ncs_train::loss::{BatchLoss, HeadsLoss, sigmoid};
use serde_json::Value;

fn rules(method: LateMethod, delays: &[f32]) -> LateRules {
    LateRules {
        click_time: "click_time".into(),
        conversion_time: "conversion_time".into(),
        window: 86_400.0,
        as_of: 0.0,
        since: None,
        method,
        elapsed: 0.0,
        borrowed: 0.0,
        by: None,
        delays: Delays::fit(delays.into()),
        delays_of: Default::default(),
    }
}

fn terms(rules: &LateRules, delay: f32, age: f32) -> RowTerms {
    RowTerms {
        known_shares: vec![rules.share_known("", age) as f32],
        delays: vec![delay],
        ages: vec![age],
        ..RowTerms::default()
    }
}

/// Loss and gradient of one row.
fn row(rules: &LateRules, logit: f64, label: f32, age: f32) -> (f64, f64) {
    let delay = if label > 0.5 { 0.125 } else { f32::NAN };
    let (terms, labels) = (terms(rules, delay, age), [label]);
    let loss = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
    let found = loss.known_by(Some(rules)).row(0, logit).unwrap();
    (found.loss, found.gradient)
}

/// Loss and gradients of one row with the logits of auxiliary heads, whatever its method.
fn of_heads(rules: &LateRules, logits: [f64; 3], label: f32, delay: f32, age: f32) -> HeadsLoss {
    let (terms, labels) = (terms(rules, delay, age), [label]);
    let loss = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
    let loss = loss.known_by(Some(rules));
    if rules.method.n_heads() > 0 {
        return loss.row_of_heads(0, logits);
    }
    let found = loss.row(0, logits[0]).unwrap();
    HeadsLoss {
        loss: found.loss,
        gradients: [found.gradient, 0.0, 0.0],
    }
}

const LOGITS: [f64; 6] = [-6.0, -1.3, 0.0, 0.4, 2.0, 5.0];

/// Delays, of which a quarter, a half, three quarters and all come within these times.
const DELAYS: [f32; 4] = [0.1, 0.25, 0.5, 1.0];

#[test]
fn a_row_that_has_not_converted_yet_may_still_do_so() {
    let rules = rules(LateMethod::DelayDistribution, &DELAYS);
    for (age, share) in [
        (0.0, 0.0),
        (0.1, 0.25),
        (0.25, 0.5),
        (0.75, 0.875),
        (1.0, 1.0),
        (3.0, 1.0),
    ] {
        for logit in LOGITS {
            let (loss, gradient) = row(&rules, logit, 0.0, age);
            let expected = -(1.0 - sigmoid(logit) * share).ln();
            assert!(
                (loss - expected).abs() < 1e-6,
                "{age} {logit}: {loss}, not {expected}"
            );
            let at = |logit| row(&rules, logit, 0.0, age).0;
            let difference = (at(logit + 1e-5) - at(logit - 1e-5)) / 2e-5;
            assert!((gradient - difference).abs() < 1e-8);
            let (loss, gradient) = row(&rules, logit, 1.0, age);
            assert!((loss + sigmoid(logit).ln()).abs() < 1e-12);
            assert!((gradient - (sigmoid(logit) - 1.0)).abs() < 1e-12);
        }
    }
    let extreme = row(&rules, 800.0, 0.0, 1.0);
    assert_eq!(extreme, (800.0, 1.0));
    let (loss, gradient) = row(&rules, 800.0, 0.0, 0.5);
    assert!(loss.is_finite() && gradient == 0.0);
}

/// Over rows of every age, with the labels that are known then, the expected gradient is 0 at the true probability.
#[test]
fn the_delay_distribution_is_unbiased_and_fake_labels_are_not() {
    let rules_of = |method| rules(method, &DELAYS);
    let p = 0.3_f64;
    let logit = (p / (1.0 - p)).ln();
    let expected = |method| {
        let rules = rules_of(method);
        let of_age = |age: f32| {
            let known = p * f64::from(rules.share_known("", age) as f32);
            known * row(&rules, logit, 1.0, age).1 + (1.0 - known) * row(&rules, logit, 0.0, age).1
        };
        (0..=20).map(|age| of_age(age as f32 / 20.0)).sum::<f64>()
    };
    assert!(expected(LateMethod::DelayDistribution).abs() < 1e-12);
    assert!(expected(LateMethod::AsNegatives) > 0.5);
}

/// Ktena et al. 2019, equation 9, over a stream that shows a click as a negative and its conversion as a positive.
#[test]
fn fake_negatives_are_weighed_by_their_importance() {
    let rules = rules(LateMethod::Fnw, &[]);
    for logit in LOGITS {
        let p = sigmoid(logit);
        // Constants in the gradient.
        let positive = 1.0 + p;
        let negative = (1.0 - p) * (1.0 + p);
        for (label, times) in [(0.0, 0.0), (1.0, 1.0)] {
            let of = |logit: f64| {
                let p = sigmoid(logit);
                -times * positive * p.ln() - negative * (1.0 - p).ln()
            };
            let (loss, gradient) = row(&rules, logit, label, 0.5);
            assert!((loss - of(logit)).abs() < 1e-9);
            let difference = (of(logit + 1e-6) - of(logit - 1e-6)) / 2e-6;
            assert!((gradient - difference).abs() < 1e-8);
            // Where both samples of a row are at hand, all that remains of the weights is a factor.
            let plain = (1.0 - p * p) * (p - f64::from(label));
            assert!((gradient - plain).abs() < 1e-12);
        }
    }
}

#[test]
fn losses_are_those_of_the_oracle() {
    let oracle: Value = serde_json::from_str(include_str!("oracle/late.json")).unwrap();
    let number = |of: &Value| of.as_f64().unwrap();
    for case in oracle["cases"].as_array().unwrap() {
        let method: LateMethod = serde_json::from_value(case["method"].clone()).unwrap();
        let rules = LateRules {
            elapsed: if method.is_sampled_later() {
                number(&oracle["elapsed"])
            } else {
                0.0
            },
            borrowed: number(&oracle["borrowed"]),
            ..rules(method, &[])
        };
        let [delay, age] = ["delay", "age"].map(|key| number(&case[key]) as f32);
        let label = f32::from(u8::from(case["converted"].as_bool().unwrap()));
        let label = rules.known(label, delay, age, true);
        let logits = ["z", "a", "b"].map(|key| number(&case[key]));
        let found = of_heads(&rules, logits, label, delay, age);
        let close = |found: f64, expected: f64| {
            let error = (found - expected).abs() / (1.0 + expected.abs());
            assert!(error < 1e-10, "{case}: {found}, expected {expected}");
        };
        close(found.loss, number(&case["loss"]));
        let gradients = case["gradients"].as_array().unwrap().iter().map(number);
        found
            .gradients
            .iter()
            .zip(gradients)
            .for_each(|(&found, expected)| close(found, expected));
    }
}

/// The likelihood of the delay has no constants: its gradients are differences of its values.
#[test]
fn gradients_of_the_delay_rate_are_those_of_the_loss() {
    let rules = rules(LateMethod::Dfm, &[]);
    for (label, delay, age) in [
        (1.0, 0.3, 0.5),
        (1.0, 1.0, 4.0),
        (0.0, f32::NAN, 0.4),
        (0.0, f32::NAN, 1.5),
    ] {
        for z in LOGITS {
            for v in [-20.0, -3.0, 0.0, 1.5, 4.0] {
                let at = |z, v| of_heads(&rules, [z, v, 0.0], label, delay, age);
                let found = at(z, v);
                let by_z = (at(z + 1e-5, v).loss - at(z - 1e-5, v).loss) / 2e-5;
                let by_v = (at(z, v + 1e-5).loss - at(z, v - 1e-5).loss) / 2e-5;
                assert!(
                    (found.gradients[0] - by_z).abs() < 1e-7 * (1.0 + by_z.abs()),
                    "{z} {v}"
                );
                assert!(
                    (found.gradients[1] - by_v).abs() < 1e-7 * (1.0 + by_v.abs()),
                    "{z} {v}"
                );
            }
        }
    }
    for v in [-900.0, 900.0] {
        let found = [
            of_heads(&rules, [800.0, v, 0.0], 0.0, f32::NAN, 0.5),
            of_heads(&rules, [-800.0, v, 0.0], 1.0, 0.5, 0.5),
        ];
        assert!(found.iter().all(|row| row.loss.is_finite()), "{found:?}");
        assert!(found.iter().all(|row| row.gradients[1] == 0.0), "{found:?}");
    }
}

/// Rows of a snapshot on a grid: ages up to three windows, delays up to one.
const GRID: usize = 64;

/// The mean over the rows of a snapshot, of every age, of which a share `p` converts after delays of equal chances.
fn mean_over_snapshot(
    rules: &LateRules,
    p: f64,
    of: impl Fn(f32, f32, f32) -> [f64; 3],
) -> [f64; 3] {
    let middle = |k: usize| (k as f32 + 0.5) / GRID as f32;
    let mut sum = [0.0; 3];
    let mut add = |share: f64, label: f32, delay: f32, age: f32| {
        let label = rules.known(label, delay, age, true);
        if !label.is_nan() {
            let found = of(label, delay, age);
            sum.iter_mut()
                .zip(found)
                .for_each(|(sum, found)| *sum += share * found);
        }
    };
    for age in (0..3 * GRID).map(middle) {
        add(1.0 - p, 0.0, f32::NAN, age);
        (0..GRID).for_each(|k| add(p / GRID as f64, 1.0, middle(k), age));
    }
    sum.map(|sum| sum / (3 * GRID) as f64)
}

/// At the true probabilities, of the conversion and of what auxiliary heads predict, expected gradients are 0;
/// without what the window before lends, samples are missing.
#[test]
fn losses_of_a_stream_are_unbiased_over_a_snapshot() {
    let p = 0.3_f64;
    let logit = |p: f64| (p / (1.0 - p)).ln();
    for (method, elapsed) in [
        (LateMethod::Fnw, 0.0),
        (LateMethod::Fnc, 0.0),
        (LateMethod::EsDfm, 0.25),
        (LateMethod::EsDfm, 0.0),
        (LateMethod::Defer, 0.25),
        (LateMethod::Defer, 0.75),
    ] {
        let later = p * (1.0 - elapsed);
        let stays = (1.0 - p) / (1.0 - p + later);
        let logits = [p, later, stays].map(logit);
        let gradients = |borrowed| {
            let rules = LateRules {
                elapsed,
                borrowed,
                ..rules(method, &[])
            };
            let of = |label, delay, age| of_heads(&rules, logits, label, delay, age).gradients;
            mean_over_snapshot(&rules, p, of)
        };
        let found = gradients(1.0);
        assert!(
            found.iter().all(|gradient| gradient.abs() < 1e-12),
            "{method:?}: {found:?}"
        );
        let missing = gradients(0.0)[0];
        assert!(missing.abs() > 1e-4, "{method:?}: {missing}");
    }
}

/// The share of positives among the samples of calibrated fake negatives is `b`, and what is served is `b / (1 - b)`.
#[test]
fn calibrated_fake_negatives_serve_the_odds_of_their_samples() {
    let rules = rules(LateMethod::Fnc, &[]);
    for logit in LOGITS {
        let p = sigmoid(logit);
        let b = p / (1.0 + p);
        assert!((b / (1.0 - b) - p).abs() < 1e-12);
        let (of_none, _) = row(&rules, logit, 0.0, 2.5);
        let (of_both, _) = row(&rules, logit, 1.0, 2.5);
        assert!((of_none + (1.0 - b).ln()).abs() < 1e-12);
        assert!((of_both + (1.0 - b).ln() + b.ln()).abs() < 1e-12);
    }
}

#[test]
fn labels_that_are_only_chosen_have_their_own_loss() {
    for method in [
        LateMethod::Wait,
        LateMethod::AsNegatives,
        LateMethod::Oracle,
    ] {
        let rules = rules(method, &DELAYS);
        for logit in LOGITS {
            let p = sigmoid(logit);
            let (loss, gradient) = row(&rules, logit, 1.0, 0.5);
            assert!((loss + p.ln()).abs() < 1e-9 && (gradient - (p - 1.0)).abs() < 1e-12);
        }
    }
}
