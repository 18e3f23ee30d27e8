//! Files, globs and folders.

use ncs_readers::files;
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    for name in [
        "b.csv",
        "a.csv",
        "a.txt",
        ".a.csv.crc",
        "_SUCCESS",
        "day=1/part-1.csv",
        "day=1/_SUCCESS",
        "day=2/part-0.csv",
        "day=2/deeper/part-9.csv",
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a\n1\n").unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder
}

fn found(root: &Path, patterns: &[&str]) -> Result<Vec<String>, String> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.into()).collect();
    let files = files(&patterns, root).map_err(|error| error.to_string())?;
    let relative =
        |path: &std::path::PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    Ok(files.iter().map(relative).collect())
}

#[test]
fn files_globs_and_folders_name_files_in_order() {
    let folder = folder();
    let check = |patterns: &[&str], expected: &[&str]| {
        assert_eq!(
            found(folder.path(), patterns).unwrap(),
            expected,
            "{patterns:?}"
        );
    };
    check(&["b.csv", "a.csv"], &["b.csv", "a.csv"]);
    let partitions = ["day=1/part-1.csv", "day=2/part-0.csv"];
    check(
        &["."],
        &[&["a.csv", "a.txt", "b.csv"], &partitions[..]].concat(),
    );
    check(&["*.csv"], &["a.csv", "b.csv"]);
    check(&["b.csv", "*.csv"], &["b.csv", "a.csv"]);
    check(&["day=1"], &["day=1/part-1.csv"]);
    check(&["day=*"], &["day=1/part-1.csv", "day=2/part-0.csv"]);
    check(&["day=*/*.csv"], &["day=1/part-1.csv", "day=2/part-0.csv"]);
    check(
        &["day=2/**/*.csv"],
        &["day=2/deeper/part-9.csv", "day=2/part-0.csv"],
    );
    check(&["{b,a}.csv"], &["a.csv", "b.csv"]);
    check(&["day=[!1]/*.csv"], &["day=2/part-0.csv"]);
    check(&["_SUCCESS"], &["_SUCCESS"]);
    check(&["_*", "day=1/_*"], &["_SUCCESS", "day=1/_SUCCESS"]);
    check(&[], &[]);
    let absolute = folder.path().join("day=1/part-?.csv").display().to_string();
    check(&[&absolute], &["day=1/part-1.csv"]);
}

#[test]
fn a_root_that_looks_like_a_glob_is_none() {
    let outside = tempdir().unwrap();
    let root = outside.path().join("[run] *");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.csv"), "a\n").unwrap();
    assert_eq!(found(&root, &["*.csv"]).unwrap(), ["a.csv"]);
}

#[test]
fn what_names_nothing_is_refused() {
    let folder = folder();
    let check = |pattern: &str, expected: &str| {
        let error = found(folder.path(), &[pattern]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "c.csv",
        "\"c.csv\": no such file, and no glob or folder that holds one (looked for ",
    );
    let start = format!("; relative paths start at {}", folder.path().display());
    check("c.csv", &start);
    check("*.parquet", "\"*.parquet\": no such file");
    let absolute = folder.path().join("c.csv").display().to_string();
    let error = found(folder.path(), &[&absolute]).unwrap_err();
    assert!(error.ends_with("c.csv)"), "{error}");
    check("empty", "empty: the folder holds no files");
    check("a[.csv", "\"a[.csv\": no glob: ");
}
