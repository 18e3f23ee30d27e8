//! Rows unlike those of the training: extreme numbers, unseen values, rows without a group, and a network with dead
//! units. Tests the warnings, and that no score is NaN.

mod trained;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ncs_model::artifact::Artifact;
use serde_json::Value;
use trained::{done, ncs, refused};

/// Row of the log, with values as in CSV.
struct Row {
    session: String,
    vip: &'static str,
    price: String,
    click: bool,
}

/// Returns row number `i`: VIP users click more often, and so do users with low prices.
fn row(i: usize) -> Row {
    let noise = (i * 7919) % 101;
    let vip = i.is_multiple_of(3);
    let price = (i * 31) % 50;
    Row {
        session: format!("s{}", i / 4),
        vip: if vip { "yes" } else { "no" },
        price: price.to_string(),
        click: noise + price < if vip { 80 } else { 40 },
    }
}

fn write(
    folder: &Path,
    name: &str,
    rows: std::ops::Range<usize>,
    change: impl Fn(usize, &mut Row),
) {
    let mut text = "session,vip,price,click\n".to_owned();
    for i in rows {
        let mut row = row(i);
        change(i, &mut row);
        let click = u8::from(row.click);
        writeln!(text, "{},{},{},{click}", row.session, row.vip, row.price).unwrap();
    }
    fs::write(folder.join(name), text).unwrap();
}

const RUN: &str = r#"
seed = 1
threads = 1

[data]
train = "train.csv"
valid = "valid.csv"
test = "test.csv"
cache = "cache"

[columns]
vip = "categorical"
price = "numeric"

[tasks.ctr]
label = "click"

[network]
kind = "shared_bottom"
dim = 4
hidden = [8]

[training]
epochs = 2
batch = 64
learning_rate = 0.02

[evaluation]
group = "session"
bootstrap = 20
"#;

/// Writes a log of three parts and its run file.
fn log(folder: &Path) {
    write(folder, "train.csv", 0..2_000, |_, _| {});
    write(folder, "valid.csv", 2_000..2_400, |_, _| {});
    write(folder, "test.csv", 2_400..2_800, |_, _| {});
    fs::write(folder.join("run.toml"), RUN).unwrap();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns the standard error of `ncs`, which must succeed.
#[track_caller]
fn output_of(folder: &Path, arguments: &[&str]) -> String {
    let output = ncs(folder, arguments);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {printed}");
    printed
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Returns the scores that `ncs score` writes for the rows of a file.
fn scores(folder: &Path, data: &str) -> Vec<f32> {
    done(
        folder,
        &["score", "out", "--data", data, "--out", "scores.csv"],
    );
    let text = fs::read_to_string(folder.join("scores.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.parse().unwrap())
        .collect()
}

#[test]
fn a_number_far_off_scores_as_the_end_of_the_range_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    done(folder, &["train", "run.toml", "--out", "out"]);
    let priced = |name: &str, price: &str| {
        write(folder, name, 2_400..2_500, |i, row| {
            if i == 2_405 {
                row.price = price.to_owned();
            }
        });
    };
    priced("end.csv", "49");
    let expected = scores(folder, "end.csv");
    for far in ["9.97e36", "1e308", "50", "1e20"] {
        priced("far.csv", far);
        assert_eq!(scores(folder, "far.csv"), expected, "{far}");
    }
    let shown = [
        "1 of 100 numbers were clipped to the range of the training rows, 0 to 49",
        "1e20 in far.csv: row 6",
    ];
    holds(
        &output_of(
            folder,
            &["score", "out", "--data", "far.csv", "--out", "s.csv"],
        ),
        &shown,
    );
    let evaluated = done(folder, &["evaluate", "out", "--data", "far.csv"]);
    holds(&evaluated, &shown);
    holds(&evaluated, &["AUC"]);
    let evaluated = done(folder, &["evaluate", "out", "--data", "far.csv", "--json"]);
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["columns"][1]["clipped"], 1);
    assert_eq!(evaluated["columns"][1]["first_clipped"]["value"], 1e20);
    assert!(evaluated["tasks"]["ctr"]["auc"].is_number());
}

#[test]
fn fill_values_in_every_part_leave_training_and_figures_sound() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    let fill = |i: usize, row: &mut Row| {
        if i % 40 == 7 {
            row.price = "1e20".into();
        }
    };
    write(folder, "train.csv", 0..2_000, fill);
    write(folder, "valid.csv", 2_000..2_400, fill);
    write(folder, "test.csv", 2_400..2_800, fill);
    let checked = done(folder, &["check", "run.toml"]);
    let shown = "train, column \"price\": 50 of 2,000 numbers were clipped to the range of the training rows, 0 to 98";
    holds(&checked, &[shown, "1e20 in ", "train.csv: row 8"]);
    let printed = output_of(folder, &["train", "run.toml", "--out", "out"]);
    holds(
        &printed,
        &[shown, "test, column \"price\": 10 of 400 numbers"],
    );
    let metrics = json(&folder.join("out/metrics.json"));
    // The price alone is highly informative.
    assert!(
        metrics["tasks"]["ctr"]["auc"].as_f64().unwrap() > 0.6,
        "{metrics}"
    );
    assert_eq!(metrics["columns"]["valid"][1]["clipped"], 10);
    assert!(
        fs::read_to_string(folder.join("out/report.html"))
            .unwrap()
            .contains("Clipped")
    );
}

#[test]
fn a_model_without_ranges_refuses_what_it_cannot_score() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    let scaled = "price = { kind = \"numeric\", transform = \"standardise\" }";
    fs::write(
        folder.join("run.toml"),
        RUN.replace("price = \"numeric\"", scaled),
    )
    .unwrap();
    done(folder, &["train", "run.toml", "--out", "out"]);
    // Format of an earlier version.
    let model = folder.join("out/model");
    let mut artifact = Artifact::read(&model).unwrap();
    let mut schema = (*artifact.schema).clone();
    schema
        .tables
        .iter_mut()
        .for_each(|table| table.range = None);
    artifact.schema = schema.into();
    artifact.shares.clear();
    artifact.write(&model).unwrap();
    write(folder, "far.csv", 2_400..2_500, |i, row| {
        if i == 2_405 {
            row.price = "1e300".into();
        }
    });
    let blamed = [
        "far.csv: row 6: no score: column \"price\" is 1e300",
        "deviations from the mean",
    ];
    refused(folder, &["evaluate", "out", "--data", "far.csv"], &blamed);
    refused(
        folder,
        &["score", "out", "--data", "far.csv", "--out", "s.csv"],
        &blamed,
    );
    assert!(!folder.join("s.csv").exists());
    done(
        folder,
        &["score", "out", "--data", "test.csv", "--out", "s.csv"],
    );
}

