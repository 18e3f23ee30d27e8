//! Regularisation as a run file states it: smoothed labels, dropped fields, averages, and a length that validation chooses.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use short_run::{SETS, bytes, dies, log, open, train};

fn metrics(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap()
}

fn figure(metrics: &Value, task: &str, name: &str) -> f64 {
    metrics["tasks"][task][name].as_f64().unwrap()
}

#[test]
fn smoothed_labels_keep_the_mean_of_predictions_and_calibration_their_spread() {
    let folder = log(&[]);
    let trained = |name: &str, sets: &[&str]| {
        let sets = [&["training.epochs=6"], sets].concat();
        let out = folder.path().join(name);
        train(&open(folder.path(), &SETS, &sets), &out);
        metrics(&out)
    };
    let smoothing = "tasks.ctr.label_smoothing=0.5";
    let plain = trained("plain", &["calibration.kind=\"none\""]);
    let smoothed = trained("smoothed", &["calibration.kind=\"none\"", smoothing]);
    let calibrated = trained("calibrated", &["calibration.kind=\"platt\"", smoothing]);
    for found in [&plain, &smoothed, &calibrated] {
        // 1,200 test rows, 0.3 of them clicked: three standard deviations are 0.13.
        let pcoc = figure(found, "ctr", "pcoc");
        assert!((pcoc - 1.0).abs() < 0.2, "{pcoc}");
    }
    // Half of the distance from the rate is lost, and the curve over the logit restores most of it.
    let ece = |found: &Value| figure(found, "ctr", "ece");
    println!(
        "ECE: {:.4} smoothed, {:.4} calibrated",
        ece(&smoothed),
        ece(&calibrated)
    );
    assert!(ece(&smoothed) > ece(&calibrated));
    assert!(figure(&calibrated, "ctr", "log_loss") < figure(&smoothed, "ctr", "log_loss"));
    let of_ranks = figure(&calibrated, "ctr", "auc") - figure(&smoothed, "ctr", "auc");
    assert!(of_ranks.abs() < 1e-6, "a curve keeps the order: {of_ranks}");
}

#[test]
fn each_setting_changes_the_model_and_resumes_to_the_same_bytes() {
    let folder = log(&[]);
    let path = folder.path();
    let plain = train(&open(path, &SETS, &[]), &path.join("plain"));
    let settings = [
        "training.field_dropout=0.2",
        "tasks.cvr.label_smoothing=0.2",
        "training.average={decay=0.9, start=\"unbiased\"}",
    ];
    for (number, setting) in settings.iter().enumerate() {
        let file = open(path, &SETS, &[setting]);
        let out = path.join(format!("whole-{number}"));
        let whole = train(&file, &out);
        assert_ne!(
            whole.weight_sets[0].weights.dense, plain.weight_sets[0].weights.dense,
            "{setting}"
        );
        let cut = path.join(format!("cut-{number}"));
        dies(&file, &cut, 20);
        train(&file, &cut);
        assert!(bytes(&cut) == bytes(&out), "{setting}");
    }
}

#[test]
fn automatic_epochs_are_the_default() {
    let folder = log(&[]);
    let path = folder.path();
    let without: Vec<&str> = SETS
        .into_iter()
        .filter(|set| !set.starts_with("training.epochs"))
        .collect();
    let auto = open(path, &without, &["training.epochs=\"auto\""])
        .plan
        .train;
    let default = open(path, &without, &[]).plan.train;
    // The run file of the log states four epochs and a patience of four.
    assert_eq!((auto.epochs, auto.patience), (30, Some(4)));
    assert_eq!((default.epochs, default.patience), (4, Some(4)));
    let text = fs::read_to_string(path.join("log/run.toml")).unwrap();
    let bare: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("epochs") && !line.starts_with("patience"))
        .collect();
    fs::write(path.join("log/run.toml"), bare.join("\n")).unwrap();
    let stated = open(path, &without, &["training.epochs=\"auto\""])
        .plan
        .train;
    assert_eq!(open(path, &without, &[]).plan.train, stated);
}
