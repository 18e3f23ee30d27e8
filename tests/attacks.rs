//! Inputs that once caused harm, each under 1 GiB of address space (`ulimit -v`): they end with a result or a message.
//!
//! Short forms of the scripts of `../shared/attacks`, by their numbers. Those of the server are in `tests/serving/`,
//! sizes (01) and two runs in a folder (05) in `tests/run_life.rs`. `cargo xtask attacks` runs the scripts themselves.

#![cfg(unix)]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const RUN: &str = r#"
[data]
train = "TRAIN"
split = { by = "row", valid = 0.2, test = 0.2 }
cache = "cache"
[columns]
user = "categorical"
[tasks.ctr]
label = "click"
[network]
kind = "shared_bottom"
hidden = [4]
dim = 2
[training]
epochs = 1
[evaluation]
bootstrap = 1
"#;

/// Runs `ncs` under 1 GiB of address space and `limits`, further shell commands.
fn ncs(folder: &Path, limits: &str, arguments: &[&str]) -> Output {
    let script = format!("ulimit -v 1048576; {limits} exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ncs"), "--quiet"]);
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).output().unwrap()
}

fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        output_of(output)
    );
}

/// Asserts exit code 1 and a one-line message, without a panic or a backtrace.
#[track_caller]
fn refused(output: &Output) -> String {
    let text = output_of(output);
    assert_eq!(output.status.code(), Some(1), "{}: {text}", output.status);
    let is_message = text.lines().count() == 1 && text.len() < 1000;
    assert!(is_message && !text.contains("panicked"), "{text}");
    text
}

/// Creates a folder with `run.toml` for files of this name.
fn folder(train: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = RUN.replace("TRAIN", train);
    fs::write(folder.path().join("run.toml"), run).unwrap();
    folder
}

fn rows(n: usize) -> String {
    let row = |i: usize| format!("u{},{}\n", i % 50, i % 2);
    let rows: String = (0..n).map(row).collect();
    format!("user,click\n{rows}")
}

const TRAIN: [&str; 4] = ["train", "run.toml", "--out", "out"];

/// Script 02: when each key was compared with every other, these inputs took half a minute of CPU time. `ulimit -t`
/// counts CPU time, which other programs do not affect.
#[test]
fn rows_of_a_hundred_thousand_keys_take_little_memory_and_time() {
    let folder = folder("log.jsonl");
    let mut file = fs::File::create(folder.path().join("log.jsonl")).unwrap();
    for row in 0..100 {
        let keys: String = (0..1600).map(|i| format!(",\"f_{row}_{i}\":1")).collect();
        writeln!(file, "{{\"user\":\"u{row}\",\"click\":{}{keys}}}", row % 2).unwrap();
    }
    done(&ncs(folder.path(), "ulimit -t 10;", &["check", "run.toml"]));
}

/// Script 03.
#[test]
fn names_that_are_no_utf_8_are_found_and_read() {
    let folder = folder("nonutf*/*.csv");
    let inner = folder.path().join(OsStr::from_bytes(b"nonutf\xff"));
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join(OsStr::from_bytes(b"a\xfe.csv")), rows(500)).unwrap();
    done(&ncs(folder.path(), "", &["check", "run.toml"]));
    done(&ncs(folder.path(), "", &TRAIN));
}

/// Script 04: if a file changes while it is read, its rows are not accepted as those of one log.
#[test]
fn files_that_change_while_they_are_read_are_told_and_leave_no_cache() {
    let append = |path: &Path| {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"u1,1\n").unwrap();
    };
    let replace = |path: &Path| {
        let other = path.with_extension("new");
        fs::write(&other, rows(60_000)).unwrap();
        fs::rename(&other, path).unwrap();
    };
    let overwrite = |path: &Path| {
        use std::os::unix::fs::FileExt;
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"u7", 11).unwrap();
    };
    let changes: [&(dyn Fn(&Path) + Sync); 3] = [&append, &replace, &overwrite];
    for (number, change) in changes.into_iter().enumerate() {
        let folder = folder("log.csv");
        let path = folder.path().join("log.csv");
        fs::write(&path, rows(60_000)).unwrap();
        let is_over = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    change(&path);
                }
            });
            let output = ncs(folder.path(), "", &TRAIN);
            is_over.store(true, Ordering::Relaxed);
            output
        });
        let text = refused(&output);
        assert!(
            text.contains("the file changed while it was read"),
            "{number}: {text}"
        );
        let kept = fs::read_dir(folder.path().join("cache"))
            .into_iter()
            .flatten();
        let kept = kept.filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.join("prepared.json").exists()
        });
        assert_eq!(kept.count(), 0, "{number}: a cache of it was kept");
    }
}

