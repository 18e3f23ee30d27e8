//! Task-owned hidden units, from the run file to the reports.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_model::artifact::Artifact;
use ncs4cvr::run_file::RunFile;
use trained::{done, refused};

const SETS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[24, 12]",
    "training.epochs=2",
    "training.batch=512",
    "training.checkpoint_steps=3",
];

fn log() -> tempfile::TempDir {
    short_run::log(&[])
}

fn open(folder: &Path, sets: &[&str]) -> RunFile {
    short_run::open(folder, &SETS, sets)
}

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    short_run::train(&open(folder, sets), &folder.join(out))
}

fn bytes(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    short_run::bytes(&folder.join(out))
}

/// Masks stay within each task's units, and no head has learned weights for the units of other tasks.
fn check_owners(artifact: &Artifact, common: f64) {
    let masks = artifact.masks.as_deref().unwrap();
    let owners = masks.owners.unwrap();
    assert_eq!(owners.common(), common);
    assert!(owners.fit(masks));
    let n_units = artifact.spec.plan.hidden[1];
    for member in &artifact.weight_sets {
        let dense = &member.weights.dense;
        // The heads come last, each followed by its bias.
        let heads = dense[dense.len() - 2 * (n_units + 1)..].chunks(n_units + 1);
        for (task, head) in heads.enumerate() {
            for (unit, &weight) in head[..n_units].iter().enumerate() {
                assert_eq!(
                    weight != 0.0,
                    owners.may_use(n_units, unit, task),
                    "{task}, {unit}"
                );
            }
        }
    }
}

