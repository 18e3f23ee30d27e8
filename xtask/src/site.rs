//! The documentation as a site: `docs/site`, built strictly by MkDocs; and the commands that pages mark as executed.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::python::environment;
use crate::quick_paths;
use crate::steps::{step, target};

/// Builds the site into `target/site/html`, where a dead link or anchor fails, and executes the marked commands of
/// [`quick_paths::PAGES`] with the program that the tests have built.
///
/// # Errors
/// There is no Python, the site has a mistake, or a command fails; the error names it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let start = Instant::now();
    build(root)?;
    println!("== site: {} s", start.elapsed().as_secs());
    let start = Instant::now();
    quick_paths::run(root)?;
    println!("== quick paths: {} s", start.elapsed().as_secs());
    Ok(())
}

fn build(root: &Path) -> Result<(), String> {
    let site = root.join("docs/site");
    let folder = target(root).join("site");
    let python = environment(&site.join("requirements.txt"), &folder.join("environment"))?;
    // Not --quiet: warnings that are not shown do not fail a strict build.
    step(
        Command::new(python)
            .args(["-m", "mkdocs", "build", "--strict", "--clean"])
            .arg("--site-dir")
            .arg(folder.join("html"))
            .current_dir(site)
            .env("NO_MKDOCS_2_WARNING", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}
