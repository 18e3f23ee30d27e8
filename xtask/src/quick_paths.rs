//! Executes the commands of documentation pages, so that they stay true.
//!
//! A page marks a fenced block of shell commands by the comment `<!-- executed -->` in the line before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::steps::{step, target};

/// Pages with marked blocks, relative to the root. The blocks of a page run in order, in one empty folder.
pub(crate) const PAGES: &[&str] = &[
    "README.md",
    "docs/getting_started.md",
    "docs/training_further.md",
    "docs/forgetting.md",
    "docs/drift.md",
];

const MARK: &str = "<!-- executed -->";

/// Executes the marked blocks of all pages with `ncs` as `cargo xtask check` has built it.
///
/// # Errors
/// `ncs` cannot be built, a page has no marked block, or a command fails.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let path = search_path(&cargo::build(root, &[])?)?;
    let target = target(root);
    for page in PAGES {
        let text = read(&root.join(page))?;
        let folder = target.join("site/quick_paths").join(page.replace('/', "_"));
        empty(&folder)?;
        step(
            Command::new("sh")
                .args(["-e", "-u", "-x", "-c", &commands(page, &text)?])
                .current_dir(folder)
                .env("PATH", &path),
        )
        .map_err(|error| format!("{page}: {error}"))?;
    }
    Ok(())
}

/// The search path of programs, with `folder` first.
fn search_path(folder: &Path) -> Result<std::ffi::OsString, String> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others));
    std::env::join_paths(folders).map_err(|error| format!("{}: {error}", folder.display()))
}

fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Makes an empty folder, in place of an old one.
fn empty(folder: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)
}

/// The commands of the marked blocks of a page, in order.
///
/// # Errors
/// No block is marked, a mark stands before something else than a block, or a block has no end.
fn commands(page: &str, text: &str) -> Result<String, String> {
    let mut found = String::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line.trim() != MARK {
            continue;
        }
        let start = lines.next().map(|(line, _)| line);
        if start != Some("```sh") {
            return Err(format!(
                "{page}:{number}: after {MARK} a block that starts with ```sh must follow"
            ));
        }
        loop {
            match lines.next() {
                Some(("```", _)) => break,
                Some((line, _)) => found.extend([line, "\n"]),
                None => return Err(format!("{page}:{number}: the block has no end")),
            }
        }
    }
    if found.is_empty() {
        Err(format!("{page}: no block is marked by {MARK}"))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_found_in_order() {
        let text = "a\n<!-- executed -->\n```sh\nncs a\nncs b\n```\n```sh\nnot this\n```\n<!-- executed -->\n```sh\nncs c\n```\n";
        assert_eq!(
            commands("p.md", text),
            Ok("ncs a\nncs b\nncs c\n".to_owned())
        );
    }

    #[test]
    fn a_mark_without_a_block_is_an_error() {
        let check = |text: &str, expected: &str| {
            assert_eq!(commands("p.md", text), Err(expected.to_owned()));
        };
        check("text\n", "p.md: no block is marked by <!-- executed -->");
        check(
            "<!-- executed -->\n\n```sh\nncs\n```\n",
            "p.md:1: after <!-- executed --> a block that starts with ```sh must follow",
        );
        check(
            "<!-- executed -->\n```sh\nncs\n",
            "p.md:1: the block has no end",
        );
    }

    #[test]
    fn every_page_has_marked_blocks() {
        for page in PAGES {
            let text = read(&crate::root().join(page)).unwrap();
            assert!(commands(page, &text).unwrap().contains("ncs "), "{page}");
        }
    }
}
