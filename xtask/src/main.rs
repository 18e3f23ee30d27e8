//! What a change must pass before it lands: `cargo xtask check`, and `cargo xtask clients`.

mod check;
mod clients;
mod results;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask check   format, clippy, tests (tidy among them), docs
       cargo xtask clients Python clients, tritonclient among them, against `ncs serve`
       cargo xtask tidy    only what ARCHITECTURE.md promises about files and imports
       cargo xtask results run the shipped comparisons and write docs/results.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check::run(root()),
        ["clients"] => clients::run(root()),
        ["results"] => results::run(root()),
        ["tidy"] => tidy::run(root()),
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

/// The folder of the workspace.
fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the workspace")
}
