//! Empirical-Bayes shrinkage of embedding-row updates: its tasks are set in the run file, or chosen by validation.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ncs_readers::Format;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{SyntheticPlan, write_log};
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::synthetic::{SyntheticFiles, run_toml};
use ncs4cvr::training::{self, Finished};

/// Writes a log of many users with few rows each, and its run file.
fn log(folder: &Path) {
    let plan = SyntheticPlan {
        users: 6_000,
        items: 2_000,
        click_rate: 0.3,
        conversion_rate: 0.3,
        ..SyntheticPlan::default()
    };
    let parts = [
        (Part::Train, 12_000),
        (Part::Valid, 8_000),
        (Part::Test, 2_000),
    ];
    let written = write_log(&plan, folder, Format::Parquet, &parts).unwrap();
    let text = run_toml(&SyntheticFiles::of(&written), "shared_bottom", 1);
    std::fs::write(folder.join("run.toml"), text).unwrap();
}

fn train(folder: &Path, out: &str, more: &[&str]) -> Finished {
    let always = [
        "data.cache=\"cache\"",
        "threads=2",
        "network.hidden=[32, 16]",
        "training.epochs=2",
    ];
    let sets: Vec<String> = always
        .iter()
        .chain(more)
        .map(|&set| set.to_owned())
        .collect();
    let file = RunFile::open(&folder.join("run.toml"), &sets).unwrap();
    let stop = AtomicBool::new(false);
    training::run(&file, &folder.join(out), Progress::Quiet, &stop).unwrap()
}

fn weights(folder: &Path, out: &str) -> Vec<u8> {
    std::fs::read(folder.join(out).join("model/weights.safetensors")).unwrap()
}

/// Returns the model's predictions for a task on the test rows.
fn scores(finished: &Finished, task: usize) -> &[f32] {
    assert_eq!(finished.evaluated[0].part, "test");
    &finished.evaluated[0].predictions.tasks[task].scores
}

/// With an unreachable evidence threshold, tables stay as initialised, as with a learning rate near zero; without
/// "all", click gradients move them.
#[test]
fn with_all_no_task_moves_a_row_without_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    let never = "training.embedding_evidence={k=1e15}";
    let all = "training.shrinkage=\"all\"";
    for steps in ["training.steps=\"alternating\"", "training.steps=\"joint\""] {
        train(folder, &format!("{steps} all"), &[steps, never, all]);
        train(folder, &format!("{steps} clicks"), &[steps, never]);
        let still = [steps, "training.table_learning_rate=1e-30"];
        train(folder, &format!("{steps} still"), &still);
        let [all, clicks, still] =
            ["all", "clicks", "still"].map(|what| weights(folder, &format!("{steps} {what}")));
        assert!(all == still, "{steps}");
        assert!(clicks != still, "{steps}");
    }
}

/// Each task has the weights of the training that the report names, with and without refit. The evidence threshold is
/// unreachable, so that tables do not change in the second training: at an extreme learning rate, the better training
/// differs between tasks.
#[test]
fn validation_chooses_between_the_two_trainings_task_by_task() {
    let mut mixed = 0;
    for (network, refit, rate) in [
        ("sparse_sharing", "true", "0.5"),
        ("single_task", "false", "0.5"),
        ("shared_bottom", "true", "0.001"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        log(folder);
        let sets = [
            format!("network.kind={network:?}"),
            format!("training.refit={refit}"),
            format!("training.table_learning_rate={rate}"),
            "training.embedding_evidence={k=1e15}".to_owned(),
            // With past rates both tasks choose alike.
            "features.rates=\"none\"".to_owned(),
        ];
        let run = |what: &str| {
            let shrinkage = format!("training.shrinkage={what:?}");
            let mut sets: Vec<&str> = sets.iter().map(String::as_str).collect();
            sets.push(&shrinkage);
            train(folder, what, &sets)
        };
        let [usual, all, chosen] = ["conversions", "all", "validated"].map(run);
        let notes = chosen.report.notes.iter();
        let mut shown = notes.filter_map(|note| note.text.split_once("by validation: shrinkage: "));
        let (_, why) = shown.next().expect("the choice is reported");
        let words: Vec<&str> = why.split("; ").collect();
        assert_eq!(words.len(), 2, "{why}");
        let shrinks = |words: &str| words.contains("for all tasks, which");
        mixed += usize::from(shrinks(words[0]) != shrinks(words[1]));
        for (task, why) in words.into_iter().enumerate() {
            // A conversion task that is trained alone has the same rule in both trainings.
            let is_alone = network == "single_task" && task == 1;
            assert!(
                (scores(&usual, task) == scores(&all, task)) == is_alone,
                "{why}"
            );
            let stated = if shrinks(why) { &all } else { &usual };
            assert!(scores(&chosen, task) == scores(stated, task), "{why}");
            let curves = |run: &Finished| format!("{:?}", run.report.learning[task]);
            assert_eq!(curves(&chosen), curves(stated), "{why}");
        }
        let log = std::fs::read_to_string(folder.join("validated/log.txt")).unwrap();
        assert!(
            log.contains("train/shrinkage-all: epoch 1.00, ctr"),
            "{log}"
        );
    }
    assert!(mixed > 0, "no run took weights of both trainings");
}

/// A single set of weights for all tasks comes from one training.
#[test]
fn weights_that_are_kept_together_are_chosen_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    for keep in ["best_joint", "last"] {
        let keep = format!("training.keep={keep:?}");
        let run = |what: &str| {
            let shrinkage = format!("training.shrinkage={what:?}");
            train(folder, &format!("{keep} {what}"), &[&keep, &shrinkage]);
            weights(folder, &format!("{keep} {what}"))
        };
        let [usual, all, chosen] = ["conversions", "all", "validated"].map(run);
        assert!(usual != all);
        assert!(chosen == usual || chosen == all, "{keep}");
    }
}
