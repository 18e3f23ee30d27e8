//! Refit on all rows, on the command line.

mod trained;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ncs_model::artifact::Artifact;
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::training;
use trained::{done, refused};

/// Writes a run over 12,000 training, 4,000 validation and 4,000 test rows.
fn train(folder: &Path, out: &str, sets: &[&str]) -> training::Finished {
    let always = [
        "data.cache=\"cache\"",
        "threads=2",
        "network.hidden=[32, 16]",
    ];
    let sets: Vec<String> = always
        .iter()
        .chain(sets)
        .map(|set| (*set).to_owned())
        .collect();
    let file = RunFile::open(&folder.join("log/run.toml"), &sets).unwrap();
    let stop = AtomicBool::new(false);
    training::run(&file, &folder.join(out), Progress::Quiet, &stop).unwrap()
}

/// Returns the steps of `train` and of `refit` from the log of a run.
fn refit_steps(folder: &Path, out: &str) -> (Vec<u64>, Vec<u64>) {
    let log = std::fs::read_to_string(folder.join(out).join("log.txt")).unwrap();
    let line = log
        .lines()
        .find(|line| line.starts_with("refit: ") && line.contains("since"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    let numbers = |text: &str| {
        text.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let (again, first) = line.split_once(" steps over all ").unwrap();
    assert!(first.starts_with("16000 rows"), "{line}");
    (
        numbers(first.split_once("step ").unwrap().1),
        numbers(again),
    )
}

#[test]
fn a_refit_takes_as_many_passes_over_all_rows_and_leaves_validation_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let rates = ["--click-rate", "0.3", "--conversion-rate", "0.3"];
    let synth = ["synth", "--rows", "20000", "--out", "log"];
    done(path, &[&synth[..], &rates[..]].concat());
    for (network, keep) in [
        ("sparse_sharing", "best_per_task"),
        ("single_task", "best_per_task"),
        ("shared_bottom", "best_joint"),
        ("shared_bottom", "last"),
    ] {
        let (kind, keep) = (
            format!("network.kind={network:?}"),
            format!("training.keep={keep:?}"),
        );
        let sets = [kind.as_str(), keep.as_str(), "training.patience=9"];
        let name = |refit: &str| format!("{network} {keep} {refit}");
        let (plain, again) = (name("plain"), name("refit"));
        let before = train(path, &plain, &sets);
        let after = train(
            path,
            &again,
            &[&sets[..], &["training.refit=true"]].concat(),
        );
        let valid = |run: &training::Finished| format!("{:?}", run.evaluated[1].metrics);
        assert_eq!(before.evaluated[1].part, "valid");
        assert_eq!(valid(&before), valid(&after), "{again}");
        let clicks = |run: &training::Finished| run.evaluated[0].metrics.tasks["ctr"].auc.unwrap();
        assert_ne!(clicks(&before), clicks(&after), "{again}");
        assert!(
            clicks(&after) > clicks(&before) - 0.03,
            "{again}: {}",
            clicks(&after)
        );
        let (first, more) = refit_steps(path, &again);
        let scaled = |step: &u64| (*step as f64 * 16_000.0 / 12_000.0).round() as u64;
        assert_eq!(
            more,
            first.iter().map(scaled).collect::<Vec<_>>(),
            "{again}"
        );
        let report = std::fs::read_to_string(path.join(&again).join("report.html")).unwrap();
        assert!(
            report.contains("trained again on training and validation rows (12,000 and 4,000)")
        );
        let model = |out: &str| Artifact::read(&path.join(out).join("model")).unwrap();
        let (before, after) = (model(&plain), model(&again));
        assert_eq!(before.masks, after.masks);
        assert_eq!(before.calibrators, after.calibrators);
    }
}

#[test]
fn a_refit_without_validation_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    done(
        path,
        &["synth", "--rows", "500", "--format", "csv", "--out", "log"],
    );
    let run = std::fs::read_to_string(path.join("log/run.toml")).unwrap();
    let run = run
        .replace("valid = \"valid.csv\"\n", "")
        .replace("patience = 4\n", "keep = \"last\"\nrefit = true\n");
    std::fs::write(path.join("log/other.toml"), run).unwrap();
    let expected = ["training.refit needs validation rows", "data.split"];
    refused(path, &["check", "log/other.toml"], &expected);
}
