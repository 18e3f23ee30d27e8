//! `ncs train` on several processes of a real MPI launcher: the same model to rounding, the same bytes on as many ranks, and
//! what happens to a job of which a rank is killed or stopped, or whose disk is full. Installs Open MPI where it is missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cargo;

mod kills;
mod processes;
mod scaling;

use kills::Kills;
use processes::{ended, none_left, ranks_of, signal, text};

const USAGE: &str =
    "usage: cargo xtask mpi [--tries N] [--seed N] [--binary PATH] [--scaling REPEATS]";

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

/// Run-file setting of tables in shards.
const SHARDED: &str = "distributed.tables=\"sharded\"";

/// Checks the program, with `--tries` kills at moments that follow from `--seed`; `--binary`: as it is built already. With
/// `--scaling`, only measures what two ranks cost beside two processes (a release build tells more).
///
/// # Errors
/// Open MPI is missing and cannot be installed; the program cannot be built; a check fails.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let (mut tries, mut binary, mut repeats) = (20, None, None);
    let mut seed = now.map_or(0, |time| time.as_secs());
    for pair in arguments.chunks(2) {
        let number = |text: &str| text.parse::<u64>().map_err(|_| USAGE.to_owned());
        match pair {
            ["--tries", n] => tries = number(n)?,
            ["--seed", n] => seed = number(n)?,
            ["--scaling", n] => repeats = Some(number(n)?),
            ["--binary", path] => binary = Some(root.join(path)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    install()?;
    let binary = binary.map_or_else(|| built(root), Ok)?;
    let job = Job::prepare(root, binary)?;
    if let Some(repeats) = repeats {
        return job.scaling(repeats);
    }
    let start = Instant::now();
    let checks: [(&str, u64); 4] = [
        (
            "1, 2 and 3 ranks train one model, with whole tables and shards",
            job.trains_one_model()?,
        ),
        (
            "a killed rank ends its job, which goes on when started again",
            job.kills(Kills { tries, seed })?,
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
    Ok(cargo::build(root, &["ncs4cvr/mpi"])?.join("ncs"))
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

/// Results of a training, by file.
type Results = BTreeMap<&'static str, Vec<u8>>;

/// How a job is started.
#[derive(Clone, Copy)]
struct Start<'a> {
    ranks: usize,
    out: &'a str,
    /// Shell command before the program's.
    before: &'a str,
    /// Settings beside those of all.
    sets: &'a [&'a str],
    /// Time after which a rank that does not answer ends the job.
    rank_timeout: Duration,
    /// True if it prints its progress.
    is_verbose: bool,
}

impl<'a> Start<'a> {
    fn new(ranks: usize, out: &'a str, sets: &'a [&'a str]) -> Start<'a> {
        Start {
            ranks,
            out,
            before: "",
            sets,
            rank_timeout: RANK_TIMEOUT,
            is_verbose: false,
        }
    }
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
        self.start_on("log", "", start)
    }

    /// Starts a training on a log, with a flag.
    fn start_on(&self, log: &str, flag: &str, start: Start<'_>) -> Result<Child, String> {
        let mut script = format!(
            "{} exec {:?} {} train {:?} {flag} --out {:?} --rank-timeout {}s",
            start.before,
            self.binary,
            if start.is_verbose { "" } else { "--quiet" },
            self.folder.join(log).join("run.toml"),
            self.folder.join(start.out),
            start.rank_timeout.as_secs(),
        );
        for set in SETTINGS.iter().chain(start.sets) {
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
    fn train(&self, start: Start<'_>) -> Result<Results, String> {
        let output = ended(self.start(start)?)?;
        if !output.status.success() {
            return Err(format!(
                "{} ranks: {}: {}",
                start.ranks,
                output.status,
                text(&output)
            ));
        }
        let read = |name| {
            let path = self.folder.join(start.out).join(name);
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
            Ok((name, bytes?))
        };
        RESULTS.into_iter().map(read).collect()
    }

    fn trains_one_model(&self) -> Result<u64, String> {
        let alone = self.train(Start::new(1, "one", &[]))?;
        for (name, sets) in [("whole", &[][..]), ("shards", &[SHARDED])] {
            let out = |what: &str| format!("{name}-{what}");
            let two = self.train(Start::new(2, &out("two"), sets))?;
            if self.train(Start::new(2, &out("again"), sets))? != two {
                return Err(format!(
                    "two trainings on 2 ranks differ in their bytes: {name}"
                ));
            }
            let three = self.train(Start::new(3, &out("three"), sets))?;
            for (n, results) in [(2, two), (3, three)] {
                let [one, more] = [&alone, &results].map(|files| numbers(&files["metrics.json"]));
                let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= BOUND * b.abs().max(1.0);
                if one.len() != more.len() || !one.iter().zip(&more).all(is_near) {
                    return Err(format!(
                        "the metrics of {n} ranks are not those of one, {name}: {one:?}, {more:?}"
                    ));
                }
            }
        }
        Ok(7)
    }

    fn stops_a_rank(&self) -> Result<u64, String> {
        let out = "stopped";
        let job = self.start(Start::new(2, out, &[]))?;
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
        let start = Start {
            before: "ulimit -f 900;",
            ..Start::new(2, "full", &[])
        };
        let output = ended(self.start(start)?)?;
        let message = text(&output);
        if output.status.success() || !message.contains("rank 0 of 2: ") {
            return Err(format!("a full disk: {}: {message}", output.status));
        }
        Ok(1)
    }
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
}
