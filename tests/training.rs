//! Training on the command line: it learns, is reproducible, resumes after an interruption, and refuses invalid input
//! before it starts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ncs_model::Masks;
use ncs_model::artifact::Artifact;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{SyntheticPlan, write_log};
use ncs_readers::{Format, Prepared};
use ncs_train::{Event, Listener, RefitRows, Run, TrainError};
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::synthetic::{SyntheticFiles, run_toml};
use ncs4cvr::training;

/// Creates a small synthetic log with a run file beside it.
fn log(folder: &Path, network: &str) {
    let plan = SyntheticPlan {
        users: 300,
        items: 100,
        click_rate: 0.3,
        conversion_rate: 0.3,
        share: 1.0,
        ..SyntheticPlan::default()
    };
    let parts = [
        (Part::Train, 12_000),
        (Part::Valid, 4_000),
        (Part::Test, 4_000),
    ];
    let written = write_log(&plan, folder, Format::Parquet, &parts).unwrap();
    let text = run_toml(&SyntheticFiles::of(&written), network, 1);
    std::fs::write(folder.join("run.toml"), text).unwrap();
}

fn sets(more: &[&str]) -> Vec<String> {
    let always = [
        "data.cache=\"cache\"",
        "threads=2",
        "network.hidden=[32, 16]",
    ];
    always
        .iter()
        .chain(more)
        .map(|set| (*set).to_owned())
        .collect()
}

fn open(folder: &Path, more: &[&str]) -> RunFile {
    RunFile::open(&folder.join("run.toml"), &sets(more)).unwrap()
}

fn train(folder: &Path, out: &str, more: &[&str]) -> training::Finished {
    let stop = AtomicBool::new(false);
    training::run(
        &open(folder, more),
        &folder.join(out),
        Progress::Quiet,
        &stop,
    )
    .unwrap()
}

fn bytes(folder: &Path, out: &str) -> Vec<(String, Vec<u8>)> {
    let of_model = ["model/weights.safetensors", "model/manifest.json"];
    let files = [of_model, ["metrics.json", "report.json"]].concat();
    let read = |file: &&str| {
        let path = folder.join(out).join(file);
        (file.to_string(), std::fs::read(path).unwrap())
    };
    files.iter().map(read).collect()
}

#[test]
fn every_network_learns_both_tasks() {
    for network in [
        "single_task",
        "shared_bottom",
        "sparse_sharing",
        "cross_stitch",
        "mmoe",
        "ple",
        "aitm",
    ] {
        let folder = tempfile::tempdir().unwrap();
        log(folder.path(), network);
        for steps in ["alternating", "joint"] {
            let steps = format!("training.steps={steps:?}");
            let finished = train(folder.path(), &steps, &["threads=1", &steps]);
            let tasks = &finished.evaluated[0].metrics.tasks;
            assert_eq!(finished.evaluated[0].part, "test");
            let auc = |task: &str| tasks[task].auc.unwrap();
            let names: Vec<&String> = tasks.keys().collect();
            let (click, conversion) = (auc(names[0]), auc(names[1]));
            assert!(click > 0.62, "{network} {steps}: click {click}");
            assert!(
                conversion > 0.58,
                "{network} {steps}: conversion {conversion}"
            );
        }
    }
}

