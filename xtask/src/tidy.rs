//! Checks the rules of ARCHITECTURE.md that no compiler checks.

mod circles;
mod floors;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// Checks the repository.
///
/// # Errors
/// A rule is broken; the error lists every place.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let found = untidy(root);
    match found.len() {
        0 => Ok(()),
        n => Err(format!("{}\nuntidy in {n} places", found.join("\n"))),
    }
}

/// Returns a sentence for each broken rule under `root`.
fn untidy(root: &Path) -> Vec<String> {
    let mut found = lost_paths(root);
    found.extend(floors::wrong_imports(root));
    found.extend(circles::untidy(root));
    for path in files(root, "rs") {
        let name = shown(root, &path);
        match fs::read_to_string(&path) {
            Ok(text) => found.extend(sources::untidy(&name, &text)),
            Err(error) => found.push(format!("{name}: {error}")),
        }
    }
    found
}

/// Returns the paths that ARCHITECTURE.md names in backticks and that do not exist.
fn lost_paths(root: &Path) -> Vec<String> {
    const MAP: &str = "ARCHITECTURE.md";
    let text = match fs::read_to_string(root.join(MAP)) {
        Ok(text) => text,
        Err(error) => return vec![format!("{MAP}: {error}")],
    };
    let is_lost = |path: &&str| !root.join(path).exists();
    let lost = named_paths(&text).into_iter().filter(is_lost);
    lost.map(|path| format!("{MAP} names `{path}`, which is gone"))
        .collect()
}

/// Returns the texts in single backticks that are paths inside the repository: with a slash, or ending in `.md`.
/// `../...` is outside, and a name with `*` or `<...>` stands for several.
fn named_paths(text: &str) -> Vec<&str> {
    let is_path = |quoted: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        quoted.chars().all(is_plain)
            && (quoted.contains('/') || quoted.ends_with(".md"))
            && !quoted.starts_with("../")
    };
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .filter(is_path)
        .collect()
}

/// Returns all files under `root` with this extension, sorted, without build output and hidden folders.
fn files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if path.is_file() && path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found
}

/// Returns `path` relative to `root`, with `/` on every system.
fn shown(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let found = untidy(crate::root());
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn the_walk_sees_sources_and_no_build_output() {
        let found = files(crate::root(), "rs");
        let names: Vec<String> = found
            .iter()
            .map(|path| shown(crate::root(), path))
            .collect();
        assert!(names.contains(&"xtask/src/tidy.rs".to_owned()));
        assert!(!names.iter().any(|name| name.starts_with("target/")));
    }

    #[test]
    fn paths_are_distinguished_from_other_code() {
        let check = |text: &str, expected: &[&str]| assert_eq!(named_paths(text), expected);
        check(
            "see `crates/x/src/y.rs` and `README.md`",
            &["crates/x/src/y.rs", "README.md"],
        );
        check("`crates/x/`, `Batch`, `ncs check RUN.toml`", &["crates/x/"]);
        check("`../shared/data`, `docs/decisions/0001-*.md`, a/b", &[]);
        check("```\n`not/prose`\n```\nthen `some/prose`", &["some/prose"]);
    }

    #[test]
    fn a_path_that_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let map = folder.path().join("ARCHITECTURE.md");
        fs::write(&map, "`src/main.rs` and `ARCHITECTURE.md`").unwrap();
        let expected = "ARCHITECTURE.md names `src/main.rs`, which is gone";
        assert_eq!(lost_paths(folder.path()), [expected]);
    }
}
