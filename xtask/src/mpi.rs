//! `ncs train` on several processes of a real MPI launcher: the same model to rounding, the same bytes on as many ranks, and
//! what happens to a job of which a rank is killed or stopped, or whose disk is full. Installs Open MPI where it is missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: cargo xtask mpi [--tries N] [--binary PATH]";

/// Packages of Debian and Ubuntu with the library, the launcher, and what generates the bindings.
const PACKAGES: [&str; 3] = ["libopenmpi-dev", "openmpi-bin", "libclang-dev"];

/// Settings of all trainings: small, with a mask search, validations and many checkpoints.
const SETTINGS: [&str; 9] = [
    "training.epochs=2",
    "training.batch=256",
    "training.evaluations_per_epoch=2",
    "training.checkpoint_steps=4",
    "network.hidden=[16,8]",
    "search.density=0.5",
    "search.epochs_per_round=0.5",
    "evaluation.bootstrap=0",
    "threads=1",
];

/// Files that equal trainings write identically.
const RESULTS: [&str; 3] = [
    "model/weights.safetensors",
    "model/manifest.json",
    "metrics.json",
];

/// Time within which a job ends after one of its ranks.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Time after which a rank that does not answer ends its job.
const RANK_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for any job; past it, the check fails.
const MOST: Duration = Duration::from_secs(300);

/// Difference of a metric that rounding may make.
const BOUND: f64 = 1e-4;

