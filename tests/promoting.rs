//! `ncs promote`: a candidate is compared with the model that serves; the served link moves, stays, or moves back.
#![cfg(unix)]

mod short_run;
mod trained;

use std::fs;
use std::path::Path;
use std::process::Output;

use ncs_model::Precision;
use ncs_model::artifact::Artifact;
use ncs_serve::repository::{Repository, Source, Watcher};
use ncs_serve::version::Version;
use serde_json::Value;
use trained::{done, ncs, refused};

/// Bounds that 100 conversions keep.
const BOUND: [&str; 4] = ["--calibration-bound", "0.3..3", "--min-labels", "30"];

/// A log with two models of it, `good` and `better`, and one that learned nothing, `bad`.
fn models() -> tempfile::TempDir {
    let folder = short_run::log(&["--format", "csv"]);
    let train = |out: &str, more: &[&str]| {
        let sets = [
            "threads=1",
            "network.kind=shared_bottom",
            "network.hidden=[16]",
            "training.batch=128",
            "evaluation.bootstrap=0",
        ];
        let sets: Vec<&str> = sets
            .iter()
            .chain(more)
            .flat_map(|set| ["--set", set])
            .collect();
        done(
            folder.path(),
            &[&["train", "log/run.toml", "--out", out][..], &sets].concat(),
        );
    };
    train("good", &["training.epochs=2"]);
    train("better", &["training.epochs=2", "seed=2"]);
    train("bad", &["training.epochs=1", "training.learning_rate=1e-9"]);
    folder
}

fn promote(folder: &Path, candidate: &str, more: &[&str]) -> Output {
    let start = [
        "promote",
        candidate,
        "--live",
        "served/feed",
        "--data",
        "log/test.csv",
    ];
    ncs(folder, &[&start[..], &BOUND, more].concat())
}

