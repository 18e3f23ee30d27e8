//! Runs on a small synthetic log: trained to the end, or until they are aborted.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ncs_model::artifact::Artifact;
use ncs_train::{Event, Listener, Run};
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::training;

use crate::trained::done;

/// Settings of a small network with a short training.
pub(crate) const SETS: [&str; 8] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.kind=\"shared_bottom\"",
    "network.hidden=[16]",
    "training.epochs=2",
    "training.batch=128",
    "training.learning_rate=0.003",
    "evaluation.bootstrap=0",
];

/// Generates a synthetic log of 3,600 training rows, with further options of `ncs synth`.
pub(crate) fn log(more: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rates = ["--click-rate", "0.3", "--conversion-rate", "0.3"];
    let synth = ["synth", "--rows", "6000", "--out", "log"];
    done(folder.path(), &[&synth[..], &rates, more].concat());
    folder
}

/// Opens the run file of the log with the settings of a test and of a run.
pub(crate) fn open(folder: &Path, of_all: &[&str], sets: &[&str]) -> RunFile {
    let sets = of_all.iter().chain(sets).map(|set| (*set).to_owned());
    let sets: Vec<String> = sets.collect();
    RunFile::open(&folder.join("log/run.toml"), &sets).unwrap_or_else(|error| panic!("{error}"))
}

/// Trains to the end.
pub(crate) fn train(file: &RunFile, out: &Path) -> Artifact {
    let stop = AtomicBool::new(false);
    training::run(file, out, Progress::Quiet, &stop).unwrap_or_else(|error| panic!("{error}"));
    Artifact::read(&out.join("model")).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads the files that two identical runs write identically.
pub(crate) fn bytes(out: &Path) -> Vec<Vec<u8>> {
    let files = [
        "model/weights.safetensors",
        "model/manifest.json",
        "metrics.json",
        "report.json",
    ];
    files.map(|file| fs::read(out.join(file)).unwrap()).into()
}

/// Listener that panics after this many steps (0: never).
struct Mortal(u64);

impl Listener for Mortal {
    fn on_event(&mut self, event: &Event<'_>) {
        if let Event::Stepped { .. } = event {
            self.0 = self.0.wrapping_sub(1);
            assert!(self.0 != 0, "the plug is pulled");
        }
    }
}

/// Trains until a simulated crash after this many steps.
pub(crate) fn dies(file: &RunFile, out: &Path, after: u64) {
    let stop = AtomicBool::new(false);
    let data = training::prepare_rows(&file.plan, Progress::Quiet, &stop).unwrap();
    let run = Run {
        refit: None,
        initial_rows: &[],
        earlier: file.plan.start.as_ref().map(|start| &start.earlier),
        network: &file.plan.network,
        plan: &file.plan.train,
        schema: &data.schema,
        train: &data.train,
        valid: data.valid.as_ref(),
        data_key: data.key,
        folder: out,
        checkpoint_every: Duration::MAX,
        stop: &stop,
    };
    let ended = catch_unwind(AssertUnwindSafe(|| run.run(&mut Mortal(after)).map(drop)));
    assert!(ended.is_err(), "it did not die after {after} steps");
}
