//! Development commands of the workspace. CI runs `cargo xtask check`, `clients`, `wheel`, `site` and `mpi` for every change.

mod attacks;
mod cargo;
mod check;
mod clients;
mod deny;
mod mpi;
mod python;
mod quick_paths;
mod results;
mod site;
mod soak;
mod steps;
mod tidy;
mod wheel;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask attacks the scripts of ../shared/attacks under 1 GiB (docs/reliability.md)
       cargo xtask check   format, dependencies, clippy, tests (tidy among them), docs
       cargo xtask clients Python clients, tritonclient among them, against `ncs serve`
       cargo xtask deny    dependencies only: licences, duplicates, bans, sources, and advisories by cargo-deny
       cargo xtask mpi     training on several processes under mpirun; installs Open MPI where it is missing [--tries N: kills]
       cargo xtask tidy    only what ARCHITECTURE.md promises about files and imports
       cargo xtask results run the shipped comparisons; write docs/results.md and runs/compare/results.md
       cargo xtask integrations the Python package in a local Spark and a local Ray (0.5 GB of packages, and Java 17)
       cargo xtask site    build the documentation as a site (target/site/html); run the commands that pages mark as executed
       cargo xtask wheel   build the Python package, install it where nothing is, run its tests [--release: as shipped]
       cargo xtask soak    kill, starve and damage runs, --tries N of each kind (docs/reliability.md)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["attacks", ref rest @ ..] => attacks::run(root(), rest),
        ["check"] => check::run(root()),
        ["clients"] => clients::run(root()),
        ["deny"] => deny::run(root()),
        ["integrations"] => wheel::integrations(root()),
        ["mpi", ref rest @ ..] => mpi::run(root(), rest),
        ["results"] => results::run(root()),
        ["site"] => site::run(root()),
        ["soak", ref rest @ ..] => soak::run(root(), rest),
        ["tidy"] => tidy::run(root()),
        ["wheel", ref rest @ ..] => wheel::run(root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the root folder of the workspace.
fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the workspace")
}
