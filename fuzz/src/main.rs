//! `cargo run --release -p ncs-fuzz -- TARGET|all [--inputs N] [--seed S] [--input FILE] [--keep-last]`, or `growth`

use ncs_fuzz::drive::{Figures, Plan, run};
use ncs_fuzz::growth::{self, MOST_EXPONENT, exponent, measure};
use ncs_fuzz::targets::{ALL, Target, named};
use ncs_fuzz::watch::watch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: ncs-fuzz TARGET|all [--inputs N] [--seed S]   make inputs and try them
       ncs-fuzz TARGET --input FILE               try this one
       ncs-fuzz growth                            cost by size
--keep-last writes each input to a file before it is tried: for one that ends the process";

struct Arguments {
    targets: Vec<Target>,
    plan: Plan,
    input: Option<PathBuf>,
    keeps_last: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let outcome = match words.peek().map(String::as_str) {
        Some("growth") => grow(),
        _ => arguments(words).and_then(|arguments| work(&arguments)),
    };
    match outcome {
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
            shrinks: true,
        },
        input: None,
        keeps_last: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(USAGE);
        match word.as_str() {
            "--inputs" => arguments.plan.inputs = value()?.parse().map_err(|_| USAGE)?,
            "--seed" => arguments.plan.seed = value()?.parse().map_err(|_| USAGE)?,
            "--input" => arguments.input = Some(value()?.into()),
            "--keep-last" => arguments.keeps_last = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(arguments)
}

fn unknown(name: &str) -> String {
    let known = ALL.map(|target| target.name).join(", ");
    format!("no target \"{name}\"; there are {known}, and all")
}

/// The number of failures.
fn work(arguments: &Arguments) -> Result<usize, String> {
    if let Some(path) = &arguments.input {
        return again(&arguments.targets[0], path);
    }
    let mut n_failures = 0;
    for target in &arguments.targets {
        let last = failures().join(format!("{}-last", target.name));
        let before = |input: &[u8]| {
            if arguments.keeps_last {
                write(&last, input);
            }
        };
        let figures = run(target, arguments.plan, before, |figures| {
            say(target, figures)
        });
        say(target, &figures);
        figures
            .failures
            .values()
            .for_each(|failure| tell(target, failure));
        n_failures += figures.failures.len();
    }
    Ok(n_failures)
}

/// Prints what each kind of input costs by its size; the number of kinds whose cost grows too fast.
fn grow() -> Result<usize, String> {
    println!("| what grows | number | bytes | ms | most memory, bytes | power of the size |");
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
                    n_failures += usize::from(power > MOST_EXPONENT);
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

/// Tries one input.
fn again(target: &Target, path: &Path) -> Result<usize, String> {
    let input = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let seen = watch(target, &input);
    println!("{seen:#?}");
    Ok(usize::from(seen.failure.is_some()))
}

fn say(target: &Target, figures: &Figures) {
    println!(
        "{:<12} {:>8} inputs, {:>4.1} % accepted, {:>4} refusals, {:>4} kept, {:>9} bytes at most, \
         slowest {:>5.1} ms, {:>6.1} s, {} failures",
        target.name,
        figures.inputs,
        100.0 * figures.accepted as f64 / figures.inputs.max(1) as f64,
        figures.refusals,
        figures.kept,
        figures.peak,
        1e3 * figures.slowest.as_secs_f64(),
        figures.time.as_secs_f64(),
        figures.failures.len(),
    );
}

fn tell(target: &Target, failure: &ncs_fuzz::drive::Failure) {
    let hash = blake3::hash(&failure.input).to_hex();
    let path = failures().join(format!("{}-{}", target.name, &hash[..12]));
    write(&path, &failure.input);
    println!(
        "\n{}: {} ({} inputs)\n  cargo run --release -p ncs-fuzz -- {} --input {}",
        target.name,
        failure.why,
        failure.times,
        target.name,
        path.display()
    );
}

/// Where failing inputs are kept.
fn failures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("failures")
}

fn write(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("it lies in a folder");
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
}
