//! Conversions that take in the click's logit, from the run file to what is told of them.

mod trained;

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
use trained::done;

const SETS: [&str; 7] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=4",
    "training.batch=256",
    "training.checkpoint_steps=3",
    "training.click_logit=\"learned\"",
];

/// A synthetic log of 3,600 training rows whose tasks share everything.
fn log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = [
        "synth",
        "--rows",
        "6000",
        "--click-rate",
        "0.3",
        "--conversion-rate",
        "0.3",
    ];
    done(
        folder.path(),
        &[&synth[..], &["--share", "1", "--out", "log"]].concat(),
    );
    folder
}

fn open(folder: &Path, sets: &[&str]) -> RunFile {
    let sets = SETS.iter().chain(sets).map(|set| (*set).to_owned());
    let sets: Vec<String> = sets.collect();
    RunFile::open(&folder.join("log/run.toml"), &sets).unwrap_or_else(|error| panic!("{error}"))
}

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    let (file, out) = (open(folder, sets), folder.join(out));
    let stop = AtomicBool::new(false);
    training::run(&file, &out, Progress::Quiet, &stop).unwrap_or_else(|error| panic!("{error}"));
    Artifact::read(&out.join("model")).unwrap_or_else(|error| panic!("{error}"))
}

fn bytes(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    let files = [
        "model/weights.safetensors",
        "model/manifest.json",
        "metrics.json",
        "report.json",
    ];
    files
        .map(|file| fs::read(folder.join(out).join(file)).unwrap())
        .into()
}

#[test]
fn kappa_is_learned_and_told() {
    let folder = log();
    for (out, sets) in [
        ("masks", &[][..]),
        ("owned", &["search.common_units=0"]),
        ("joint", &["training.steps=\"joint\""]),
        (
            "bottom",
            &[
                "network.kind=\"shared_bottom\"",
                "training.keep=\"best_joint\"",
            ],
        ),
    ] {
        let (tasks, taken) = train(folder.path(), out, sets).taken().unwrap();
        assert_eq!(tasks, [0, 1]);
        assert!(
            taken.kappa != 0.0 && taken.kappa.abs() < 1.0,
            "{out}: {taken:?}"
        );
        let error = taken.error().unwrap();
        assert!(error > 0.0 && error.is_finite(), "{out}: {taken:?}");
        let told = done(folder.path(), &["inspect", out]);
        let expected = format!("takes {:.3} (standard error", taken.kappa);
        assert!(told.contains(&expected), "{told}");
        let report = fs::read_to_string(folder.path().join(out).join("report.html")).unwrap();
        assert!(report.contains(&expected), "{out}");
    }
    let permuted = ["training.click_logit=\"permuted\""];
    let artifact = train(folder.path(), "permuted", &permuted);
    assert_eq!(
        (artifact.taken(), artifact.spec.plan.heads.takes),
        (None, None)
    );
    let log = fs::read_to_string(folder.path().join("permuted/log.txt")).unwrap();
    assert!(
        log.contains("of the permuted logit (control: nothing is taken in scoring)"),
        "{log}"
    );
}

/// Dies after so many steps, unless it is 0.
struct Mortal(u64);

impl Listener for Mortal {
    fn hear(&mut self, event: &Event<'_>) {
        if let Event::Stepped { .. } = event {
            self.0 = self.0.wrapping_sub(1);
            assert!(self.0 != 0, "the plug is pulled");
        }
    }
}

#[test]
fn an_interrupted_run_takes_as_much_in_the_end() {
    let folder = log();
    train(folder.path(), "whole", &[]);
    let file = open(folder.path(), &[]);
    let stop = AtomicBool::new(false);
    let data = training::prepare_rows(&file.plan, Progress::Quiet, &stop).unwrap();
    for after in [20, 29, 41] {
        let out = format!("cut-{after}");
        let run = Run {
            refit: None,
            network: &file.plan.network,
            plan: &file.plan.train,
            schema: &data.schema,
            train: &data.train,
            valid: data.valid.as_ref(),
            data_key: data.key,
            folder: &folder.path().join(&out),
            checkpoint_every: Duration::MAX,
            stop: &stop,
        };
        let ended = catch_unwind(AssertUnwindSafe(|| run.run(&mut Mortal(after)).map(drop)));
        assert!(ended.is_err(), "it did not die after {after} steps");
        train(folder.path(), &out, &[]);
        assert_eq!(
            bytes(folder.path(), &out),
            bytes(folder.path(), "whole"),
            "{after}"
        );
    }
}
