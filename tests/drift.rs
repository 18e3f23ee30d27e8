//! `ncs drift`: later rows beside those that a model was trained on.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use ncs_features::distribution::Bins;
use ncs_model::artifact::Artifact;
use serde_json::Value;
use short_run::{SETS, log, open, train};
use trained::{done, refused};

/// Trains on a synthetic log of CSV files, and returns its folder; the model is in `run`.
fn model() -> tempfile::TempDir {
    let folder = log(&["--format", "csv"]);
    train(&open(folder.path(), &SETS, &[]), &folder.path().join("run"));
    folder
}

fn drift(folder: &Path, data: &str, more: &[&str]) -> Value {
    let arguments = ["drift", "run", "--data", data, "--json"];
    let text = done(folder, &[&arguments[..], more].concat());
    serde_json::from_str(&text).unwrap()
}

fn column<'a>(drift: &'a Value, name: &str) -> &'a Value {
    let columns = drift["columns"].as_array().unwrap();
    let found = columns.iter().find(|column| column["column"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {drift}"))
}

fn psi(drift: &Value, name: &str) -> f64 {
    column(drift, name)["shift"]["psi"].as_f64().unwrap()
}

/// Writes the rows of a CSV file with other cells in a column, given the row's number.
fn rewrite(folder: &Path, from: &str, to: &str, name: &str, cell: impl Fn(usize, &str) -> String) {
    let text = fs::read_to_string(folder.join(from)).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let place = header.split(',').position(|column| column == name).unwrap();
    let mut out = format!("{header}\n");
    for (row, line) in lines.enumerate() {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        cells[place] = cell(row, &cells[place]);
        out += &(cells.join(",") + "\n");
    }
    fs::write(folder.join(to), out).unwrap();
}

#[test]
fn a_planted_shift_is_found_and_no_other() {
    let folder = model();
    let path = folder.path();
    let same = drift(path, "log/train.csv", &[]);
    for column in same["columns"].as_array().unwrap() {
        let [psi, chance] = ["psi", "chance"].map(|key| column["shift"][key].as_f64().unwrap());
        // The rows of the training themselves.
        assert!(psi < 1e-6 && chance > 1e-4, "{column}");
        let share = |key: &str| {
            column["bins"]
                .as_array()
                .unwrap()
                .iter()
                .map(|bin| bin[key].as_f64().unwrap())
                .sum::<f64>()
        };
        assert!((share("before") - 1.0).abs() < 1e-9 && (share("now") - 1.0).abs() < 1e-9);
    }
    // Every third row has a category of its own: a third of the values is new.
    rewrite(
        path,
        "log/train.csv",
        "shifted.csv",
        "category",
        |row, cell| {
            if row % 3 == 0 {
                "brand new".to_owned()
            } else {
                cell.to_owned()
            }
        },
    );
    let found = drift(path, "shifted.csv", &[]);
    assert_eq!(found["columns"][0]["column"], "category");
    assert!(psi(&found, "category") > 0.25);
    let unseen = column(&found, "category")["unseen"].as_f64().unwrap();
    assert!((unseen - 1.0 / 3.0).abs() < 0.002, "{unseen}");
    for name in ["item", "user", "city"] {
        assert_eq!(psi(&found, name), psi(&same, name), "{name}");
    }
    // Half of the cities are missing.
    rewrite(path, "log/train.csv", "missing.csv", "city", |row, cell| {
        if row % 2 == 0 {
            String::new()
        } else {
            cell.to_owned()
        }
    });
    let found = drift(path, "missing.csv", &[]);
    let [now, before] =
        ["missing", "missing_before"].map(|key| column(&found, "city")[key].as_f64().unwrap());
    assert!(now > 0.5 && before < 0.2, "{now} {before}");
    assert_eq!(
        column(&found, "city")["bins"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()["name"],
        "missing"
    );
}

#[test]
fn scores_and_calibration_are_those_of_an_evaluation() {
    let folder = model();
    let path = folder.path();
    let found = drift(path, "log/test.csv", &["--html", "drift.html"]);
    let report = done(
        path,
        &["evaluate", "run", "--data", "log/test.csv", "--json"],
    );
    let report: Value = serde_json::from_str(&report).unwrap();
    let scores = found["scores"].as_array().unwrap();
    let names: Vec<&str> = scores
        .iter()
        .map(|score| score["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ctr", "cvr", "ctcvr"]);
    for score in &scores[..2] {
        let task = &report["tasks"][score["name"].as_str().unwrap()];
        for key in ["pcoc", "auc", "rows"] {
            assert_eq!(score["labels"][key], task[key], "{key}");
        }
        assert!(score["shift"]["psi"].as_f64().unwrap() < 0.2, "{score}");
    }
    let page = fs::read_to_string(path.join("drift.html")).unwrap();
    let n_columns = found["columns"].as_array().unwrap().len();
    assert_eq!(page.matches("<figure").count(), n_columns + 3);
    let text = done(path, &["drift", "run", "--data", "log/test.csv"]);
    for part in ["predicted / observed", "category", "ctcvr", "stable"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Rows without labels have columns and scores.
    let lines = fs::read_to_string(path.join("log/test.csv")).unwrap();
    fs::write(
        path.join("unlabelled.csv"),
        lines.replacen(",conversion", ",other", 1),
    )
    .unwrap();
    let without = drift(path, "unlabelled.csv", &[]);
    assert!(without["scores"][0]["labels"].is_null());
    assert!(without["notes"].to_string().contains("lack labels"));
    assert_eq!(without["scores"][0]["shift"], found["scores"][0]["shift"]);
}

#[test]
fn a_model_of_an_earlier_version_is_told_apart() {
    let folder = model();
    let path = folder.path();
    let model = path.join("run/model");
    let artifact = Artifact::read(&model).unwrap();
    assert!(artifact.distributions.is_some());
    let earlier = Artifact {
        distributions: None,
        ..artifact
    };
    earlier.write(&model).unwrap();
    refused(
        path,
        &["drift", "run", "--data", "log/test.csv"],
        &["carries no distributions", "Train it again"],
    );
}

#[test]
fn an_erased_value_has_no_bin() {
    let folder = model();
    let path = folder.path();
    let bins = || {
        let artifact = Artifact::read(&path.join("run/model")).unwrap();
        let field = artifact
            .schema
            .fields
            .iter()
            .position(|field| field.name == "user")
            .unwrap();
        let distributions = artifact.distributions.as_ref().unwrap();
        let found = distributions.columns[field].clone();
        assert!(found.is_whole());
        let Bins::Ids(ids) = found.bins.clone() else {
            panic!("users have ids")
        };
        (ids, found.total())
    };
    let text = fs::read_to_string(path.join("log/train.csv")).unwrap();
    let users: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    // All users that a bin may belong to: those that are shown most often.
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    users
        .iter()
        .for_each(|user| *counts.entry(user).or_default() += 1);
    let most = counts.values().max().unwrap();
    let frequent: Vec<&str> = counts
        .iter()
        .filter(|(_, n)| *n == most)
        .map(|(user, _)| *user)
        .collect();
    fs::write(path.join("ids.txt"), frequent.join("\n")).unwrap();
    let (before, total) = bins();
    done(
        path,
        &["forget", "run", "--column", "user", "--values", "ids.txt"],
    );
    let (after, same) = bins();
    assert_eq!(after.len() + frequent.len().min(before.len()), before.len());
    assert_eq!(same, total);
}
