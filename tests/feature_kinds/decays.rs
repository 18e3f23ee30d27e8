//! Events as a list of objects whose weights decay with their age: users like what is of the categories that they looked at
//! in the last hours, and old events say nothing.

use std::fs;
use std::path::Path;

use ncs_model::CounterRng;
use serde_json::{Value, json};

use crate::trained::{done, refused};
use crate::{Row, log, run_file, same_everywhere, train};

/// 2026-11-29T08:00:00Z
const NOW: f64 = 1_795_939_200.0;

/// A user who looks at the candidate, and up to 15 events of the last four days; categories 0 to 3 make clicks likely,
/// by a half-life of four hours.
fn row(rng: CounterRng) -> (Value, f64) {
    let n_events = rng.bits(0) % 16;
    let now = NOW + (rng.bits(1) % 100_000) as f64;
    let mut ages: Vec<f64> = (0..n_events)
        .map(|i| (96.0 * 3600.0 * rng.uniform(100 + i).powi(2)).round())
        .collect();
    ages.sort_by(|a, b| b.total_cmp(a));
    let category = |i: u64| rng.bits(200 + i) % 8;
    let (mut liked, mut all) = (0.0, 0.1);
    for (i, age) in (0..n_events).zip(&ages) {
        let weight = (-age / (4.0 * 3600.0)).exp2();
        liked += weight * f64::from(u8::from(category(i) < 4));
        all += weight;
    }
    let event = |(i, age): (u64, &f64)| {
        let item = category(i) + 8 * (rng.bits(300 + i) % 5);
        json!({ "item": item, "category": format!("c{}", category(i)), "ts": now - age })
    };
    let history: Vec<Value> = (0..n_events).zip(&ages).map(event).collect();
    let columns = json!({ "item": rng.bits(2) % 40, "now": now, "history": history });
    (columns, 5.0 * (liked / all) - 2.5)
}

fn history(settings: &str) -> String {
    format!(
        "item = \"categorical\"\n[columns.history]\nkind = \"sequence\"\n{settings}\n[columns.history.attributes]\n\
         item = {{ column = \"history.item\", table = \"item\" }}\n\
         category = {{ column = \"history.category\" }}\n"
    )
}

const STATED: &str = "decay = { times = \"history.ts\", at = \"now\", half_life = 4 }";

/// Writes the log with a list for each attribute, and ages in the place of times.
fn as_parallel_lists(path: &Path) {
    for part in ["train", "valid", "test"] {
        let file = path.join(format!("{part}.jsonl"));
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let mut row: Row = serde_json::from_str(line).unwrap();
            let [events, now] = ["history", "now"].map(|name| row.remove(name).unwrap());
            let (events, now) = (events.as_array().unwrap(), now.as_f64().unwrap());
            for name in ["item", "category"] {
                let values: Vec<&Value> = events.iter().map(|event| &event[name]).collect();
                row.insert(format!("seen_{name}"), json!(values));
            }
            let hours = |event: &Value| (now - event["ts"].as_f64().unwrap()) / 3600.0;
            let ages: Vec<f64> = events.iter().map(hours).collect();
            row.insert("hours_ago".to_owned(), json!(ages));
            format!("{}\n", json!(row))
        });
        let text = lines.collect::<String>();
        fs::write(&file, text).unwrap();
    }
}

fn weights(path: &Path, name: &str) -> Vec<u8> {
    fs::read(path.join(name).join("model/weights.safetensors")).unwrap()
}

#[test]
fn what_is_recent_is_found_and_scores_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let mean = train(path, "mean", &history("pooling = \"mean\""));
    let stated = train(
        path,
        "stated",
        &history(&format!("pooling = \"mean\"\n{STATED}")),
    );
    let learned = "pooling = \"mean\"\n\
                   decay = { times = \"history.ts\", at = \"now\", half_life = 24, learned = true }";
    let learned = train(path, "learned", &history(learned));
    let din = train(path, "din", &history(STATED));
    println!("mean {mean:?}, stated {stated:?}, learned {learned:?}, din {din:?}");
    assert!(stated[0] > mean[0] + 0.03, "{stated:?} over {mean:?}");
    assert!(learned[0] > mean[0] + 0.02, "{learned:?} over {mean:?}");
    assert!(din[0] > mean[0], "{din:?} over {mean:?}");
    let shown = done(path, &["inspect", "learned"]);
    assert!(shown.contains("half-life"), "{shown}");
    for (name, context) in [
        ("stated", &["history", "now"][..]),
        ("learned", &["item"]),
        ("din", &["now", "history"]),
    ] {
        same_everywhere(path, name, context);
        fs::remove_dir_all(path.join("scores")).unwrap();
    }
    let importance = done(path, &["importance", "stated", "--data", "test.jsonl"]);
    let columns = "history.item + history.ts + history.category";
    assert!(importance.contains(columns), "{importance}");
    as_parallel_lists(path);
    let parallel = "item = \"categorical\"\n[columns.history]\nkind = \"sequence\"\npooling = \"mean\"\n\
                    decay = { ages = \"hours_ago\", half_life = 4 }\n[columns.history.attributes]\n\
                    item = { column = \"seen_item\", table = \"item\" }\ncategory = { column = \"seen_category\" }\n";
    train(path, "parallel", parallel);
    assert!(weights(path, "stated") == weights(path, "parallel"));
    same_everywhere(
        path,
        "parallel",
        &["seen_item", "seen_category", "hours_ago"],
    );
}

#[test]
fn wrong_decays_are_refused_with_their_place_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let refuses = |settings: &str, parts: &[&str]| {
        run_file(path, "run", &history(settings));
        refused(path, &["check", "run.toml"], parts);
    };
    refuses(
        "decay = { half_life = 4 }",
        &["needs the age of each event"],
    );
    refuses(
        "decay = { times = \"history.ts\", half_life = 4 }",
        &["columns.history.decay.times needs at"],
    );
    refuses(
        "decay = { ages = \"history.ts\", at = \"now\", half_life = 4 }",
        &["at goes with times"],
    );
    refuses(
        "decay = { times = \"history.ts\", at = \"now\", half_life = 0 }",
        &["half_life"],
    );
    refuses(
        "decay = { times = \"history.when\", at = \"nw\", half_life = 4 }",
        &[
            "column \"history.when\" is not in",
            "column \"nw\" is not in",
            "did you mean now",
        ],
    );
    refuses(
        "pooling = \"last\"\ndecay = { times = \"history.ts\", at = \"now\", half_life = 4 }",
        &["keeps one", "another pooling"],
    );
    // A list of objects has columns for its attributes alone.
    let columns = "item = \"categorical\"\nhistory = \"list\"";
    run_file(path, "whole", columns);
    refused(
        path,
        &["check", "whole.toml"],
        &["\"history\" is not in", "history.item"],
    );
}
