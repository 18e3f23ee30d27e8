//! Deltas: a training that goes on writes what changed, `ncs promote` carries it along, and a server applies it.
#![cfg(unix)]

mod short_run;
mod trained;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use ncs_model::artifact::{Artifact, DELTA};
use ncs_model::{Precision, TensorFile};
use ncs_serve::repository::{Repository, Source, Watcher};
use ncs_serve::version::Version;
use serde_json::Value;
use trained::{done, refused};

const SETS: [&str; 6] = [
    "threads=1",
    "network.kind=shared_bottom",
    "network.hidden=[16]",
    "training.batch=128",
    "training.epochs=1",
    "evaluation.bootstrap=0",
];

/// Trains on the training rows of a log into `first`.
fn log() -> tempfile::TempDir {
    let folder = short_run::log(&["--format", "csv", "--unseen", "0.4", "--days", "10"]);
    train(folder.path(), "first", &[]);
    folder
}

fn train(folder: &Path, out: &str, more: &[&str]) {
    let sets = SETS.iter().flat_map(|set| ["--set", set]);
    let sets: Vec<&str> = sets.collect();
    let start = ["train", "log/run.toml", "--out", out];
    done(folder, &[&start[..], &sets, more].concat());
}

/// Goes on from a model on the validation rows.
fn further(folder: &Path, from: &str, out: &str) {
    let rows = ["data.train=\"valid.csv\"", "data.valid=[]", "data.test=[]"];
    let split = "data.split={ by = \"row\", valid = 0.1 }";
    let mut more = vec!["--from", from, "--set", split];
    more.extend(rows.iter().flat_map(|set| ["--set", set]));
    train(folder, out, &more);
}

