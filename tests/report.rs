//! The report of a run: gains, figures by slice and day, sizes, importance, and warnings about its rows.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_eval::RunReport;
use serde_json::Value;
use short_run::{SETS, open, train};
use trained::{done, refused};

fn report(out: &Path) -> (RunReport, String) {
    let text = fs::read_to_string(out.join("report.json")).unwrap();
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    (serde_json::from_str(&text).unwrap(), page)
}

fn warnings(out: &Path) -> Vec<String> {
    let notes = report(out).0.notes.into_iter();
    notes
        .filter(|note| note.warning)
        .map(|note| note.text)
        .collect()
}

#[test]
fn figures_are_divided_by_slice_and_by_day() {
    let folder = short_run::log(&["--unseen", "0.3", "--days", "10"]);
    let path = folder.path();
    let sets = [
        "evaluation.slices=[\"device\", \"session\"]",
        "evaluation.days=\"time\"",
    ];
    let out = path.join("out");
    train(&open(path, &SETS, &sets), &out);
    let (found, page) = report(&out);
    let columns: Vec<&str> = found.slices.iter().map(|table| &table.column[..]).collect();
    assert_eq!(columns, ["device", "session", "time"]);
    let [devices, sessions, days] = &found.slices[..] else {
        panic!("{columns:?}");
    };
    // 1,200 test rows, in order: each has one device and one day.
    for table in [devices, days] {
        assert_eq!(table.rows.iter().map(|row| row.rows).sum::<u64>(), 1200);
    }
    assert_eq!(sessions.rows.len(), 50);
    assert!(days.is_days && days.rows.len() >= 2 && !devices.is_days);
    let values: Vec<&String> = days.rows.iter().map(|row| &row.value).collect();
    assert!(values.is_sorted(), "{values:?}");
    // The same as `ncs evaluate --slice` reads from the file.
    let evaluated = ["evaluate", "out", "--data", "log/test.parquet"];
    let more = ["--json", "--slice", "device"];
    let evaluated = done(path, &[&evaluated[..], &more].concat());
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    for (row, expected) in devices
        .rows
        .iter()
        .zip(evaluated["slices"].as_array().unwrap())
    {
        assert_eq!(row.value, expected["value"].as_str().unwrap());
        assert_eq!(row.figures[0].auc, expected["tasks"]["ctr"]["auc"].as_f64());
        assert_eq!(
            row.figures[1].pcoc,
            expected["tasks"]["cvr"]["pcoc"].as_f64()
        );
    }
    for title in [
        "AUC by day",
        "PCOC by day",
        "device, test rows",
        "Gains and lift",
        "ctr: lift",
    ] {
        assert!(page.contains(title), "{title}");
    }
    let last = found.gains[0].points.last().unwrap();
    assert!((last.labels - 1.0).abs() < 1e-9 && last.rows == 1.0);
    assert!(warnings(&out).iter().all(|text| !text.contains("leak")));
}

#[test]
fn the_largest_tables_come_first() {
    let folder = short_run::log(&[]);
    let path = folder.path();
    let out = path.join("out");
    let artifact = train(&open(path, &SETS, &[]), &out);
    let (found, page) = report(&out);
    assert!(
        found
            .costs
            .is_sorted_by_key(|cost| std::cmp::Reverse(cost.bytes))
    );
    let sets = artifact.weight_sets.iter();
    let all: usize = sets
        .map(|set| {
            let tables = set.weights.tables.iter().map(|table| table.values.len());
            set.weights.dense.len() + tables.sum::<usize>()
        })
        .sum();
    assert_eq!(
        found.costs.iter().map(|cost| cost.parameters).sum::<u64>(),
        all as u64
    );
    assert!(page.contains("Size by table") && page.contains("layers and heads"));
    assert!(found.costs.iter().any(|cost| cost.features == ["user"]));
}

/// Rewrites the parts of a CSV log, line by line: the header, and each row with its number.
fn rewrite(folder: &Path, header: &str, row: impl Fn(&str, &str) -> String) {
    for part in ["train", "valid", "test"] {
        let path = folder.join("log").join(format!("{part}.csv"));
        let text = fs::read_to_string(&path).unwrap();
        let (names, rows) = text.split_once('\n').unwrap();
        let rows = rows.lines().map(|line| row(names, line) + "\n");
        fs::write(
            &path,
            format!("{names}{header}\n{}", rows.collect::<String>()),
        )
        .unwrap();
    }
}

