//! Runs third-party clients against the server: `tests/clients`, in Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TESTS: &str = "tests/clients";

/// Builds the server, installs `tests/clients/requirements.txt` into a virtual environment in
/// the target folder, and runs the tests.
///
/// # Errors
/// There is no Python, or a step fails; the error names it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = root.join(target.unwrap_or_else(|| "target".into()));
    let python = environment(&root.join(TESTS), &target.join("clients"))?;
    // The whole workspace, as for the tests of `check`, so that nothing is built twice.
    let build = ["build", "--workspace", "--bin", "ncs", "--example", "rank"];
    step(Command::new("cargo").args(build).current_dir(root))?;
    let built = target.join("debug");
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

/// Returns the Python of the environment in `folder`, with the requirements of the tests installed.
fn environment(tests: &Path, folder: &Path) -> Result<PathBuf, String> {
    const INSTALLED: &str = "requirements.txt";
    let required = tests.join("requirements.txt");
    let requirements =
        fs::read(&required).map_err(|error| format!("{}: {error}", required.display()))?;
    let programs = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = folder.join(programs).join("python");
    if fs::read(folder.join(INSTALLED)).ok().as_ref() == Some(&requirements) {
        return Ok(python);
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    let has_venv = Command::new(system)
        .args(["-c", "import venv, ensurepip"])
        .output();
    if !has_venv.is_ok_and(|output| output.status.success()) {
        return Err(format!(
            "the clients need Python 3.10 or newer, as `{system}`, with its venv module (Debian and Ubuntu: \
             apt-get install python3 python3-venv)"
        ));
    }
    step(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    step(Command::new(&python).args(pip).arg(&required))?;
    // Written last, so that an interrupted installation is repeated.
    let installed = fs::write(folder.join(INSTALLED), requirements);
    installed.map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(python)
}

fn step(command: &mut Command) -> Result<(), String> {
    println!("== {command:?}");
    let status = command
        .status()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("failed: {command:?}")),
    }
}
