//! `ncs init`: writes a run file from data alone, which passes `ncs check` and trains without edits.

mod trained;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::column::writer::ColumnWriter::*;
use parquet::data_type::ByteArray;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use trained::{done, draw, refused};

const ROWS: u64 = 3_000;

/// Row of a log; two conversions in five clicks.
struct Row {
    impression: u64,
    user: u64,
    item: u64,
    history: Vec<u64>,
    price: f64,
    views: u64,
    fresh: bool,
    city: &'static str,
    hour: u64,
    slot: u64,
    second: u64,
    read: Option<u64>,
    click: u64,
    buy: Option<u64>,
}

fn row(row: u64) -> Row {
    let click = u64::from(draw(row, 0, 10) < 3 + draw(row, 1, 2));
    let item = |at: u64| 9_000_000 + 977 * at;
    Row {
        impression: 5_000 + row / 4,
        user: 100_000 + 7_919 * draw(row / 4, 2, 150),
        item: item(draw(row, 3, 140)),
        history: (0..draw(row, 4, 6))
            .map(|at| item(draw(row, 5 + at, 140)))
            .collect(),
        price: draw(row, 11, 5_000) as f64 / 100.0 + 0.005,
        views: 1 << draw(row, 12, 14),
        fresh: draw(row, 13, 2) == 1,
        city: ["Aarhus", "Odense", "Vejle"][draw(row, 14, 3) as usize],
        hour: draw(row, 15, 24),
        slot: [
            31, 7, 44, 2, 90, 51, 12, 77, 64, 18, 25, 39, 83, 5, 70, 57, 96, 21, 48, 34, 88, 61,
        ][(draw(row, 16, 22) * draw(row, 17, 22) / 22) as usize],
        second: 1_763_900_000 + 20 * row,
        read: (click == 1).then(|| 1 + draw(row, 18, 90)),
        click,
        buy: (click == 1).then(|| u64::from(draw(row, 19, 5) < 2)),
    }
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

const HEADER: &str = "impression_id,user_id,item_id,hist,price,n_views,fresh,city,hour,slot,ts,country,\
                      empty,read_seconds,click,buy";

fn csv() -> String {
    let line = |at: u64| {
        let row = row(at);
        let history: Vec<String> = row.history.iter().map(u64::to_string).collect();
        format!(
            "{},{},{},{},{},{},{},{},{},{},{},dk,,{},{},{}\n",
            row.impression,
            row.user,
            row.item,
            history.join("|"),
            row.price,
            row.views,
            row.fresh,
            row.city,
            row.hour,
            row.slot,
            row.second,
            text(row.read),
            row.click,
            text(row.buy)
        )
    };
    format!("{HEADER}\n{}", (0..ROWS).map(line).collect::<String>())
}

const SCHEMA: &str = "message log {
    required int64 impression_id; required int64 user_id; required int64 item_id;
    required group hist (LIST) { repeated group list { required int64 element; } }
    required double price; required int32 n_views; required boolean fresh; required binary city (STRING);
    required int32 hour; required int32 slot; required int64 ts (TIMESTAMP(MILLIS, true));
    required binary country (STRING); optional int32 empty; optional int32 read_seconds;
    required int32 click; optional int32 buy;
    required group pair { required int32 a; required int32 b; }
}";

