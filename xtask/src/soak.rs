//! The long form of the tests of docs/reliability.md, without the server: runs killed at random moments and at
//! system calls, failing disks, changed bytes, folders and caches shared by runs, and sizes beyond the memory.
//! `cargo xtask soak --tries 100` takes minutes to hours; every failure is printed.

mod attacks;
mod faults;
mod ncs;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ncs::Ncs;

const USAGE: &str = "usage: cargo xtask soak [--tries N] [--seed S] [--binary target/debug/ncs] [--only ATTACK]
ATTACK: kills, crash_points, disk_errors, flips_in_a_model, flips_in_a_run, two_runs, one_cache, sizes";

/// An attack: takes the program, the number of tries, and random numbers.
type Attack = fn(&Ncs, u64, &mut Random) -> Result<Option<AttackResult>, String>;

/// The arguments of the command.
struct Plan {
    tries: u64,
    seed: u64,
    binary: Option<PathBuf>,
    /// The name of the only attack to run (default: all).
    only: Option<String>,
}

/// The result of one attack.
struct AttackResult {
    name: &'static str,
    tries: u64,
    /// Number of kills, injected errors or flipped bits in these tries.
    faults: u64,
    failures: Vec<String>,
}

/// Random numbers by SplitMix64.
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
/// An attack did harm, or could not be run.
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
    println!("| attack | tries | faults | harm | s |\n|---|---:|---:|---:|---:|");
    let mut failures = Vec::new();
    let is_selected = |name: &str| plan.only.as_ref().is_none_or(|only| only == name);
    for (_, attack) in attacks.into_iter().filter(|(name, _)| is_selected(name)) {
        let start = Instant::now();
        let mut random = Random(plan.seed);
        if let Some(result) = attack(&ncs, plan.tries, &mut random)? {
            println!(
                "| {} | {} | {} | {} | {} |",
                result.name,
                result.tries,
                result.faults,
                result.failures.len(),
                start.elapsed().as_secs()
            );
            // Printed at once, since a soak may be stopped early.
            for failure in &result.failures {
                println!("{failure}");
            }
            failures.extend(result.failures);
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} did harm, see above", failures.len()))
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

/// Builds the program for release and returns its path.
///
/// # Errors
/// The build fails.
pub(crate) fn built(root: &Path) -> Result<PathBuf, String> {
    let status = std::process::Command::new("cargo")
        .args(["build", "--release", "--bin", "ncs"])
        .current_dir(root)
        .status();
    let status = status.map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(root.join("target/release/ncs"))
    } else {
        Err("the program cannot be built".to_owned())
    }
}
