//! Steps of a check: commands that are printed before they run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command and prints it.
///
/// # Errors
/// It cannot be run, or it fails.
pub(crate) fn step(command: &mut Command) -> Result<(), String> {
    println!("== {command:?}");
    let status = without_package(command)
        .status()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed: {command:?}"))
    }
}

/// Takes from a command the variables by which cargo describes the package that it runs, this one. Build scripts that look
/// at them would run again, with all that depends on them, whenever somebody builds with and without this program in turns.
pub(crate) fn without_package(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let describes = |start: &&str| name.to_string_lossy().starts_with(start);
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(describes) {
            command.env_remove(name);
        }
    }
    command
}

/// The target folder of the workspace at `root`.
pub(crate) fn target(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root.join(target.unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_does_not_see_which_package_runs_it() {
        assert!(
            std::env::var_os("CARGO_PKG_NAME").is_some(),
            "cargo sets it"
        );
        let mut command = Command::new("env");
        let output = without_package(&mut command).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("PATH="), "{text}");
        assert!(
            !text.contains("CARGO_PKG_") && !text.contains("CARGO_MANIFEST_"),
            "{text}"
        );
    }
}
