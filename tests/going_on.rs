//! Continued training from an earlier model: reused state, refused settings, and resuming after an interruption.

mod short_run;
mod trained;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ncs_features::IdSpace;
use ncs_model::TensorFile;
use ncs_model::artifact::{Artifact, DELTA};
use ncs4cvr::run_file::RunFile;
use trained::{done, refused};

const SETS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.hidden=[16, 8]",
    "training.epochs=1",
    "training.batch=512",
    "training.checkpoint_steps=2",
];

/// Later days: the validation rows of the first model.
const LATER: [&str; 3] = [
    "data.train=\"valid.parquet\"",
    "data.valid=\"test.parquet\"",
    "data.test=[]",
];

/// Writes a log of ten days with new items every day, and trains a model on its first days into `first`.
fn log() -> tempfile::TempDir {
    let folder = short_run::log(&["--unseen", "0.4", "--days", "10"]);
    train(folder.path(), "first", &[]);
    folder
}

fn open(folder: &Path, sets: &[&str]) -> RunFile {
    short_run::open(folder, &SETS, sets)
}

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    short_run::train(&open(folder, sets), &folder.join(out))
}

/// Returns the settings of a training on the later days that continues from the model of the first days.
fn from_first<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LATER[..], &["start.model=\"../first\""], more].concat()
}

fn values(artifact: &Artifact, table: &str) -> Vec<String> {
    let table = artifact.schema.tables.iter().find(|t| t.name == table);
    match &table.unwrap().ids {
        IdSpace::Vocabulary { values } => values.clone(),
        ids => panic!("{ids:?}"),
    }
}

#[test]
fn ids_stay_and_new_values_get_rows_behind_them() {
    let folder = log();
    let first = Artifact::read(&folder.path().join("first/model")).unwrap();
    let next = train(folder.path(), "next", &from_first(&[]));
    let (before, after) = (values(&first, "item"), values(&next, "item"));
    assert!(after.len() > before.len(), "no item is new");
    assert_eq!(after[..before.len()], before);
    assert_eq!(values(&first, "hour"), values(&next, "hour"));
    for (was, is) in first.schema.tables.iter().zip(&next.schema.tables) {
        assert_eq!(was.range, is.range, "{}", was.name);
        if was.ids.piecewise().is_some() {
            assert_eq!(was.ids, is.ids, "{}", was.name);
        }
    }
    // The masks of the model are kept; a search from its weights is a separate option.
    assert_eq!(first.masks, next.masks);
    let searched = train(
        folder.path(),
        "searched",
        &from_first(&["start.masks=\"search\""]),
    );
    assert!(searched.masks.is_some());
    let report = fs::read_to_string(folder.path().join("next/report.html")).unwrap();
    for part in ["went on from model", "Its masks were kept", "item: "] {
        assert!(report.contains(part), "{part}");
    }
}

#[test]
fn weights_begin_where_the_earlier_model_ended() {
    let folder = log();
    let first = Artifact::read(&folder.path().join("first/model")).unwrap();
    // Learning rate and weight decay that move nothing.
    let still = ["training.learning_rate=1e-30", "training.weight_decay=0"];
    let next = train(folder.path(), "still", &from_first(&still));
    let [was, is] = [&first, &next].map(|artifact| {
        let member = &artifact.weight_sets[artifact.of_task[0]];
        member.weights.clone()
    });
    for (was, is) in was.dense.iter().zip(&is.dense) {
        assert!((was - is).abs() <= 1e-6 * was.abs().max(1e-3), "{was} {is}");
    }
    // Rows of the earlier model are unchanged; additional rows belong to new values.
    for (was, is) in was.tables.iter().zip(&is.tables) {
        let dim = first.spec.plan.dim;
        for (place, id) in was.ids.iter().enumerate() {
            let found = is
                .ids
                .binary_search(id)
                .expect("a row of the earlier model");
            let row = |values: &[f32], at: usize| values[at * dim..(at + 1) * dim].to_vec();
            let (was, is) = (row(&was.values, place), row(&is.values, found));
            for (was, is) in was.iter().zip(&is) {
                assert!((was - is).abs() <= 1e-6 * was.abs().max(1e-3), "{was} {is}");
            }
        }
    }
}

