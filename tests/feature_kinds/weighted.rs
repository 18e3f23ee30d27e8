//! Lists with weights: clicks depend on the weighted mean of what a user likes of the tags of an item.

use std::fs;
use std::path::Path;

use ncs_model::CounterRng;
use serde_json::{Value, json};

use crate::trained::{done, refused};
use crate::{log, run_file, same_everywhere, train, with_value};

/// Up to six of thirty tags, of which most have a small weight. A list in ten is empty.
fn row(rng: CounterRng) -> (Value, f64) {
    let n = if rng.bits(0).is_multiple_of(10) {
        0
    } else {
        2 + rng.bits(1) % 5
    };
    let tags: Vec<u64> = (0..n).map(|i| rng.at(1).bits(i) % 30).collect();
    let weights: Vec<f64> = (0..n)
        .map(|i| (rng.at(2).uniform(i).powi(6) * 1000.0).round() / 100.0)
        .collect();
    let total: f64 = weights.iter().sum();
    let liking = |tag: &u64| 3.0 * CounterRng::new(8, "liking").normal(*tag);
    let sum: f64 = tags
        .iter()
        .zip(&weights)
        .map(|(tag, w)| w * liking(tag))
        .sum();
    let logit = if total > 0.0 { sum / total } else { 0.0 };
    let tags: Vec<String> = tags.iter().map(|tag| format!("tag {tag}")).collect();
    (
        json!({ "place": rng.bits(2) % 3, "tags": tags, "shares": weights }),
        logit,
    )
}

fn columns(more: &str) -> String {
    format!("place = \"categorical\"\ntags = {{ kind = \"list\"{more} }}")
}

const PARALLEL: &str = ", weights = \"shares\"";

#[test]
fn weights_are_found_and_score_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let plain = train(path, "plain", &columns(""));
    let weighted = train(path, "weighted", &columns(PARALLEL));
    println!("plain {plain:?}, weighted {weighted:?}");
    assert!(weighted[0] > plain[0] + 0.05, "{weighted:?} over {plain:?}");
    same_everywhere(path, "weighted", &["tags", "shares"]);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "weighted", &["place"]);
    fs::remove_dir_all(path.join("scores")).unwrap();
    train(
        path,
        "sums",
        &columns(&format!("{PARALLEL}, pooling = \"sum\", max_values = 4")),
    );
    same_everywhere(path, "sums", &["place"]);
    // Values and weights are permuted together.
    let importance = done(path, &["importance", "weighted", "--data", "test.jsonl"]);
    assert!(importance.contains("tags + shares"), "{importance}");
    let inspected = done(path, &["inspect", "weighted"]);
    assert!(inspected.contains("tags x shares"), "{inspected}");
    let arguments = ["export", "weighted", "--format", "onnx", "--out", "m.onnx"];
    refused(
        path,
        &arguments,
        &["feature \"tags\" is a list with weights"],
    );
}

/// Writes both lists into the texts `a:0.5|b:1`, or each into a text.
fn as_texts(folder: &Path, joined: bool) {
    for part in ["train", "valid", "test"] {
        let file = folder.join(format!("{part}.jsonl"));
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            let texts = |key: &str| -> Vec<String> {
                let list = row[key].as_array().unwrap().iter();
                let text = |value: &Value| value.to_string().trim_matches('"').to_owned();
                list.map(text).collect()
            };
            let (tags, shares) = (texts("tags"), texts("shares"));
            if joined {
                let pairs = tags.iter().zip(&shares);
                let pairs: Vec<String> = pairs.map(|(tag, w)| format!("{tag}:{w}")).collect();
                row["tags"] = pairs.join("|").into();
                row.as_object_mut().unwrap().remove("shares");
            } else {
                row["tags"] = tags.join("|").into();
                row["shares"] = shares.join("|").into();
            }
            format!("{row}\n")
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
    }
}

#[test]
fn every_form_of_weights_gives_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    train(path, "lists", &columns(PARALLEL));
    as_texts(path, false);
    train(
        path,
        "texts",
        &columns(&format!("{PARALLEL}, separator = \"|\"")),
    );
    log(path, row);
    as_texts(path, true);
    let joined = columns(", separator = \"|\", weight_separator = \":\"");
    train(path, "joined", &joined);
    same_everywhere(path, "joined", &["tags"]);
    let weights = |name: &str| fs::read(path.join(name).join("model/weights.safetensors")).unwrap();
    assert!(weights("lists") == weights("texts"), "lists and texts");
    assert!(weights("lists") == weights("joined"), "lists and joined");
}

#[test]
fn weights_that_are_none_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", &columns(PARALLEL));
    with_value(path, "tags", json!(["tag 1", "tag 2"]));
    let refuses = |shares: Value, what: &str| {
        with_value(path, "shares", shares);
        let parts = ["train.jsonl", "column \"shares\", row 10", what];
        refused(path, &["train", "run.toml", "--out", "run"], &parts);
        refused(path, &["check", "run.toml"], &parts);
    };
    refuses(
        json!([0.5]),
        "1 weight where column \"tags\" holds 2 values; write one weight for each",
    );
    refuses(
        json!(null),
        "0 weights where column \"tags\" holds 2 values",
    );
    refuses(
        json!([0.5, -1.0]),
        "the weight \"-1\" is not a finite number of at least 0",
    );
    refuses(json!([0.5, 1e39]), "is not a finite number");
    refuses(
        json!(["0.5", "many"]),
        "the weight \"many\" is not a finite number",
    );
    let refuses = |more: &str, what: &str| {
        run_file(path, "run", &columns(more));
        refused(path, &["check", "run.toml"], &["run.toml", what]);
    };
    refuses(", weights = \"share\"", "did you mean shares?");
    refuses(
        ", weights = \"shares\", weight_separator = \":\"",
        "states both weights and weight_separator; keep one",
    );
    refuses(
        ", weights = \"shares\", pooling = \"padded_mean\"",
        "states weights with pooling = \"padded_mean\"",
    );
}
