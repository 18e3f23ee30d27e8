//! Times: clicks depend on the local hour, the weekday and the age of an item when it is shown, none of which is a
//! column.

use ncs_features::time::Timestamp;
use ncs_model::CounterRng;
use serde_json::{Value, json};

use crate::trained::{done, refused};
use crate::{log, run_file, same_everywhere, train, with_value};

/// Minutes from UTC to the time zone of the users.
const OFFSET: u64 = 330;

/// A moment within four weeks and an item published up to 40 days before, in two forms; one moment of ten is missing.
fn row(rng: CounterRng) -> (Value, f64) {
    let now = 1_790_000_000 + rng.bits(0) % (28 * 86_400);
    let age = 0.1 * (rng.uniform(1) * 1e4f64.ln()).exp();
    let published = now as i64 - (age * 3600.0) as i64;
    let local = now + OFFSET * 60;
    let liking = |what: &'static str, of: u64| CounterRng::new(8, what).normal(of);
    let of_age = match age {
        age if age < 6.0 => 2.0,
        age if age < 48.0 => 0.0,
        _ => -2.0,
    };
    // 1970-01-01 was a Thursday.
    let logit =
        liking("hour", local / 3600 % 24) + liking("weekday", (local / 86_400 + 3) % 7) + of_age;
    let text = Timestamp::new(now as i64, 0).to_string().replace(' ', "T");
    if rng.bits(2).is_multiple_of(10) {
        return (
            json!({ "place": rng.bits(3) % 3, "now": null, "published": published }),
            -1.0,
        );
    }
    (
        json!({ "place": rng.bits(3) % 3, "now": text, "published": published }),
        logit,
    )
}

/// The same columns as numbers: the network finds a part of what their difference tells.
const PLAIN: &str = "place = \"categorical\"\nnow = \"numeric\"\npublished = \"numeric\"";

const TIMES: &str = "place = \"categorical\"\n\
    hour = { kind = \"time\", column = \"now\", part = \"hour\", utc_offset = 5.5 }\n\
    weekday = { kind = \"time\", column = \"now\", part = \"weekday\", utc_offset = 5.5 }\n\
    age = { kind = \"numeric\", column = \"now\", since = \"published\" }\n\
    age_range = { kind = \"numeric\", column = \"now\", since = \"published\", boundaries = [6, 48] }\n\
    hour_x_age = { kind = \"cross\", of = [\"hour\", \"age_range\"], buckets = 1000 }";

#[test]
fn parts_of_times_and_ages_are_found_and_score_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let plain = train(path, "plain", PLAIN);
    let times = train(path, "times", TIMES);
    println!("plain {plain:?}, times {times:?}");
    assert!(times[0] > plain[0] + 0.04, "{times:?} over {plain:?}");
    assert!(times[1] > plain[1] + 0.05, "{times:?} over {plain:?}");
    // The moment in the context, the item's among the candidates: an age is of both.
    same_everywhere(path, "times", &["now"]);
    std::fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "times", &["now", "published"]);
    let checked = done(path, &["check", "times.toml"]);
    let inspected = done(path, &["inspect", "times"]);
    assert!(checked.contains("hour, UTC+05:30"), "{checked}");
    assert!(checked.contains("hours since published"), "{checked}");
    assert!(inspected.contains("hour, UTC+05:30"), "{inspected}");
    assert!(inspected.contains("now - published"), "{inspected}");
}

#[test]
fn times_in_other_forms_give_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    train(path, "texts", TIMES);
    for part in ["train", "valid", "test"] {
        let file = path.join(format!("{part}.jsonl"));
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["published"] = json!(row["published"].as_i64().unwrap() * 1000);
            if let Some(now) = row["now"].as_str() {
                row["now"] = json!(Timestamp::parse(now.as_bytes()).unwrap().whole_seconds());
            }
            format!("{row}\n")
        });
        std::fs::write(&file, lines.collect::<String>()).unwrap();
    }
    train(path, "numbers", TIMES);
    let weights =
        |name: &str| std::fs::read(path.join(name).join("model/weights.safetensors")).unwrap();
    assert!(weights("texts") == weights("numbers"));
}

#[test]
fn what_is_no_time_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", TIMES);
    for wrong in [
        json!("half past nine"),
        json!("12:30:00"),
        json!("2026-02-30"),
    ] {
        with_value(path, "now", wrong);
        let parts = [
            "train.jsonl",
            "column \"now\", row 10",
            "is not a time; write dates",
        ];
        refused(path, &["train", "run.toml", "--out", "run"], &parts);
        refused(path, &["check", "run.toml"], &parts);
    }
    let refuses = |columns: &str, what: &str| {
        run_file(path, "run", columns);
        refused(path, &["check", "run.toml"], &["run.toml", what]);
    };
    refuses(
        "h = { kind = \"time\", column = \"now\", part = \"minute\" }",
        "part",
    );
    refuses("h = { kind = \"time\", column = \"now\" }", "part");
    refuses(
        "h = { kind = \"time\", column = \"now\", part = \"hour\", utc_offset = 5.6 }",
        "in steps of 0.25",
    );
    refuses(
        "h = { kind = \"time\", column = \"now\", part = \"hour\", utc_offset = 15 }",
        "utc_offset",
    );
    refuses(
        "age = { kind = \"numeric\", column = \"now\", since = \"publishd\" }",
        "did you mean published?",
    );
    refuses(
        "age = { kind = \"numeric\", column = \"now\", since = \"now\" }",
        "the feature's own column",
    );
    refuses(
        "age = { kind = \"numeric\", column = \"now\", unit = \"days\" }",
        "unit goes with since",
    );
    refuses(
        "age = { kind = \"numeric\", column = \"now\", since = \"click\" }",
        "is a feature and the label",
    );
}
