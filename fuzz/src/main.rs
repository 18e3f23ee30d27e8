//! `cargo run --release -p ncs-fuzz -- TARGET|all [--inputs N] [--seed S] [--input FILE] [--keep-last]`, or `growth`

use ncs_fuzz::drive::{Plan, Statistics, run};
use ncs_fuzz::growth::{self, MAX_EXPONENT, exponent, measure};
use ncs_fuzz::targets::{ALL, Target, named};
use ncs_fuzz::watch::watch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: ncs-fuzz TARGET|all [--inputs N] [--seed S]   generate inputs and run the target on them
       ncs-fuzz TARGET --input FILE               run the target on this input
       ncs-fuzz growth                            measure cost by input size
--keep-last writes each input to a file before it is run, to find one that ends the process";

struct Arguments {
    targets: Vec<Target>,
    plan: Plan,
    input: Option<PathBuf>,
    keep_last: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let result = match words.peek().map(String::as_str) {
        Some("growth") => grow(),
        _ => arguments(words).and_then(|arguments| fuzz(&arguments)),
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n) => {
            eprintln!("{n} failures");
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let name = words.next().ok_or(USAGE)?;
    let targets = match name.as_str() {
        "all" => ALL.to_vec(),
        name => vec![named(name).ok_or_else(|| unknown(name))?],
    };
    let mut arguments = Arguments {
        targets,
        plan: Plan {
            inputs: 1_000_000,
            seed: 1,
            shrink: true,
        },
        input: None,
        keep_last: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(USAGE);
        match word.as_str() {
            "--inputs" => arguments.plan.inputs = value()?.parse().map_err(|_| USAGE)?,
            "--seed" => arguments.plan.seed = value()?.parse().map_err(|_| USAGE)?,
            "--input" => arguments.input = Some(value()?.into()),
            "--keep-last" => arguments.keep_last = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(arguments)
}

fn unknown(name: &str) -> String {
    let known = ALL.map(|target| target.name).join(", ");
    format!("no target \"{name}\"; there are {known}, and all")
}

/// Runs the targets, or one input. Returns the number of failures.
fn fuzz(arguments: &Arguments) -> Result<usize, String> {
    if let Some(path) = &arguments.input {
        return run_input(&arguments.targets[0], path);
    }
    let mut n_failures = 0;
    for target in &arguments.targets {
        let last = failures().join(format!("{}-last", target.name));
        let before = |input: &[u8]| {
            if arguments.keep_last {
                write(&last, input);
            }
        };
        let statistics = run(target, arguments.plan, before, |statistics| {
            print_statistics(target, statistics)
        });
        print_statistics(target, &statistics);
        statistics
            .failures
            .values()
            .for_each(|failure| report(target, failure));
        n_failures += statistics.failures.len();
    }
    Ok(n_failures)
}

/// Prints the cost of each kind of input by its size. Returns the number of kinds whose cost grows too fast.
fn grow() -> Result<usize, String> {
    println!("| input | number | bytes | ms | peak memory, bytes | exponent |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut n_failures = 0;
    for kind in &growth::ALL {
        let mut costs = Vec::new();
        for n in kind.sizes() {
            let cost = measure(kind, n, 5)?;
            let milliseconds = 1e3 * cost.time.as_secs_f64();
            costs.push((n, milliseconds));
            let power = match costs[..] {
                [(first, before), .., (last, after)] if costs.len() == kind.sizes().len() => {
                    let power = exponent([first, last], [before, after]);
                    n_failures += usize::from(power > MAX_EXPONENT);
                    format!("{power:.2}")
                }
                _ => String::new(),
            };
            println!(
                "| {} | {n} | {} | {milliseconds:.2} | {} | {power} |",
                kind.name, cost.n_bytes, cost.peak
            );
        }
    }
    Ok(n_failures)
}

/// Runs a target on one input.
fn run_input(target: &Target, path: &Path) -> Result<usize, String> {
    let input = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let observation = watch(target, &input);
    println!("{observation:#?}");
    Ok(usize::from(observation.failure.is_some()))
}

fn print_statistics(target: &Target, statistics: &Statistics) {
    println!(
        "{:<12} {:>8} inputs, {:>4.1} % accepted, {:>4} errors, {:>4} kept, {:>9} bytes at most, \
         slowest {:>5.1} ms, {:>6.1} s, {} failures",
        target.name,
        statistics.inputs,
        100.0 * statistics.accepted as f64 / statistics.inputs.max(1) as f64,
        statistics.errors,
        statistics.kept,
        statistics.peak,
        1e3 * statistics.slowest.as_secs_f64(),
        statistics.time.as_secs_f64(),
        statistics.failures.len(),
    );
}

fn report(target: &Target, failure: &ncs_fuzz::drive::Failure) {
    let hash = blake3::hash(&failure.input).to_hex();
    let path = failures().join(format!("{}-{}", target.name, &hash[..12]));
    write(&path, &failure.input);
    println!(
        "\n{}: {} ({} inputs)\n  cargo run --release -p ncs-fuzz -- {} --input {}",
        target.name,
        failure.message,
        failure.count,
        target.name,
        path.display()
    );
}

/// Returns the folder of failing inputs.
fn failures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("failures")
}

fn write(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("the path has a folder");
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
}
