//! Runs third-party clients against the server: `tests/clients`, in Python.

use std::path::Path;
use std::process::Command;

use crate::cargo;
use crate::python::environment;
use crate::steps::{step, target};

const TESTS: &str = "tests/clients";

/// Builds the server, installs `tests/clients/requirements.txt` into a virtual environment in
/// the target folder, and runs the tests.
///
/// # Errors
/// There is no Python, or a step fails; the error names it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let target = target(root);
    let required = root.join(TESTS).join("requirements.txt");
    let python = environment(&required, &target.join("clients"))?;
    let built = cargo::build(root, &[])?;
    step(
        Command::new(python)
            .args(["-m", "unittest", "discover", "--verbose"])
            .current_dir(root.join(TESTS))
            .env(
                "NCS",
                built.join(format!("ncs{}", std::env::consts::EXE_SUFFIX)),
            )
            .env(
                "RANK",
                built.join(format!("examples/rank{}", std::env::consts::EXE_SUFFIX)),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}