/// Checks the program, with `--tries` kills; `--binary`: as it is built already.
///
/// # Errors
/// Open MPI is missing and cannot be installed; the program cannot be built; a check fails.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (mut tries, mut binary) = (2, None);
    for pair in arguments.chunks(2) {
        match pair {
            ["--tries", n] => tries = n.parse().map_err(|_| USAGE.to_owned())?,
            ["--binary", path] => binary = Some(root.join(path)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    install()?;
    let binary = binary.map_or_else(|| built(root), Ok)?;
    let job = Job::prepare(root, binary)?;
    let start = Instant::now();
    let checks: [(&str, u64); 4] = [
        ("1, 2 and 3 ranks train one model", job.trains_one_model()?),
        (
            "a killed rank ends its job, which goes on when started again",
            job.kills(tries)?,
        ),
        (
            "a stopped rank ends its job and is named",
            job.stops_a_rank()?,
        ),
        (
            "a full disk ends the job on all ranks",
            job.fills_the_disk()?,
        ),
    ];
    for (check, n) in checks {
        println!("{check}: {n} jobs");
    }
    println!(
        "mpi: {} passed, 0 failed, {} s",
        checks.len(),
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Installs Open MPI if there is none.
fn install() -> Result<(), String> {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if has("mpirun") && has("mpicc") {
        return Ok(());
    }
    println!("== installing {}", PACKAGES.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        succeed(&mut command)
    };
    let installed = apt(&["update", "-q"]).and_then(|()| {
        apt(&[
            &["install", "-y", "-q", "--no-install-recommends"],
            &PACKAGES[..],
        ]
        .concat())
    });
    installed
        .map_err(|why| format!("{why}\ninstall an MPI library, its compiler wrapper and libclang"))
}

/// Builds the program with MPI: all of the workspace, as the tests of `check` are built, so that little is left to do.
fn built(root: &Path) -> Result<PathBuf, String> {
    let build = [
        "build",
        "--workspace",
        "--bin",
        "ncs",
        "--features",
        "ncs4cvr/mpi",
    ];
    succeed(Command::new("cargo").current_dir(root).args(build))?;
    Ok(root.join("target/debug/ncs"))
}

/// Runs a command that must succeed, its output shown.
fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// The program, a log, and a folder for the trainings.
struct Job {
    binary: PathBuf,
    folder: PathBuf,
}

/// How a job is started.
#[derive(Clone, Copy)]
struct Start<'a> {
    ranks: usize,
    out: &'a str,
    /// Shell command before the program's.
    before: &'a str,
}

impl Job {
    /// Generates a log.
    fn prepare(root: &Path, binary: PathBuf) -> Result<Job, String> {
        let job = Job {
            binary,
            folder: root.join("target/mpi"),
        };
        let _ = fs::remove_dir_all(&job.folder);
        fs::create_dir_all(&job.folder)
            .map_err(|error| format!("{}: {error}", job.folder.display()))?;
        let mut synth = Command::new(&job.binary);
        let log = ["--quiet", "synth", "--rows", "6000", "--click-rate", "0.3"];
        synth.args(log).args(["--conversion-rate", "0.3", "--out"]);
        succeed(synth.arg(job.folder.join("log")))?;
        Ok(job)
    }

    /// Starts a training on ranks of Open MPI; on one rank, without it.
    fn start(&self, start: Start<'_>) -> Result<Child, String> {
        let mut script = format!(
            "{} exec {:?} --quiet train {:?} --out {:?} --rank-timeout {}s",
            start.before,
            self.binary,
            self.folder.join("log/run.toml"),
            self.folder.join(start.out),
            RANK_TIMEOUT.as_secs(),
        );
        for set in SETTINGS {
            script += &format!(" --set '{set}'");
        }
        let mut command = match start.ranks {
            1 => Command::new("sh"),
            n => {
                let mut mpirun = Command::new("mpirun");
                mpirun.args([
                    "--oversubscribe",
                    "--bind-to",
                    "none",
                    "-n",
                    &n.to_string(),
                    "sh",
                ]);
                mpirun
            }
        };
        command.args(["-c", &script]);
        // Open MPI asks whether root knows what it does.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1");
        command.env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        child.map_err(|error| format!("{command:?}: {error}"))
    }

    /// Trains to the end and returns the results.
    fn train(&self, ranks: usize, out: &str) -> Result<BTreeMap<&'static str, Vec<u8>>, String> {
        let before = "";
        let output = ended(self.start(Start { ranks, out, before })?)?;
        if !output.status.success() {
            return Err(format!(
                "{ranks} ranks: {}: {}",
                output.status,
                text(&output)
            ));
        }
        let read = |name| {
            let path = self.folder.join(out).join(name);
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
            Ok((name, bytes?))
        };
        RESULTS.into_iter().map(read).collect()
    }

    fn trains_one_model(&self) -> Result<u64, String> {
        let alone = self.train(1, "one")?;
        let two = self.train(2, "two")?;
        if self.train(2, "again")? != two {
            return Err("two trainings on 2 ranks differ in their bytes".to_owned());
        }
        for (n, results) in [(2, two), (3, self.train(3, "three")?)] {
            let [one, more] = [&alone, &results].map(|files| numbers(&files["metrics.json"]));
            let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= BOUND * b.abs().max(1.0);
            if one.len() != more.len() || !one.iter().zip(&more).all(is_near) {
                return Err(format!(
                    "the metrics of {n} ranks are not those of one: {one:?}, {more:?}"
                ));
            }
        }
        Ok(4)
    }

    /// Kills ranks at moments spread over a training, and starts the job again.
    fn kills(&self, tries: u64) -> Result<u64, String> {
        let begun = Instant::now();
        let whole = self.train(2, "whole")?;
        let whole_run = begun.elapsed();
        let out = "killed";
        for n in 0..tries {
            let _ = fs::remove_dir_all(self.folder.join(out));
            let mut job = self.start(Start {
                ranks: 2,
                out,
                before: "",
            })?;
            std::thread::sleep(whole_run.mul_f64((n as f64 + 0.5) / tries as f64 * 0.8));
            let (victim, ranks) = (n as usize % 2, ranks_of(job.id()));
            if let Some(&process) = ranks.get(victim)
                && job.try_wait().is_ok_and(|status| status.is_none())
            {
                signal("KILL", process)?;
                let killed = Instant::now();
                let output = ended(job)?;
                let message = text(&output);
                if output.status.success() || killed.elapsed() > ENDS_WITHIN {
                    return Err(format!(
                        "after a kill: {}, {:?}",
                        output.status,
                        killed.elapsed()
                    ));
                }
                if !message.contains(&format!("rank {victim}")) {
                    return Err(format!(
                        "rank {victim} was killed and is not named: {message}"
                    ));
                }
                none_left(&ranks)?;
            } else {
                ended(job)?;
            }
            if self.train(2, out)? != whole {
                return Err(format!(
                    "kill {n}: the results are not those of an undisturbed run"
                ));
            }
        }
        Ok(1 + 2 * tries)
    }

    fn stops_a_rank(&self) -> Result<u64, String> {
        let (out, before) = ("stopped", "");
        let job = self.start(Start {
            ranks: 2,
            out,
            before,
        })?;
        let checkpoint = self.folder.join(out).join("checkpoint.safetensors");
        let begun = Instant::now();
        while !checkpoint.exists() && begun.elapsed() < MOST {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ranks = ranks_of(job.id());
        let Some(&process) = ranks.get(1) else {
            return Err("the job has no second rank".to_owned());
        };
        signal("STOP", process)?;
        let output = ended(job)?;
        let (message, named) = (text(&output), "rank 1 of 2 has sent nothing for 2 s");
        if output.status.success() || !message.contains(named) {
            return Err(format!("rank 1 was stopped: {}: {message}", output.status));
        }
        none_left(&ranks)?;
        Ok(1)
    }

    fn fills_the_disk(&self) -> Result<u64, String> {
        // Blocks of 512 bytes: the rows as ids fit, a checkpoint does not.
        let (out, before) = ("full", "ulimit -f 900;");
        let output = ended(self.start(Start {
            ranks: 2,
            out,
            before,
        })?)?;
        let message = text(&output);
        if output.status.success() || !message.contains("rank 0 of 2: ") {
            return Err(format!("a full disk: {}: {message}", output.status));
        }
        Ok(1)
    }
}

/// Waits for a job, and ends it if it takes too long.
fn ended(mut job: Child) -> Result<Output, String> {
    let begun = Instant::now();
    let failed = |error: std::io::Error| error.to_string();
    while job.try_wait().map_err(failed)?.is_none() {
        if begun.elapsed() > MOST {
            job.kill().map_err(failed)?;
            return Err(format!("a job has not ended within {MOST:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    job.wait_with_output().map_err(failed)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Returns the processes of a job's ranks in their order: the children of the launcher.
fn ranks_of(launcher: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut ranks: Vec<(usize, u32)> = processes
        .filter_map(process)
        .filter(|&process| parent_of(process) == Some(launcher))
        .filter_map(|process| Some((rank_of(process)?, process)))
        .collect();
    ranks.sort_unstable();
    ranks.into_iter().map(|(_, process)| process).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}

fn rank_of(process: u32) -> Option<usize> {
    let variables = fs::read(format!("/proc/{process}/environ")).ok()?;
    let own = variables.split(|&byte| byte == 0).find_map(|variable| {
        std::str::from_utf8(variable)
            .ok()?
            .strip_prefix("OMPI_COMM_WORLD_RANK=")
    })?;
    own.parse().ok()
}

fn signal(name: &str, process: u32) -> Result<(), String> {
    succeed(Command::new("kill").args(["-s", name, &process.to_string()]))
}

/// Checks that these processes have ended.
fn none_left(processes: &[u32]) -> Result<(), String> {
    let begun = Instant::now();
    let is_there = |process: &&u32| Path::new(&format!("/proc/{process}")).exists();
    while let Some(process) = processes.iter().find(is_there) {
        if begun.elapsed() > ENDS_WITHIN {
            return Err(format!(
                "process {process} of a job that has ended is still there"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns the numbers of a JSON text, in order.
fn numbers(json: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(json);
    let words = text.split(|c: char| c.is_whitespace() || ",:[]{}".contains(c));
    words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_json_text_are_found() {
        let json = br#"{"a": 1.5, "b": [-2e-3, null, "3"], "c4": {"d":5}}"#;
        assert_eq!(numbers(json), [1.5, -2e-3, 5.0]);
    }

    #[test]
    fn a_process_is_the_child_of_its_parent() {
        let own = std::process::id();
        let mut child = Command::new("sleep")
            .arg("20")
            .env("OMPI_COMM_WORLD_RANK", "3")
            .spawn()
            .unwrap();
        while rank_of(child.id()) != Some(3) {
            std::thread::yield_now();
        }
        assert_eq!(parent_of(child.id()), Some(own));
        assert!(ranks_of(own).contains(&child.id()));
        signal("KILL", child.id()).unwrap();
        child.wait().unwrap();
        none_left(&[child.id()]).unwrap();
    }
}
