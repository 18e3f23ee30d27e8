//! Checks that a crate imports only crates of lower floors.

use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// The floor of each crate, as drawn in ARCHITECTURE.md.
const FLOORS: [(&str, u32); 15] = [
    ("ncs-collective", 0),
    ("ncs-features", 0),
    ("ncs-readers", 1),
    ("ncs-model", 1),
    ("ncs-eval", 2),
    ("ncs-serve", 2),
    (TESTKIT, 2),
    ("ncs-fuzz", 3),
    ("ncs-export", 3),
    ("ncs-score-log", 3),
    ("ncs-train", 3),
    ("ncs-config", 4),
    ("ncs-experiments", 5),
    ("ncs4cvr", 6),
    ("ncs-python", 7),
];

/// The crate that only tests, benchmarks and examples may import.
const TESTKIT: &str = "ncs-testkit";

/// Further crates that a crate must not import, from lower floors or from outside: a frozen model
/// runs without file formats, and so does the server; run files and experiments need no command line.
const BARRED: [(&str, &[&str]); 6] = [
    ("ncs-config", &["clap", "signal-hook", "ctrlc"]),
    ("ncs-experiments", &["clap", "signal-hook", "ctrlc"]),
    ("ncs-export", &["parquet", "arrow", "csv", "ncs-readers"]),
    ("ncs-model", &["parquet", "arrow", "csv"]),
    ("ncs-score-log", &["clap", "signal-hook", "ctrlc"]),
    ("ncs-serve", &["parquet", "arrow", "csv", "ncs-readers"]),
];

/// Returns the imports between crates of the workspace that are not from a lower floor.
pub(super) fn wrong_imports(root: &Path) -> Vec<String> {
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten();
    let folders = crates.filter_map(|entry| Some(entry.ok()?.path()));
    let mut manifests: Vec<_> = folders
        .chain([
            root.join("fuzz"),
            root.join("testkit"),
            root.join("bindings/python"),
            root.to_owned(),
        ])
        .map(|folder| folder.join("Cargo.toml"))
        .collect();
    manifests.sort();
    let of_file = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        let found = text.and_then(|text| {
            text.parse()
                .map_err(|error: toml::de::Error| error.to_string())
        });
        match found {
            Ok(manifest) => wrong_imports_of(&manifest),
            Err(error) => vec![format!("{}: {error}", super::shown(root, path))],
        }
    };
    manifests.iter().flat_map(of_file).collect()
}

/// Returns the forbidden imports of one manifest. Tests may import any crate.
fn wrong_imports_of(manifest: &Table) -> Vec<String> {
    let name = manifest["package"]["name"].as_str().unwrap_or_default();
    let Some(own) = floor(name) else {
        return vec![format!(
            "{name} has no floor; add it to ARCHITECTURE.md and to the tidy test"
        )];
    };
    let barred = BARRED
        .iter()
        .filter(|(barred, _)| *barred == name)
        .flat_map(|(_, others)| *others);
    let barred: Vec<&str> = barred.copied().collect();
    let mut found = Vec::new();
    for other in imports(manifest) {
        if barred.contains(&other) {
            found.push(format!("{name} imports {other}, which is forbidden for it"));
        }
        if other == TESTKIT {
            found.push(format!("{name} imports {other}, which is for tests only"));
        }
        if floor(other).is_some_and(|floor| floor >= own) {
            found.push(format!(
                "{name} imports {other}, which is not on a lower floor"
            ));
        }
    }
    found
}

fn floor(name: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(found, _)| *found == name)
        .map(|(_, floor)| *floor)
}

/// Returns the names of the crates that a package is built with, for any target.
fn imports(manifest: &Table) -> Vec<&str> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let tables = targets.chain([manifest]).flat_map(|table| {
        let kinds = ["dependencies", "build-dependencies"];
        kinds.map(|kind| table.get(kind).and_then(Value::as_table))
    });
    tables
        .flatten()
        .flat_map(Table::keys)
        .map(String::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_go_down() {
        let check = |name: &str, rest: &str, expected: &[&str]| {
            let manifest = format!("[package]\nname = \"{name}\"\n{rest}")
                .parse()
                .unwrap();
            assert_eq!(wrong_imports_of(&manifest), expected);
        };
        check(
            "ncs-eval",
            "[dependencies]\nncs-model.workspace = true\nserde = \"1\"",
            &[],
        );
        check(
            "ncs-model",
            "[target.'cfg(unix)'.dependencies]\nncs-readers.workspace = true",
            &["ncs-model imports ncs-readers, which is not on a lower floor"],
        );
        check(
            "ncs-model",
            "[dependencies]\nparquet = { version = \"60\" }",
            &["ncs-model imports parquet, which is forbidden for it"],
        );
        check(
            "ncs-features",
            "[dev-dependencies]\nncs-train.workspace = true",
            &[],
        );
        check(
            "ncs-train",
            "[dependencies]\nncs-testkit.workspace = true",
            &["ncs-train imports ncs-testkit, which is for tests only"],
        );
        check(
            "ncs-common",
            "",
            &["ncs-common has no floor; add it to ARCHITECTURE.md and to the tidy test"],
        );
    }

    #[test]
    fn every_crate_on_a_floor_is_there() {
        let check = |folder: &str, name: &str| {
            let path = crate::root().join(folder).join("Cargo.toml");
            let manifest: Table = fs::read_to_string(path).unwrap().parse().unwrap();
            assert_eq!(manifest["package"]["name"].as_str(), Some(name));
        };
        for (name, _) in FLOORS {
            let folder = match name.strip_prefix("ncs-") {
                Some(own @ ("fuzz" | "testkit")) => own.to_owned(),
                Some("python") => "bindings/python".to_owned(),
                Some(short) => format!("crates/{}", short.replace('-', "_")),
                None => String::new(),
            };
            check(&folder, name);
        }
    }
}
