//! Crosses: clicks depend on whether the group of a user and the kind of an item match, which neither says alone.

use ncs_model::CounterRng;
use serde_json::{Value, json};

use crate::trained::{done, refused};
use crate::{log, run_file, same_everywhere, train};

/// Each pair of a user and a kind has a liking of its own, and a user without a name has none.
fn row(rng: CounterRng) -> (Value, f64) {
    let (user, kind) = (rng.bits(0) % 25, rng.bits(1) % 8);
    let hour = rng.bits(2) % 3;
    if rng.bits(3).is_multiple_of(10) {
        return (json!({ "user": null, "kind": kind, "hour": hour }), -1.0);
    }
    let liking = CounterRng::new(8, "liking").at(user).normal(kind);
    (
        json!({ "user": format!("u{user}"), "kind": kind, "hour": hour }),
        2.5 * liking,
    )
}

const PLAIN: &str = "user = \"categorical\"\nkind = \"categorical\"\nhour = \"categorical\"";

fn columns(more: &str) -> String {
    format!("{PLAIN}\nuser_x_kind = {{ kind = \"cross\", of = [\"user\", \"kind\"]{more} }}")
}

#[test]
fn a_cross_is_found_and_scores_the_same_wherever_its_parts_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let without = train(path, "without", PLAIN);
    let crossed = train(path, "crossed", &columns(", buckets = 5000"));
    println!("without {without:?}, crossed {crossed:?}");
    assert!(
        crossed[0] > without[0] + 0.02,
        "{crossed:?} over {without:?}"
    );
    same_everywhere(path, "crossed", &["user"]);
    std::fs::remove_dir_all(path.join("scores")).unwrap();
    same_everywhere(path, "crossed", &["user", "kind"]);
    let report = done(path, &["inspect", "crossed"]);
    assert!(report.contains("user + kind"), "{report}");
    let checked = done(path, &["check", "crossed.toml"]);
    assert!(checked.contains("user + kind, 5000 buckets"), "{checked}");
}

#[test]
fn crosses_of_what_cannot_be_crossed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let refuses = |cross: &str, what: &str| {
        run_file(
            path,
            "run",
            &format!("{PLAIN}\nage = {{ kind = \"numeric\", column = \"hour\" }}\n{cross}"),
        );
        refused(path, &["check", "run.toml"], &["run.toml", what]);
    };
    refuses("x = { kind = \"cross\", of = [\"user\"] }", "of");
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"kind\", \"hour\", \"x\"] }",
        "of",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"x\"] }",
        "is the cross itself",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"kind\"], buckets = 0 }",
        "buckets",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"kin\"] }",
        "\"kin\" is not a feature of [columns]",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"user\"] }",
        "is named twice",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"age\"] }",
        "is not a category with one value a row",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"kind\"] }\ny = { kind = \"cross\", of = [\"x\", \"kind\"] }",
        "is not a category with one value a row",
    );
    refuses(
        "x = { kind = \"cross\", of = [\"user\", \"kind\"] }\ny = { kind = \"categorical\", column = \"hour\", table = \"x\" }",
        "which has no ids to share: only categories and lists have",
    );
}

#[test]
fn a_further_training_keeps_a_cross_and_refuses_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    train(path, "first", &columns(", buckets = 5000"));
    let further = ["train", "first.toml", "--from", "first", "--out", "further"];
    done(path, &further);
    same_everywhere(path, "further", &["kind"]);
    let refuses = |cross: &str| {
        run_file(path, "run", &format!("{PLAIN}\n{cross}"));
        let arguments = ["train", "run.toml", "--from", "first", "--out", "other"];
        refused(path, &arguments, &["\"user_x_kind\"", "keep the model's"]);
    };
    refuses("user_x_kind = { kind = \"cross\", of = [\"user\", \"kind\"], buckets = 50 }");
    refuses("user_x_kind = { kind = \"cross\", of = [\"user\", \"hour\"], buckets = 5000 }");
}

#[test]
fn too_few_buckets_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    run_file(path, "run", &columns(", buckets = 100"));
    let checked = done(path, &["check", "run.toml"]);
    let what = "cross \"user_x_kind\" has 200 combinations";
    assert!(
        checked.contains(what) && checked.contains("more buckets than 100"),
        "{checked}"
    );
}
