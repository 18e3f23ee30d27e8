//! Checks licences, duplicates, bans and sources of all dependencies by `deny.toml`, offline, with the data of cargo.
//! If cargo-deny is installed it checks the same for all targets, and advisories.

mod licence;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use toml::{Table, Value};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all dependencies and prints a summary.
///
/// # Errors
/// `deny.toml` does not allow a dependency, or cargo fails.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let rules = table(&root.join("deny.toml"))?;
    let packages = packages(root)?;
    let mut found = unlicensed(&rules, &packages);
    found.extend(duplicates(&rules, &packages));
    found.extend(banned(&rules, &packages));
    found.extend(foreign(&table(&root.join("Cargo.lock"))?));
    if !found.is_empty() {
        return Err(format!(
            "{}\n{} violations of deny.toml",
            found.join("\n"),
            found.len()
        ));
    }
    println!(
        "licences, duplicates, bans and sources of {} packages: as deny.toml allows",
        packages.len()
    );
    with_cargo_deny(root)
}

/// A package of the build: name, version, licence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

fn table(path: &Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse()
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns all packages that the workspace is built and tested with on this system.
fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let tree = "tree --locked --workspace --edges normal,build,dev --prefix none --format {p}\t{l}";
    let output = Command::new("cargo")
        .args(tree.split(' '))
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut packages: Vec<Package> = text.lines().filter_map(package).collect();
    packages.sort();
    packages.dedup();
    Ok(packages)
}

/// Parses `ring v0.17.14 Apache-2.0 AND ISC (*)`; cargo marks repeated packages with the star.
fn package(line: &str) -> Option<Package> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split(' ');
    Some(Package {
        name: words.next()?.to_owned(),
        version: words.next()?.trim_start_matches('v').to_owned(),
        licence: licence.trim_end_matches("(*)").trim().to_owned(),
    })
}

fn list<'t>(rules: &'t Table, chapter: &str, key: &str) -> &'t [Value] {
    let list = rules.get(chapter).and_then(|chapter| chapter.get(key));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn names<'t>(list: &'t [Value]) -> Vec<&'t str> {
    let name = |entry: &'t Value| entry.get("name").unwrap_or(entry).as_str();
    list.iter().filter_map(name).collect()
}

fn unlicensed(rules: &Table, packages: &[Package]) -> Vec<String> {
    let allowed = names(list(rules, "licenses", "allow"));
    let refused = packages
        .iter()
        .filter(|package| !licence::is_allowed(&package.licence, &allowed));
    let text = |package: &Package| {
        let Package {
            name,
            version,
            licence,
        } = package;
        format!(
            "{name} {version}: its licence {licence:?} is not among those that deny.toml allows"
        )
    };
    refused.map(text).collect()
}

fn duplicates(rules: &Table, packages: &[Package]) -> Vec<String> {
    let skipped = names(list(rules, "bans", "skip"));
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let many = |(name, versions): (&str, Vec<&str>)| {
        let is_wrong = versions.len() > 1 && !skipped.contains(&name);
        is_wrong.then(|| {
            format!(
                "{name} is built {} times: {}; unite them, or say why not under bans.skip in deny.toml",
                versions.len(),
                versions.join(", ")
            )
        })
    };
    versions.into_iter().filter_map(many).collect()
}

fn banned(rules: &Table, packages: &[Package]) -> Vec<String> {
    let reason = |package: &Package| {
        let mut rules = list(rules, "bans", "deny").iter();
        let rule =
            rules.find(|rule| names(std::slice::from_ref(*rule)) == [package.name.as_str()])?;
        let reason = rule
            .get("reason")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Some(format!("{} is banned: {reason}", package.name))
    };
    packages.iter().filter_map(reason).collect()
}

/// Returns the packages of the lock file that do not come from crates.io.
fn foreign(lock: &Table) -> Vec<String> {
    let packages = lock
        .get("package")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let other = |package: &Value| {
        let source = package.get("source")?.as_str()?;
        let name = package
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        (source != CRATES_IO).then(|| format!("{name} comes from {source}, not from crates.io"))
    };
    packages.iter().filter_map(other).collect()
}

/// Runs cargo-deny, if it is installed: the same checks for all targets, and advisories.
fn with_cargo_deny(root: &Path) -> Result<(), String> {
    let cargo_deny = |arguments: &str| {
        let mut command = Command::new("cargo");
        command
            .arg("deny")
            .args(arguments.split(' '))
            .current_dir(root);
        command
    };
    let version = cargo_deny("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!(
            "advisories were not checked: cargo-deny is not installed (cargo install --locked cargo-deny)"
        );
        return Ok(());
    }
    step(&mut cargo_deny(
        "--log-level error check bans licenses sources",
    ))?;
    let fetched = cargo_deny("--log-level off fetch db").output();
    if !fetched.is_ok_and(|output| output.status.success()) {
        println!(
            "advisories were not checked: their database, https://github.com/RustSec/advisory-db, cannot be \
             fetched from here"
        );
        return Ok(());
    }
    step(&mut cargo_deny(
        "--log-level error check --disable-fetch advisories",
    ))
}

fn step(command: &mut Command) -> Result<(), String> {
    println!("== {command:?}");
    let status = command.status();
    let status = status.map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed: {command:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Vec<Package> {
        lines.iter().map(|line| package(line).unwrap()).collect()
    }

    #[test]
    fn what_is_forbidden_is_named() {
        let rules = "[licenses]\nallow = [\"MIT\"]\n[bans]\nskip = [{ name = \"old\" }]\n\
                     deny = [{ name = \"bad\", reason = \"it bites\" }]\n";
        let rules: Table = rules.parse().unwrap();
        let packages = of(&[
            "good v1.0.0\tMIT (*)",
            "old v1.0.0\tMIT",
            "old v2.0.0\tMIT",
            "twice v1.0.0 (/here)\tMIT",
            "twice v2.0.0 (proc-macro)\tMIT",
            "bad v0.1.0\tGPL-3.0",
        ]);
        let unlicensed = unlicensed(&rules, &packages);
        assert_eq!(unlicensed.len(), 1);
        assert!(unlicensed[0].starts_with("bad 0.1.0: its licence \"GPL-3.0\""));
        let duplicates = duplicates(&rules, &packages);
        assert_eq!(duplicates.len(), 1);
        assert!(duplicates[0].starts_with("twice is built 2 times: 1.0.0, 2.0.0"));
        assert_eq!(banned(&rules, &packages), ["bad is banned: it bites"]);
    }

    #[test]
    fn other_sources_than_the_registry_are_named() {
        let lock = format!(
            "[[package]]\nname = \"a\"\nsource = \"{CRATES_IO}\"\n[[package]]\nname = \"own\"\n\
             [[package]]\nname = \"b\"\nsource = \"git+https://example.org/b\"\n"
        );
        let found = foreign(&lock.parse().unwrap());
        assert_eq!(
            found,
            ["b comes from git+https://example.org/b, not from crates.io"]
        );
    }
}
