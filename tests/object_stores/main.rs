//! Data in object stores: the same rows as from files, retries, clear errors, no credential anywhere.

mod server;
#[path = "../short_run/mod.rs"]
mod short_run;
#[path = "../trained/mod.rs"]
mod trained;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ncs_readers::{ReadError, Reading, Rows, column_names, files};
use server::{Fault, Store};

const KEY_ID: &str = "KEYIDOFTHETESTS";
const SECRET: &str = "secretofthetests";

/// Rows of a file as text.
fn rows(path: &Path) -> Result<Vec<String>, ReadError> {
    let reading = Reading::default();
    let columns = column_names(path, &reading)?;
    let mut rows = Rows::open(vec![path.to_owned()], &reading, columns);
    let mut read = Vec::new();
    while let Some(block) = rows.next_block()? {
        read.push(format!("{:?}", block.block));
    }
    Ok(read)
}

/// A log in a format, and the store with its training file.
fn stored(format: &str) -> (tempfile::TempDir, Store, PathBuf) {
    let folder = short_run::log(&["--format", format]);
    let name = match format {
        "csv" => "train.csv",
        _ => "train.parquet",
    };
    let store = Store::start();
    let path = folder.path().join("log").join(name);
    store.put(&format!("log/{name}"), fs::read(&path).unwrap());
    let url = PathBuf::from(store.url(&format!("log/{name}")));
    (folder, store, url)
}

#[test]
fn objects_have_the_rows_of_files() {
    for format in ["csv", "parquet"] {
        let (folder, store, url) = stored(format);
        let file = folder.path().join("log").join(url.file_name().unwrap());
        assert_eq!(rows(&url).unwrap(), rows(&file).unwrap(), "{format}");
        let (longest, n_requests) = store.seen();
        assert!(
            longest <= 1 << 20 && n_requests < 40,
            "{longest} bytes, {n_requests} requests"
        );
    }
}

/// More than the blocks that are asked for ahead, and a compressed one.
#[test]
fn a_large_object_is_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.csv");
    let lines = (0..700_000).map(|i| format!("{i},{}\n", i * 7));
    let text = "a,b\n".to_owned() + &lines.collect::<String>();
    fs::write(&path, &text).unwrap();
    let store = Store::start();
    store.put("large.csv", text.into_bytes());
    store.fail("large.csv", Fault::Cut(2));
    let url = store.url("large.csv");
    assert!(rows(url.as_ref()).unwrap() == rows(&path).unwrap());
}

#[test]
fn requests_are_repeated_and_then_given_up() {
    let (folder, store, url) = stored("parquet");
    let file = folder.path().join("log").join(url.file_name().unwrap());
    let expected = rows(&file).unwrap();
    for fault in [Fault::Busy(2), Fault::Cut(2)] {
        store.fail("log/train.parquet", fault);
        assert_eq!(rows(&url).unwrap(), expected, "{fault:?}");
    }
    let check = |fault, expected: &str| {
        store.fail("log/train.parquet", fault);
        let error = rows(&url).map(drop).unwrap_err().to_string();
        assert!(error.contains("/log/train.parquet: "), "{error}");
        assert!(error.contains(expected), "{fault:?}: {error}");
    };
    check(
        Fault::Denied,
        "the store denies access; credentials come from the environment",
    );
    check(Fault::Cut(usize::MAX), "cannot read");
    check(Fault::ChangedAfter(2), "the file changed while it was read");
    let missing = PathBuf::from(store.url("log/none.csv"));
    let error = rows(&missing).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("none.csv: there is no such object"),
        "{error}"
    );
}

#[test]
fn what_a_url_may_not_be_is_refused() {
    let check = |pattern: &str, expected: &str| {
        let error = files(&[pattern.to_owned()], Path::new("."))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{pattern}: {error}");
        assert!(!error.contains(SECRET), "{error}");
    };
    let store = Store::start();
    store.put("a.csv", b"x\n1\n".to_vec());
    check(
        &store.url("*.csv"),
        "over HTTP, globs and folders are not known",
    );
    check(
        &store.url(&format!("a.csv#sig={SECRET}")),
        "a URL with a query is not read",
    );
    check(
        &format!("https://u:{SECRET}@127.0.0.1/a.csv"),
        "a URL with a user or a password",
    );
    check("s3://", "its bucket or host is missing");
}

/// Runs `ncs` with the credentials of an S3 store.
fn ncs(folder: &Path, store: &Store, key_id: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
    command.args(arguments).current_dir(folder);
    command.envs([
        ("AWS_ACCESS_KEY_ID", key_id),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT", store.url("").trim_end_matches('/')),
        ("AWS_ALLOW_HTTP", "true"),
    ]);
    command.output().unwrap()
}

fn train(folder: &Path, store: &Store, key_id: &str, out: &str, data: [&str; 3]) -> Output {
    let sets = short_run::SETS.iter().map(|set| (*set).to_owned());
    let parts = ["train", "valid", "test"].iter().zip(data);
    let data = parts.map(|(part, path)| format!("data.{part}=\"{path}\""));
    let sets: Vec<String> = sets
        .chain(data)
        .flat_map(|set| ["--set".to_owned(), set])
        .collect();
    let mut arguments = vec!["train", "log/run.toml", "--out", out];
    arguments.extend(sets.iter().map(String::as_str));
    ncs(folder, store, key_id, &arguments)
}

#[test]
fn a_training_from_a_bucket_is_that_from_files() {
    let folder = short_run::log(&[]);
    let folder = folder.path();
    let store = Store::start();
    store.lock(KEY_ID);
    for part in ["train", "valid", "test"] {
        let bytes = fs::read(folder.join(format!("log/{part}.parquet"))).unwrap();
        store.put(&format!("logs/{part}/day=1/rows.parquet"), bytes.clone());
        store.put(&format!("logs/{part}/_SUCCESS"), b"".to_vec());
    }
    let of_files = ["train.parquet", "valid.parquet", "test.parquet"];
    let of_bucket = [
        "s3://logs/train/",
        "s3://logs/v*/day=1/*.parquet",
        "s3://logs/test/day=1/rows.parquet",
    ];
    for (out, data) in [("files", of_files), ("bucket", of_bucket)] {
        let output = train(folder, &store, KEY_ID, out, data);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
    let weights = |out: &str| fs::read(folder.join(out).join("model/weights.safetensors")).unwrap();
    assert!(weights("files") == weights("bucket"));
    let text = fs::read_to_string(folder.join("bucket/run.toml")).unwrap();
    assert!(text.contains("\"s3://logs/train/\""), "{text}");
    // Another command, and no credential in what any of them wrote.
    let evaluate = ["evaluate", "bucket", "--data", "s3://logs/test"];
    let output = ncs(folder, &store, KEY_ID, &evaluate);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let denied = train(folder, &store, "ANOTHERKEY", "denied", of_bucket);
    let stderr = String::from_utf8_lossy(&denied.stderr);
    assert_eq!(denied.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the store denies access"), "{stderr}");
    assert!(!stderr.contains(SECRET), "{stderr}");
    for path in walk(folder) {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(SECRET) && !text.contains(KEY_ID),
            "{}",
            path.display()
        );
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}