fn write_parquet(path: &Path) {
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let file = fs::File::create(path).unwrap();
    let mut file = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let names: Vec<&str> = HEADER.split(',').chain(["a", "b"]).collect();
    let mut names = names.into_iter();
    while let Some(mut column) = group.next_column().unwrap() {
        let name = names.next().unwrap();
        let ints = |of: fn(&Row) -> u64| rows.iter().map(|row| of(row) as i64).collect::<Vec<_>>();
        let smalls =
            |of: fn(&Row) -> u64| rows.iter().map(|row| of(row) as i32).collect::<Vec<_>>();
        let some = |of: fn(&Row) -> Option<u64>| -> (Vec<i32>, Vec<i16>) {
            let values = rows
                .iter()
                .filter_map(|row| of(row).map(|x| x as i32))
                .collect();
            (
                values,
                rows.iter()
                    .map(|row| i16::from(of(row).is_some()))
                    .collect(),
            )
        };
        let texts = |of: fn(&Row) -> &'static str| {
            rows.iter()
                .map(|row| ByteArray::from(of(row)))
                .collect::<Vec<_>>()
        };
        let written = match (column.untyped(), name) {
            (Int64ColumnWriter(w), "impression_id") => {
                w.write_batch(&ints(|row| row.impression), None, None)
            }
            (Int64ColumnWriter(w), "user_id") => w.write_batch(&ints(|row| row.user), None, None),
            (Int64ColumnWriter(w), "item_id") => w.write_batch(&ints(|row| row.item), None, None),
            (Int64ColumnWriter(w), "ts") => {
                w.write_batch(&ints(|row| 1_000 * row.second), None, None)
            }
            (Int64ColumnWriter(w), _) => {
                let values: Vec<i64> = rows
                    .iter()
                    .flat_map(|row| row.history.iter().map(|x| *x as i64))
                    .collect();
                let levels = rows.iter().flat_map(|row| match row.history.len() {
                    0 => vec![(0, 0)],
                    n => (0..n).map(|at| (1, i16::from(at > 0))).collect(),
                });
                let (defined, repeated): (Vec<i16>, Vec<i16>) = levels.unzip();
                w.write_batch(&values, Some(&defined), Some(&repeated))
            }
            (DoubleColumnWriter(w), _) => {
                let prices: Vec<f64> = rows.iter().map(|row| row.price).collect();
                w.write_batch(&prices, None, None)
            }
            (BoolColumnWriter(w), _) => {
                let fresh: Vec<bool> = rows.iter().map(|row| row.fresh).collect();
                w.write_batch(&fresh, None, None)
            }
            (ByteArrayColumnWriter(w), "city") => w.write_batch(&texts(|row| row.city), None, None),
            (ByteArrayColumnWriter(w), _) => w.write_batch(&texts(|_| "dk"), None, None),
            (Int32ColumnWriter(w), "n_views") => {
                w.write_batch(&smalls(|row| row.views), None, None)
            }
            (Int32ColumnWriter(w), "hour") => w.write_batch(&smalls(|row| row.hour), None, None),
            (Int32ColumnWriter(w), "slot") => w.write_batch(&smalls(|row| row.slot), None, None),
            (Int32ColumnWriter(w), "click") => w.write_batch(&smalls(|row| row.click), None, None),
            (Int32ColumnWriter(w), "empty" | "read_seconds" | "buy") => {
                let (values, defined) = match name {
                    "empty" => some(|_| None),
                    "buy" => some(|row| row.buy),
                    _ => some(|row| row.read),
                };
                w.write_batch(&values, Some(&defined), None)
            }
            (Int32ColumnWriter(w), _) => w.write_batch(&smalls(|_| 1), None, None),
            _ => unreachable!("{name}"),
        };
        written.unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

/// Returns the line of a column, including its comment.
#[track_caller]
fn line<'t>(text: &'t str, column: &str) -> &'t str {
    let is_its = |line: &&str| {
        line.trim_start_matches("# ")
            .starts_with(&format!("{column} = "))
    };
    let found = text.lines().find(is_its);
    found.unwrap_or_else(|| panic!("no line for {column}: {text}"))
}

/// Asserts that each column has a line with this setting and this text.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str, &str)]) {
    for (column, setting, says) in expected {
        let found = line(text, column);
        let wanted = match setting.strip_prefix("# ") {
            Some(setting) => format!("# {column} = {setting}"),
            None => format!("{column} = {setting}"),
        };
        assert!(found.starts_with(&wanted), "{wanted}: {found}");
        assert!(found.contains(says), "{says}: {found}");
    }
}

const LABELS: [&str; 4] = ["--click", "click", "--conversion", "buy"];

