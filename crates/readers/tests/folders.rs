//! Files among files: empty ones, folders named NAME=VALUE, names of any bytes, files that change.

use ncs_features::Column;
use ncs_readers::{
    ReadError, Reading, Rows, RowsBlock, column_names, files, first_column_names, skipped_folders,
};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn rows(files: Vec<PathBuf>, columns: &[&str]) -> Rows {
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    Rows::open(files, &Reading::default(), columns)
}

fn all(rows: &mut Rows) -> Result<Vec<RowsBlock>, ReadError> {
    std::iter::from_fn(|| rows.next_block().transpose()).collect()
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    files(&[".".to_owned()], folder).unwrap()
}

/// Returns the values of a column as text; `None` for a null.
fn texts(column: &Column, n_rows: usize) -> Vec<Option<String>> {
    let mut buffer = ncs_features::value::TextBuffer::default();
    let mut text = |row| {
        let i = column.range(row).next()?;
        let text = buffer.text(&column.values, i);
        Some(String::from_utf8(text.to_vec()).unwrap())
    };
    (0..n_rows).map(&mut text).collect()
}

#[test]
fn empty_files_among_others_are_passed_over_with_a_note() {
    let check = |files: &[(&str, &str)], n_rows: usize, note: &str| {
        let folder = folder(files);
        let mut rows = rows(in_folder(folder.path()), &["a"]);
        let blocks = all(&mut rows).unwrap();
        let found: usize = blocks.iter().map(|rows| rows.block.n_rows).sum();
        assert_eq!(found, n_rows);
        let notes = rows.notes();
        assert!(notes.len() == 1 && notes[0].contains(note), "{notes:?}");
    };
    let one = "the file holds no rows; it is passed over";
    check(&[("0.csv", "a,b\n"), ("1.csv", "a,b\n1,2\n")], 1, one);
    check(&[("0.csv", "a,b\n1,2\n"), ("1.csv", "")], 1, one);
    check(&[("0.jsonl", ""), ("1.jsonl", "{\"a\": 1}\n")], 1, one);
    check(
        &[("0.jsonl", "\n"), ("1.jsonl", "{\"a\": 1}\n"), ("2", "")],
        1,
        "2 of 3 files hold no rows",
    );
}

