//! Past counts and rates: a default of networks with masks, which keep them from the conversion task.

mod short_run;
mod trained;

use std::path::Path;

use ncs_model::artifact::Artifact;
use trained::refused;

const SETS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=1",
    "training.batch=512",
    "features.rates=[{ of = [\"item\"] }, { of = [\"user\"], tasks = [\"ctr\"] }]",
];

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    let file = short_run::open(folder, &SETS, sets);
    short_run::train(&file, &folder.join(out))
}

/// Returns for each task the number of connections that it keeps from past rates.
fn kept_from_rates(artifact: &Artifact) -> Vec<usize> {
    let masks = artifact.masks.as_ref().expect("masks");
    let groups = artifact.spec.input_groups();
    let is_rate = |position: usize, units: usize| {
        let field = groups[position / units];
        artifact.schema.rate(field).is_some()
    };
    let kept = |mask: &Vec<ncs_model::Mask>| {
        let first = &mask[0];
        (0..first.len())
            .filter(|&p| first.keeps(p) && is_rate(p, first.outputs()))
            .count()
    };
    masks.tasks.iter().map(kept).collect()
}

fn names(artifact: &Artifact) -> Vec<String> {
    let fields = artifact.schema.fields.iter().enumerate();
    fields
        .filter(|(f, _)| artifact.schema.rate(*f).is_some())
        .map(|(_, field)| field.name.clone())
        .collect()
}

#[test]
fn every_search_keeps_past_rates_from_the_conversion_task_unless_told_otherwise() {
    let folder = short_run::log(&[]);
    let check = |out: &str, sets: &[&str], of_conversions: bool| {
        let artifact = train(folder.path(), out, sets);
        let kept = kept_from_rates(&artifact);
        assert!(kept[0] > 0, "{out}: clicks read no past rate");
        assert_eq!(kept[1] > 0, of_conversions, "{out}");
        artifact
    };
    let first = check("usual", &[], false);
    let expected = [
        "item.past_ctr",
        "item.past_cvr",
        "item.past_rows",
        "user.past_ctr",
        "user.past_rows",
    ];
    assert_eq!(names(&first), expected);
    check("all", &["features.rates_for=\"all\""], true);
    check("random", &["search.kind=\"random\""], false);
    check(
        "magnitude",
        &["search.kind=\"magnitude\"", "search.rounds=1"],
        false,
    );
    check("owned", &["search.common_units=0.5"], false);
    check("shuffled", &["search.control=\"shuffled\""], false);
    check("one", &["search.control=\"one_mask\""], true);
}

#[test]
fn only_networks_with_masks_have_them_by_default() {
    let plan = |sets: &[&str]| {
        let folder = short_run::log(&[]);
        let sets = [&SETS[..5], sets].concat();
        short_run::open(folder.path(), &sets, &[]).plan.schema.rates
    };
    assert_eq!(plan(&[]), ncs_features::RatesPlan::Auto);
    let bottom = "network.kind=\"shared_bottom\"";
    assert_eq!(plan(&[bottom]), ncs_features::RatesPlan::None);
    assert_eq!(
        plan(&[bottom, "features.rates=\"auto\""]),
        ncs_features::RatesPlan::Auto
    );
    let folder = short_run::log(&[]);
    let train = ["train", "log/run.toml", "--out", "out", "--set", bottom];
    let readers = ["--set", "features.rates_for=\"clicks\""];
    refused(
        folder.path(),
        &[&train[..], &readers].concat(),
        &["features.rates_for = \"clicks\" needs masks"],
    );
}

#[test]
fn a_training_that_goes_on_counts_on_from_the_earlier_model() {
    let folder = short_run::log(&["--unseen", "0.4", "--days", "10"]);
    let first = train(folder.path(), "first", &[]);
    let later = [
        "start.model=\"../first\"",
        "data.train=\"valid.parquet\"",
        "data.valid=\"test.parquet\"",
        "data.test=[]",
    ];
    let rows = |artifact: &Artifact, field: &str| {
        let at = artifact.schema.fields.iter().position(|f| f.name == field);
        artifact.schema.rate(at.unwrap()).unwrap().counts.rows()
    };
    let next = train(folder.path(), "next", &later);
    assert_eq!(names(&next), names(&first));
    let alone = train(folder.path(), "alone", &later[1..]);
    let (was, is) = (
        rows(&first, "user.past_rows"),
        rows(&next, "user.past_rows"),
    );
    // Later rows of users that a model on them alone knows, and of those that only the first one knows.
    assert!(
        is >= was + rows(&alone, "user.past_rows"),
        "{was} rows, then {is}"
    );
    let all = [&later[..], &["training.refit=true"]].concat();
    assert!(rows(&train(folder.path(), "refit", &all), "user.past_rows") > is);

    let mut sets: Vec<&str> = SETS[..5]
        .iter()
        .chain(&later)
        .flat_map(|set| ["--set", set])
        .collect();
    sets.extend(["--set", "features.rates=\"none\""]);
    refused(
        folder.path(),
        &[&["train", "log/run.toml", "--out", "other"][..], &sets].concat(),
        &[
            "cannot go on from",
            "reads past rates of item, user",
            "features.rates = \"auto\"",
        ],
    );
}
