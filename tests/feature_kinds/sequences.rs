//! Behaviour sequences: clicks depend on how many recent events of the user are of the candidate's category. Neither the
//! candidate nor the history says anything alone.

use std::fs;
use std::path::Path;

use ncs_model::CounterRng;
use ncs4cvr::run_file::RunFile;
use serde_json::{Value, json};

use crate::short_run;
use crate::trained::{done, refused};
use crate::{log, run_file, same_everywhere, train};

const ITEMS: u64 = 40;
const CATEGORIES: u64 = 8;

/// A candidate, and a history of 0 to 12 events: items, their categories and their ages in hours. An event counts by its
/// age: after a day not at all.
fn row(rng: CounterRng) -> (Value, f64) {
    let item = |draw: u64| rng.bits(draw) % ITEMS;
    let category = |item: u64| format!("c{}", item % CATEGORIES);
    let candidate = item(1);
    let n_events = rng.bits(0) % 13;
    let items: Vec<u64> = (0..n_events).map(|i| item(100 + i)).collect();
    let ages: Vec<f64> = (0..n_events)
        .map(|i| (40.0 * rng.uniform(200 + i)).round() / 2.0)
        .collect();
    let is_match = |(other, age): &(&u64, &f64)| {
        **other % CATEGORIES == candidate % CATEGORIES && **age < 12.0
    };
    let n_matches = items.iter().zip(&ages).filter(is_match).count();
    let columns = json!({
        "item": candidate,
        "category": category(candidate),
        "seen_items": items,
        "seen_categories": items.iter().map(|&item| category(item)).collect::<Vec<String>>(),
        "seen_ages": ages,
    });
    (columns, 3.0 * n_matches.min(2) as f64 - 2.0)
}

const CANDIDATE: &str = "item = \"categorical\"\ncategory = \"categorical\"\n";

fn history(settings: &str) -> String {
    format!(
        "{CANDIDATE}[columns.history]\nkind = \"sequence\"\n{settings}\n[columns.history.attributes]\n\
         item = {{ column = \"seen_items\", table = \"item\" }}\n\
         category = {{ column = \"seen_categories\", table = \"category\" }}\n\
         age = {{ column = \"seen_ages\", quantiles = 8 }}\n"
    )
}

#[test]
fn attention_finds_what_a_mean_does_not_and_scores_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let without = train(path, "without", CANDIDATE);
    let mean = train(path, "mean", &history("pooling = \"mean\""));
    let din = train(path, "din", &history(""));
    let softmax = train(path, "softmax", &history("softmax = true"));
    let mha = train(path, "mha", &history("pooling = \"mha\"\nmax_length = 20"));
    println!("without {without:?}, mean {mean:?}, din {din:?}, softmax {softmax:?}, mha {mha:?}");
    assert!(without[0] < 0.56, "{without:?}");
    assert!(din[0] > without[0] + 0.15, "{din:?} over {without:?}");
    assert!(din[0] > mean[0] + 0.03, "{din:?} over {mean:?}");
    assert!(softmax[0] > mean[0] + 0.02, "{softmax:?} over {mean:?}");
    assert!(mha[0] > without[0] + 0.15, "{mha:?} over {without:?}");
    let of_user = ["seen_items", "seen_categories", "seen_ages"];
    same_everywhere(path, "din", &of_user);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "softmax", &["item", "category"]);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "mean", &of_user);
    fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "mha", &of_user);
}

/// Writes the log with each list as a text.
fn as_texts(path: &Path) {
    for part in ["train", "valid", "test"] {
        let file = path.join(format!("{part}.jsonl"));
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            for name in ["seen_items", "seen_categories", "seen_ages"] {
                let items = row[name].as_array().unwrap().iter();
                let items: Vec<String> = items
                    .map(|item| item.as_str().map_or(item.to_string(), str::to_owned))
                    .collect();
                row[name] = items.join("|").into();
            }
            format!("{row}\n")
        });
        let text = lines.collect::<String>();
        fs::write(&file, text).unwrap();
    }
}

#[test]
fn the_last_event_is_found_and_texts_give_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // The last event alone decides.
    log(path, |rng| {
        let (columns, _) = row(rng);
        let last = columns["seen_categories"].as_array().unwrap().last();
        let is_liked = last.is_some_and(|last| last == "c1" || last == "c2");
        (columns, if is_liked { 1.5 } else { -1.5 })
    });
    let settings = "pooling = \"last\"\nseparator = \"|\"";
    let mean = train(path, "mean", &history("pooling = \"mean\""));
    let last = train(path, "last", &history(settings));
    assert!(last[0] > mean[0] + 0.05, "{last:?} over {mean:?}");
    // The first event, if that is the most recent one.
    let first = train(
        path,
        "first",
        &history("pooling = \"last\"\nnewest = \"first\""),
    );
    assert!(last[0] > first[0] + 0.1, "{last:?} over {first:?}");
    as_texts(path);
    train(path, "texts", &history(settings));
    let weights = |name: &str| fs::read(path.join(name).join("model/weights.safetensors")).unwrap();
    assert!(weights("last") == weights("texts"));
    same_everywhere(
        path,
        "texts",
        &["seen_items", "seen_categories", "seen_ages"],
    );
}

