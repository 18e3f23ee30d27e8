//! Builds of the program that find what the tests have built.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{step, target};

/// Builds `ncs` and the example `rank` as the tests of `check` have built them, and returns their folder: without further
/// features there is nothing left to do.
///
/// # Errors
/// The build fails.
pub(crate) fn build(root: &Path, features: &[&str]) -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    // All of the workspace with an example: that is what gives dependencies the features that tests give them.
    command.args(["build", "--workspace", "--bin", "ncs", "--example", "rank"]);
    features.iter().for_each(|feature| {
        command.args(["--features", feature]);
    });
    step(command.current_dir(root))?;
    Ok(target(root).join("debug"))
}