#[test]
fn values_never_seen_are_told_by_column_and_part() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    let spelled = |_: usize, row: &mut Row| row.vip = if row.vip == "yes" { "YES" } else { "NO" };
    write(folder, "test.csv", 2_400..2_800, spelled);
    let shown = [
        "test, column \"vip\": 100.0 % of the 400 values (validation: 0.0 %) do not occur in the training rows",
        "\"NO\" (26",
        "\"YES\" (13",
    ];
    holds(&done(folder, &["check", "run.toml"]), &shown);
    holds(
        &output_of(folder, &["train", "run.toml", "--out", "out"]),
        &shown,
    );
    let metrics = json(&folder.join("out/metrics.json"));
    let vip = |part: &str| metrics["columns"][part][0].clone();
    assert_eq!(
        (&vip("test")["values"], &vip("test")["unseen"]),
        (&400.into(), &400.into())
    );
    assert_eq!(vip("valid")["unseen"], 0);
    assert_eq!(vip("test")["labels"][0]["unseen"]["known"], 400);
    holds(
        &fs::read_to_string(folder.join("out/report.html")).unwrap(),
        &["NO", "unseen"],
    );
    // The model stores its validation statistics.
    let shown = [
        "rows, column \"vip\": 100.0 % of the 400 values (validation: 0.0 %) do not occur in the training rows",
    ];
    holds(
        &done(folder, &["evaluate", "out", "--data", "test.csv"]),
        &shown,
    );
    holds(
        &output_of(
            folder,
            &["score", "out", "--data", "test.csv", "--out", "s.csv"],
        ),
        &shown,
    );
    let silent = output_of(
        folder,
        &["score", "out", "--data", "valid.csv", "--out", "s.csv"],
    );
    assert!(!silent.contains("do not occur"), "{silent}");
}

#[test]
fn rows_without_a_group_are_left_out_of_grouped_auc_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    let without = |i: usize, row: &mut Row| {
        if i >= 2_600 {
            row.session.clear();
        }
    };
    done(folder, &["train", "run.toml", "--out", "out"]);
    let evaluate = |data: &str| -> Value {
        let found = done(folder, &["evaluate", "out", "--data", data, "--json"]);
        serde_json::from_str(&found).unwrap()
    };
    write(folder, "known.csv", 2_400..2_600, |_, _| {});
    write(folder, "all.csv", 2_400..2_800, without);
    let (known, all) = (evaluate("known.csv"), evaluate("all.csv"));
    let ctr = |of: &Value| of["tasks"]["ctr"].clone();
    assert_eq!(ctr(&all)["gauc"], ctr(&known)["gauc"]);
    assert_eq!(ctr(&all)["gauc_groups"], ctr(&known)["gauc_groups"]);
    assert_eq!(
        (&ctr(&all)["rows"], &ctr(&all)["rows_without_group"]),
        (&400.into(), &200.into())
    );
    let text = done(folder, &["evaluate", "out", "--data", "all.csv"]);
    holds(&text, &["200 of 400 rows have no group"]);
}

#[test]
fn a_network_that_has_died_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log(folder);
    // Identical rows give identical scores, as a dead network does for any rows.
    let alike = |_: usize, row: &mut Row| {
        row.vip = "yes";
        row.price = "7".into();
    };
    write(folder, "valid.csv", 2_000..2_400, alike);
    write(folder, "test.csv", 2_400..2_800, alike);
    let output = ncs(folder, &["train", "run.toml", "--out", "out"]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let doubt = "task \"ctr\": every row has the same score, ";
    holds(&printed, &["warning: train, step ", doubt]);
    assert_eq!(
        printed.matches(doubt).count(),
        1,
        "once is enough: {printed}"
    );
    let report = String::from_utf8_lossy(&output.stdout);
    holds(&report, &[&format!("warning: On the test rows, {doubt}")]);
    let metrics = json(&folder.join("out/metrics.json"));
    assert_eq!(metrics["tasks"]["ctr"]["auc"], 0.5);
    assert!(metrics["tasks"]["ctr"]["constant_score"].is_number());
    let text = done(folder, &["evaluate", "out", "--data", "test.csv"]);
    holds(&text, &[&format!("warning: On these rows, {doubt}")]);
}