#[test]
fn every_loss_and_balance_teaches_both_tasks() {
    for network in ["shared_bottom", "sparse_sharing", "aitm"] {
        let folder = tempfile::tempdir().unwrap();
        log(folder.path(), network);
        for how in [
            "training.loss=\"esmm\"",
            "training.loss=\"escm2_ips\"",
            "training.loss=\"escm2_dr\"",
            "training.loss=\"dcmt\"",
            "training.loss=\"aitm\"",
            "training.balance=\"uncertainty\"",
            "training.balance=\"pcgrad\"",
            "training.embedding_evidence={k=10}",
            "training.embedding_evidence={cap=0.5} and training.steps=\"joint\"",
        ] {
            let sets: Vec<&str> = ["threads=1"]
                .into_iter()
                .chain(how.split(" and "))
                .collect();
            let finished = train(folder.path(), how, &sets);
            let metrics = &finished.evaluated[0].metrics;
            let aucs: Vec<f64> = metrics.tasks.values().filter_map(|task| task.auc).collect();
            let product = metrics.ctcvr.unwrap().auc.unwrap();
            assert!(aucs[0] > 0.62, "{network} {how}: click {}", aucs[0]);
            assert!(aucs[1] > 0.55, "{network} {how}: conversion {}", aucs[1]);
            assert!(product > 0.65, "{network} {how}: both {product}");
            // The written model scores as the evaluated one: a quotient of heads, without the auxiliary head.
            let second = metrics.tasks.values().nth(1).unwrap();
            let pcoc = second.pcoc.unwrap();
            assert!((0.3..3.0).contains(&pcoc), "{network} {how}: {pcoc}");
        }
    }
}

/// Masks read from a model equal those of that model; under a control they have the same size.
#[test]
fn masks_are_taken_over_and_controlled() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "sparse_sharing");
    let masks = |out: &str| {
        let artifact = Artifact::read(&folder.path().join(out).join("model")).unwrap();
        Masks::clone(artifact.masks.as_deref().unwrap())
    };
    let magnitude = ["search.kind=\"magnitude\"", "search.rounds=2"];
    train(folder.path(), "base", &magnitude);
    let base = masks("base");
    let takes = ["search.kind=\"model\"", "search.model=\"base\""];
    train(folder.path(), "taken", &takes);
    assert_eq!(masks("taken"), base);
    for control in ["random", "shuffled", "one_mask"] {
        let set = format!("search.control={control:?}");
        train(folder.path(), control, &[takes[0], takes[1], &set]);
        let found = masks(control);
        assert_ne!(found, base, "{control}");
        let density = |masks: &Masks, task: usize| ncs_model::masks::density(&masks.tasks[task]);
        assert_eq!(density(&found, 0), density(&base, 0), "{control}");
        if control != "one_mask" {
            assert_eq!(density(&found, 1), density(&base, 1), "{control}");
        }
    }
    let other = [magnitude[0], magnitude[1], "search.seed=9"];
    train(folder.path(), "other", &other);
    assert_ne!(masks("other"), base, "another draw is searched");
    let (taken, other) = (open(folder.path(), &takes), ["network.hidden=[16, 16]"]);
    assert!(taken.notes.is_empty());
    let wrong = [&takes[..], &other].concat();
    let error = RunFile::open(&folder.path().join("run.toml"), &sets(&wrong)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("do not fit: its hidden is [32, 16], and here it is [16, 16]"),
        "{text}"
    );
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "sparse_sharing");
    train(folder.path(), "one", &[]);
    train(folder.path(), "two", &[]);
    assert_eq!(bytes(folder.path(), "one"), bytes(folder.path(), "two"));
    let ran = bytes(folder.path(), "one");
    train(folder.path(), "one", &[]);
    assert_eq!(
        bytes(folder.path(), "one"),
        ran,
        "a finished run is found, not run again"
    );
}

/// Counts steps over all phases; panics or requests a stop at one of them.
struct Interrupter<'a> {
    seen: u64,
    dies_at: u64,
    stops_at: u64,
    stop: &'a AtomicBool,
}

impl Listener for Interrupter<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        if let Event::Stepped { .. } = event {
            self.seen += 1;
            if self.seen == self.stops_at {
                self.stop.store(true, Ordering::Relaxed);
            }
            assert!(self.seen != self.dies_at, "the plug is pulled");
        }
    }
}

/// All stateful parts: warm-up, search, dropout, momentum, early stopping, best weights.
const DEMANDING: &[&str] = &[
    "network.dropout=0.1",
    "training.field_dropout=0.1",
    "training.average={decay=0.9, start=\"unbiased\"}",
    "tasks.cvr.label_smoothing=0.1",
    "search.kind=\"magnitude\"",
    "search.rounds=2",
    "search.rewind={steps=5}",
    "training.checkpoint_steps=7",
    "training.epochs=2",
    "training.evaluations_per_epoch=3",
    "training.warmup_steps=10",
    "training.decay=\"cosine\"",
    "training.weight_decay=0.01",
];

