//! Virtual environments of Python in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::step;

/// The Python of the environment in `folder`, which has what the file `required` names.
///
/// # Errors
/// There is no Python, or a step fails; the error names it.
pub(crate) fn environment(required: &Path, folder: &Path) -> Result<PathBuf, String> {
    const INSTALLED: &str = "requirements.txt";
    let wanted = fs::read(required).map_err(|error| format!("{}: {error}", required.display()))?;
    let programs = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = folder.join(programs).join("python");
    if fs::read(folder.join(INSTALLED)).ok().as_ref() == Some(&wanted) {
        return Ok(python);
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    let has_venv = Command::new(system)
        .args(["-c", "import venv, ensurepip"])
        .output();
    if !has_venv.is_ok_and(|output| output.status.success()) {
        return Err(format!(
            "this needs Python 3.10 or newer, as `{system}`, with its venv module (Debian and Ubuntu: apt-get \
             install python3 python3-venv)"
        ));
    }
    step(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    step(pip(&python).arg("--requirement").arg(required))?;
    // Last, so that an installation that was stopped is done again.
    let installed = fs::write(folder.join(INSTALLED), wanted);
    installed.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(python)
}

/// `pip install` in an environment, of what is still to be named.
pub(crate) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command
}
