//! Lookups that cannot be right are refused before any work, with what, where, and what to do.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Server;
use crate::trained::{done, refused};
use crate::{files, train};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path(), "csv");
    folder
}

/// Checks what a training says to `[data.lookup.KEY]` with these lines.
fn check(folder: &Path, key: &str, lines: &str, parts: &[&str]) {
    let text = fs::read_to_string(folder.join("looked_up.toml")).unwrap();
    let (before, rest) = text.split_once("[data.lookup.item]").unwrap();
    let (_, after) = rest.split_once("[network]").unwrap();
    let text = format!("{before}[data.lookup.{key}]\n{lines}\n[network]{after}");
    fs::write(folder.join("wrong.toml"), text).unwrap();
    refused(folder, &["train", "wrong.toml", "--out", "wrong"], parts);
    refused(folder, &["check", "wrong.toml"], parts);
    assert!(!folder.join("wrong/model").exists());
}

#[test]
fn wrong_settings_and_files_are_refused() {
    let folder = folder();
    let path = folder.path();
    let items = "files = \"items.csv\"\ntime = \"updated_at\"";
    check(
        path,
        "item",
        "files = \"absent.csv\"",
        &["absent.csv", "no such file"],
    );
    check(
        path,
        "itm",
        items,
        &["items.csv: no column \"itm\"", "nearest is \"item\""],
    );
    let line = "files = \"items.csv\"\ntime = \"updatedat\"";
    check(
        path,
        "item",
        line,
        &["no column \"updatedat\"", "nearest is \"updated_at\""],
    );
    let line = "files = \"items.csv\"\ntime = \"brand\"";
    check(
        path,
        "item",
        line,
        &["items.csv", "items.csv: column \"brand\", row 1: \"brand_"],
    );
    let line = "files = \"items.csv\"";
    check(path, "item", line, &["comes twice, in rows ", "(`time`)"]);
    let line = "files = \"items.csv\"\nrow_time = \"ts\"";
    check(path, "item", line, &["row_time goes with time"]);
    let line = format!("{items}\nrow_time = \"when\"");
    check(
        path,
        "item",
        &line,
        &["wrong.toml:", "column \"when\" is not in"],
    );
    let line = format!("{items}\ncolumns = [\"price\", \"tgs\"]");
    check(path, "item", &line, &["no column \"tgs\""]);
    // Neither the log nor the columns to take have it.
    let line = format!("{items}\ncolumns = [\"price\", \"brand\"]");
    check(path, "item", &line, &["column \"tags\" is not in"]);
    fs::write(path.join("brands.csv"), "brand,price\nbrand_1,3\n").unwrap();
    check(
        path,
        "brand",
        "files = \"brands.csv\"",
        &["column \"brand\" is not in"],
    );
    let text = "item,updated_at,price,brand,tags\n7,2023-11-01,1,a,\n7,2023-11-01T00:00:00Z,2,b,\n";
    fs::write(path.join("items.csv"), text).unwrap();
    check(
        path,
        "item",
        items,
        &["\"7\" has two records of 2023-11-01, in rows 1 and 2"],
    );
    fs::write(
        path.join("items.csv"),
        "item,updated_at,price,brand,tags\n7,,1,a,\n",
    )
    .unwrap();
    check(
        path,
        "item",
        items,
        &["row 1 has no time in \"updated_at\""],
    );
}

#[test]
fn a_column_of_both_the_log_and_the_file_is_refused() {
    let folder = folder();
    let path = folder.path();
    let items = "files = \"items.csv\"\ntime = \"updated_at\"";
    let log = fs::read_to_string(path.join("log.csv")).unwrap();
    let mut lines = log.lines();
    let header = format!("{},price", lines.next().unwrap());
    let rows = lines.map(|line| format!("{line},1"));
    let text: Vec<String> = std::iter::once(header).chain(rows).collect();
    fs::write(path.join("log.csv"), text.join("\n")).unwrap();
    let parts = [
        "log.csv: column \"price\" is in it and in items.csv",
        "looked up by item",
    ];
    check(path, "item", items, &parts);
    // With the columns named, it is clear which is meant.
    let run = fs::read_to_string(path.join("looked_up.toml")).unwrap();
    let stated = "time = \"updated_at\"\ncolumns = [\"brand\", \"tags\"]";
    fs::write(
        path.join("named.toml"),
        run.replace("time = \"updated_at\"", stated),
    )
    .unwrap();
    done(path, &["check", "named.toml"]);
}

#[test]
fn rows_without_looked_up_columns_are_told_which_file_is_missing() {
    let folder = folder();
    let path = folder.path();
    train(path, "looked_up", &[]);
    let parts = [
        "late.csv: no column",
        "price",
        "looked up by item",
        "--lookup item=FILE",
    ];
    for command in [
        &[
            "score",
            "looked_up",
            "--data",
            "late.csv",
            "--out",
            "scores.csv",
        ][..],
        &["evaluate", "looked_up", "--data", "late.csv"],
        &["importance", "looked_up", "--data", "late.csv"],
        &["drift", "looked_up", "--data", "late.csv"],
        &[
            "calibrate",
            "looked_up",
            "--data",
            "late.csv",
            "--out",
            "calibrated",
        ],
    ] {
        refused(path, command, &parts);
    }
    refused(
        path,
        &[
            "score",
            "looked_up",
            "--data",
            "late.csv",
            "--out",
            "scores.csv",
            "--lookup",
            "item=absent.csv",
        ],
        &["absent.csv"],
    );
    let server = Server::start(path, &["feed=looked_up"]);
    let until = Instant::now() + Duration::from_secs(30);
    while !server.log().contains("--lookup item=FILE") {
        assert!(Instant::now() < until, "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let body = json!({"context": {"user": 1}, "candidates": {"item": [1]}});
    let reply = server.post("/v2/rank", &body.to_string());
    assert_eq!(reply.status, 400);
    let error: Value = serde_json::from_slice(&reply.body).unwrap();
    let error = error["error"].as_str().unwrap();
    assert!(
        error.contains("by item: send item to a server with --lookup item=FILE"),
        "{error}"
    );
    refused(
        path,
        &["serve", "looked_up", "--lookup-time", "item=updated_at"],
        &["--lookup-time item: no --lookup item=FILE"],
    );
}

/// A promotion compares on a log of ids, with the files of the training.
#[test]
fn a_promotion_joins() {
    let folder = folder();
    let path = folder.path();
    train(path, "looked_up", &[]);
    let promote = [
        "promote",
        "looked_up",
        "--live",
        "live",
        "--data",
        "late.csv",
    ];
    refused(path, &promote, &["--lookup item=FILE"]);
    done(
        path,
        &[&promote[..], &["--lookup", "item=items.csv"]].concat(),
    );
    assert!(path.join("live/manifest.json").exists());
}
