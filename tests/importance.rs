//! `ncs importance`: what was planted is found, and what is noise is not.

mod short_run;
mod trained;

use std::fs;
use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

const RUN: &str = r#"
threads = 1
[data]
train = "log.csv"
split = { by = "row", valid = 0.2, test = 0.2 }
[columns]
item = "categorical"
price = "numeric"
noise = "categorical"
position = "categorical"
[tasks]
ctr = { label = "click" }
cvr = { label = "conversion", where = "ctr" }
[network]
kind = "single_task"
dim = 4
hidden = [16]
[training]
batch = 64
learning_rate = 0.01
[evaluation]
bootstrap = 0
"#;

fn rows(seed: u64) -> String {
    let mut csv = String::from("item,price,noise,position,click,conversion\n");
    let mut state = seed;
    let mut uniform = || {
        let bits = ncs_features::hash::split_mix(&mut state);
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    };
    for row in 0..4000 {
        let (item, price, noise) = (
            (uniform() * 6.0) as u32,
            uniform() * 10.0,
            (uniform() * 5.0) as u32,
        );
        let click = uniform() < 0.15 + 0.14 * f64::from(item);
        let conversion = click && uniform() < 0.1 + 0.08 * price;
        csv += &format!(
            "i{item},{price:.3},n{noise},{},{},{}\n",
            row % 7,
            u8::from(click),
            u8::from(conversion)
        );
    }
    csv
}

/// Trains on some of 4000 rows of `log.csv`, whose click depends on `item` alone, and whose conversion depends on `price`
/// alone; `noise` and `position` are of no use. `later.csv` has as many rows of the same law.
fn planted(folder: &Path) {
    for (file, seed) in [("log.csv", 7), ("later.csv", 8)] {
        fs::write(folder.join(file), rows(seed)).unwrap();
    }
    fs::write(folder.join("run.toml"), RUN).unwrap();
    done(folder, &["train", "run.toml", "--out", "out"]);
}

fn loss(found: &Value, column: &str, task: usize) -> (f64, f64) {
    let columns = found["columns"].as_array().unwrap();
    let column = columns
        .iter()
        .find(|found| found["column"] == column)
        .unwrap();
    let task = &column["tasks"][task];
    (
        task["loss"].as_f64().unwrap(),
        task["error"].as_f64().unwrap(),
    )
}

#[test]
fn columns_that_decide_are_found_task_by_task() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    planted(folder);
    let json = ["importance", "out", "--data", "later.csv", "--json"];
    let text = done(folder, &json);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["rows"], 4000);
    for (column, task) in [("item", 0), ("price", 1)] {
        let (loss, error) = loss(&found, column, task);
        assert!(
            loss > 0.08 && error > 0.0 && loss > 5.0 * error,
            "{column}: {loss} ± {error}"
        );
    }
    for (column, task) in [("noise", 0), ("noise", 1), ("price", 0), ("item", 1)] {
        let (loss, _) = loss(&found, column, task);
        assert!(loss.abs() < 0.03, "{column}, task {task}: {loss}");
    }
    let together = &found["unused_together"];
    assert_eq!(found["unused"].as_array().unwrap().len(), 2, "{found}");
    for column in ["noise", "position"] {
        assert!(
            together["column"].as_str().unwrap().contains(column),
            "{together}"
        );
    }
    let cost = together["tasks"][0]["loss"].as_f64().unwrap();
    assert!(cost.abs() < 0.03, "{together}");
    assert_eq!(
        text,
        done(folder, &json),
        "the same seed gives the same permutations"
    );
    let table = done(
        folder,
        &[
            "importance",
            "out",
            "--data",
            "later.csv",
            "--sample",
            "2000",
        ],
    );
    assert!(
        table.contains("ctr: loss of AUC") && table.contains('█'),
        "{table}"
    );
    assert!(table.contains("Permuted together they cost "), "{table}");
    let first = table.lines().find(|line| line.starts_with("item")).unwrap();
    assert!(first.contains('±'), "{first}");
}

#[test]
fn rows_without_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    planted(folder);
    let text = fs::read_to_string(folder.join("log.csv")).unwrap();
    fs::write(folder.join("bare.csv"), text.replace("conversion", "other")).unwrap();
    refused(
        folder,
        &["importance", "out", "--data", "bare.csv"],
        &["conversion"],
    );
}

/// Every feature of a column moves with it: its past rates, and its exact values beside its scale.
#[test]
fn all_columns_of_a_log_are_listed_once() {
    let folder = short_run::log(&[]);
    let folder = folder.path();
    done(
        folder,
        &[
            "train",
            "log/run.toml",
            "--out",
            "out",
            "--set",
            "training.epochs=1",
            "--set",
            "network.hidden=[8]",
            "--set",
            "features.rates=[{of=[\"item\"]}]",
        ],
    );
    let text = done(
        folder,
        &[
            "importance",
            "out",
            "--data",
            "log/test.parquet",
            "--repeats",
            "1",
            "--json",
        ],
    );
    let found: Value = serde_json::from_str(&text).unwrap();
    let mut names: Vec<&str> = found["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["column"].as_str().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| **name == "item").count(), 1);
    let n = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), n);
}