fn interrupted(
    file: &RunFile,
    data: &Prepared,
    folder: &Path,
    dies_at: u64,
    stops_at: u64,
) -> Option<Result<(), TrainError>> {
    let stop = AtomicBool::new(false);
    let mut interrupter = Interrupter {
        seen: 0,
        dies_at,
        stops_at,
        stop: &stop,
    };
    let all = training::prepare_refit(&file.plan, data, Progress::Quiet, &stop).unwrap();
    let run = Run {
        refit: all.as_ref().map(|all| RefitRows {
            train: &all.train,
            schema: &all.schema,
            data_key: all.key,
        }),
        initial_rows: &[],
        earlier: file.plan.start.as_ref().map(|start| &start.earlier),
        network: &file.plan.network,
        plan: &file.plan.train,
        schema: &data.schema,
        train: &data.train,
        valid: data.valid.as_ref(),
        data_key: data.key,
        folder,
        checkpoint_every: Duration::MAX,
        stop: &stop,
    };
    catch_unwind(AssertUnwindSafe(|| run.run(&mut interrupter).map(|_| ()))).ok()
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes() {
    ends_with_the_same_bytes(DEMANDING);
}

#[test]
fn so_does_one_that_sums_gradients_and_tries_densities() {
    let gradient = ["search.kind=\"gradient\"", "search.density=\"auto\""];
    ends_with_the_same_bytes(&[DEMANDING, &gradient].concat());
}

#[test]
fn so_does_one_that_trains_again_on_all_rows() {
    let demanding = [DEMANDING, &["training.refit=true"]].concat();
    let demanding: Vec<&str> = demanding
        .into_iter()
        .filter(|set| !set.starts_with("search"))
        .collect();
    // 48 steps in the first training, the others in the refit, which has at least 8.
    cut_at(&demanding, "shared_bottom", &[30, 48, 50, 55]);
}

#[test]
fn so_does_one_that_trains_with_both_rules_of_shrinkage() {
    let validated = ["training.shrinkage=\"validated\"", "training.refit=true"];
    let demanding = [DEMANDING, &validated].concat();
    let demanding: Vec<&str> = demanding
        .into_iter()
        .filter(|set| !set.starts_with("search"))
        .collect();
    // 48 steps in each training, the others in the refit.
    cut_at(&demanding, "shared_bottom", &[30, 48, 50, 80, 96, 100]);
}

#[test]
fn so_does_one_in_half_precision_with_one_moment_a_row() {
    let cheap = [
        "training.precision=\"half\"",
        "training.table_optimizer=\"rowwise_adam\"",
    ];
    cut_at(&[DEMANDING, &cheap].concat(), "sparse_sharing", &[22, 80]);
}

fn ends_with_the_same_bytes(demanding: &[&str]) {
    // Steps in the warm-up, in the search and in the training.
    cut_at(demanding, "sparse_sharing", &[3, 9, 22, 40, 61, 80, 95]);
}

fn cut_at(demanding: &[&str], network: &str, steps: &[u64]) {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), network);
    train(folder.path(), "whole", demanding);
    let whole = bytes(folder.path(), "whole");
    let file = open(folder.path(), demanding);
    let data =
        training::prepare_rows(&file.plan, Progress::Quiet, &AtomicBool::new(false)).unwrap();
    for (i, &at) in steps.iter().enumerate() {
        let out = format!("cut-{i}");
        let path = folder.path().join(&out);
        assert!(
            interrupted(&file, &data, &path, at, 0).is_none(),
            "it did not die at {at}"
        );
        let stopped = interrupted(&file, &data, &path, 0, 5);
        let is_stopped = matches!(stopped, Some(Err(TrainError::Stopped { .. })));
        assert!(is_stopped, "{stopped:?}");
        train(folder.path(), &out, demanding);
        assert_eq!(
            bytes(folder.path(), &out),
            whole,
            "interrupted at step {at}"
        );
    }
}