#[test]
fn training_goes_on_from_a_model_with_its_attention() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    train(path, "first", &history("max_length = 5"));
    run_file(path, "second", &history("max_length = 5"));
    let second = ["train", "second.toml", "--from", "first", "--out", "second"];
    done(path, &second);
    run_file(path, "second", &history("max_length = 6"));
    let parts = ["history.item", "is read in another way than by the model"];
    let third = ["train", "second.toml", "--from", "first", "--out", "third"];
    refused(path, &third, &parts);
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", &history(""));
    let sets = [
        "training.epochs=1",
        "training.batch=256",
        "training.checkpoint_steps=4",
        "search.density=0.4",
    ];
    let sets = sets.map(str::to_owned);
    let file = RunFile::open(&path.join("run.toml"), &sets).unwrap();
    short_run::train(&file, &path.join("whole"));
    let half = path.join("half");
    short_run::dies(&file, &half, 15);
    short_run::train(&file, &half);
    assert!(short_run::bytes(&path.join("whole")) == short_run::bytes(&half));
}

#[test]
fn wrong_sequences_are_refused_with_their_place_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let refuses = |columns: &str, parts: &[&str]| {
        run_file(path, "run", columns);
        refused(path, &["check", "run.toml"], parts);
    };
    refuses(
        &history("max_length = 0"),
        &["run.toml", "max_length is 0; it must be"],
    );
    refuses(
        &history("pooling = \"median\""),
        &["columns.history.pooling is the text \"median\""],
    );
    refuses(&history("newest = \"middle\""), &["newest", "first"]);
    refuses(&history("hidden = [0, 4]"), &["hidden"]);
    refuses(
        &history("pooling = \"mean\"\nhidden = [8, 4]\nsoftmax = true"),
        &[
            "columns.history.hidden goes with pooling = \"din\"",
            "columns.history.softmax goes with pooling = \"din\"",
        ],
    );
    refuses(
        &history("heads = 2"),
        &["columns.history.heads goes with pooling = \"mha\""],
    );
    let with = |attributes: &str| {
        format!(
            "{CANDIDATE}price = \"numeric\"\n[columns.history]\nkind = \"sequence\"\n[columns.history.attributes]\n{attributes}\n"
        )
    };
    refuses(
        &with("item = { column = \"seen_items\", table = \"item\", target = \"itm\" }"),
        &[
            "columns.history.attributes.item.target is \"itm\", which is not a feature",
            "item",
        ],
    );
    refuses(
        &with("item = { column = \"seen_items\", target = \"price\" }"),
        &["target is \"price\", numbers without a vector"],
    );
    refuses(
        &with("item = { column = \"seen_items\", target = \"history.item\" }"),
        &["target is \"history.item\", an attribute of events"],
    );
    refuses(
        &with("item = { column = \"seen_items\", buckets = 50 }"),
        &[
            "columns.history compares its events with the candidate",
            "pooling = \"mean\"",
        ],
    );
    refuses(
        &with("age = { column = \"seen_ages\", quantiles = 8, table = \"item\" }"),
        &["attributes.age.table is for ids, and quantiles for numbers"],
    );
    refuses(
        &with("item = { column = \"seen_itms\", table = \"item\" }"),
        &["column \"seen_itms\" is not in", "did you mean seen_items"],
    );
    refuses(&with(""), &["attributes"]);
    refuses(&format!("{CANDIDATE}history = \"sequence\""), &["history"]);
    // Rows whose lists differ in length.
    let text = fs::read_to_string(path.join("train.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut row: Value = serde_json::from_str(&lines[9]).unwrap();
    row["seen_items"] = json!([1, 2, 3]);
    row["seen_categories"] = json!(["c1", "c2", "c3"]);
    row["seen_ages"] = json!([1.5, null, 2.5]);
    lines[9] = row.to_string();
    fs::write(path.join("train.jsonl"), lines.join("\n")).unwrap();
    run_file(path, "run", &history(""));
    let parts = [
        "train.jsonl",
        "columns \"seen_items\" and \"seen_ages\", row 10: 3 and 2 values",
        "a null in a list is left out",
    ];
    refused(path, &["train", "run.toml", "--out", "run"], &parts);
    refused(path, &["check", "run.toml"], &parts);
}

#[test]
fn a_model_with_attention_is_not_exported_and_says_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    train(path, "run", &history("max_length = 3"));
    refused(
        path,
        &["export", "run", "--out", "run.onnx"],
        &[
            "feature \"history.item\" is of a behaviour sequence pooled by attention",
            "pooling = \"mean\"",
        ],
    );
    train(path, "mean", &history("max_length = 3\npooling = \"mean\""));
    done(path, &["export", "mean", "--out", "mean.onnx"]);
    let shown = done(path, &["inspect", "run"]);
    for part in ["history.item", "seen_items", "attention to the candidate"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Parallel lists are permuted together.
    let importance = done(path, &["importance", "run", "--data", "test.jsonl"]);
    let columns = "seen_items + seen_categories + seen_ages";
    assert!(importance.contains(columns), "{importance}");
    let checked = done(path, &["check", "run.toml"]);
    assert!(checked.contains("sequence"), "{checked}");
}
