//! Life cycle of a run's folder: locking, killed processes, damaged files, and memory limits. The long form is `cargo
//! xtask soak`; docs/reliability.md has its figures.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=2",
    "training.batch=128",
    "evaluation.bootstrap=5",
];

fn ncs(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command.arg("--quiet").args(arguments).current_dir(folder);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Creates a folder with a small log and its run file.
fn log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = [
        "synth",
        "--rows",
        "4000",
        "--click-rate",
        "0.3",
        "--conversion-rate",
        "0.3",
        "--out",
        "log",
    ];
    assert!(ncs(folder.path(), &synth).status().unwrap().success());
    folder
}

fn train(folder: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = ncs(folder, &["train", "log/run.toml", "--out", out]);
    for set in SETTINGS.iter().chain(more) {
        command.args(["--set", set]);
    }
    command
}

fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", output_of(&output));
}

/// Asserts exit code 1 and a reason, without a panic.
#[track_caller]
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = output_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.is_empty() && !text.contains("panicked"), "{text}");
    text
}

fn results(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    let files = [
        "model/weights.safetensors",
        "model/manifest.json",
        "metrics.json",
    ];
    files
        .map(|file| std::fs::read(folder.join(out).join(file)).unwrap())
        .to_vec()
}

/// Waits until the run has written this file.
fn wait_for(child: &mut Child, file: &Path) {
    while !file.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before {}",
            file.display()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_folder_has_one_run_at_a_time_and_a_killed_one_is_no_obstacle() {
    let folder = log();
    // Until it is killed: without patience it would stop early, within seconds.
    let long = ["training.epochs=1000000", "training.patience=4294967295"];
    let mut first = train(folder.path(), "out", &long).spawn().unwrap();
    wait_for(&mut first, &folder.path().join("out/log.txt"));
    let text = refused(train(folder.path(), "out", &["seed=2"]));
    let who = format!("out: process {} on ", first.id());
    assert!(
        text.starts_with(&who) && text.contains("works in this folder; wait"),
        "{text}"
    );
    let text = refused({
        let mut fresh = train(folder.path(), "out", &["seed=2"]);
        fresh.arg("--fresh");
        fresh
    });
    assert!(text.contains("works in this folder"), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
    let mut fresh = train(folder.path(), "out", &["seed=2"]);
    fresh.arg("--fresh");
    done(fresh);
    done(train(folder.path(), "alone", &["seed=2"]));
    assert_eq!(
        results(folder.path(), "out"),
        results(folder.path(), "alone")
    );
}

/// Kills the process a limited number of times, spread over the run: reading rows, training, writing.
#[test]
fn a_run_killed_at_any_moment_ends_with_the_same_bytes() {
    let folder = log();
    let start = Instant::now();
    done(train(folder.path(), "whole", &[]));
    let whole = start.elapsed();
    for (number, share) in [0.02, 0.15, 0.4, 0.7, 0.9, 0.97].into_iter().enumerate() {
        let cache = format!("data.cache=\"cache-{number}\"");
        let out = format!("killed-{number}");
        let mut child = train(folder.path(), &out, &[&cache]).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(share));
        let _ = child.kill();
        child.wait().unwrap();
        done(train(folder.path(), &out, &[&cache]));
        assert_eq!(
            results(folder.path(), &out),
            results(folder.path(), "whole"),
            "killed at {share}"
        );
    }
}

/// The advice in the message about a damaged checkpoint works.
#[test]
fn the_remedy_for_a_damaged_checkpoint_helps() {
    let folder = log();
    done(train(folder.path(), "whole", &[]));
    done(train(folder.path(), "out", &[]));
    let checkpoint = folder.path().join("out/checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    for at in [3, 40, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&checkpoint, &bytes).unwrap();
        let text = refused(train(folder.path(), "out", &[]));
        let remedy = "delete this file and run again";
        assert!(
            text.contains("checkpoint.safetensors: it is damaged") && text.contains(remedy),
            "{text}"
        );
    }
    std::fs::write(&checkpoint, &whole[..whole.len() / 3]).unwrap();
    assert!(refused(train(folder.path(), "out", &[])).contains("it is damaged"));
    std::fs::remove_file(&checkpoint).unwrap();
    done(train(folder.path(), "out", &[]));
    assert_eq!(
        results(folder.path(), "out"),
        results(folder.path(), "whole")
    );
}

/// Under 1 GiB of address space no size aborts the process: `ncs check` and `ncs train` name the key.
#[test]
fn sizes_that_memory_cannot_hold_are_told_before_anything_is_made() {
    let folder = log();
    let within = |verb: &[&str], sets: &[&str]| {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "ulimit -v 1048576; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_ncs"),
        ]);
        command.arg("--quiet").args(verb).current_dir(folder.path());
        for set in SETTINGS.iter().chain(sets) {
            command.args(["--set", set]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    };
    done(within(&["train", "log/run.toml", "--out", "fits"], &[]));
    for (sets, key) in [
        (&["network.hidden=[1000000,1000000]"][..], "network.hidden"),
        (
            &["network.hidden=[9223372036854775807,9223372036854775807]"],
            "network.hidden",
        ),
        (&["network.hidden=[20000,1000]"], "network.hidden"),
        (&["network.dim=4000000000"], "network.dim"),
        (
            &["columns.user={kind=\"categorical\",buckets=4294967294}"],
            "columns.user",
        ),
        (
            &["search.kind=\"magnitude\"", "search.rounds=4294967295"],
            "search.rounds",
        ),
        (
            &[
                "network.kind=\"ple\"",
                "network.shared_experts=9223372036854775807",
            ],
            "network.shared_experts",
        ),
        (
            &["network.kind=\"mmoe\"", "network.experts=1000000"],
            "network.experts",
        ),
        (&["training.batch=9223372036854775807"], "training.batch"),
        (&["threads=9223372036854775807"], "threads"),
        (&["evaluation.bootstrap=4294967295"], "evaluation.bootstrap"),
    ] {
        for verb in [
            &["check", "log/run.toml"][..],
            &["train", "log/run.toml", "--out", "sized"],
        ] {
            let text = refused(within(verb, sets));
            assert!(text.contains(key) && text.len() < 600, "{sets:?}: {text}");
        }
        assert!(!folder.path().join("sized").exists());
    }
}