#[track_caller]
fn promoted(folder: &Path, candidate: &str, more: &[&str]) -> String {
    let output = promote(folder, candidate, more);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn link(folder: &Path) -> String {
    let target = fs::read_link(folder.join("served/feed")).unwrap();
    target.to_str().unwrap().to_owned()
}

fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("served/feed.promotions.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn hash(path: &Path) -> String {
    Artifact::hash(path).unwrap().to_hex().to_string()
}

struct Nobody;

impl Watcher for Nobody {
    fn loaded(&self, _: &Version) {}
    fn labelled(&self, _: &Version, _: &[&str]) {}
    fn delta_failed(&self, model: &str) {
        panic!("the delta of {model} is not applied");
    }
    fn failed(&self, model: &str) {
        panic!("{model} does not load");
    }
}

/// The hash of the model that a server with `--watch` serves after its next look.
fn served(repository: &Repository) -> String {
    repository.poll();
    let models = repository.registry().models();
    let versions = &models.values().next().unwrap().versions;
    assert_eq!(versions.len(), 1);
    versions[&1].identity.hash.to_string()
}

#[test]
fn a_worse_candidate_is_refused_and_a_server_follows_the_link() {
    let folder = models();
    let folder = folder.path();
    fs::create_dir(folder.join("served")).unwrap();
    // Nothing serves yet: only the probabilities are checked.
    let report = promoted(folder, "good", &[]);
    assert!(report.contains("now serves feed.versions/0001"), "{report}");
    let source = Source::parse(folder.join("served/feed").to_str().unwrap()).unwrap();
    let repository = Repository::new(vec![source], Precision::Single, Box::new(Nobody)).unwrap();
    repository.load_all().unwrap();
    let good = hash(&folder.join("good/model"));
    assert_eq!(served(&repository), good);
    let report = promoted(folder, "good", &[]);
    assert!(report.contains("already live"), "{report}");

    let output = promote(folder, "bad", &["--slice", "device"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for part in ["not promoted: ", "ctr: AUC is worse by 0.", "level 0.05"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("device = device_"), "{stdout}");
    assert_eq!(
        (link(folder), served(&repository)),
        ("feed.versions/0001".to_owned(), good.clone())
    );

    // Another seed is neither better nor worse beyond chance at this tolerance.
    promoted(folder, "better", &["--tolerance", "0.1"]);
    assert_eq!(link(folder), "feed.versions/0002");
    assert_eq!(served(&repository), hash(&folder.join("better/model")));

    let back = ["promote", "--live", "served/feed", "--rollback"];
    let report = done(folder, &back);
    assert!(
        report.contains("serves feed.versions/0001 again (previous: feed.versions/0002)"),
        "{report}"
    );
    assert_eq!(
        (link(folder), served(&repository)),
        ("feed.versions/0001".to_owned(), good)
    );
    refused(folder, &back, &["feed.versions/0001 was the first version"]);

    let actions: Vec<String> = records(folder)
        .iter()
        .map(|record| record["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["promoted", "refused", "promoted", "rolled_back"]);
    let refusal = &records(folder)[1];
    assert_eq!(
        refusal["candidate_hash"],
        hash(&folder.join("bad/model")).as_str()
    );
    assert!(
        refusal["gate"]["reasons"][0]
            .as_str()
            .unwrap()
            .contains("ctr")
    );
    assert_eq!(refusal["gate"]["tests"][0]["task"], "ctr");
    // Click, conversion, and their product.
    let whole = refusal["gate"]["tests"].as_array().unwrap().iter();
    assert_eq!(whole.filter(|test| test["slice"].is_null()).count(), 3);
    // A version that was returned from is not returned to.
    promoted(folder, "better", &["--tolerance", "0.1"]);
    assert_eq!(link(folder), "feed.versions/0003");
    done(folder, &back);
    assert_eq!(link(folder), "feed.versions/0001");
}

#[test]
fn probabilities_outside_the_bound_are_refused() {
    let folder = models();
    let folder = folder.path();
    let check = [
        "promote",
        "good",
        "--live",
        "feed",
        "--data",
        "log/test.csv",
        "--calibration-bound",
        "0.9999..1.0001",
        "--min-labels",
        "30",
    ];
    let output = ncs(folder, &check);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("predicted over observed is"), "{stderr}");
    assert!(stderr.contains("outside 0.9999..1.0001"), "{stderr}");
    assert!(fs::symlink_metadata(folder.join("feed")).is_err());
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = models();
    let folder = folder.path();
    fs::create_dir(folder.join("served")).unwrap();
    let report = promoted(folder, "good", &["--dry-run"]);
    assert!(
        report.contains("would be promoted; nothing was changed"),
        "{report}"
    );
    assert_eq!(fs::read_dir(folder.join("served")).unwrap().count(), 0);
}

#[test]
fn a_served_folder_becomes_a_link_and_old_versions_go() {
    let folder = models();
    let folder = folder.path();
    fs::create_dir(folder.join("served")).unwrap();
    fs::rename(folder.join("good/model"), folder.join("served/feed")).unwrap();
    let good = hash(&folder.join("served/feed"));
    promoted(folder, "better", &["--tolerance", "0.1"]);
    assert_eq!(link(folder), "feed.versions/0002");
    assert_eq!(hash(&folder.join("served/feed.versions/0001")), good);
    done(folder, &["promote", "--live", "served/feed", "--rollback"]);
    assert_eq!(hash(&folder.join("served/feed")), good);
    // Two versions are kept; what serves is among them.
    promoted(folder, "better", &["--tolerance", "0.1", "--keep", "2"]);
    assert_eq!(link(folder), "feed.versions/0003");
    let mut versions: Vec<String> = fs::read_dir(folder.join("served/feed.versions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    versions.sort();
    // The oldest one was replaced by the newest, so that it can be returned to.
    assert_eq!(versions, ["0001", "0002", "0003"]);
}

#[test]
fn what_cannot_be_promoted_is_refused_before_anything_moves() {
    let folder = models();
    let folder = folder.path();
    let check = |arguments: &[&str], parts: &[&str]| {
        refused(folder, &[&["promote"], arguments].concat(), parts);
    };
    let data = ["--data", "log/test.csv"];
    check(
        &[&["good", "--live", "log"][..], &data].concat(),
        &["log: is neither a link nor a model"],
    );
    check(
        &[&["good", "--live", "feed/.."][..], &data].concat(),
        &["--live needs a name"],
    );
    check(
        &[&["nowhere", "--live", "feed"][..], &data].concat(),
        &["no model here"],
    );
    check(
        &[&["good", "--live", "feed", "--slice", "colour"][..], &data].concat(),
        &["colour"],
    );
    check(
        &["--live", "feed", "--rollback"],
        &["feed: is not a link that ncs promote made"],
    );
    std::os::unix::fs::symlink("good", folder.join("feed")).unwrap();
    check(
        &["--live", "feed", "--rollback"],
        &["does not say what good replaced", "ln -sfn"],
    );
}
