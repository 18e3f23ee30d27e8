//! Losses of one row against PyTorch: `tools/oracle/task_losses.py` wrote the numbers.

use ncs_features::zero_inflated::log_mean;
use ncs_features::{Objective, RowTerms, ValueLoss, ValueObjective};
use ncs_train::label_smoothing::LabelSmoothing;
use ncs_train::loss::BatchLoss;
use ncs_train::product_loss::ProductLoss;
use serde_json::Value;

fn cases(group: &str) -> Vec<Value> {
    let oracle: Value = serde_json::from_str(include_str!("oracle/task_losses.json")).unwrap();
    oracle[group].as_array().unwrap().clone()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap()
}

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    let values = case[key].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn check(case: &Value, loss: f64, gradients: &[f64]) {
    let close =
        |found: f64, expected: f64| (found - expected).abs() < 1e-11 * (1.0 + expected.abs());
    assert!(close(loss, number(case, "loss")), "{loss}: {case}");
    let expected = numbers(case, "gradients");
    assert_eq!(gradients.len(), expected.len(), "{case}");
    for (&found, &expected) in gradients.iter().zip(&expected) {
        assert!(close(found, expected), "{found}: {case}");
    }
}

#[test]
fn values_that_are_0_or_log_normal() {
    let cases = cases("ziln");
    assert_eq!(cases.len(), 18);
    for case in &cases {
        let outputs: [f64; 3] = numbers(case, "outputs").try_into().unwrap();
        // Labels in minutes, the unit of which is an hour: the loss is of labels in the unit.
        for scale in [1.0, 60.0] {
            let objective = Objective::Value(ValueObjective {
                loss: ValueLoss::Ziln,
                centre: 0.0,
                scale,
            });
            let labels = [(number(case, "label") * scale) as f32];
            let terms = RowTerms::default();
            let found = BatchLoss::new(objective, &labels, &terms, 1.0).row_of_heads(0, outputs);
            check(case, found.loss, &found.gradients);
            let mean = scale * number(case, "mean");
            let predicted = objective.link().value(log_mean(outputs));
            assert!(
                (predicted / mean - 1.0).abs() < 1e-12,
                "{predicted}: {case}"
            );
        }
    }
}

#[test]
fn products_over_chains() {
    let cases = cases("product");
    assert_eq!(cases.len(), 20);
    for case in &cases {
        let labels = case["labels"].as_array().unwrap().iter();
        let labels = labels.map(|label| label.as_f64().map_or(f32::NAN, |label| label as f32));
        let labels: Vec<f32> = labels.collect();
        let found = ProductLoss::row(&labels, &numbers(case, "logits")).unwrap();
        check(case, found.loss, &found.gradients);
    }
}

#[test]
fn smoothed_labels() {
    let cases = cases("smoothed");
    assert_eq!(cases.len(), 16);
    for case in &cases {
        let labels = [number(case, "label") as f32];
        let offset = number(case, "offset");
        let terms = RowTerms {
            negative_rates: vec![(-offset).exp() as f32],
            ..RowTerms::default()
        };
        let smoothing = LabelSmoothing::new(number(case, "share"), number(case, "rate"));
        let loss = BatchLoss::new(Objective::CrossEntropy, &labels, &terms, 1.0);
        let found = loss
            .smoothed(Some(smoothing))
            .row(0, number(case, "logit"))
            .unwrap();
        let expected = numbers(case, "gradients")[0];
        // The share of kept rows is in single precision.
        assert!((found.loss - number(case, "loss")).abs() < 1e-6, "{case}");
        assert!((found.gradient - expected).abs() < 1e-6, "{case}");
    }
}