#[test]
fn tasks_learn_in_units_of_their_own() {
    let folder = log();
    for (kind, common) in [("gradient", 0.0), ("gradient", 0.5), ("random", 0.25)] {
        let out = format!("{kind}-{common}");
        let sets = [
            format!("search.kind={kind:?}"),
            format!("search.common_units={common}"),
        ];
        let sets = [&sets[0][..], &sets[1], "search.density=0.6"];
        check_owners(&train(folder.path(), &out, &sets), common);
        let text = done(folder.path(), &["inspect", &out]);
        assert!(text.contains("Layers: units\n"), "{text}");
        let json = done(folder.path(), &["inspect", &out, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let own = &json["layers"][0]["own_units"];
        let expected = match common {
            0.0 => [12, 12],
            0.5 => [8, 8],
            _ => [11, 10],
        };
        let tasks = own.as_object().unwrap().values();
        let found: Vec<u64> = tasks.map(|own| own.as_u64().unwrap()).collect();
        assert_eq!(found, expected);
    }
    let report = fs::read_to_string(folder.path().join("gradient-0.5/report.json")).unwrap();
    assert!(report.contains("share of common units") && report.contains("own_units"));
    let page = fs::read_to_string(folder.path().join("gradient-0.5/report.html")).unwrap();
    assert!(
        page.contains("A task's own units"),
        "the page explains the task's own units"
    );
}

#[test]
fn all_units_are_common_unless_stated() {
    let folder = log();
    train(folder.path(), "silent", &[]);
    let artifact = train(folder.path(), "stated", &["search.common_units=1"]);
    assert_eq!(artifact.masks.unwrap().owners, None);
    let (silent, stated) = (
        bytes(folder.path(), "silent"),
        bytes(folder.path(), "stated"),
    );
    assert_eq!(silent, stated);
    assert!(!String::from_utf8_lossy(&stated[3]).contains("common units"));
}

/// Masks taken from a model keep its owners; shuffled masks stay within them.
#[test]
fn owners_are_taken_over_and_controls_keep_them() {
    let folder = log();
    let owned = ["search.common_units=0.5", "search.density=0.5"];
    let base = train(folder.path(), "base", &owned).masks.unwrap();
    // Paths are relative to the run file.
    let takes = ["search.kind=\"model\"", "search.model=\"../base\""];
    let taken = train(folder.path(), "taken", &takes);
    assert_eq!(taken.masks.as_deref(), Some(&*base));
    check_owners(&taken, 0.5);
    let shuffled = [takes[0], takes[1], "search.control=\"shuffled\""];
    let shuffled = train(folder.path(), "shuffled", &shuffled);
    check_owners(&shuffled, 0.5);
    assert_ne!(shuffled.masks.as_deref(), Some(&*base));
    let one = [takes[0], takes[1], "search.control=\"one_mask\""];
    let one = train(folder.path(), "one", &one).masks.unwrap();
    assert_eq!((one.owners, &one.tasks[1]), (None, &base.tasks[0]));
}

#[test]
fn the_share_is_chosen_told_and_the_same_after_an_interruption() {
    let folder = log();
    let auto = ["search.common_units=\"auto\""];
    let whole = train(folder.path(), "whole", &auto);
    let report = fs::read_to_string(folder.path().join("whole/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let why = report["sharing"][0]["remarks"][0].as_str().unwrap();
    // With only 3,600 rows all units are common unless validation selects otherwise.
    assert!(why.starts_with("common units: "), "{why}");
    assert!(why.contains("AUC at 0 %, 50 %, 100 %: 0."), "{why}");
    let chosen = whole
        .masks
        .unwrap()
        .owners
        .map_or(1.0, |owners| owners.common());
    assert!(
        why.contains(&format!("{:.0} % of a task's units", 100.0 * chosen)),
        "{why}"
    );
    let page = fs::read_to_string(folder.path().join("whole/report.html")).unwrap();
    assert!(page.contains("common units: "));
    let file = open(folder.path(), &auto);
    // In the warm-up, in the three compared trainings, and in the final training.
    for after in [2, 6, 11, 15, 22, 30] {
        let out = format!("cut-{after}");
        short_run::dies(&file, &folder.path().join(&out), after);
        train(folder.path(), &out, &auto);
        assert_eq!(
            bytes(folder.path(), &out),
            bytes(folder.path(), "whole"),
            "{after}"
        );
    }
}

/// The measurement is reported, ends the same after an interruption, and changes no weight.
#[test]
fn how_much_tasks_agree_is_measured_beside() {
    let folder = log();
    let rho = ["search.measure_rho=true"];
    let plain = train(folder.path(), "plain", &[]);
    let whole = train(folder.path(), "whole", &rho);
    let [found] = whole.agreements[..] else {
        panic!("one pair of two tasks");
    };
    assert_eq!(found.tasks, [0, 1]);
    assert!(found.rho.is_none_or(|rho| rho.abs() < 2.0), "{found:?}");
    assert_eq!(whole.masks, plain.masks);
    assert!(plain.agreements.is_empty());
    for (whole, plain) in whole.weight_sets.iter().zip(&plain.weight_sets) {
        assert_eq!(whole.weights, plain.weights);
    }
    let shown = done(folder.path(), &["inspect", "whole"]);
    assert!(shown.contains("in the first layer (rho): "), "{shown}");
    let report = fs::read_to_string(folder.path().join("whole/report.html")).unwrap();
    assert!(report.contains("in the first layer (rho): "));
    let file = open(folder.path(), &rho);
    // In the warm-up, in the pass of the copies, and in the final training.
    for after in [3, 8, 17] {
        let out = format!("cut-{after}");
        short_run::dies(&file, &folder.path().join(&out), after);
        train(folder.path(), &out, &rho);
        assert_eq!(
            bytes(folder.path(), &out),
            bytes(folder.path(), "whole"),
            "{after}"
        );
    }
}

#[test]
fn what_owned_units_do_not_go_with_is_told_first() {
    let folder = log();
    let check = |sets: &[&str], part: &str| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let train = ["train", "log/run.toml", "--out", "run"];
        refused(folder.path(), &[&train[..], &sets].concat(), &[part]);
    };
    let auto = "search.common_units=\"auto\"";
    check(
        &["search.common_units=1.5"],
        "search.common_units is 1.5; it must be at least 0 and at most 1",
    );
    check(&["search.common_units=\"atuo\""], "did you mean auto?");
    check(
        &["search.common_units=0", "search.kind=\"magnitude\""],
        "\"magnitude\" prunes units that are common",
    );
    check(
        &[auto, "search.kind=\"random\""],
        "search.common_units = \"auto\" is of search.kind = \"gradient\"; state a share",
    );
    check(
        &[
            "search.common_units=0",
            "search.kind=\"model\"",
            "search.model=\"x\"",
        ],
        "the model of search.model says whose its units are",
    );
    check(&[auto, "search.density=\"auto\""], "state one of them");
    check(
        &["search.common_units=0", "network.hidden=[8, 1]"],
        "a layer of 1 units has none for some of the 2 tasks",
    );
    check(
        &[
            "search.common_units=0.5",
            "training.parity.stale_momentum=true",
        ],
        "training.parity.stale_momentum is of units that are common",
    );
}
