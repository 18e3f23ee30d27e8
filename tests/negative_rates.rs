//! `tasks.NAME.negative_rate` and `negative_rate_column`: training on some of the rows of label 0, probabilities of all.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_train::predict;
use serde_json::Value;
use short_run::SETS;
use trained::{done, refused};

fn log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = [
        "synth", "--rows", "20000", "--out", "log", "--format", "csv",
    ];
    let rates = ["--click-rate", "0.1", "--conversion-rate", "0.3"];
    done(folder.path(), &[&synth[..], &rates].concat());
    folder
}

fn train(folder: &Path, out: &str, more: &[&str]) {
    let file = short_run::open(folder, &SETS, more);
    short_run::train(&file, &folder.join(out));
}

/// `figure` of a task on rows, as `ncs evaluate` tells it.
fn figure(folder: &Path, model: &str, data: &str, task: &str, figure: &str) -> f64 {
    let report = done(folder, &["evaluate", model, "--data", data, "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    report["tasks"][task][figure].as_f64().unwrap()
}

#[test]
fn probabilities_of_a_model_trained_on_few_negatives_are_those_of_all_rows() {
    let folder = log();
    let path = folder.path();
    train(path, "all", &[]);
    train(path, "some", &["tasks.ctr.negative_rate=0.2"]);
    let of = |run: &str, name: &str| {
        let model = format!("{run}/model");
        figure(path, &model, "log/test.csv", "ctr", name)
    };
    let ratio = of("some", "pcoc") / of("all", "pcoc");
    assert!((0.87..1.15).contains(&ratio), "{ratio}");
    assert!(of("some", "auc") > of("all", "auc") - 0.02);
    // The rows that were left out are not read in training, those of the other parts are whole.
    let check = [
        "check",
        "log/run.toml",
        "--set",
        "tasks.ctr.negative_rate=0.2",
    ];
    let report = done(path, &check);
    let what = "training rows of label 0 are left out (negative_rate 0.2)";
    assert!(report.contains(what), "{report}");
    let metrics = |run: &str| -> Value {
        let text = fs::read_to_string(path.join(run).join("metrics.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let [all, some] = ["all", "some"].map(|run| metrics(run)["tasks"]["ctr"]["rows"].clone());
    assert_eq!(all, some);
}

#[test]
fn the_rows_that_are_left_out_are_the_same_again_and_only_those_of_training() {
    let folder = log();
    let path = folder.path();
    let read = |cache: &str| {
        let set = [
            format!("data.cache={cache:?}"),
            "tasks.ctr.negative_rate=0.3".into(),
        ];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let file = short_run::open(path, &SETS, &set);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let quiet = ncs4cvr::progress::Progress::Quiet;
        ncs4cvr::training::prepare_rows(&file.plan, quiet, &stop).unwrap()
    };
    let (first, again) = (read("one"), read("two"));
    let bytes = |data: &ncs_readers::Prepared| fs::read(data.train.path()).unwrap();
    let without_key = |bytes: Vec<u8>| bytes[48..].to_vec();
    assert_eq!(first.key, again.key);
    assert!(without_key(bytes(&first)) == without_key(bytes(&again)));
    let counts = &first.train.label_counts().tasks[0];
    let [known, positives] = counts.masses();
    let lines = fs::read_to_string(path.join("log/train.csv")).unwrap();
    let all = lines.lines().count() as f64 - 1.0;
    // Four standard deviations of the estimate of the number of all rows.
    let error = 4.0 * (0.7 / 0.3 * (all - positives)).sqrt();
    assert!((known - all).abs() < error, "{known} {all}");
    assert_eq!(first.train.n_rows(), counts.known);
    let valid = first.valid.as_ref().unwrap();
    assert_eq!(valid.label_counts().tasks[0].known, valid.n_rows());
}

#[test]
fn a_run_that_was_killed_ends_with_the_same_bytes() {
    let folder = log();
    let path = folder.path();
    let sets = ["tasks.ctr.negative_rate=0.2", "training.checkpoint_steps=5"];
    let file = short_run::open(path, &SETS, &sets);
    short_run::train(&file, &path.join("whole"));
    short_run::dies(&file, &path.join("killed"), 17);
    short_run::train(&file, &path.join("killed"));
    let read = |run: &str| fs::read(path.join(run).join("model/weights.safetensors")).unwrap();
    assert!(read("whole") == read("killed"));
}

/// A log that somebody has sampled: a quarter of the rows without a click, and a column that says so.
#[test]
fn a_column_of_rates_corrects_a_log_that_was_sampled() {
    let folder = log();
    let path = folder.path();
    for part in ["train", "valid", "test"] {
        let file = path.join(format!("log/{part}.csv"));
        let text = fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        let header = lines.next().unwrap();
        let click = header.split(',').position(|name| name == "click").unwrap();
        let (mut some, mut whole) = (format!("{header},rate\n"), format!("{header},rate\n"));
        for (row, line) in lines.enumerate() {
            let is_kept =
                line.split(',').nth(click) == Some("1") || trained::draw(row as u64, 3, 4) == 0;
            whole += &format!("{line},1\n");
            if is_kept {
                some += &format!("{line},0.25\n");
            }
        }
        fs::write(&file, some).unwrap();
        fs::write(path.join(format!("whole_{part}.csv")), whole).unwrap();
    }
    train(
        path,
        "corrected",
        &["tasks.ctr.negative_rate_column=\"rate\""],
    );
    train(path, "untold", &[]);
    let pcoc = |run: &str, data: &str| figure(path, &format!("{run}/model"), data, "ctr", "pcoc");
    let [on_whole, on_some] =
        ["whole_test.csv", "log/test.csv"].map(|data| pcoc("corrected", data));
    assert!((0.8..1.35).contains(&on_whole), "{on_whole}");
    // Rows of label 0 stand for those that were left out.
    assert!((0.8..1.35).contains(&on_some), "{on_some}");
    assert!(pcoc("untold", "whole_test.csv") > 2.0);
}

#[test]
fn rates_without_a_meaning_are_refused() {
    let folder = log();
    let check = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let train = ["train", "log/run.toml", "--out", "run"];
        refused(folder.path(), &[&train[..], &sets].concat(), parts);
    };
    check(&["tasks.ctr.negative_rate=0"], &["negative_rate"]);
    check(&["tasks.ctr.negative_rate=1.5"], &["negative_rate"]);
    check(
        &["tasks.ctr.negative_rate=0.5", "tasks.ctr.loss=\"focal\""],
        &["negative_rate is corrected exactly for loss = \"cross_entropy\" only"],
    );
    check(
        &["tasks.cvr.negative_rate=0.5", "training.loss=\"esmm\""],
        &["task \"cvr\"", "which esmm cannot correct for"],
    );
    check(
        &["tasks.ctr.negative_rate=0.5", "training.loss=\"aitm\""],
        &["task \"ctr\"", "which aitm cannot correct for"],
    );
    check(
        &["tasks.ctr.negative_rate_column=\"price\""],
        &[
            "train.csv",
            "the negative rate of task \"ctr\" is",
            "above 0 and at most 1",
        ],
    );
}

/// A batch without rates is not weighed, and one with rates is, wherever it comes among others.
#[test]
fn weights_begin_with_the_first_row_that_has_one() {
    let tasks = [ncs_testkit::task("ctr")];
    let batch = |rates: &[f32]| ncs_features::Batch {
        n_rows: 2,
        labels: vec![vec![0.0, 1.0]],
        truths: vec![vec![]],
        terms: vec![ncs_features::RowTerms {
            negative_rates: rates.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut predictions = predict::empty_predictions(&tasks);
    let mut add = |rates: &[f32]| {
        predict::append(&mut predictions, &batch(rates), &[vec![0.1, 0.2]]);
        predictions.tasks[0].weights.clone()
    };
    assert!(add(&[1.0, 1.0]).is_empty());
    assert_eq!(add(&[0.25, 0.25]), [1.0, 1.0, 4.0, 1.0]);
    assert_eq!(add(&[]), [1.0, 1.0, 4.0, 1.0, 1.0, 1.0]);
}
