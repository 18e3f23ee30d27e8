//! Vectors: clicks depend on an item's vector, its ids are new in every row.

use std::fs;

use ncs_model::CounterRng;
use serde_json::{Value, json};

use crate::trained::{done, ncs, refused};
use crate::{log, run_file, same_everywhere, train, with_value};

const LENGTH: u64 = 6;

/// A place, and an item's vector: a direction of it that the place likes is clicked. One vector of nine is missing.
fn row(rng: CounterRng) -> (Value, f64) {
    let place = rng.bits(100) % 4;
    if rng.bits(101).is_multiple_of(9) {
        return (json!({ "place": place, "item": null }), -1.0);
    }
    let vector: Vec<f64> = (0..LENGTH).map(|i| rng.normal(i)).collect();
    let along: f64 = vector[..2].iter().sum();
    let of_place = vector[2 + place as usize];
    (
        json!({ "place": place, "item": vector }),
        1.2 * along + 1.5 * of_place,
    )
}

const DIRECT: &str = "place = \"categorical\"\nitem = { kind = \"vector\", length = 6 }";
const PROJECTED: &str = "place = \"categorical\"\n\
                         item = { kind = \"vector\", length = 6, projected = true, standardise = true }";

#[test]
fn vectors_are_found_and_score_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let without = train(path, "without", "place = \"categorical\"");
    let direct = train(path, "direct", DIRECT);
    let projected = train(path, "projected", PROJECTED);
    println!("without {without:?}, direct {direct:?}, projected {projected:?}");
    for found in [direct, projected] {
        assert!(found[0] > without[0] + 0.2, "{found:?} over {without:?}");
        assert!(found[1] > without[1] + 0.1, "{found:?} over {without:?}");
    }
    same_everywhere(path, "direct", &["item"]);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "projected", &["place"]);
}

#[test]
fn lists_and_texts_of_the_same_numbers_give_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let columns =
        "place = \"categorical\"\nitem = { kind = \"vector\", length = 6, separator = \"|\" }";
    train(path, "lists", columns);
    for part in ["train", "valid", "test"] {
        let file = path.join(format!("{part}.jsonl"));
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            if let Value::Array(numbers) = &row["item"] {
                let numbers: Vec<String> = numbers.iter().map(Value::to_string).collect();
                row["item"] = numbers.join("|").into();
            }
            format!("{row}\n")
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
    }
    train(path, "texts", columns);
    let weights = |name: &str| fs::read(path.join(name).join("model/weights.safetensors")).unwrap();
    assert!(weights("lists") == weights("texts"));
}

#[test]
fn what_is_no_vector_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", DIRECT);
    let refuses = |item: Value, what: &str| {
        with_value(path, "item", item);
        let parts = ["train.jsonl", "column \"item\", row 10", what];
        refused(path, &["train", "run.toml", "--out", "run"], &parts);
        refused(path, &["check", "run.toml"], &parts);
    };
    refuses(
        json!([1.0, 2.0]),
        "a vector of 2 numbers, where length = 6 is stated",
    );
    refuses(json!(7.5), "a vector of 1 numbers");
    refuses(
        json!("0.5 1.5 2.5"),
        "kind = \"vector\", with its length, and the separator",
    );
    refuses(
        json!("[1, 2, 3, 4, 5, NaN]"),
        "number 6 of the vector is NaN",
    );
    refuses(
        json!([1e39, 0.0, 0.0, 0.0, 0.0, 0.0]),
        "number 1 of the vector is 1000",
    );
    run_file(path, "run", "item = { kind = \"vector\", length = 0 }");
    refused(path, &["check", "run.toml"], &["length"]);
    run_file(path, "run", "item = { kind = \"vector\" }");
    refused(path, &["check", "run.toml"], &["length"]);
}

#[test]
fn vectors_under_another_kind_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", "place = \"categorical\"\nitem = \"list\"");
    let report = ncs(path, &["check", "run.toml"]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned()
        + &String::from_utf8_lossy(&report.stderr);
    assert!(report.contains("declare kind = \"vector\""), "{report}");
    for kind in ["categorical", "numeric"] {
        run_file(
            path,
            "run",
            &format!("place = \"categorical\"\nitem = \"{kind}\""),
        );
        refused(path, &["check", "run.toml"], &["kind = \"vector\""]);
    }
    let made = done(
        path,
        &[
            "init",
            "train.jsonl",
            "--click",
            "click",
            "--out",
            "made.toml",
        ],
    );
    let text = fs::read_to_string(path.join("made.toml")).unwrap();
    assert!(
        text.contains("item = { kind = \"vector\", length = 6 }"),
        "{made} {text}"
    );
}
