//! The long form of the tests of docs/reliability.md, outside the server: runs that are killed at random moments
//! and at system calls, disks that fail, files whose bytes change, folders and caches that runs share, and sizes
//! that memory cannot hold. `cargo xtask soak --tries 100` takes minutes to hours; every failure is printed.

mod attacks;
mod faults;
mod ncs;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ncs::Ncs;

const USAGE: &str = "usage: cargo xtask soak [--tries N] [--seed S] [--binary target/debug/ncs] [--only ATTACK]
ATTACK: kills, crash_points, disk_errors, flips_in_a_model, flips_in_a_run, two_runs, one_cache, sizes";

/// One attack: what is attacked, the number of tries, and where chance comes from.
type Attack = fn(&Ncs, u64, &mut Random) -> Result<Option<Outcome>, String>;

/// How long and where.
struct Plan {
    tries: u64,
    seed: u64,
    binary: Option<PathBuf>,
    /// The name of one attack; else all.
    only: Option<String>,
}

/// What a kind of attack came to.
struct Outcome {
    what: &'static str,
    tries: u64,
    /// Kills, errors, flips: what was done in these tries.
    blows: u64,
    failures: Vec<String>,
}

/// Random numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Runs every attack and prints a table.
///
/// # Errors
/// An attack did harm, or could not be made.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let plan = plan(arguments)?;
    let binary = match &plan.binary {
        Some(binary) => root.join(binary),
        None => built(root)?,
    };
    let ncs = Ncs::prepare(binary, root.join("target/soak"))?;
    println!(
        "{} tries of each kind, seed {}; a whole run takes {:.2} s",
        plan.tries,
        plan.seed,
        ncs.whole_run.as_secs_f64()
    );
    let attacks: [(&str, Attack); 8] = [
        ("kills", attacks::kills),
        ("crash_points", faults::crash_points),
        ("disk_errors", faults::disk_errors),
        ("flips_in_a_model", attacks::flips_in_a_model),
        ("flips_in_a_run", attacks::flips_in_a_run),
        ("two_runs", attacks::two_runs_in_a_folder),
        ("one_cache", attacks::runs_on_one_cache),
        ("sizes", attacks::sizes),
    ];
    println!("| attack | tries | blows | harm | s |\n|---|---:|---:|---:|---:|");
    let mut failures = Vec::new();
    let is_wanted = |name: &str| plan.only.as_ref().is_none_or(|only| only == name);
    for (_, attack) in attacks.into_iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        let mut random = Random(plan.seed);
        if let Some(outcome) = attack(&ncs, plan.tries, &mut random)? {
            println!(
                "| {} | {} | {} | {} | {} |",
                outcome.what,
                outcome.tries,
                outcome.blows,
                outcome.failures.len(),
                start.elapsed().as_secs()
            );
            // At once: a soak may be stopped before its end.
            for failure in &outcome.failures {
                println!("{failure}");
            }
            failures.extend(outcome.failures);
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{} did harm, see above", failures.len())),
    }
}

fn plan(arguments: &[&str]) -> Result<Plan, String> {
    let mut plan = Plan {
        tries: 20,
        seed: 1,
        binary: None,
        only: None,
    };
    for pair in arguments.chunks(2) {
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is not a number"));
        match pair {
            ["--tries", text] => plan.tries = number(text)?,
            ["--seed", text] => plan.seed = number(text)?,
            ["--binary", path] => plan.binary = Some(path.into()),
            ["--only", name] => plan.only = Some((*name).to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(plan)
}

/// Builds the program for release; its path.
///
/// # Errors
/// It cannot be built.
pub(crate) fn built(root: &Path) -> Result<PathBuf, String> {
    let status = std::process::Command::new("cargo")
        .args(["build", "--release", "--bin", "ncs"])
        .current_dir(root)
        .status();
    let status = status.map_err(|error| format!("cannot run cargo: {error}"))?;
    match status.success() {
        true => Ok(root.join("target/release/ncs")),
        false => Err("the program cannot be built".to_owned()),
    }
}