#[test]
fn files_that_all_are_empty_are_refused() {
    let folder = folder(&[("0.csv", "a\n"), ("1.csv", ""), ("2.jsonl", "")]);
    let files = in_folder(folder.path());
    let error = all(&mut rows(files.clone(), &["a"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("0.csv: neither this file nor any other of the 3 holds a row"),
        "{error}"
    );
    let error = first_column_names(&files[1..], &Reading::default()).unwrap_err();
    assert!(
        matches!(error, ReadError::NoRows { files: 2, .. }),
        "{error}"
    );
}

#[test]
fn the_first_file_with_columns_names_them() {
    let folder = folder(&[
        ("0.jsonl", ""),
        ("1.jsonl", "{\"a\": 1}"),
        ("2.jsonl", "{\"b\": 1}"),
    ]);
    let files = in_folder(folder.path());
    let found = first_column_names(&files, &Reading::default()).unwrap();
    assert_eq!(found, Some((files[1].clone(), vec!["a".to_owned()])));
}

#[test]
fn folders_named_as_columns_are_columns_in_every_format() {
    let check = |name: &str, text: &str| {
        let folder = folder(&[
            (&format!("day=2024-01-01/city=S%C3%A3o%2FP/{name}"), text),
            (
                &format!("day=2024-01-02/city=__HIVE_DEFAULT_PARTITION__/{name}"),
                text,
            ),
        ]);
        let files = in_folder(folder.path());
        let names = column_names(&files[0], &Reading::default()).unwrap();
        assert!(
            names.ends_with(&["day".to_owned(), "city".to_owned()]),
            "{names:?}"
        );
        let mut rows = rows(files, &["day", "a", "city"]);
        let [first, second] = <[RowsBlock; 2]>::try_from(all(&mut rows).unwrap()).unwrap();
        let columns: Vec<&str> = first.block.columns.iter().map(|c| &*c.name).collect();
        assert_eq!(columns, ["day", "a", "city"]);
        let of = |rows: &RowsBlock, i: usize| texts(&rows.block.columns[i], rows.block.n_rows);
        assert_eq!(of(&first, 0), vec![Some("2024-01-01".to_owned()); 2]);
        assert_eq!(of(&first, 1), [Some("1".to_owned()), Some("2".to_owned())]);
        assert_eq!(of(&first, 2), vec![Some("São/P".to_owned()); 2]);
        assert_eq!(of(&second, 0), vec![Some("2024-01-02".to_owned()); 2]);
        assert_eq!(of(&second, 2), [None, None]);
    };
    check("0.csv", "a,b\n1,x\n2,y\n");
    check("0.jsonl", "{\"a\": 1}\n{\"a\": 2}\n");
}

#[test]
fn a_column_of_the_file_and_of_a_folder_is_refused_where_it_is_wanted() {
    let twice = folder(&[("day=1/a.csv", "day,a\n2,3\n")]);
    let files = in_folder(twice.path());
    let error = all(&mut rows(files.clone(), &["day"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("column \"day\" is in the file, and a folder on its way is named day=..."),
        "{error}"
    );
    assert_eq!(all(&mut rows(files, &["a"])).unwrap().len(), 1);
    let twice = folder(&[("day=1/day=2/a.csv", "a\n3\n")]);
    let error = all(&mut rows(in_folder(twice.path()), &["day"]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("two columns are named \"day\""), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_told() {
    let check = |change: &dyn Fn(&Path), expected: &str| {
        let folder = folder(&[("a.csv", &format!("a\n{}", "1\n".repeat(20_000)))]);
        let path = folder.path().join("a.csv");
        let mut rows = rows(vec![path.clone()], &["a"]);
        rows.next_block().unwrap();
        change(&path);
        let error = loop {
            match rows.next_block() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{expected}: no message"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("the file changed while it was read"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    };
    let append = |path: &Path| {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"1\n").unwrap();
    };
    check(&append, "it had 40002 bytes and has 40004");
    let cut = |path: &Path| {
        OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(20_001)
            .unwrap();
    };
    check(&cut, "it had 40002 bytes and has 20001");
    check(&|path| fs::remove_file(path).unwrap(), "No such file");
    let replace = |path: &Path| {
        let other = path.with_extension("new");
        fs::copy(path, &other).unwrap();
        fs::rename(&other, path).unwrap();
    };
    check(&replace, "it was written or replaced");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_name_that_is_no_unicode_is_a_name() {
        let folder = tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"caf\xE9\x1B[1m.csv"));
        fs::write(&path, "a\n1\n").unwrap();
        for pattern in ["*.csv", ".", "**/*", "c*"] {
            assert_eq!(
                files(&[pattern.to_owned()], folder.path()).unwrap(),
                std::slice::from_ref(&path)
            );
        }
        assert_eq!(all(&mut rows(vec![path.clone()], &["a"])).unwrap().len(), 1);
        let error = all(&mut rows(vec![path], &["b"])).unwrap_err().to_string();
        assert!(
            error.contains("caf\u{FFFD}\\u{1b}[1m.csv: no column"),
            "{error:?}"
        );
    }

    #[test]
    fn pipes_sockets_and_devices_are_refused() {
        let folder = tempdir().unwrap();
        let socket = folder.path().join("a.csv");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let check = |pattern: &str, expected: &str| {
            let error = files(&[pattern.to_owned()], folder.path())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("a.csv", "a.csv: is a socket, not a file");
        check("*.csv", "a.csv: is a socket, not a file");
        check(".", "a.csv: is a socket, not a file");
        check("/dev/null", "/dev/null: is a device, not a file");
        let error = all(&mut rows(vec!["/dev/zero".into()], &["a"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/dev/zero: is a device, not a file"),
            "{error}"
        );
    }

    #[test]
    fn a_link_back_is_no_endless_folder() {
        let folder = folder(&[("day=1/a.csv", "a\n")]);
        std::os::unix::fs::symlink("..", folder.path().join("day=1/day=2")).unwrap();
        let error = files(&[".".to_owned()], folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("a link back to"), "{error}");
        std::os::unix::fs::symlink("nowhere", folder.path().join(".#lock.csv")).unwrap();
        assert_eq!(
            files(&["*/*.csv".to_owned()], folder.path()).unwrap().len(),
            1
        );
    }
}

#[test]
fn folders_whose_files_are_not_read_are_told() {
    let told = |names: &[&str], patterns: &[&str]| {
        let named: Vec<(&str, &str)> = names.iter().map(|&name| (name, "a\n1\n")).collect();
        let folder = folder(&named);
        let patterns: Vec<String> = patterns.iter().map(|&name| name.to_owned()).collect();
        skipped_folders(&patterns, folder.path()).unwrap()
    };
    let log = &["log/a.csv", "log/old/b.csv", "log/day=1/c.csv"];
    let one = told(log, &["log"]).unwrap();
    let expected =
        "old: the files of this folder in a folder are not read; only folders named NAME=VALUE";
    assert!(one.contains(expected), "{one}");
    let two = &[
        "log/a.csv",
        "log/day=1/x/b.csv",
        "log/day=1/c.csv",
        "log/y/z/d.csv",
    ];
    let two = told(two, &["log"]).unwrap();
    assert!(
        two.contains("the files of 2 folders in a folder are not read, the first:"),
        "{two}"
    );
    for patterns in [
        &["log", "log/old"][..],
        &["log/**/*.csv"],
        &["log/**"],
        &["log/a.csv"],
        &["log/*.csv"],
    ] {
        assert_eq!(told(log, patterns), None, "{patterns:?}");
    }
    let hidden = &[
        "log/a.csv",
        "log/_temporary/b.csv",
        "log/.git/c",
        "log/empty/_c.csv",
    ];
    assert_eq!(told(hidden, &["log"]), None);
}
