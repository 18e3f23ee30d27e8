//! Files that a run leaves in its folder, and its messages and results when it is called again.

mod trained;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ncs_readers::Prepared;
use ncs_train::{Event, Listener, Run};
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::run_log::RunLog;
use ncs4cvr::training;
use trained::done;

const SETS: [&str; 5] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[8, 4]",
    "training.epochs=2",
    "training.evaluations_per_epoch=3",
];

/// Writes a run over a synthetic log of 3,000 training rows.
struct Bench {
    folder: tempfile::TempDir,
    file: RunFile,
    data: Prepared,
}

impl Bench {
    fn new(sets: &[&str]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["synth", "--rows", "5000", "--out", "log"]);
        let sets: Vec<String> = SETS
            .iter()
            .chain(sets)
            .map(|set| (*set).to_owned())
            .collect();
        let file = RunFile::open(&folder.path().join("log/run.toml"), &sets).unwrap();
        let stop = AtomicBool::new(false);
        let data = training::prepare_rows(&file.plan, Progress::Quiet, &stop).unwrap();
        Bench { folder, file, data }
    }

    fn path(&self, out: &str) -> PathBuf {
        self.folder.path().join(out)
    }

    /// Trains until step `dies_at` of all steps, or to the end.
    fn train(&self, out: &str, dies_at: u64, checkpoint_every: Duration) {
        let folder = self.path(out);
        fs::create_dir_all(&folder).unwrap();
        let stop = AtomicBool::new(false);
        let run = Run {
            refit: None,
            initial_rows: &[],
            earlier: self.file.plan.start.as_ref().map(|start| &start.earlier),
            network: &self.file.plan.network,
            plan: &self.file.plan.train,
            schema: &self.data.schema,
            train: &self.data.train,
            valid: self.data.valid.as_ref(),
            data_key: self.data.key,
            folder: &folder,
            checkpoint_every,
            stop: &stop,
        };
        let mut mortal = Mortal {
            log: RunLog::open(&folder, Progress::Quiet).unwrap(),
            left: dies_at,
        };
        let ended = catch_unwind(AssertUnwindSafe(|| run.run(&mut mortal).map(drop)));
        assert_eq!(ended.is_err(), dies_at > 0, "{out}");
        if let Ok(ended) = ended {
            ended.unwrap();
        }
        assert!(mortal.log.finish().is_none());
    }
}

/// Run log whose run panics after this many steps (0: never).
struct Mortal {
    log: RunLog,
    left: u64,
}

impl Listener for Mortal {
    fn on_event(&mut self, event: &Event<'_>) {
        self.log.on_event(event);
        if let Event::Stepped { .. } = event {
            self.left = self.left.wrapping_sub(1);
            assert!(self.left != 0, "the plug is pulled");
        }
    }
}

/// Counts each point of each curve in the event files of a run, by folder, tag and step.
fn points(folder: &Path) -> BTreeMap<(String, String, u64), usize> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("tensorboard")];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let run = inner.strip_prefix(folder).unwrap().display().to_string();
            for (tag, step) in scalars(&fs::read(path).unwrap()) {
                *found.entry((run.clone(), tag, step)).or_default() += 1;
            }
        }
    }
    found
}

/// Returns tags and steps of the scalars in an event file.
fn scalars(mut bytes: &[u8]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let n_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let record = &bytes[12..12 + n_bytes];
        bytes = &bytes[12 + n_bytes + 4..];
        // Time, step as a varint, then the summary with its value, whose first field is the tag.
        let digits = record[10..]
            .iter()
            .take_while(|byte| **byte >= 0x80)
            .count()
            + 1;
        let step = record[10..10 + digits].iter().rev();
        let step = step.fold(0, |step, byte| step << 7 | u64::from(byte & 0x7f));
        if let [0x2a, _, 0x0a, _, 0x0a, length, tag @ ..] = &record[10 + digits..] {
            let tag = String::from_utf8(tag[..*length as usize].to_vec()).unwrap();
            found.push((tag, step));
        }
    }
    found
}