#[test]
fn a_csv_log_gets_a_run_file_that_trains() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("logs")).unwrap();
    fs::write(path.join("logs/day.csv"), csv()).unwrap();
    let out = ["--out", "runs/first.toml"];
    let printed = done(
        path,
        &[&["init", "logs/day.csv"][..], &LABELS, &out].concat(),
    );
    assert!(
        printed.contains("runs/first.toml: 9 features, by 3,000 rows"),
        "{printed}"
    );
    assert!(
        printed.contains("read_seconds: LEAK? known only where click is 1"),
        "{printed}"
    );
    assert!(
        printed.contains("ncs train runs/first.toml --out DIR"),
        "{printed}"
    );
    let text = fs::read_to_string(path.join("runs/first.toml")).unwrap();
    check(
        &text,
        &[
            ("impression_id", "# \"categorical\"", "names one event"),
            ("user_id", "\"categorical\"", "distinct; named like an id"),
            ("item_id", "\"categorical\"", "140 distinct"),
            (
                "hist",
                "{ kind = \"list\", separator = \"|\", table = \"item_id\" }",
                "% null; shares its ids",
            ),
            ("price", "\"numeric\"", "float"),
            (
                "n_views",
                "\"numeric\"",
                "14 distinct; named like a quantity",
            ),
            ("fresh", "\"categorical\"", "2 distinct"),
            ("city", "\"categorical\"", "text, 3 distinct"),
            ("hour", "\"categorical\"", "part of a calendar"),
            ("slot", "\"categorical\"", "in no order"),
            ("ts", "# \"categorical\"", "a time"),
            ("country", "# \"categorical\"", "constant: \"dk\""),
            ("empty", "# \"categorical\"", "no row has a value"),
            (
                "read_seconds",
                "# \"numeric\"",
                "LEAK? known only where click is 1",
            ),
        ],
    );
    assert!(text.contains("train = \"../logs/day.csv\""), "{text}");
    let split = "from 1763954000 on.\nsplit = { by = \"time\", column = \"ts\", valid = 0.1 }";
    assert!(text.contains(split), "{text}");
    assert!(
        text.contains("[tasks.cvr]\nlabel = \"buy\"\nwhere = \"ctr\""),
        "{text}"
    );
    assert!(
        text.contains("[evaluation]\ngroup = \"impression_id\""),
        "{text}"
    );
    done(path, &["check", "runs/first.toml"]);
    done(
        path,
        &["--quiet", "train", "runs/first.toml", "--out", "first"],
    );
    assert!(path.join("first/report.html").exists());
}

#[test]
fn a_parquet_log_gets_the_same_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_parquet(&path.join("day.parquet"));
    done(path, &[&["init", "day.parquet"][..], &LABELS].concat());
    let text = fs::read_to_string(path.join("run.toml")).unwrap();
    check(
        &text,
        &[
            ("impression_id", "# \"categorical\"", "names one event"),
            ("user_id", "\"categorical\"", "integer, "),
            (
                "hist",
                "{ kind = \"list\", table = \"item_id\" }",
                "lists of integer",
            ),
            ("price", "\"numeric\"", "float"),
            ("n_views", "\"numeric\"", "named like a quantity"),
            ("fresh", "\"categorical\"", "2 distinct"),
            ("slot", "\"categorical\"", "in no order"),
            ("ts", "# \"categorical\"", "a time"),
            ("country", "# \"categorical\"", "constant"),
            ("empty", "# \"categorical\"", "no row has a value"),
            ("read_seconds", "# \"numeric\"", "LEAK?"),
            ("pair", "# \"categorical\"", "a group of several columns"),
        ],
    );
    assert!(text.contains("train = \"day.parquet\""), "{text}");
    assert!(
        text.contains("# Validation: the latest 10.0 % of the rows, from 2025-11-24 03:13:20 on."),
        "{text}"
    );
    done(path, &["check", "run.toml"]);
}

