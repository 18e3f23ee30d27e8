//! Commands that inspect or write logs: check, synth, cache.

mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, ncs, refused};

const RUN: &str = r#"[data]
train = "log.csv"

[columns]
user = "categorical"
price = "numeric"
tags = { kind = "list", separator = "|" }

[tasks.ctr]
label = "click"

[tasks.cvr]
label = "buy"
where = "ctr"

[search]
pick = "last"

[training]
keep = "last"
"#;

const LOG: &str = "user,price,tags,click,buy
u1,1.5,a|b,1,1
u2,2.5,a,1,0
u1,,,0,
u3,4,b,0,
";

/// Creates a folder with `run.toml` and `log.csv`.
fn folder(run: &str, log: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.toml"), run).unwrap();
    fs::write(folder.path().join("log.csv"), log).unwrap();
    folder
}

#[test]
fn check_shows_what_it_read() {
    let folder = folder(RUN, LOG);
    let text = done(folder.path(), &["check", "run.toml"]);
    for part in [
        "All 4 rows",
        "user",
        "list",
        "50.00 %",
        "No mistake found in any row. Shown are all 4 rows of train.",
        "Tables and their optimizer state: at most ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = done(folder.path(), &["check", "run.toml", "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    let column = |at: usize| &found["columns"][at];
    assert_eq!(column(0)["distinct"], 3);
    assert_eq!(column(0)["examples"][0], "u1");
    assert_eq!(
        (&column(1)["kind"], &column(1)["nulls"]),
        (&"numeric".into(), &1.into())
    );
    assert_eq!(
        (&column(2)["distinct"], &column(2)["nulls"]),
        (&2.into(), &1.into())
    );
    let cvr = &found["tasks"][1];
    assert_eq!(
        (&cvr["rows"], &cvr["known"], &cvr["positives"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert_eq!((&cvr["rate"], &cvr["max"]), (&0.5.into(), &1.0.into()));
    assert_eq!(found["files"][0]["bytes"], LOG.len());
    assert_eq!(found["parts"]["train"], 4);
}

#[test]
fn check_counts_the_parts_of_a_split() {
    let split = "train = \"log.csv\"\nsplit = { by = \"time\", column = \"price\", valid_from = 2, test_from = 4 }";
    let run = RUN.replace("train = \"log.csv\"", split);
    let more = "u1,1.5,a,1,0\nu2,1.5,a,0,\n";
    let folder = folder(&run, &(LOG.replace("u1,,", "u1,1,") + more));
    let text = done(folder.path(), &["check", "run.toml"]);
    assert!(text.contains("train 4, valid 1, test 1"), "{text}");
    fs::write(folder.path().join("log.csv"), LOG).unwrap();
    refused(
        folder.path(),
        &["check", "run.toml"],
        &["log.csv", "row 3", "no time"],
    );
}

#[test]
fn check_shows_where_the_latest_rows_begin_and_asks_for_a_time_column() {
    let check = |split: &str, expected: &str, absent: &str| {
        let data = format!("train = \"log.csv\"\nsplit = {split}");
        let run = RUN.replace("train = \"log.csv\"", &data);
        let more = "u1,1.5,a,1,0\nu2,1.5,a,0,\n";
        let folder = folder(&run, &(LOG.replace("u1,,", "u1,1,") + more));
        let text = done(folder.path(), &["check", "run.toml"]);
        assert!(text.contains(expected) && !text.contains(absent), "{text}");
    };
    let (latest, random) = ("validation: the rows from ", "a time column is better");
    check(
        "{ by = \"time\", column = \"price\", valid = 0.3 }",
        "validation: the rows from 2.5 on by column \"price\" (33.3 % of 6 rows)",
        random,
    );
    check(
        "{ by = \"time\", column = \"price\" }",
        "(16.7 % of 6 rows)",
        random,
    );
    check("{ by = \"row\", valid = 0.4, seed = 3 }", random, latest);
}

#[test]
fn check_refuses_what_no_run_could_use() {
    let check = |run: &str, log: &str, parts: &[&str]| {
        let folder = folder(run, log);
        refused(folder.path(), &["check", "run.toml"], parts);
    };
    check(RUN, "", &["run.toml:2:", "log.csv", "no rows"]);
    check(RUN, "user,price,tags,click,buy\n", &["log.csv", "no rows"]);
    check(
        &RUN.replace("log.csv", "none*.csv"),
        LOG,
        &["run.toml:2:", "none*.csv"],
    );
    let zeros = LOG.replace(",1,1\n", ",0,\n").replace(",1,0\n", ",0,\n");
    check(
        RUN,
        &zeros,
        &[
            "run.toml:10: cannot train task \"ctr\" on the train rows: all 4 known labels are 0",
            "run.toml:13: cannot train task \"cvr\" on the train rows: no row has a known label",
        ],
    );
    check(
        RUN,
        &LOG.replace(",b,0,", ",b,2,"),
        &["log.csv", "row 4", "label of task \"ctr\" is 2"],
    );
    check(
        RUN,
        &LOG.replace("u2,2.5", "u2,dear"),
        &["log.csv", "row 2", "\"dear\""],
    );
    check(
        &RUN.replace("price =", "prize ="),
        LOG,
        &["run.toml:6:", "\"prize\"", "price?"],
    );
}

#[test]
fn check_refuses_a_folder_without_files() {
    let folder = folder(&RUN.replace("log.csv", "logs"), LOG);
    fs::create_dir(folder.path().join("logs")).unwrap();
    refused(
        folder.path(),
        &["check", "run.toml"],
        &["run.toml:2:", "logs", "holds no files"],
    );
}

#[test]
fn check_finds_files_by_globs_and_folders_beside_the_run_file() {
    for named in ["log*.csv", "logs"] {
        let folder = folder(&RUN.replace("log.csv", named), LOG);
        fs::create_dir(folder.path().join("logs")).unwrap();
        fs::write(folder.path().join("logs/1.csv"), LOG).unwrap();
        done(folder.path(), &["check", "run.toml"]);
    }
}

#[test]
fn check_only_warns_of_what_later_rows_may_mend() {
    let folder = folder(RUN, LOG);
    let text = done(folder.path(), &["check", "run.toml", "--rows", "2"]);
    assert!(text.contains("The first 2 rows"), "{text}");
    assert!(
        text.contains("warning: in these rows, task \"ctr\": the label"),
        "{text}"
    );
}

#[test]
fn check_counts_rows_that_may_be_broken() {
    let run = RUN.replace("[columns]", "max_broken_share = 0.5\n\n[columns]");
    let log = LOG.to_owned() + "u5,dear,a,1,0\nu6,3,a,2,0\nu7\nu8,3,b,1,1\n";
    let folder = folder(&run, &log);
    let text = done(folder.path(), &["check", "run.toml", "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&found["rows"], &found["broken_rows"]),
        (&5.into(), &3.into())
    );
    let warning = found["warnings"][0].as_str().unwrap();
    assert!(warning.contains("3 rows cannot be used"), "{warning}");
}

#[test]
fn a_made_up_log_passes_its_check_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["parquet", "csv", "json-lines", "tfrecord"] {
        let synth = [
            "synth", "--rows", "5000", "--format", format, "--out", format,
        ];
        done(folder.path(), &synth);
        let run = format!("{format}/run.toml");
        let text = done(folder.path(), &["check", &run, "--json"]);
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["rows"], 3000);
        assert_eq!(found["files"].as_array().map(Vec::len), Some(3));
        let rate = found["tasks"][0]["rate"].as_f64().unwrap();
        assert!((0.07..0.13).contains(&rate), "{rate}");
        assert_eq!(
            found["warnings"].as_array().map(Vec::len),
            Some(0),
            "{found}"
        );
        let tags = found["columns"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["name"] == "tags");
        let tags = tags.unwrap()["examples"][0].as_str().unwrap();
        assert!(tags.starts_with("tag_") && !tags.contains('|'), "{tags}");
    }
}

#[test]
fn a_made_up_log_takes_rates_and_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let rates = [
        "--click-rate",
        "0.5",
        "--conversion-rate",
        "0.4",
        "--conflict",
        "both",
    ];
    let synth = [&["synth", "--rows", "5000", "--out", "log"], &rates[..]].concat();
    done(folder.path(), &synth);
    let text = done(folder.path(), &["check", "log/run.toml", "--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    let rate = |task: usize| found["tasks"][task]["rate"].as_f64().unwrap();
    assert!(
        (0.45..0.55).contains(&rate(0)) && (0.33..0.47).contains(&rate(1)),
        "{found}"
    );
}

#[test]
fn a_log_of_arriving_items_has_a_time_and_a_run_file_that_checks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for format in ["csv", "parquet"] {
        let rest = ["--unseen", "0.6", "--drift", "0.1", "--format", format];
        let synth = [&["synth", "--rows", "20000", "--out", format], &rest[..]].concat();
        done(path, &synth);
        let text = done(path, &["check", &format!("{format}/run.toml"), "--json"]);
        let found: Value = serde_json::from_str(&text).unwrap();
        let warnings = found["warnings"].as_array().map(Vec::len);
        assert_eq!((&found["rows"], warnings), (&10_000.into(), Some(0)));
    }
    let log = fs::read_to_string(path.join("csv/test.csv")).unwrap();
    let mut lines = log.lines();
    assert!(lines.next().unwrap().ends_with(",time"), "{log:.300}");
    let is_late = |line: &str| line.rsplit(',').next().unwrap() >= "2024-01-17";
    assert!(lines.all(is_late));
    let alone = ["synth", "--days", "30", "--out", "log"];
    let output = ncs(path, &alone);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--unseen"));
    let little = [
        "synth", "--rows", "20000", "--unseen", "0.001", "--out", "log",
    ];
    refused(path, &little, &["0.1 % of the test rows", "can be"]);
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn synth_writes_over_its_own_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["synth", "--rows", "100", "--format", "csv", "--out", "log"];
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    done(folder.path(), &synth);
    let expected = [
        ".synthetic.json",
        "run.toml",
        "test.csv",
        "train.csv",
        "valid.csv",
    ];
    assert_eq!(names(&log), expected);
    fs::write(log.join(".valid.csv.123.unfinished"), "half").unwrap();
    done(folder.path(), &synth);
    assert_eq!(names(&log), expected);
    let parquet = ["synth", "--rows", "100", "--out", "log"];
    done(folder.path(), &parquet);
    assert!(!names(&log).iter().any(|name| name.ends_with("csv")));

    for changed in ["run.toml", "train.parquet", "mine.txt"] {
        let before = fs::read(log.join(changed)).unwrap_or_default();
        fs::write(log.join(changed), "mine").unwrap();
        refused(
            folder.path(),
            &synth,
            &["log: the folder contains", changed, "another folder"],
        );
        assert_eq!(fs::read_to_string(log.join(changed)).unwrap(), "mine");
        assert!(names(&log).contains(&"valid.parquet".to_owned()));
        fs::write(log.join(changed), before).unwrap();
    }
}

#[test]
#[cfg(unix)]
fn a_synth_that_is_asked_to_stop_leaves_a_folder_that_it_can_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let long = [
        "synth", "--rows", "50000000", "--format", "csv", "--out", "log",
    ];
    trained::stopped(path, &long, &path.join("log"));
    assert!(names(&path.join("log")).is_empty());
    done(path, &["synth", "--rows", "100", "--out", "log"]);
}

const PARTS: &str = "train = \"log.csv\"\nvalid = \"valid.csv\"\ntest = \"t*.csv\"";

/// Returns `RUN` with validation and test files.
fn folder_of_parts(valid: &str, test: &str) -> tempfile::TempDir {
    let folder = folder(&RUN.replace("train = \"log.csv\"", PARTS), LOG);
    fs::write(folder.path().join("valid.csv"), valid).unwrap();
    fs::write(folder.path().join("t1.csv"), LOG).unwrap();
    fs::write(folder.path().join("t2.csv"), test).unwrap();
    folder
}

#[test]
fn check_looks_at_validation_and_test_rows() {
    let arguments = ["check", "run.toml", "--rows", "4"];
    let text = done(folder_of_parts(LOG, LOG).path(), &arguments);
    let seen = "all 4 rows of train, all 4 rows of valid, the first 4 rows of test";
    assert!(text.contains(seen), "{text}");

    let check = |valid: &str, test: &str, parts: &[&str]| {
        refused(folder_of_parts(valid, test).path(), &arguments, parts);
    };
    let two = LOG.replace(",b,0,", ",b,2,");
    check(
        &two,
        LOG,
        &["valid.csv", "row 4", "label of task \"ctr\" is 2"],
    );
    check(
        &LOG.replace("u2,2.5", "u2,dear"),
        LOG,
        &["valid.csv", "row 2", "\"dear\""],
    );
    for empty in ["", "user,price,tags,click,buy\n"] {
        let text = done(folder_of_parts(LOG, empty).path(), &arguments);
        assert!(text.contains("t2.csv"), "a note of the empty file: {text}");
    }
    check(
        LOG,
        "user,price,tags,click\nu1,1,a,1\n",
        &["t2.csv", "no column \"buy\""],
    );

    let long = LOG.to_owned() + "u9,1,a,0,\n";
    let ones = LOG.replace(",0,\n", ",1,1\n") + "u9,1,a,0,\n";
    let text = done(folder_of_parts(&ones, &long).path(), &arguments);
    for part in [
        "warning: in these rows of valid, task \"ctr\": the label \"click\" is 1",
        "No error found in all 4 rows of train",
        "1 warning, see above",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn check_refuses_a_split_that_leaves_a_part_empty() {
    let split = "train = \"log.csv\"\nsplit = { by = \"time\", column = \"price\", valid_from = 2, test_from = 9 }";
    let folder = folder(
        &RUN.replace("train = \"log.csv\"", split),
        &(LOG.replace("u1,,", "u1,1,") + "u5,2,a,1,1\nu1,1.5,a,1,0\n"),
    );
    let expected = [
        "the split leaves none of 6 rows for test: valid_from is 2, test_from 9, and the times",
        "go from 1 to 4;",
    ];
    refused(folder.path(), &["check", "run.toml"], &expected);
    refused(
        folder.path(),
        &["train", "run.toml", "--out", "out"],
        &expected,
    );
}

#[test]
fn check_warns_of_a_list_that_nothing_takes_apart() {
    let run = RUN.replace("{ kind = \"list\", separator = \"|\" }", "\"list\"");
    let check = |log: &str, expected: bool| {
        let text = done(folder(&run, log).path(), &["check", "run.toml"]);
        let warning = "column \"tags\" is a list without a separator";
        assert_eq!(text.contains(warning), expected, "{text}");
    };
    check(LOG, true);
    check(&LOG.replace(",a,", ",a c,").replace("a|b", "a b"), true);
    check(&LOG.replace("a|b", "a"), false);
}

#[test]
fn check_refuses_a_table_that_no_machine_holds() {
    let table = "user = { kind = \"categorical\", buckets = 4000000000 }\n";
    let run = RUN.replace("user = \"categorical\"\n", table);
    let folder = folder(&run, LOG);
    let arguments = ["check", "run.toml", "--set", "network.dim=256"];
    refused(
        folder.path(),
        &arguments,
        &[
            "run.toml:5:",
            "table \"user\" of 4000000002 rows",
            "256 numbers",
        ],
    );
    let fewer = [
        "check",
        "run.toml",
        "--set",
        "columns.user.buckets=40000000",
    ];
    let text = done(folder.path(), &fewer);
    assert!(text.contains("GiB") || text.contains("TiB"), "{text}");
}

#[test]
fn progress_is_shown_unless_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["synth", "--rows", "100", "--out", "log"];
    let stderr = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    assert!(stderr(ncs(folder.path(), &synth)).contains("synth: 100 rows in"));
    let quiet = [&synth[..], &["--quiet"]].concat();
    assert_eq!(stderr(ncs(folder.path(), &quiet)), "");
}

#[test]
fn the_cache_is_listed_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let list = ["cache", "list", "--folder", "cache"];
    assert!(done(path, &list).contains("0 data sets"));
    let kept = path.join("cache/0123456789abcdef0123456789abcdef");
    let half = path.join("cache/0123456789abcdef0123456789abcdef.77.tmp");
    for folder in [&kept, &half] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("train.ids"), vec![0; 2048]).unwrap();
    }
    fs::write(path.join("cache/mine.txt"), "mine").unwrap();
    let text = done(path, &list);
    for part in ["2 data sets", "4.0 KiB", " complete", "incomplete"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = done(path, &["cache", "clear", "--folder", "cache"]);
    assert!(
        text.contains("2 data sets, 4.0 KiB, deleted from cache"),
        "{text}"
    );
    assert!(!kept.exists() && !half.exists() && path.join("cache/mine.txt").exists());
    assert!(done(path, &list).contains("0 data sets"));
}
