//! Losses and their balance against PyTorch: `tools/oracle/losses.py` wrote the numbers.

use ncs_features::{Objective, RowTerms};
use ncs_model::Gradient;
use ncs_train::balance::{LogVariances, pcgrad};
use ncs_train::entire_space::{EntireSpace, FunnelBatch, FunnelLoss, FunnelWeights, Propensity};
use ncs_train::loss::loss;
use serde_json::Value;

fn oracle() -> Value {
    serde_json::from_str(include_str!("oracle/losses.json")).unwrap()
}

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    let values = case[key].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap()
}

/// Null: unknown.
fn labels(case: &Value, key: &str) -> Vec<f32> {
    let values = case[key].as_array().unwrap();
    let label = |value: &Value| value.as_f64().map_or(f32::NAN, |label| label as f32);
    values.iter().map(label).collect()
}

fn kind(case: &Value) -> Option<EntireSpace> {
    let propensity = Propensity {
        floor: number(case, "floor"),
        ctcvr_weight: number(case, "w_g"),
    };
    match case["name"].as_str().unwrap() {
        "clicked" => None,
        "esmm" => Some(EntireSpace::Esmm),
        "escm2_ips" => Some(EntireSpace::Escm2Ips(propensity)),
        "escm2_dr" => Some(EntireSpace::Escm2Dr(propensity)),
        "dcmt" => Some(EntireSpace::Dcmt {
            propensity,
            regularizer: number(case, "lambda"),
        }),
        "aitm" => Some(EntireSpace::Aitm {
            constraint: number(case, "kappa"),
        }),
        other => panic!("an unknown loss: {other}"),
    }
}

/// Value and gradients with respect to the logits of click, conversion and auxiliary head.
fn ours(case: &Value) -> (f64, [Vec<f64>; 3]) {
    let [clicks, conversions] = ["click", "conversion"].map(|key| labels(case, key));
    let logits = ["z_c", "z_v", "z_h"].map(|key| numbers(case, key));
    let [w_click, w_conversion] = ["w_c", "w_v"].map(|key| number(case, key));
    let Some(kind) = kind(case) else {
        let own = |labels, z| loss(Objective::CrossEntropy, z, labels);
        let (a, b) = (own(&clicks, &logits[0]), own(&conversions, &logits[1]));
        let scaled = |gradients: Vec<f64>, w: f64| gradients.into_iter().map(|s| w * s).collect();
        let gradients = [
            scaled(a.gradients, w_click),
            scaled(b.gradients, w_conversion),
            vec![0.0; clicks.len()],
        ];
        return (w_click * a.loss + w_conversion * b.loss, gradients);
    };
    let loss = FunnelLoss {
        click: 0,
        conversion: 1,
        kind,
    };
    let weights = FunnelWeights {
        click: w_click,
        conversion: w_conversion,
        product: 1.0 / w_conversion,
    };
    let terms = RowTerms::default();
    let batch = FunnelBatch::new(loss, &clicks, &conversions, &terms, weights);
    let mut gradients = [Vec::new(), Vec::new(), Vec::new()];
    let mut sums = [0.0; 2];
    let [click, conversion, helper] = &logits;
    let rows = click.iter().zip(conversion).zip(helper);
    for (row, ((&click, &conversion), &helper)) in (0..).zip(rows) {
        let (found, losses) = batch.row(row, [click, conversion, helper]);
        gradients
            .iter_mut()
            .zip(found)
            .for_each(|(gradients, gradient)| gradients.push(gradient));
        sums.iter_mut()
            .zip(losses)
            .for_each(|(sum, loss)| *sum += loss);
    }
    let [n_click, n_conversion] = batch.masses();
    let value = w_click * sums[0] / n_click + w_conversion * sums[1] / n_conversion;
    (value, gradients)
}

#[track_caller]
fn close(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / (1.0 + expected.abs());
        assert!(error < 1e-10, "{name} {i}: {found}, expected {expected}");
    }
}

#[test]
fn losses_are_those_of_the_oracle() {
    let oracle = oracle();
    let cases = oracle["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (value, gradients) = ours(case);
        close(name, &[value], &[number(case, "value")]);
        for (gradients, key) in gradients.iter().zip(["d_z_c", "d_z_v", "d_z_h"]) {
            close(&format!("{name} {key}"), gradients, &numbers(case, key));
        }
    }
}

#[test]
fn gradients_without_conflict_are_those_of_the_oracle() {
    let oracle = oracle();
    for case in oracle["pcgrad"].as_array().unwrap() {
        let gradient = |key| Gradient {
            dense: numbers(case, key).iter().map(|&x| x as f32).collect(),
            tables: Vec::new(),
        };
        let sum = pcgrad(&[gradient("g1"), gradient("g2")]);
        for (found, expected) in sum.dense.iter().zip(numbers(case, "combined")) {
            assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn learned_weights_have_the_gradients_of_the_oracle() {
    let oracle = oracle();
    for case in oracle["uncertainty"].as_array().unwrap() {
        let mut value = 0.0;
        for (task, [s, label, z, d_s, d_z]) in [
            ["s_c", "click", "z_c", "d_s_c", "d_z_c"],
            ["s_v", "conversion", "z_v", "d_s_v", "d_z_v"],
        ]
        .into_iter()
        .enumerate()
        {
            let own = loss(
                Objective::CrossEntropy,
                &numbers(case, z),
                &labels(case, label),
            );
            let s = number(case, s);
            let variances = LogVariances::of(&[s, s]);
            let weight = variances.weight(task);
            value += weight * own.loss + s / 2.0;
            close(
                d_s,
                &[variances.gradient(task, own.loss)],
                &[number(case, d_s)],
            );
            let gradients: Vec<f64> = own
                .gradients
                .iter()
                .map(|gradient| weight * gradient)
                .collect();
            close(d_z, &gradients, &numbers(case, d_z));
        }
        close("uncertainty", &[value], &[number(case, "value")]);
    }
}