/// Writes a log with a click in every third row and the given columns, and returns the result of init.
fn init(columns: &[(&str, &dyn Fn(u64) -> String)], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let line = |row: u64| {
        let values: Vec<String> = columns.iter().map(|(_, value)| value(row)).collect();
        format!("{},{}\n", u64::from(is_click(row)), values.join(","))
    };
    let lines: String = (0..2_000).map(line).collect();
    fs::write(
        folder.path().join("log.csv"),
        format!("click,{}\n{lines}", names.join(",")),
    )
    .unwrap();
    done(
        folder.path(),
        &[&["init", "log.csv", "--click", "click"][..], arguments].concat(),
    );
    done(folder.path(), &["check", "run.toml"]);
    fs::read_to_string(folder.path().join("run.toml")).unwrap()
}

fn is_click(row: u64) -> bool {
    draw(row, 0, 3) == 0
}

#[test]
fn leaks_are_told_from_features_that_are_good() {
    let click = |row| u64::from(is_click(row));
    let text = init(
        &[
            ("copy", &|row| {
                ["False", "True"][click(row) as usize].to_owned()
            }),
            ("dwell", &|row| (click(row) * draw(row, 1, 80)).to_string()),
            ("revenue", &|row| {
                format!(
                    "{:.2}",
                    click(row) as f64 * 3.5 + draw(row, 2, 100) as f64 / 60.0
                )
            }),
            ("state", &|row| {
                ["shown", "left", "done"]
                    [(click(row) * 2 + (1 - click(row)) * draw(row, 3, 2)) as usize]
                    .to_owned()
            }),
            ("skip_reason", &|row| {
                if is_click(row) {
                    String::new()
                } else {
                    format!("r{}", draw(row, 4, 9))
                }
            }),
            ("watch_seconds", &|row| draw(row, 8, 60).to_string()),
            // One value for every four rows: a value's click rate over its own rows would reveal the labels.
            ("user_id", &|row| (draw(row / 4, 5, 1 << 40)).to_string()),
            ("good", &|row| {
                format!(
                    "{:.2}",
                    click(row) as f64 + draw(row, 6, 300) as f64 / 100.0
                )
            }),
            ("seldom", &|row| {
                if draw(row, 7, 300) == 0 {
                    "1".to_owned()
                } else {
                    String::new()
                }
            }),
        ],
        &[],
    );
    check(
        &text,
        &[
            ("copy", "# ", "a copy of click"),
            ("dwell", "# ", "0 except where click is 1"),
            ("revenue", "# ", "with an AUC of 1.000"),
            ("state", "# ", "with an AUC of 1.000"),
            ("skip_reason", "# ", "known only where click is 0"),
            (
                "watch_seconds",
                "# ",
                "named like what happens after a click",
            ),
            ("user_id", "\"categorical\"", "distinct"),
            ("good", "\"numeric\"", "distinct"),
            ("seldom", "\"categorical\"", "null"),
        ],
    );
}

#[test]
fn kinds_follow_names_and_values() {
    let text = init(
        &[
            ("age", &|row| {
                if draw(row, 1, 9) == 0 {
                    "-1".into()
                } else {
                    draw(row, 2, 70).to_string()
                }
            }),
            ("zip_code", &|row| format!("{:05}", draw(row, 3, 300))),
            ("score", &|row| {
                if draw(row, 4, 50) == 0 {
                    "NA".into()
                } else {
                    draw(row, 5, 999).to_string()
                }
            }),
            ("os", &|row| draw(row, 6, 60).to_string()),
            ("num_cars", &|row| draw(row, 7, 4).to_string()),
            ("skewed", &|row| {
                (draw(row, 8, 60) * draw(row, 9, 60) * draw(row, 10, 60)).to_string()
            }),
            ("tags", &|row| {
                (0..draw(row, 11, 5))
                    .map(|at| format!("t{}", draw(row, 12 + at, 30)))
                    .collect::<Vec<_>>()
                    .join(" ")
            }),
            ("when", &|row| {
                format!("2026-11-{:02} 10:00:00", 1 + row / 100)
            }),
            ("published_at", &|row| {
                format!("2025-01-{:02}", 1 + draw(row, 17, 28))
            }),
            ("order_row", &|row| row.to_string()),
        ],
        &[],
    );
    check(
        &text,
        &[
            (
                "age",
                "{ kind = \"numeric\", missing = [\"-1\"] }",
                "named like a quantity",
            ),
            ("zip_code", "\"categorical\"", "text, "),
            (
                "score",
                "{ kind = \"numeric\", missing = [\"NA\"] }",
                "integer",
            ),
            ("os", "\"categorical\"", "named like an id or a code"),
            ("num_cars", "\"categorical\"", "few values"),
            ("skewed", "\"numeric\"", "mostly small numbers"),
            ("tags", "{ kind = \"list\", separator = \" \" }", "text"),
            ("when", "# ", "a time"),
            ("published_at", "# ", "a time"),
            ("order_row", "# ", "nearly every row has its own value"),
        ],
    );
    assert!(
        text.contains(
            "from 2026-11-19 10:00:00 on.\nsplit = { by = \"time\", column = \"when\", valid = 0.1 }"
        ),
        "{text}"
    );
}