#[test]
fn the_model_says_what_it_goes_on_from() {
    let folder = log();
    let next = train(folder.path(), "next", &from_first(&[]));
    let [step] = &next.ancestry[..] else {
        panic!("{:?}", next.ancestry);
    };
    let hash = Artifact::hash(&folder.path().join("first/model")).unwrap();
    assert_eq!(step.model, hash.to_hex().to_string());
    assert!(step.rows > 1000, "{step:?}");
    let third = train(
        folder.path(),
        "third",
        &[&LATER[..], &["start.model=\"../next/model\""]].concat(),
    );
    assert_eq!(third.ancestry.len(), 2);
    assert_eq!(third.ancestry[0], *step);
    let shown = done(folder.path(), &["inspect", "third"]);
    assert_eq!(
        shown.matches("trained further from model").count(),
        2,
        "{shown}"
    );
    // A training from scratch has none.
    let first = Artifact::read(&folder.path().join("first/model")).unwrap();
    assert!(first.ancestry.is_empty());
}

#[test]
fn an_interrupted_one_ends_with_the_same_bytes() {
    let folder = log();
    let sets = from_first(&[
        "start.masks=\"search\"",
        "start.moments=\"keep\"",
        "training.refit=true",
    ]);
    train(folder.path(), "whole", &sets);
    for after in [1, 3, 4] {
        let out = format!("cut-{after}");
        short_run::dies(
            &open(folder.path(), &sets),
            &folder.path().join(&out),
            after,
        );
        train(folder.path(), &out, &sets);
        let [cut, whole] =
            [&out[..], "whole"].map(|out| short_run::bytes(&folder.path().join(out)));
        assert!(cut == whole, "{after}");
        let delta = |out: &str| fs::read(folder.path().join(out).join("model").join(DELTA)).ok();
        assert!(delta(&out) == delta("whole"), "{after}");
    }
}

#[test]
fn the_command_takes_the_model_from_where_it_runs() {
    let folder = log();
    let sets: Vec<String> = SETS
        .iter()
        .chain(&LATER)
        .flat_map(|set| ["--set".to_owned(), (*set).to_owned()])
        .collect();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let train = ["train", "log/run.toml", "--from", "first", "--out", "next"];
    done(folder.path(), &[&train[..], &sets].concat());
    let next = Artifact::read(&folder.path().join("next/model")).unwrap();
    assert_eq!(next.ancestry.len(), 1);
    // The run file in its folder is self-contained, with the model's path.
    let text = fs::read_to_string(folder.path().join("next/run.toml")).unwrap();
    assert!(text.contains("[start]"), "{text}");
    RunFile::open(&folder.path().join("next/run.toml"), &[]).unwrap();
}

/// Tuning tries only the settings that the model leaves open: no other network, no other columns.
#[test]
fn a_tuning_keeps_the_columns_and_the_network_of_the_model() {
    let folder = log();
    let sets = from_first(&["data.test=[]"]);
    // The network is that of the model, although the run file does not set it.
    let sets = SETS.iter().chain(&sets).flat_map(|set| ["--set", set]);
    let sets: Vec<&str> = sets.collect();
    let tune = ["tune", "log/run.toml", "--budget", "4s", "--out", "tuned"];
    done(folder.path(), &[&tune[..], &sets].concat());
    let tuned = fs::read_to_string(folder.path().join("tuned/tuned.toml")).unwrap();
    assert!(tuned.contains("[start]"), "{tuned}");
    assert!(!tuned.contains("rates"), "{tuned}");
    let file = RunFile::open(&folder.path().join("tuned/tuned.toml"), &[]).unwrap();
    assert!(file.plan.start.is_some());
}