/// An outlier such as 1e308 among prices is clipped and not attributed to the learning rate.
#[test]
fn a_price_out_of_all_proportion_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let run = "[data]\ntrain = \"log.csv\"\nsplit = { by = \"row\", valid = 0.2 }\ncache = \"cache\"\n\
               [columns]\nprice = \"numeric\"\n[tasks.ctr]\nlabel = \"click\"\n[network]\n\
               kind = \"shared_bottom\"\nhidden = [4]\n";
    std::fs::write(folder.path().join("run.toml"), run).unwrap();
    for price in ["1e308", "-1e308", "1e39", "1.7e200"] {
        let row = |i: usize| match i {
            77 => format!("{price},1\n"),
            i => format!("{},{}\n", i % 9, i % 2),
        };
        let rows: String = (0..300).map(row).collect();
        std::fs::write(
            folder.path().join("log.csv"),
            format!("price,click\n{rows}"),
        )
        .unwrap();
        for verb in [
            &["check", "run.toml"][..],
            &["train", "run.toml", "--fresh", "--out", "out"],
        ] {
            done(ncs(folder.path(), verb));
        }
    }
}

#[test]
fn too_many_open_files_are_told_as_that() {
    let folder = log();
    done(train(folder.path(), "out", &[]));
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 4; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_ncs"),
    ]);
    command
        .args(["--quiet", "inspect", "out"])
        .current_dir(folder.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut tight = command;
    let output = tight.output().unwrap();
    // The system determines if 4 are enough; if they are not, the message must name the limit.
    if !output.status.success() {
        let text = output_of(&output);
        assert!(
            text.contains("ulimit -n") && !text.contains("no model here"),
            "{text}"
        );
    }
}