#[test]
fn a_resumed_run_says_from_where_and_draws_no_point_twice() {
    let bench = Bench::new(&["training.checkpoint_steps=4", "training.batch=256"]);
    bench.train("whole", 0, Duration::MAX);
    let whole = points(&bench.path("whole"));
    assert!(whole.len() > 10, "{whole:?}");
    assert!(whole.values().all(|n| *n == 1), "{whole:?}");
    // In the warm-up of the search, and twice in the training.
    for dies_at in [3, 11, 14] {
        bench.train("cut", dies_at, Duration::MAX);
    }
    bench.train("cut", 0, Duration::MAX);
    assert_eq!(points(&bench.path("cut")), whole);
    let log = fs::read_to_string(bench.path("cut/log.txt")).unwrap();
    let printed = log
        .lines()
        .filter(|line| line.contains("resumed from the checkpoint of 20"));
    let printed: Vec<&str> = printed.collect();
    assert!(!printed.is_empty(), "{log}");
    for line in printed {
        assert!(
            line.contains("Z: step ") && line.contains(", epoch "),
            "{line}"
        );
    }
}

#[test]
fn the_clock_asks_for_a_checkpoint_between_those_of_the_steps() {
    let bench = Bench::new(&["training.checkpoint_steps=1000"]);
    bench.train("never", 2, Duration::MAX);
    assert!(!bench.path("never/checkpoint.safetensors").exists());
    bench.train("soon", 2, Duration::ZERO);
    assert!(bench.path("soon/checkpoint.safetensors").exists());
}

#[test]
fn rows_lie_beside_the_run_and_a_finished_run_costs_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    done(
        path,
        &["synth", "--rows", "5000", "--format", "csv", "--out", "log"],
    );
    let train = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
        command.args(["train", "log/run.toml", "--out", "run"]);
        command.env_remove("NCS_CACHE").env_remove("XDG_CACHE_HOME");
        command.env("HOME", path.join("home")).current_dir(path);
        for set in &SETS[1..] {
            command.args(["--set", set]);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let printed = train();
    assert!(
        printed.contains("rows: 5,000 kept as ids in run/rows"),
        "{printed}"
    );
    assert!(!path.join("home").exists());
    assert!(done(path, &["cache", "list", "--folder", "run"]).contains("1 data set, "));
    let report = fs::read_to_string(path.join("run/report.html")).unwrap();
    let version = concat!("ncs ", env!("CARGO_PKG_VERSION"), ", took ");
    for part in [
        "log/train.csv",
        "3,000",
        version,
        "categorical",
        "number, log",
        "products of two",
    ] {
        assert!(report.contains(part), "{part}");
    }

    let cost = fs::read(path.join("run/cost.json")).unwrap();
    let printed = train();
    assert!(printed.contains("rows: found in the id cache"), "{printed}");
    assert!(printed.contains("train: finished before"), "{printed}");
    assert_eq!(fs::read(path.join("run/cost.json")).unwrap(), cost);
    assert_eq!(
        fs::read_to_string(path.join("run/report.html")).unwrap(),
        report
    );

    // Other rows replace the stored ones.
    let log = fs::read_to_string(path.join("log/train.csv")).unwrap();
    let (last, _) = log.trim_end().rsplit_once('\n').unwrap();
    fs::write(path.join("log/train.csv"), last).unwrap();
    fs::remove_file(path.join("run/run.id")).unwrap();
    fs::write(path.join("run/run.id"), "").unwrap();
    fs::remove_file(path.join("run/checkpoint.safetensors")).unwrap();
    fs::remove_dir_all(path.join("run/search")).unwrap();
    assert!(train().contains("rows: 4,999 kept as ids"));
    assert!(done(path, &["cache", "list", "--folder", "run"]).contains("1 data set, "));
}