#[test]
fn every_difference_is_refused_with_its_remedy() {
    let folder = log();
    let check = |more: &[&str], parts: &[&str]| {
        let sets = from_first(more);
        let sets = SETS.iter().chain(&sets).flat_map(|set| ["--set", set]);
        let sets: Vec<&str> = sets.collect();
        let train = ["train", "log/run.toml", "--out", "other"];
        refused(folder.path(), &[&train[..], &sets].concat(), parts);
        assert!(!folder.path().join("other/model").exists());
    };
    check(
        &["network.hidden=[16, 4]"],
        &[
            "cannot go on from",
            "network.hidden is [16, 8] in the model",
            "train a new model",
        ],
    );
    check(
        &["columns.price={ kind = \"numeric\", transform = \"standardise\" }"],
        &["price", "another way than in the model"],
    );
    check(
        &["columns.item={ kind = \"categorical\", buckets = 100 }"],
        &["\"item\"", "another way than in the model"],
    );
    check(
        &["columns.hour2={ kind = \"categorical\", column = \"hour\" }"],
        &["\"hour2\" is not a feature of the model"],
    );
    check(
        &["tasks.cvr.loss=\"focal\""],
        &["task \"cvr\" has another population or loss"],
    );
    check(&["start.model=\"../nowhere\""], &["no model here"]);
}

/// The moments of a table in the last checkpoint of a run: by row, both moments.
fn moments(run: &Path, table: usize) -> BTreeMap<u32, Vec<f32>> {
    let file = TensorFile::read(&run.join("checkpoint.safetensors")).unwrap();
    let name = |part: &str| format!("tower.0.table.{table}.{part}");
    let ids = file.u32(&name("ids")).unwrap();
    let values = file.f32(&name("moments")).unwrap();
    let width = values.len() / ids.len();
    let rows = values.chunks(width).map(<[f32]>::to_vec);
    ids.into_iter().zip(rows).collect()
}

fn report(run: &Path) -> String {
    fs::read_to_string(run.join("report.json")).unwrap()
}

#[test]
fn optimizer_moments_go_on_where_the_folder_of_the_training_is_named() {
    let folder = log();
    let path = folder.path();
    let next = train(path, "next", &from_first(&[]));
    let table = next
        .schema
        .tables
        .iter()
        .position(|table| table.name == "item")
        .unwrap();
    let (first, after) = (
        moments(&path.join("first"), table),
        moments(&path.join("next"), table),
    );
    // Items of the first days that the later ones do not show.
    let idle = |row: &(&u32, &Vec<f32>)| {
        after.get(row.0) == Some(row.1) && row.1.iter().any(|x| *x != 0.0)
    };
    assert!(first.iter().filter(idle).count() > 10);
    assert!(
        report(&path.join("next")).contains("optimizer moments are those of"),
        "{}",
        report(&path.join("next"))
    );
    train(path, "anew", &from_first(&["start.moments=\"reset\""]));
    let anew = moments(&path.join("anew"), table);
    let idle = first.keys().filter(|id| after.get(id) == first.get(id));
    for id in idle.filter(|id| first[id].iter().any(|x| *x != 0.0)) {
        assert!(anew[id].iter().all(|x| *x == 0.0), "row {id}");
    }
    assert!(report(&path.join("anew")).contains("optimizer moments start anew."));
    // The weights of layers differ: their moments go on too.
    let dense = |run: &str| {
        Artifact::read(&path.join(run).join("model"))
            .unwrap()
            .weight_sets[0]
            .weights
            .dense
            .clone()
    };
    assert_ne!(dense("next"), dense("anew"));
}

#[test]
fn moments_of_another_model_or_optimizer_are_not_taken() {
    let folder = log();
    let path = folder.path();
    let says = |out: &str, sets: &[&str], expected: &str| {
        let sets = [&["start.moments=\"keep\""], sets].concat();
        train(path, out, &from_first(&sets));
        let report = report(&path.join(out));
        assert!(report.contains(expected), "{report}");
    };
    says(
        "adagrad",
        &["training.optimizer=\"adagrad\""],
        "optimizer moments start anew: those of checkpoint.safetensors are of another optimizer",
    );
    // The checkpoint of another training in the place of its own.
    fs::copy(
        path.join("adagrad/checkpoint.safetensors"),
        path.join("first/checkpoint.safetensors"),
    )
    .unwrap();
    says("other", &[], "holds no checkpoint of this model");
    fs::remove_file(path.join("first/checkpoint.safetensors")).unwrap();
    says("gone", &[], "holds no checkpoint of this model");
    let train = [
        "train",
        "log/run.toml",
        "--from",
        "first/model",
        "--out",
        "none",
        "--set",
        "start.moments=keep",
    ];
    fs::rename(path.join("first/run.id"), path.join("first/other.id")).unwrap();
    refused(
        path,
        &train,
        &["start.moments = \"keep\" needs the folder of a training"],
    );
}
