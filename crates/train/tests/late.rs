//! Losses of labels that were not final: finite differences, plain formulas, and what they are unbiased for.

use ncs_features::{Delays, LateMethod, LateRules, Objective, RowTerms};
use ncs_train::loss::{BatchLoss, sigmoid};

fn rules(method: LateMethod, delays: &[f32]) -> LateRules {
    LateRules {
        click_time: "click_time".into(),
        conversion_time: "conversion_time".into(),
        window: 86_400.0,
        as_of: 0.0,
        method,
        by: None,
        delays: Delays::fit(delays.into()),
        delays_of: Default::default(),
    }
}

/// Loss and gradient of one row.
fn row(rules: &LateRules, logit: f64, label: f32, age: f32) -> (f64, f64) {
    let terms = RowTerms {
        known_shares: vec![rules.share_known("", age) as f32],
        ..RowTerms::default()
    };
    let labels = [label];
    let loss = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
    let found = loss.known_by(Some(rules.method)).row(0, logit).unwrap();
    (found.loss, found.gradient)
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
    assert!(expected(LateMethod::Fnw) > 0.5);
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
