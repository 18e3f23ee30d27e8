//! Evaluation by slice, and scoring of a part of the files.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

/// A log as CSV, and a model of it in `out`.
fn model() -> tempfile::TempDir {
    let folder = short_run::log(&["--format", "csv"]);
    let sets = [
        "threads=1",
        "training.epochs=1",
        "network.hidden=[8]",
        "evaluation.bootstrap=0",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let train = ["train", "log/run.toml", "--out", "out"];
    done(folder.path(), &[&train[..], &sets].concat());
    folder
}

/// Writes the rows of the test file whose value of `column` is `value`.
fn part(folder: &Path, column: &str, value: &str) {
    let text = fs::read_to_string(folder.join("log/test.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let at = header.split(',').position(|name| name == column).unwrap();
    let rows = rows
        .lines()
        .filter(|row| row.split(',').nth(at) == Some(value));
    let rows: Vec<&str> = std::iter::once(header).chain(rows).collect();
    fs::write(folder.join("part.csv"), rows.join("\n") + "\n").unwrap();
}

#[test]
fn a_slice_has_the_metrics_of_its_rows_alone() {
    let folder = model();
    let folder = folder.path();
    let evaluate = ["evaluate", "out", "--data"];
    let json = |data: &str, more: &[&str]| -> Value {
        let text = done(folder, &[&evaluate[..], &[data, "--json"], more].concat());
        serde_json::from_str(&text).unwrap()
    };
    let whole = json("log/test.csv", &["--slice", "device", "--slice", "hour"]);
    let slices = whole["slices"].as_array().unwrap();
    let devices: Vec<&Value> = slices
        .iter()
        .filter(|slice| slice["column"] == "device")
        .collect();
    let rows: u64 = devices
        .iter()
        .map(|slice| slice["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, whole["tasks"]["ctr"]["rows"].as_u64().unwrap());
    assert!(devices.len() > 1 && slices.len() > devices.len());
    for slice in &devices[..2] {
        part(folder, "device", slice["value"].as_str().unwrap());
        let alone = json("part.csv", &[]);
        for task in ["ctr", "cvr"] {
            for figure in ["rows", "positives", "auc", "pcoc", "log_loss", "ece"] {
                let figure_of = |found: &Value| found["tasks"][task][figure].clone();
                assert_eq!(figure_of(slice), figure_of(&alone), "{task} {figure}");
            }
        }
    }
    assert!(json("log/test.csv", &[]).get("slices").is_none());
    let table = done(
        folder,
        &[&evaluate[..], &["log/test.csv", "--slice", "device"]].concat(),
    );
    let first = format!("device = {}", devices[0]["value"].as_str().unwrap());
    assert!(table.contains(&first), "{table}");
    refused(
        folder,
        &[&evaluate[..], &["log/test.csv", "--slice", "no_such"]].concat(),
        &["no_such"],
    );
}

#[test]
fn shards_score_every_file_once() {
    let folder = model();
    let folder = folder.path();
    fs::create_dir(folder.join("days")).unwrap();
    let text = fs::read_to_string(folder.join("log/test.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    for (day, rows) in rows.chunks(rows.len() / 3 + 1).enumerate() {
        let text = format!("{header}\n{}\n", rows.join("\n"));
        fs::write(folder.join(format!("days/{day}.csv")), text).unwrap();
    }
    let score = |more: &[&str]| {
        let start = ["score", "out", "--data", "days", "--out", "scores.csv"];
        done(folder, &[&start[..], more].concat());
        let text = fs::read_to_string(folder.join("scores.csv")).unwrap();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = score(&[]);
    let shards = [score(&["--shard", "1/2"]), score(&["--shard", "2/2"])];
    assert!(shards[0].len() > shards[1].len() && !shards[1].is_empty());
    let first = rows.len() / 3 + 1;
    assert_eq!(shards[0][..first], whole[..first]);
    assert_eq!(shards[1][..], whole[first..2 * first]);
    assert_eq!(shards[0][first..], whole[2 * first..]);
    refused(
        folder,
        &[
            "score", "out", "--data", "days", "--out", "x.csv", "--shard", "4/4",
        ],
        &[
            "shard 4/4 has no file",
            "days names 3",
            "use 3 shards at most",
        ],
    );
    assert!(!folder.join("x.csv").exists());
}
