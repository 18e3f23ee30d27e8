//! `ncs tune`: tries settings on validation rows, resumes, and writes a run file that trains.

mod trained;

use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

/// Small log, and settings that keep its trials short.
const SHORT: [&str; 8] = [
    "--set",
    "network.hidden=[8]",
    "--set",
    "network.dim=4",
    "--set",
    "training.batch=512",
    "--set",
    "data.cache=\"cache\"",
];

fn tune(folder: &Path, out: &str) -> String {
    let arguments = [
        "--quiet",
        "tune",
        "log/run.toml",
        "--budget",
        "1s",
        "--out",
        out,
    ];
    done(folder, &[&arguments[..], &SHORT].concat())
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_tuning_resumes_and_its_run_file_trains() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(
        folder,
        &[
            "synth",
            "--rows",
            "8000",
            "--click-rate",
            "0.3",
            "--conversion-rate",
            "0.3",
            "--out",
            "log",
        ],
    );
    let printed = tune(folder, "tuned");
    assert!(printed.contains("with the run file as it is"), "{printed}");
    let record = folder.join("tuned/trials.json");
    let trials = json(&record)["trials"].as_array().unwrap().clone();
    let untouched = |rung: u64| {
        let mut trials = trials.iter();
        trials.any(|trial| trial["number"] == 0 && trial["rung"] == rung)
    };
    assert!((0..3).all(untouched), "{trials:?}");
    // Trials leave only their scores, and have no scores on test rows.
    assert_eq!(
        std::fs::read_dir(folder.join("tuned/trials"))
            .unwrap()
            .count(),
        0
    );
    assert!(folder.join("tuned/tune.html").exists());

    // The last trial is repeated with the same score, and no other.
    let mut cut = json(&record);
    let last = cut["trials"].as_array_mut().unwrap().pop().unwrap();
    std::fs::write(&record, serde_json::to_string(&cut).unwrap()).unwrap();
    tune(folder, "tuned");
    let again = json(&record)["trials"].as_array().unwrap().clone();
    let remade = again
        .iter()
        .find(|trial| trial["number"] == last["number"] && trial["rung"] == last["rung"]);
    assert_eq!(remade.unwrap()["goodness"], last["goodness"]);
    assert_eq!(again[..trials.len() - 1], trials[..trials.len() - 1]);

    done(folder, &["check", "tuned/tuned.toml"]);
    let other = [
        "tune",
        "log/run.toml",
        "--budget",
        "1s",
        "--out",
        "tuned",
        "--set",
        "seed=9",
    ];
    refused(folder, &other, &["holds trials of another run file"]);
}

#[test]
fn a_tuning_needs_validation_rows_and_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(
        folder,
        &["synth", "--rows", "2000", "--format", "csv", "--out", "log"],
    );
    let text = std::fs::read_to_string(folder.join("log/run.toml")).unwrap();
    let kept = text.lines().filter(|line| {
        !["valid", "split", "patience"]
            .iter()
            .any(|key| line.starts_with(key))
    });
    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
    text = text.replace("[training]", "[training]\nkeep = \"last\"");
    std::fs::write(folder.join("log/run.toml"), text).unwrap();
    refused(
        folder,
        &[
            "tune",
            "log/run.toml",
            "--out",
            "tuned",
            "--set",
            "training.keep=last",
        ],
        &["tuning needs validation rows; state data.valid or data.split"],
    );
}
