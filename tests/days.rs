//! `data.days` and `data.as_of`: a run file that names days instead of files.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use trained::{done, refused};

/// Writes the training rows of a synthetic log as folders of four days, the last one of them in February.
fn days(folder: &Path) {
    let text = fs::read_to_string(folder.join("log/train.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    for (number, day) in ["2024-01-29", "2024-01-30", "2024-01-31", "2024-02-01"]
        .iter()
        .enumerate()
    {
        let rows = &rows[900 * number..][..900];
        let to = folder.join(format!("log/logs/day={day}"));
        fs::create_dir_all(&to).unwrap();
        fs::write(
            to.join("rows.csv"),
            format!("{header}\n{}\n", rows.join("\n")),
        )
        .unwrap();
    }
}

fn rows(folder: &Path, sets: &[&str]) -> u64 {
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let start = [
        "check",
        "log/run.toml",
        "--json",
        "--set",
        "data.train=logs",
    ];
    let text = done(folder, &[&start[..], &sets].concat());
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    found["rows"].as_u64().unwrap()
}

#[test]
fn a_run_file_names_days() {
    let log = short_run::log(&["--format", "csv"]);
    let folder = log.path();
    days(folder);
    assert_eq!(rows(folder, &[]), 3600);
    assert_eq!(rows(folder, &["data.days=\"last 2\""]), 1800);
    assert_eq!(rows(folder, &["data.days=\"2024-01-30..\""]), 2700);
    assert_eq!(rows(folder, &["data.as_of=\"2024-01-31\""]), 1800);
    let both = ["data.days=\"last 2\"", "data.as_of=\"2024-02-01\""];
    assert_eq!(rows(folder, &both), 1800);
    // Days that do not exist are no rows, as long as others do.
    assert_eq!(rows(folder, &["data.days=\"last 30\""]), 3600);
    // The day of the training stays out of the training: the same model as from the files of the earlier days.
    let train = |out: &str, sets: &[&str]| {
        let quick = [
            "threads=1",
            "training.epochs=1",
            "network.hidden=[8]",
            "evaluation.bootstrap=0",
        ];
        let sets: Vec<&str> = quick
            .iter()
            .chain(sets)
            .flat_map(|set| ["--set", set])
            .collect();
        done(
            folder,
            &[&["train", "log/run.toml", "--out", out][..], &sets].concat(),
        );
        fs::read(folder.join(out).join("model/weights.safetensors")).unwrap()
    };
    let chosen = train("chosen", &["data.train=logs", both[0], both[1]]);
    let named = ["logs/day=2024-01-30", "logs/day=2024-01-31"];
    assert_eq!(chosen, train("named", &[&format!("data.train={named:?}")]));
    let frozen = fs::read_to_string(folder.join("chosen/run.toml")).unwrap_or_default();
    assert!(!frozen.contains("day=2024-02-01"), "{frozen}");
}

#[test]
fn wrong_days_are_refused_with_their_line() {
    let log = short_run::log(&["--format", "csv"]);
    let folder = log.path();
    days(folder);
    let check = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let start = ["check", "log/run.toml", "--set", "data.train=logs"];
        refused(folder, &[&start[..], &sets].concat(), parts);
    };
    check(
        &["data.days=\"yesterday\""],
        &["data.days", "FIRST..LAST", "last 7"],
    );
    check(&["data.days=\"last 0\""], &["data.days", "last N"]);
    check(&["data.as_of=\"soon\""], &["data.as_of", "2026-11-28"]);
    check(
        &["data.days=\"2025-01-01..\""],
        &["no day of data.train is chosen", "2024-01-29 to 2024-02-01"],
    );
    refused(
        folder,
        &["check", "log/run.toml", "--set", "data.days=\"last 2\""],
        &["data.days needs files in folders named by day"],
    );
    fs::create_dir_all(folder.join("log/logs/day=monday")).unwrap();
    fs::copy(
        folder.join("log/train.csv"),
        folder.join("log/logs/day=monday/rows.csv"),
    )
    .unwrap();
    check(&["data.days=\"last 2\""], &["\"monday\"", "is not a day"]);
}