/// Learned loss weights and an auxiliary head are part of the saved state.
#[test]
fn so_does_one_whose_loss_has_a_state() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "sparse_sharing");
    for loss in ["dcmt", "clicked"] {
        let loss = format!("training.loss={loss:?}");
        let joint = [&loss, "training.balance=\"uncertainty\""];
        // A joint loss has no smoothed labels.
        let own = DEMANDING.iter().filter(|set| !set.contains("smoothing"));
        let more: Vec<&str> = own.copied().chain(joint).collect();
        train(folder.path(), "whole", &more);
        let file = open(folder.path(), &more);
        let data =
            training::prepare_rows(&file.plan, Progress::Quiet, &AtomicBool::new(false)).unwrap();
        let path = folder.path().join("cut");
        assert!(interrupted(&file, &data, &path, 80, 0).is_none());
        train(folder.path(), "cut", &more);
        assert_eq!(
            bytes(folder.path(), "cut"),
            bytes(folder.path(), "whole"),
            "{loss}"
        );
        for out in ["cut", "whole"] {
            std::fs::remove_dir_all(folder.path().join(out)).unwrap();
        }
    }
}

/// The executable itself, killed with SIGKILL, and stopped gracefully with SIGTERM.
#[cfg(unix)]
#[test]
fn a_killed_program_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    let more = [
        "training.epochs=60",
        "training.patience=1000",
        "training.checkpoint_steps=20",
    ];
    train(folder.path(), "whole", &more);
    for (signal, code) in [("KILL", None), ("TERM", Some(143)), ("INT", Some(130))] {
        let out = folder.path().join(signal);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
        command
            .args(["--quiet", "train"])
            .arg(folder.path().join("run.toml"));
        command
            .arg("--out")
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        sets(&more).iter().for_each(|set| {
            command.args(["--set", set]);
        });
        let mut child = command.spawn().unwrap();
        while !out.join("checkpoint.safetensors").exists() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before its first checkpoint"
            );
            std::thread::yield_now();
        }
        let id = child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), code, "{printed}");
        let in_order = printed.contains("run the same command again to resume");
        assert_eq!(in_order, code.is_some(), "{printed}");
        assert!(
            !out.join("metrics.json").exists(),
            "it was cut before its end"
        );
        train(folder.path(), signal, &more);
        assert_eq!(bytes(folder.path(), signal), bytes(folder.path(), "whole"));
    }
}

#[test]
fn a_folder_of_another_run_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    train(folder.path(), "out", &["training.epochs=1"]);
    let before = bytes(folder.path(), "out");
    let file = open(folder.path(), &["training.epochs=1", "seed=2"]);
    let stop = AtomicBool::new(false);
    let error =
        training::run(&file, &folder.path().join("out"), Progress::Quiet, &stop).unwrap_err();
    assert!(
        error.to_string().contains("the folder holds another run"),
        "{error}"
    );
    assert_eq!(bytes(folder.path(), "out"), before);
}

#[test]
fn a_folder_of_other_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    let before = std::fs::read(folder.path().join("run.toml")).unwrap();
    let file = open(folder.path(), &[]);
    let stop = AtomicBool::new(false);
    let error = training::run(&file, folder.path(), Progress::Quiet, &stop).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the folder holds files that no run wrote"),
        "{error}"
    );
    assert_eq!(
        std::fs::read(folder.path().join("run.toml")).unwrap(),
        before
    );
    let out = folder.path().join("run.toml");
    let error = training::run(&file, &out, Progress::Quiet, &stop).unwrap_err();
    assert!(
        error.to_string().contains("cannot be the folder of a run"),
        "{error}"
    );
}

/// The run file in a run's folder can be run from there, and describes the same run.
#[test]
fn the_run_file_of_a_run_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    train(folder.path(), "one", &["training.epochs=1", "seed=3"]);
    let file = RunFile::open(&folder.path().join("one/run.toml"), &[]).unwrap();
    let stop = AtomicBool::new(false);
    training::run(&file, &folder.path().join("two"), Progress::Quiet, &stop).unwrap();
    assert_eq!(bytes(folder.path(), "one"), bytes(folder.path(), "two"));
}