#[test]
fn a_column_that_knows_the_label_is_reported() {
    let folder = short_run::log(&["--format", "csv"]);
    let path = folder.path();
    let clean = path.join("clean");
    train(&open(path, &SETS, &[]), &clean);
    let suspected = |out: &Path| {
        let texts = warnings(out).into_iter();
        texts
            .filter(|text| text.contains("alone ranks"))
            .collect::<Vec<String>>()
    };
    assert!(suspected(&clean).is_empty(), "{:?}", suspected(&clean));
    rewrite(path, ",state,revenue", |names, line| {
        let at = names.split(',').position(|name| name == "click").unwrap();
        let click = line.split(',').nth(at).unwrap();
        let state = if click == "1" { "opened" } else { "shown" };
        format!("{line},{state},{}", click.parse::<f64>().unwrap() * 2.5)
    });
    let leaky = path.join("leaky");
    let sets = [
        "columns.state=\"categorical\"",
        "columns.revenue=\"numeric\"",
    ];
    train(&open(path, &SETS, &sets), &leaky);
    for column in ["state", "revenue"] {
        let expected = format!("feature {column:?} alone ranks the label of task \"ctr\"");
        let found = suspected(&leaky);
        assert!(
            found.iter().any(|text| text.starts_with(&expected)),
            "{found:?}"
        );
    }
    assert!(report(&leaky).1.contains("probably a leak"));
}

#[test]
fn copies_of_training_rows_are_reported() {
    let folder = short_run::log(&["--format", "csv"]);
    let path = folder.path();
    let copied = |out: &str| {
        let out = path.join(out);
        train(&open(path, &SETS, &[]), &out);
        let texts = warnings(&out).into_iter();
        texts
            .filter(|text| text.contains("in the training rows as well"))
            .collect::<Vec<_>>()
    };
    assert_eq!(copied("clean"), [""; 0]);
    // A tenth of the test rows are training rows.
    let lines = |part: &str| {
        let text = fs::read_to_string(path.join(format!("log/{part}.csv"))).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<String>>()
    };
    let (train_lines, mut test_lines) = (lines("train"), lines("test"));
    for at in 1..=120 {
        test_lines[at] = train_lines[7 * at].clone();
    }
    fs::write(path.join("log/test.csv"), test_lines.join("\n") + "\n").unwrap();
    let found = copied("copied");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("10.0 % of the test rows"), "{found:?}");
}

#[test]
fn importance_is_added_to_the_report_as_bars() {
    let folder = short_run::log(&[]);
    let path = folder.path();
    let out = path.join("out");
    train(&open(path, &SETS, &[]), &out);
    assert!(report(&out).0.importance.is_none());
    let measure = [
        "importance",
        "out",
        "--data",
        "log/test.parquet",
        "--repeats",
        "1",
    ];
    done(path, &[&measure[..], &["--report"]].concat());
    let (found, page) = report(&out);
    let bars = found.importance.unwrap();
    let names: Vec<&str> = bars.tasks.iter().map(|task| &task.task[..]).collect();
    assert_eq!((names, bars.rows), (vec!["ctr", "cvr"], 1200));
    for task in &bars.tasks {
        assert_eq!(task.bars.len(), 15);
        assert!(task.bars.is_sorted_by(|a, b| a.loss >= b.loss));
    }
    assert!(page.contains("ctr: loss of AUC") && page.contains("Permutation importance"));
    fs::remove_file(out.join("report.json")).unwrap();
    refused(
        path,
        &[&measure[..], &["--report"]].concat(),
        &["--report adds to the report of a run"],
    );
}

#[test]
fn slices_of_absent_columns_are_refused_at_once() {
    let folder = short_run::log(&[]);
    let set = "evaluation.slices=[\"devise\"]";
    let arguments = ["check", "log/run.toml", "--set", set];
    refused(folder.path(), &arguments, &["devise", "device"]);
}