/// Script 07: a process of an earlier release was killed while it claimed a folder.
#[test]
fn a_claim_that_was_killed_is_no_obstacle() {
    let folder = folder("log.csv");
    fs::write(folder.path().join("log.csv"), rows(500)).unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    fs::write(folder.path().join("out/run.id.tmp"), "").unwrap();
    done(&ncs(folder.path(), "", &TRAIN));
}

/// A file larger than `ulimit -f` allows fails as on a full disk; existing files stay, and the run can be resumed.
#[test]
fn a_limit_on_files_ends_a_run_with_a_message_and_it_resumes() {
    let folder = folder("log.csv");
    fs::write(folder.path().join("log.csv"), rows(20_000)).unwrap();
    for n_blocks in [1, 16, 64] {
        let limit = format!("ulimit -f {n_blocks};");
        let text = refused(&ncs(folder.path(), &limit, &TRAIN));
        assert!(text.contains("File too large"), "{n_blocks}: {text}");
    }
    done(&ncs(folder.path(), "", &TRAIN));
    let apart = ["train", "run.toml", "--out", "apart"];
    done(&ncs(folder.path(), "", &apart));
    let metrics = |out: &str| fs::read(folder.path().join(out).join("metrics.json")).unwrap();
    assert_eq!(metrics("out"), metrics("apart"));
}

/// Found by `cargo xtask soak --seed 3`: failing to print an error caused a panic and exit code 101.
#[cfg(target_os = "linux")]
#[test]
fn an_error_that_cannot_be_printed_has_its_exit_code() {
    let folder = folder("no-such-file.csv");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command
        .args(["check", "run.toml"])
        .current_dir(folder.path());
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = command.stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// Damage in a file written by `ncs synth` is reported, or lies in bytes that are never read.
#[test]
fn parquet_files_with_a_changed_byte_are_read_or_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let synth = "synth --rows 200 --click-rate 0.4 --conversion-rate 0.4 --out log";
    done(&ncs(
        folder.path(),
        "",
        &synth.split(' ').collect::<Vec<_>>(),
    ));
    let path = folder.path().join("log/train.parquet");
    let whole = fs::read(&path).unwrap();
    let mut n_refused = 0;
    for number in 0..60 {
        let mut bytes = whole.clone();
        // Start at the end: the footer, which locates everything else, then pages.
        let at = bytes.len() - 1 - number * (bytes.len() - 5) / 60;
        bytes[at] ^= [1, 0x80, 0x55][number % 3];
        fs::write(&path, &bytes).unwrap();
        let output = ncs(folder.path(), "", &["check", "log/run.toml"]);
        if !output.status.success() {
            refused(&output);
            n_refused += 1;
        }
    }
    assert!(n_refused >= 20, "{n_refused} of 60 were refused");
}

/// Files on which the library panicked.
#[test]
fn parquet_files_of_an_earlier_attack_are_refused_in_one_line() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/attacks");
    let entries = fs::read_dir(&shared).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension() == Some(OsStr::new("parquet")));
    if files.is_empty() {
        println!("skipped: ../shared/attacks does not lie beside this clone");
    }
    for path in files {
        let folder = folder(&path.display().to_string());
        let run = folder.path().join("run.toml");
        let columns = "[columns]\nprice = \"numeric\"\ntags = { kind = \"list\" }";
        let text = fs::read_to_string(&run).unwrap();
        fs::write(&run, text.replace("[columns]", columns)).unwrap();
        for verb in [&["check", "run.toml"][..], &TRAIN] {
            let text = refused(&ncs(folder.path(), "", verb));
            assert!(text.contains("damaged"), "{text}");
        }
    }
}
