//! The Python package: built as a wheel, installed where nothing of it was, tested there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::python::{environment, pip};
use crate::steps::{step, target};

const PACKAGE: &str = "bindings/python";

/// Builds the wheel with maturin, installs it into a virtual environment of the target folder, and runs its tests.
/// It has the dependencies that `check` has built, tests included, unless `--release` is given: then it is what
/// is shipped.
///
/// # Errors
/// There is no Python, or a step fails; the error names it.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let profile: &[&str] = match arguments {
        [] => &["--profile", "dev", "--features", "as-tested"],
        ["--release"] => &["--release"],
        _ => return Err("usage: cargo xtask wheel [--release]".to_owned()),
    };
    test(root, profile, "tests", "requirements.txt")
}

/// The same with the tests that need much to be installed: a local Spark (and Java) and a local Ray.
///
/// # Errors
/// As [`run`].
pub(crate) fn integrations(root: &Path) -> Result<(), String> {
    let profile = ["--profile", "dev", "--features", "as-tested"];
    test(
        root,
        &profile,
        "integrations",
        "requirements-integrations.txt",
    )
}

/// Builds the wheel, installs it beside what `required` names, and runs the tests in the folder `tests`.
fn test(root: &Path, profile: &[&str], tests: &str, required: &str) -> Result<(), String> {
    let folder = target(root).join("wheel");
    let package = root.join(PACKAGE);
    let start = Instant::now();
    let wheel = build(&package, &folder, profile)?;
    println!("== {}: {} s", wheel.display(), start.elapsed().as_secs());
    let python = environment(&package.join(required), &folder.join(tests))?;
    // Without what it needs: that is there, and as the tests want it.
    step(
        pip(&python)
            .args(["--force-reinstall", "--no-deps"])
            .arg(&wheel),
    )?;
    let start = Instant::now();
    step(
        Command::new(&python)
            .args([
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "--durations=5",
                tests,
            ])
            .current_dir(&package)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )?;
    println!("== {tests} of the wheel: {} s", start.elapsed().as_secs());
    Ok(())
}

/// The wheel that maturin, of an environment of its own, builds into `folder`.
fn build(package: &Path, folder: &Path, profile: &[&str]) -> Result<PathBuf, String> {
    let python = environment(
        &package.join("requirements-build.txt"),
        &folder.join("maturin"),
    )?;
    let built = folder.join("built");
    let old = fs::remove_dir_all(&built);
    if let Err(error) = old
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("{}: {error}", built.display()));
    }
    step(
        Command::new(&python)
            .args(["-m", "maturin", "build", "--locked", "--out"])
            .arg(&built)
            .args(profile)
            .arg("--interpreter")
            .arg(&python)
            .current_dir(package),
    )?;
    let files = fs::read_dir(&built).map_err(|error| format!("{}: {error}", built.display()))?;
    let paths = files.filter_map(|entry| Some(entry.ok()?.path()));
    let mut wheels = paths.filter(|path| path.extension().is_some_and(|end| end == "whl"));
    let wheel = wheels.next();
    wheel.ok_or_else(|| format!("{}: maturin left no wheel", built.display()))
}
