//! `ncs calibrate`: calibrators fitted again to new rows, the weights untouched.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_model::artifact::Artifact;
use serde_json::Value;
use trained::{done, refused};

/// A log of two periods and a model of the first one; conversions are rarer in the second.
fn log() -> tempfile::TempDir {
    let folder = short_run::log(&["--format", "csv", "--unseen", "0.2", "--days", "10"]);
    let sets = [
        "threads=1",
        "network.kind=shared_bottom",
        "network.hidden=[32]",
        "training.batch=128",
        "training.epochs=3",
        "training.learning_rate=0.003",
        "evaluation.bootstrap=0",
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let sets: Vec<&str> = sets.collect();
    let train = ["train", "log/run.toml", "--out", "run"];
    done(folder.path(), &[&train[..], &sets].concat());
    rarer(folder.path());
    folder
}

/// Writes `rarer.csv`: the rows of the test part without every second conversion.
fn rarer(folder: &Path) {
    let text = fs::read_to_string(folder.join("log/test.csv")).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let of = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let conversion = of("conversion");
    let mut seen = 0;
    let mut rows = vec![header.to_owned()];
    for line in lines {
        let mut cells: Vec<&str> = line.split(',').collect();
        if cells[conversion] == "1" {
            seen += 1;
            if seen % 2 == 0 {
                cells[conversion] = "0";
            }
        }
        rows.push(cells.join(","));
    }
    fs::write(folder.join("rarer.csv"), rows.join("\n") + "\n").unwrap();
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, arguments)).unwrap()
}

fn pcoc(folder: &Path, model: &str, task: &str) -> f64 {
    let report = json(
        folder,
        &["evaluate", model, "--data", "rarer.csv", "--json"],
    );
    report["tasks"][task]["pcoc"].as_f64().unwrap()
}

#[test]
fn new_calibrators_follow_the_new_rates_and_the_weights_stay() {
    let folder = log();
    let folder = folder.path();
    let calibrate = [
        "calibrate",
        "run",
        "--data",
        "rarer.csv",
        "--out",
        "again",
        "--min-labels",
        "30",
        "--time",
        "time",
        "--json",
    ];
    let report = json(folder, &calibrate);
    let [old, new] = ["run/model", "again"].map(|path| Artifact::read(&folder.join(path)).unwrap());
    for (was, is) in old.weight_sets.iter().zip(&new.weight_sets) {
        assert_eq!(was.weights.dense, is.weights.dense);
    }
    assert_eq!(old.masks, new.masks);
    // The conversions were halved, the clicks were not.
    assert!(pcoc(folder, "run", "cvr") > 1.5);
    assert!((pcoc(folder, "again", "cvr") - 1.0).abs() < 0.02);
    let cvr = &report["tasks"][1];
    assert_eq!(cvr["task"], "cvr");
    let before = cvr["before"]["pcoc"].as_f64().unwrap();
    assert!(
        (before - pcoc(folder, "run", "cvr")).abs() < 1e-6,
        "{before}"
    );
    let after = cvr["after"]["pcoc"].as_f64().unwrap();
    assert!((after - 1.0).abs() < 0.1, "{after}");
    // The model says what was done, and its self-test is that of the new scores.
    let step = new.ancestry.last().unwrap();
    assert_eq!(
        step.model,
        Artifact::hash(&folder.join("run/model"))
            .unwrap()
            .to_hex()
            .to_string()
    );
    assert_eq!(step.rows, 1200);
    let change = step.calibration.as_ref().unwrap();
    assert_eq!(serde_json::to_value(change).unwrap(), report);
    assert!(change.times.as_ref().unwrap()[0].starts_with("2024-01-"));
    assert!(new.self_test.is_some());
    let inspected = done(folder, &["inspect", "again"]);
    assert!(
        inspected.contains("calibrated again from model"),
        "{inspected}"
    );
    // A further training keeps this step in its ancestry.
    let train = [
        "train",
        "log/run.toml",
        "--from",
        "again",
        "--out",
        "further",
        "--set",
        "network.hidden=[32]",
        "--set",
        "network.kind=shared_bottom",
        "--set",
        "training.epochs=1",
        "--set",
        "evaluation.bootstrap=0",
    ];
    done(folder, &train);
    let further = Artifact::read(&folder.join("further/model")).unwrap();
    assert_eq!(further.ancestry.len(), 2);
    assert_eq!(further.ancestry[0], *step);
}

#[test]
fn without_out_the_model_itself_is_replaced() {
    let folder = log();
    let folder = folder.path();
    let before = Artifact::hash(&folder.join("run/model")).unwrap();
    let calibrate = [
        "calibrate",
        "run",
        "--data",
        "rarer.csv",
        "--min-labels",
        "30",
        "--task",
        "ctr",
    ];
    let report = done(folder, &calibrate);
    assert!(
        report.contains("before") && report.contains("after"),
        "{report}"
    );
    let after = Artifact::read(&folder.join("run/model")).unwrap();
    assert_eq!(after.ancestry[0].model, before.to_hex().to_string());
    // Only the named task has a new calibrator.
    let change = after.ancestry[0].calibration.as_ref().unwrap();
    assert_eq!(change.tasks.len(), 1);
    assert!(after.calibrators[0].is_some());
}

#[test]
fn what_cannot_be_calibrated_is_refused_and_nothing_is_written() {
    let folder = log();
    let folder = folder.path();
    let before = Artifact::hash(&folder.join("run/model")).unwrap();
    let check = |more: &[&str], parts: &[&str]| {
        let calibrate = ["calibrate", "run", "--data", "rarer.csv"];
        refused(folder, &[&calibrate[..], more].concat(), parts);
        assert_eq!(Artifact::hash(&folder.join("run/model")).unwrap(), before);
    };
    check(
        &["--min-labels", "400"],
        &[
            "task \"cvr\" has",
            "labels 1",
            "needs 400 of each",
            "--min-labels",
        ],
    );
    check(&["--task", "cvrr"], &["no task \"cvrr\"", "ctr, cvr"]);
    check(&["--time", "device"], &["device"]);
    check(
        &["--out", "log", "--min-labels", "30"],
        &["log: holds something else than a model"],
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("run", folder.join("live")).unwrap();
        let calibrate = [
            "calibrate",
            "live",
            "--data",
            "rarer.csv",
            "--min-labels",
            "30",
        ];
        refused(folder, &calibrate, &["live: is a link", "--out"]);
    }
}