fn promote(folder: &Path, candidate: &str) -> PathBuf {
    let bounds = [
        "--calibration-bound",
        "0.2..5",
        "--min-labels",
        "20",
        "--tolerance",
        "0.5",
    ];
    let start = [
        "promote",
        candidate,
        "--live",
        "served/feed",
        "--data",
        "log/test.csv",
    ];
    done(folder, &[&start[..], &bounds].concat());
    folder
        .join("served")
        .join(fs::read_link(folder.join("served/feed")).unwrap())
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn add(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Watcher for Told {
    fn loaded(&self, version: &Version) {
        self.add(if version.is_from_delta() {
            "updated"
        } else {
            "loaded"
        });
    }
    fn labelled(&self, _: &Version, _: &[&str]) {}
    fn delta_failed(&self, _: &str) {
        self.add("delta failed");
    }
    fn failed(&self, _: &str) {
        self.add("failed");
    }
}

fn served(repository: &Repository) -> Arc<Version> {
    repository.poll();
    let models = repository.registry().models();
    models.values().next().unwrap().versions[&1].clone()
}

fn hash(folder: &Path) -> String {
    Artifact::hash(folder).unwrap().to_hex().to_string()
}

#[test]
fn a_watching_server_follows_by_deltas() {
    let folder = log();
    let folder = folder.path();
    fs::create_dir(folder.join("served")).unwrap();
    promote(folder, "first");
    let source = Source::parse(folder.join("served/feed").to_str().unwrap()).unwrap();
    let told = Told::default();
    let repository =
        Repository::new(vec![source], Precision::Single, Box::new(told.clone())).unwrap();
    repository.load_all().unwrap();
    assert_eq!(told.take(), ["loaded"]);

    // Trained further, calibrated and promoted; what serves is all that is needed beside the delta.
    further(folder, "served/feed", "second");
    let out = [
        "--out",
        "second/calibrated",
        "--min-labels",
        "20",
        "--task",
        "ctr",
    ];
    done(
        folder,
        &[&["calibrate", "second", "--data", "log/test.csv"][..], &out].concat(),
    );
    let version = promote(folder, "second/calibrated");
    let whole = fs::read(version.join("weights.safetensors")).unwrap();
    fs::remove_file(version.join("weights.safetensors")).unwrap();
    let now = served(&repository);
    assert_eq!(told.take(), ["updated"]);
    assert_eq!(*now.identity.hash, *hash(&folder.join("second/calibrated")));
    fs::write(version.join("weights.safetensors"), whole).unwrap();
    let read = Version::load(&version, &now.identity.model, 1, Precision::Single).unwrap();
    let weights = |version: &Version| {
        let networks = version.scorer().networks().iter();
        networks
            .map(|member| member.network.weights())
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(&now), weights(&read));
    served(&repository);
    told.take();

    // A damaged delta, and one of another parent: the whole is read.
    further(folder, "served/feed", "third");
    let version = promote(folder, "third");
    let mut bytes = fs::read(version.join(DELTA)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(version.join(DELTA), bytes).unwrap();
    assert_eq!(
        *served(&repository).identity.hash,
        *hash(&folder.join("third/model"))
    );
    assert_eq!(told.take(), ["delta failed", "loaded"]);
    further(folder, "first", "fourth");
    promote(folder, "fourth");
    assert_eq!(
        *served(&repository).identity.hash,
        *hash(&folder.join("fourth/model"))
    );
    assert_eq!(told.take(), ["loaded"]);
}

#[test]
fn a_model_is_made_from_its_parent_and_its_small_files() {
    let folder = log();
    let folder = folder.path();
    further(folder, "first", "next");
    let model = folder.join("next/model");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("next/report.json")).unwrap())
            .unwrap();
    let notes = report["notes"].to_string();
    assert!(notes.contains("Beside the model is its delta"), "{notes}");
    let whole = fs::read(model.join("weights.safetensors")).unwrap();
    assert!(fs::metadata(model.join(DELTA)).unwrap().len() < whole.len() as u64);
    fs::remove_file(model.join("weights.safetensors")).unwrap();
    done(
        folder,
        &[
            "delta", "apply", "next", "--parent", "first", "--out", "copied",
        ],
    );
    assert!(fs::read(folder.join("copied/weights.safetensors")).unwrap() == whole);
    assert_eq!(hash(&folder.join("copied")), hash(&model));
    let wrong = [
        "delta", "apply", "next", "--parent", "copied", "--out", "other",
    ];
    refused(
        folder,
        &wrong,
        &["the delta is against model", "copy the whole model"],
    );
    assert!(!folder.join("other").exists());
    let none = [
        "delta", "apply", "first", "--parent", "copied", "--out", "other",
    ];
    refused(folder, &none, &["delta.safetensors is missing"]);
    refused(
        folder,
        &[
            "delta", "apply", "next", "--parent", "first", "--out", "log",
        ],
        &["holds something else than a model"],
    );

    // By hand, against another model.
    train(folder, "again", &["--set", "seed=7"]);
    let made = done(
        folder,
        &["delta", "make", "copied", "--parent", "again", "--json"],
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    assert!(made["changed"].as_u64().unwrap() > 0, "{made}");
    done(
        folder,
        &[
            "delta", "apply", "copied", "--parent", "again", "--out", "copied",
        ],
    );
    assert_eq!(hash(&folder.join("copied")), hash(&model));
    TensorFile::read(&folder.join("copied").join(DELTA)).unwrap();
}

/// An erasure replaces the model's files; a delta with what was erased must not stay.
#[test]
fn an_erasure_takes_the_delta_with_it() {
    let folder = log();
    let folder = folder.path();
    further(folder, "first", "next");
    let artifact = Artifact::read(&folder.join("next/model")).unwrap();
    let table = artifact
        .schema
        .tables
        .iter()
        .find(|table| table.name == "item");
    let ncs_features::IdSpace::Vocabulary { values } = &table.unwrap().ids else {
        panic!("items have a vocabulary");
    };
    fs::write(
        folder.join("ids.txt"),
        format!("{}\n", values.last().unwrap()),
    )
    .unwrap();
    done(
        folder,
        &["forget", "next", "--column", "item", "--values", "ids.txt"],
    );
    assert!(!folder.join("next/model").join(DELTA).exists());
    Artifact::read(&folder.join("next/model")).unwrap();
}
