//! Weights of rows in metrics: a weight of 2 is the row twice, and a weight of 1 is none.

use ncs_eval::{Binning, MetricSettings, Metrics, Predictions, Resampling, TaskPredictions};
use ncs_features::LabelKind;

const UNKNOWN: f32 = f32::NAN;

fn settings() -> MetricSettings {
    MetricSettings {
        resampling: Resampling::default(),
        binning: Binning::EqualCount(3),
    }
}

/// Three tasks over rows of small whole weights, conversions following clicks.
fn predictions(weights: [&[f32]; 3]) -> Predictions {
    let task = |name: &str, labels: &[f32], scores: &[f32], weights: &[f32]| TaskPredictions {
        name: name.into(),
        kind: if name == "watch" {
            LabelKind::Ratio
        } else {
            LabelKind::Binary
        },
        labels: labels.into(),
        scores: scores.into(),
        weights: weights.into(),
        ..TaskPredictions::default()
    };
    let scores = [0.25, 0.5, 0.75, 0.5, 0.125, 0.875, 0.375, 0.0625];
    let clicks = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, UNKNOWN];
    let buys = [UNKNOWN, 1.0, 0.0, UNKNOWN, UNKNOWN, 1.0, 0.0, UNKNOWN];
    let watched = [UNKNOWN, 0.5, 1.5, 0.0, UNKNOWN, 0.25, 1.0, UNKNOWN];
    Predictions {
        products: Vec::new(),
        tasks: vec![
            task("click", &clicks, &scores, weights[0]),
            task("buy", &buys, &scores, weights[1]),
            task("watch", &watched, &scores, weights[2]),
        ],
        groups: vec![7, 7, 8, 8, 7, 8, 7, 8],
        funnel: Some((0, 1)),
    }
}

/// The rows as often as `times` says, each of them counting once.
fn repeated(predictions: &Predictions, times: &[f32]) -> Predictions {
    let rows = times.iter().enumerate();
    let rows = rows.flat_map(|(row, &times)| std::iter::repeat_n(row, times as usize));
    let rows: Vec<usize> = rows.collect();
    let pick = |values: &[f32]| rows.iter().map(|&row| values[row]).collect();
    let task = |task: &TaskPredictions| TaskPredictions {
        labels: pick(&task.labels),
        scores: pick(&task.scores),
        weights: Vec::new(),
        ..task.clone()
    };
    Predictions {
        tasks: predictions.tasks.iter().map(task).collect(),
        groups: rows.iter().map(|&row| predictions.groups[row]).collect(),
        funnel: predictions.funnel,
        products: Vec::new(),
    }
}

/// The figures without those that count rows or resample them.
fn figures(metrics: &Metrics) -> Vec<Option<f64>> {
    let of_task = metrics.tasks.values().flat_map(|task| {
        [
            task.auc,
            task.gauc,
            task.log_loss,
            task.squared_error,
            task.squared_error_unclipped,
            task.pcoc,
            task.ece,
        ]
    });
    of_task.chain([metrics.ctcvr.unwrap().auc]).collect()
}

#[test]
fn a_weight_is_the_row_as_often() {
    let times = [2.0, 1.0, 3.0, 1.0, 4.0, 2.0, 1.0, 2.0];
    let predictions = predictions([&times; 3]);
    let weighted = Metrics::of(&predictions, &settings()).unwrap();
    let expected = Metrics::of(&repeated(&predictions, &times), &settings()).unwrap();
    for (found, expected) in figures(&weighted).iter().zip(figures(&expected)) {
        match (found, expected) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-15),
            _ => assert_eq!(*found, expected),
        }
    }
    assert!(figures(&weighted).iter().flatten().count() > 12);
    let click = &weighted.tasks["click"];
    assert_eq!(
        (click.rows, click.positives, click.weight),
        (7, 4, Some(14.0))
    );
    assert_eq!(click.auc, expected.tasks["click"].auc);
}

#[test]
fn weights_of_1_change_no_figure() {
    let ones = [1.0; 8];
    let mut weighted = Metrics::of(&predictions([&ones; 3]), &settings()).unwrap();
    let none = Metrics::of(&predictions([&[]; 3]), &settings()).unwrap();
    for task in weighted.tasks.values_mut() {
        assert!(task.weight.take().is_some());
    }
    assert_eq!(weighted, none);
}

#[test]
fn each_task_has_weights_of_its_own_and_the_product_those_of_clicks() {
    let times = [2.0, 1.0, 3.0, 1.0, 4.0, 2.0, 1.0, 2.0];
    let found = Metrics::of(&predictions([&times, &[], &[]]), &settings()).unwrap();
    let none = Metrics::of(&predictions([&[]; 3]), &settings()).unwrap();
    let all = Metrics::of(&predictions([&times; 3]), &settings()).unwrap();
    assert_eq!(found.tasks["click"], all.tasks["click"]);
    assert_eq!(found.tasks["buy"], none.tasks["buy"]);
    assert_eq!(found.ctcvr, all.ctcvr);
    assert_ne!(found.ctcvr, none.ctcvr);
}

#[test]
fn weights_of_other_rows_are_refused() {
    let error = Metrics::of(&predictions([&[1.0], &[], &[]]), &settings()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task \"click\": 1 weights for 8 rows; every column of the predictions needs one entry a row"
    );
}