#[test]
fn a_changed_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    train(folder.path(), "out", &["training.epochs=1"]);
    let path = folder.path().join("out/checkpoint.safetensors");
    let mut changed = std::fs::read(&path).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let file = open(folder.path(), &["training.epochs=1"]);
    let stop = AtomicBool::new(false);
    let error =
        training::run(&file, &folder.path().join("out"), Progress::Quiet, &stop).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("checkpoint.safetensors: it is damaged (tensor"),
        "{error}"
    );
}

#[test]
fn labels_that_teach_nothing_are_refused_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |click: &str| {
        let row = |i: usize| format!("{},{click},{}\n", i % 7, i % 2);
        let rows: String = (0..200).map(row).collect();
        format!("user,click,buy\n{rows}")
    };
    let text = "[data]\ntrain = \"log.csv\"\nsplit = { by = \"row\", valid = 0.2 }\ncache = \"cache\"\n\
                [columns]\nuser = \"categorical\"\n[tasks.ctr]\nlabel = \"click\"\n[tasks.cvr]\n\
                label = \"buy\"\nwhere = \"ctr\"\n[network]\nkind = \"shared_bottom\"\nhidden = [4]\n";
    let check = |click: &str, expected: &str| {
        std::fs::write(folder.path().join("log.csv"), rows(click)).unwrap();
        std::fs::write(folder.path().join("run.toml"), text).unwrap();
        let file = RunFile::open(&folder.path().join("run.toml"), &[]).unwrap();
        let stop = AtomicBool::new(false);
        let out = folder.path().join("out");
        let error = training::run(&file, &out, Progress::Quiet, &stop)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!out.join("checkpoint.safetensors").exists());
    };
    check(
        "0",
        "run.toml:8: cannot train task \"ctr\" on the train rows: all ",
    );
    check("2", "log.csv");
    check("2", "the label of task \"ctr\" is 2; it must be 0 or 1");
}

/// An absurd learning rate makes weights infinite, and their difference NaN.
#[test]
fn a_loss_that_is_no_number_ends_the_run_and_names_the_culprit() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    let file = open(folder.path(), &["training.learning_rate=1e30"]);
    let stop = AtomicBool::new(false);
    let out = folder.path().join("out");
    let error = training::run(&file, &out, Progress::Quiet, &stop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("(epoch 1, batch "), "{error}");
    assert!(error.contains("the loss of task \"c"), "{error}");
    assert!(error.contains("learning_rate"), "{error}");
    assert!(!out.join("metrics.json").exists());
}

/// Linux has a device that is always full, but no such folder: the checkpoint's name is a link to the device.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), "shared_bottom");
    let out = folder.path().join("out");
    let sets = ["training.epochs=1", "training.checkpoint_steps=5"];
    train(folder.path(), "other", &sets);
    let stopped = training::run(
        &open(folder.path(), &sets),
        &out,
        Progress::Quiet,
        &AtomicBool::new(true),
    );
    assert!(
        stopped
            .unwrap_err()
            .to_string()
            .contains("stopped at step 1")
    );
    std::fs::remove_file(out.join("checkpoint.safetensors")).unwrap();
    std::os::unix::fs::symlink("/dev/full", out.join("checkpoint.safetensors.tmp")).unwrap();
    let file = open(
        folder.path(),
        &["training.epochs=1", "training.checkpoint_steps=5"],
    );
    let stop = AtomicBool::new(false);
    let run = || training::run(&file, &out, Progress::Quiet, &stop);
    let error = run().unwrap_err().to_string();
    assert!(error.contains("no space left"), "{error}");
    assert!(
        !out.join("checkpoint.safetensors").exists(),
        "nothing half written"
    );
    run().unwrap();
    train(
        folder.path(),
        "other",
        &["training.epochs=1", "training.checkpoint_steps=5"],
    );
    assert_eq!(bytes(folder.path(), "out"), bytes(folder.path(), "other"));
}
