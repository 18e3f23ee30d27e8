//! The program under attack: its commands, and the expected results of a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Settings of all runs: small, and with checkpoints, a search, and several validations.
const SETTINGS: [&str; 9] = [
    "training.epochs=2",
    "training.batch=256",
    "training.evaluations_per_epoch=2",
    "network.hidden=[16,8]",
    "search.kind=\"magnitude\"",
    "search.rounds=2",
    "search.epochs_per_round=0.5",
    "evaluation.bootstrap=5",
    "threads=1",
];

/// The program, a log, and the results of a run on it.
pub(super) struct Ncs {
    binary: PathBuf,
    /// All files are below it.
    pub(super) folder: PathBuf,
    /// Result files of runs without faults, by name: with seed 1 and with seed 2.
    pub(super) expected: [BTreeMap<String, Vec<u8>>; 2],
    pub(super) whole_run: Duration,
}

impl Ncs {
    /// Generates a log and trains on it twice.
    pub(super) fn prepare(binary: PathBuf, folder: PathBuf) -> Result<Ncs, String> {
        let _ = fs::remove_dir_all(&folder);
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut ncs = Ncs {
            binary,
            folder,
            expected: [BTreeMap::new(), BTreeMap::new()],
            whole_run: Duration::ZERO,
        };
        let mut synth = ncs.command(&["synth", "--rows", "6000", "--click-rate", "0.3"]);
        ncs.must(
            synth
                .args(["--conversion-rate", "0.3", "--out"])
                .arg(ncs.folder.join("log")),
        )?;
        for seed in [1, 2] {
            let out = ncs.folder.join(format!("whole-{seed}"));
            let start = Instant::now();
            let cache = ncs.folder.join(format!("cache-of-{seed}"));
            ncs.must(&mut ncs.train(&out, seed, &cache))?;
            ncs.whole_run = start.elapsed();
            ncs.expected[seed - 1] = results(&out);
        }
        Ok(ncs)
    }

    /// Returns a quiet command of the program.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--quiet").args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Returns the command of a training into `out`.
    pub(super) fn train(&self, out: &Path, seed: usize, cache: &Path) -> Command {
        let mut command = self.command(&["train"]);
        command.args(self.train_arguments(out, seed, cache));
        command
    }

    /// Returns the same command, started by another program, such as strace.
    pub(super) fn train_under(&self, mut program: Command, out: &Path, cache: &Path) -> Command {
        program.arg(&self.binary).args(["--quiet", "train"]);
        program.args(self.train_arguments(out, 1, cache));
        program
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        program
    }

    fn train_arguments(&self, out: &Path, seed: usize, cache: &Path) -> Vec<String> {
        let mut arguments = vec![
            self.folder.join("log/run.toml").display().to_string(),
            "--out".to_owned(),
            out.display().to_string(),
        ];
        let own = [
            format!("seed={seed}"),
            format!("data.cache={:?}", cache.display().to_string()),
        ];
        // Checkpoints by steps, under whatever name a release has for them.
        for set in SETTINGS.iter().map(|set| (*set).to_owned()).chain(own) {
            arguments.extend(["--set".to_owned(), set]);
        }
        arguments
    }

    /// Runs a command that must succeed.
    pub(super) fn must(&self, command: &mut Command) -> Result<(), String> {
        let output = output(command)?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{command:?}: {}", text(&output)))
        }
    }

    /// Makes an empty folder of this name.
    pub(super) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let _ = fs::remove_dir_all(&path);
        path
    }

    /// Compares the results of a run with the expected ones; returns the difference, if any.
    pub(super) fn differs(&self, out: &Path, seed: usize) -> Option<String> {
        let found = results(out);
        let expected = &self.expected[seed - 1];
        let other = expected
            .iter()
            .find(|(name, bytes)| found.get(*name) != Some(*bytes));
        other.map(|(name, _)| {
            format!(
                "{}: not that of an undisturbed run",
                out.join(name).display()
            )
        })
    }
}

/// Runs a command and returns its output.
pub(super) fn output(command: &mut Command) -> Result<Output, String> {
    command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))
}

/// Returns the standard error of a command, trimmed.
pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Returns how a program misbehaved, if it did: a panic, a signal, or an error without a message.
pub(super) fn misbehaved(output: &Output) -> Option<String> {
    let error = text(output);
    let is_clean =
        output.status.code() == Some(1) && !error.is_empty() && !error.contains("panicked");
    (!output.status.success() && !is_clean).then(|| format!("{}: {error}", output.status))
}

/// Returns the result files of a run: the model and its metrics.
fn results(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["model", ""] {
        let entries = fs::read_dir(out.join(folder))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let name = format!("{folder}/{}", entry.file_name().display());
            let is_result = folder == "model" || name == "/metrics.json";
            if let (true, Ok(bytes)) = (is_result, fs::read(entry.path())) {
                found.insert(name, bytes);
            }
        }
    }
    found
}