#[test]
fn without_a_time_rows_are_split_at_random() {
    let user: (&str, &dyn Fn(u64) -> String) = ("user_id", &|row| draw(row, 1, 200).to_string());
    let text = init(&[user], &[]);
    assert!(
        text.contains("split = { by = \"row\", valid = 0.1 }"),
        "{text}"
    );
    assert!(text.contains("A time column is better"), "{text}");
    assert!(text.contains("group = \"user_id\""), "{text}");
    let session: (&str, &dyn Fn(u64) -> String) = ("session_id", &|row| format!("s{}", row / 5));
    let text = init(&[user, session], &[]);
    assert!(
        text.contains("split = { by = \"hash\", column = \"session_id\", valid = 0.1 }"),
        "{text}"
    );
    let text = init(&[user, session], &["--group", "user_id"]);
    assert!(text.contains("group = \"user_id\""), "{text}");
}

#[test]
fn other_parts_and_tasks_are_stated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("train.csv"), csv()).unwrap();
    fs::write(path.join("valid.csv"), csv()).unwrap();
    fs::write(path.join("test.csv"), csv().replacen("city", "town", 1)).unwrap();
    let parts = [
        "--test",
        "test.csv",
        "--valid",
        "valid.csv",
        "--task",
        "long=buy",
    ];
    done(
        path,
        &[&["init", "train.csv", "--click", "click"][..], &parts].concat(),
    );
    let text = fs::read_to_string(path.join("run.toml")).unwrap();
    assert!(
        text.contains("valid = \"valid.csv\"\ntest = \"test.csv\"\n\n"),
        "{text}"
    );
    assert!(text.contains("[tasks.long]\nlabel = \"buy\"\n"), "{text}");
    check(&text, &[("city", "# \"categorical\"", "not in test.csv")]);
    done(path, &["check", "run.toml"]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("log.csv"), csv()).unwrap();
    let say = |arguments: &[&str], parts: &[&str]| {
        refused(path, &[&["init", "log.csv"][..], arguments].concat(), parts)
    };
    say(
        &["--click", "clik"],
        &["no column \"clik\"", "did you mean click?"],
    );
    say(
        &["--click", "price"],
        &["log.csv: ", "\"price\"", "must be 0 or 1"],
    );
    say(&["--click", "country"], &["country", "must be 0 or 1"]);
    say(
        &["--click", "click", "--time", "city"],
        &["--time: ", "column \"city\", row 1:"],
    );
    say(
        &["--click", "click", "--task", "ctr=buy"],
        &["two tasks are called \"ctr\""],
    );
    assert!(!path.join("run.toml").exists());
    done(path, &[&["init", "log.csv"][..], &LABELS].concat());
    fs::write(path.join("run.toml"), "mine").unwrap();
    say(&LABELS, &["run.toml: exists already", "--force"]);
    assert_eq!(fs::read_to_string(path.join("run.toml")).unwrap(), "mine");
    done(
        path,
        &[&["init", "log.csv", "--force"][..], &LABELS].concat(),
    );
    assert_ne!(fs::read_to_string(path.join("run.toml")).unwrap(), "mine");
}
