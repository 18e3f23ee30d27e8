//! `tasks.NAME.weight_column`: rows that count by weight in training, validation and evaluation, not in scoring.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

const SETS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.kind=\"shared_bottom\"",
    "network.hidden=[16]",
    "training.epochs=1",
    "training.batch=256",
];

/// Writes a copy of a CSV file with a column `w`: for row `row` (from 1), `weight(row)`.
fn with_weights(from: &Path, to: &Path, weight: impl Fn(usize) -> String) {
    let text = fs::read_to_string(from).unwrap();
    let lines = text.lines().enumerate().map(|(row, line)| match row {
        0 => format!("{line},w\n"),
        _ => format!("{line},{}\n", weight(row)),
    });
    fs::write(to, lines.collect::<String>()).unwrap();
}

/// A log whose three files have a column of weights.
fn log(weight: impl Fn(usize) -> String) -> tempfile::TempDir {
    let folder = short_run::log(&["--format", "csv"]);
    for part in ["train", "valid", "test"] {
        let file = folder.path().join(format!("log/{part}.csv"));
        with_weights(&file, &file, &weight);
    }
    folder
}

fn train(folder: &Path, out: &str, more: &[&str]) -> Vec<u8> {
    let file = short_run::open(folder, &SETS, more);
    short_run::train(&file, &folder.join(out));
    fs::read(folder.join(out).join("model/weights.safetensors")).unwrap()
}

const BOTH: [&str; 2] = [
    "tasks.ctr.weight_column=\"w\"",
    "tasks.cvr.weight_column=\"w\"",
];

#[test]
fn weights_of_1_give_the_same_bytes_as_none() {
    let folder = log(|_| "1".to_owned());
    for (n, loss) in ["clicked", "esmm"].iter().enumerate() {
        let loss = format!("training.loss=\"{loss}\"");
        let none = train(folder.path(), &format!("none{n}"), &[&loss]);
        let ones = train(
            folder.path(),
            &format!("ones{n}"),
            &[&loss, BOTH[0], BOTH[1]],
        );
        assert!(none == ones, "{loss}");
    }
    let of = |out: &str| {
        let text = fs::read_to_string(folder.path().join(out).join("metrics.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        report["tasks"]["ctr"]["auc"].as_f64().unwrap()
    };
    assert_eq!(of("none0"), of("ones0"));
}

#[test]
fn weights_change_the_model_and_scoring_needs_none() {
    let folder = log(|row| format!("{}", 1 + row % 5));
    let path = folder.path();
    let none = train(path, "none", &[]);
    let weighted = train(path, "weighted", &BOTH);
    assert!(none != weighted);
    let text = fs::read_to_string(path.join("log/test.csv")).unwrap();
    let cut: String = text
        .lines()
        .map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0))
        .collect();
    fs::write(path.join("plain.csv"), cut).unwrap();
    let model = "weighted/model";
    done(
        path,
        &["score", model, "--data", "log/test.csv", "--out", "a.csv"],
    );
    done(
        path,
        &["score", model, "--data", "plain.csv", "--out", "b.csv"],
    );
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    assert!(read("a.csv") == read("b.csv"));
    let output = trained::ncs(path, &["evaluate", model, "--data", "plain.csv"]);
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(report.contains("no column \"w\""), "{report}");
    assert_eq!(output.status.code(), Some(0));
}

/// A weight of k is the row k times in what `ncs evaluate` tells.
#[test]
fn evaluation_counts_a_row_as_often_as_it_weighs() {
    let weight = |row: usize| row % 3;
    let folder = log(|row| weight(row).max(1).to_string());
    let path = folder.path();
    train(path, "run", &BOTH);
    let text = fs::read_to_string(path.join("log/test.csv")).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let (mut by_weight, mut repeated) = (format!("{header}\n"), format!("{header}\n"));
    for (row, line) in lines.enumerate() {
        let cells = line.rsplit_once(',').unwrap().0;
        by_weight += &format!("{cells},{}\n", weight(row));
        repeated += &format!("{cells},1\n").repeat(weight(row));
    }
    fs::write(path.join("weighted.csv"), by_weight).unwrap();
    fs::write(path.join("repeated.csv"), repeated).unwrap();
    let of = |data: &str| -> Value {
        let report = done(path, &["evaluate", "run/model", "--data", data, "--json"]);
        serde_json::from_str(&report).unwrap()
    };
    let (found, expected) = (of("weighted.csv"), of("repeated.csv"));
    for task in ["ctr", "cvr"] {
        for figure in ["auc", "log_loss", "pcoc", "ece"] {
            let of = |report: &Value| report["tasks"][task][figure].as_f64().unwrap();
            let difference = (of(&found) - of(&expected)).abs();
            assert!(difference < 1e-12, "{task} {figure}: {difference}");
        }
        assert_eq!(
            found["tasks"][task]["weight"].as_f64(),
            expected["tasks"][task]["rows"].as_f64()
        );
    }
    let product = |report: &Value| report["ctcvr"]["auc"].as_f64().unwrap();
    assert_eq!(product(&found), product(&expected));
}

#[test]
fn weights_that_are_none_are_refused_with_file_row_and_column() {
    for (weight, found) in [("-2", "-2"), ("inf", "inf"), ("", "missing")] {
        let folder = log(|row| if row == 4 { weight } else { "1" }.to_owned());
        let set = ["--set", BOTH[0]];
        let train = ["train", "log/run.toml", "--out", "run"];
        let parts = [
            "train.csv".to_owned(),
            "row 4".to_owned(),
            format!("the weight of task \"ctr\" is {found}"),
            "column \"w\"".to_owned(),
        ];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        refused(folder.path(), &[&train[..], &set].concat(), &parts);
        let check = ["check", "log/run.toml"];
        refused(folder.path(), &[&check[..], &set].concat(), &parts);
    }
}

#[test]
fn settings_without_a_meaning_are_refused() {
    let folder = log(|_| "1".to_owned());
    let check = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let train = ["train", "log/run.toml", "--out", "run"];
        refused(folder.path(), &[&train[..], &sets].concat(), parts);
    };
    check(
        &["tasks.ctr.weight_column=\"ww\""],
        &["column \"ww\" is not in", "did you mean w?"],
    );
    check(
        &["tasks.ctr.weight_column=\"click\""],
        &["weight_column is the label's column \"click\"; name another"],
    );
    check(
        &["training.loss=\"esmm\"", BOTH[0]],
        &["state the same weight_column for \"ctr\" and \"cvr\""],
    );
}
