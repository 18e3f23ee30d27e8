//! Lifetimes of table rows in trainings that go on from a model.

mod short_run;
mod trained;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ncs_features::IdSpace;
use ncs_model::artifact::Artifact;
use ncs_model::{Scorer, TensorFile};
use trained::{done, refused};

const SETS: [&str; 6] = [
    "data.cache=\"cache\"",
    "threads=1",
    "network.kind=\"shared_bottom\"",
    "network.hidden=[16]",
    "training.epochs=1",
    "training.batch=512",
];

const FIRST: [&str; 3] = [
    "data.train=\"train.parquet\"",
    "data.valid=\"valid.parquet\"",
    "data.test=[]",
];

/// Later rows, of other items.
const LATER: [&str; 3] = [
    "data.train=\"valid.parquet\"",
    "data.valid=\"test.parquet\"",
    "data.test=[]",
];

fn log() -> tempfile::TempDir {
    short_run::log(&["--unseen", "0.6", "--days", "10"])
}

fn train(folder: &Path, out: &str, sets: &[&str]) -> Artifact {
    let file = short_run::open(folder, &SETS, sets);
    short_run::train(&file, &folder.join(out))
}

/// Trains on the first days, twice on the later ones, each from the model before.
fn chain(folder: &Path, sets: &[&str]) -> [Artifact; 3] {
    let first = train(folder, "first", &[&FIRST, sets].concat());
    let further = |from, out| {
        let start = format!("start.model=\"../{from}\"");
        train(folder, out, &[&LATER, sets, &[&start[..]]].concat())
    };
    [
        first,
        further("first", "second"),
        further("second", "third"),
    ]
}

fn table(artifact: &Artifact, name: &str) -> usize {
    let mut tables = artifact.schema.tables.iter();
    tables.position(|table| table.name == name).unwrap()
}

fn values(artifact: &Artifact, name: &str) -> Vec<String> {
    match &artifact.schema.tables[table(artifact, name)].ids {
        IdSpace::Vocabulary { values } => values.clone(),
        ids => panic!("{ids:?}"),
    }
}

fn rows(artifact: &Artifact, name: &str) -> BTreeSet<u32> {
    let rows = &artifact.weight_sets[0].weights.tables[table(artifact, name)];
    rows.ids.iter().copied().collect()
}

fn report(folder: &Path, run: &str) -> String {
    fs::read_to_string(folder.join(run).join("report.json")).unwrap()
}

#[test]
fn rows_that_no_training_shows_expire() {
    let folder = log();
    let sets = ["tables.item={expire_after=1}", "start.moments=\"keep\""];
    let first = train(folder.path(), "first", &[&FIRST[..], &sets[..1]].concat());
    let further = |from: &str, out: &str| {
        let start = format!("start.model=\"../{from}\"");
        train(
            folder.path(),
            out,
            &[&LATER[..], &sets, &[&start[..]]].concat(),
        )
    };
    let (second, third) = (further("first", "second"), further("second", "third"));
    let [one, two, three] = [&first, &second, &third].map(|artifact| values(artifact, "item"));
    // Nothing has expired when the second begins.
    assert_eq!(two[..one.len()], one);
    let lives = &second.lives[table(&second, "item")];
    let idle: Vec<u32> = (0..lives.ids.len())
        .filter(|&row| lives.last_seen[row] == 1)
        .map(|row| lives.ids[row])
        .collect();
    assert!(idle.len() > 20, "{}", idle.len());
    assert!(report(folder.path(), "second").contains("item: 0 rows expired"));
    let told = format!(
        "item: {} rows expired, 0 were beyond the capacity; {} stay",
        idle.len(),
        lives.ids.len() - idle.len()
    );
    assert!(report(folder.path(), "third").contains(&told), "{told}");
    for &id in &idle {
        assert_eq!(three[id as usize - 2], "", "{id}");
        assert!(!rows(&third, "item").contains(&id), "{id}");
    }
    for (id, value) in (2..).zip(&two) {
        assert!(
            idle.contains(&id) || three[id as usize - 2] == *value,
            "{value}"
        );
    }
    // Their moments are gone with them.
    let checkpoint = TensorFile::read(&folder.path().join("third/checkpoint.safetensors")).unwrap();
    let place = table(&third, "item");
    assert_eq!(
        checkpoint
            .count_rows(|t, id| t == place && idle.contains(&id))
            .unwrap(),
        0
    );
    // The model is one, and says so.
    assert!(Scorer::new(&third).is_some());
    let shown = done(folder.path(), &["inspect", "third"]);
    assert!(shown.contains("Lifetimes: training 3"), "{shown}");
    let evaluate = ["evaluate", "third", "--data", "log/test.parquet", "--json"];
    done(folder.path(), &evaluate);
}

#[test]
fn new_values_take_the_places_of_those_that_went() {
    let folder = log();
    let sets = ["tables.item={expire_after=1}"];
    let [_, second, third] = chain(folder.path(), &sets);
    assert!(values(&third, "item").contains(&String::new()));
    // The first days come back: their items are new ones.
    let back = [&FIRST[..], &sets, &["start.model=\"../third\""]].concat();
    let fourth = train(folder.path(), "fourth", &back);
    let (before, after) = (values(&third, "item"), values(&fourth, "item"));
    assert!(!after.contains(&String::new()));
    for (was, is) in before.iter().zip(&after) {
        assert!(was.is_empty() || was == is, "{was} {is}");
    }
    let all: BTreeSet<&String> = after.iter().collect();
    assert_eq!(all.len(), after.len(), "each value has one place");
    assert_eq!(
        after.len(),
        values(&second, "item").len(),
        "no place is lost"
    );
}

#[test]
fn a_table_keeps_the_rows_that_were_seen_last_and_most() {
    for space in ["\"categorical\"", "{kind=\"categorical\", buckets=100000}"] {
        let folder = log();
        let column = format!("columns.user={space}");
        let sets = [&column[..], "tables.user={capacity=50}"];
        let first = train(folder.path(), "first", &[&FIRST[..], &sets].concat());
        let start = "start.model=\"../first\"";
        let second = train(
            folder.path(),
            "second",
            &[&LATER[..], &sets, &[start]].concat(),
        );
        let lives = &first.lives[table(&first, "user")];
        assert!(lives.ids.len() > 60, "{}", lives.ids.len());
        let mut by_sightings: Vec<(u32, u32)> = (0..lives.ids.len())
            .map(|row| (lives.sightings[row], u32::MAX - lives.ids[row]))
            .collect();
        by_sightings.sort_unstable_by(|a, b| b.cmp(a));
        let kept: BTreeSet<u32> = by_sightings[..50]
            .iter()
            .map(|(_, id)| u32::MAX - id)
            .collect();
        let there = rows(&second, "user");
        assert!(kept.is_subset(&there));
        let now = &second.lives[table(&second, "user")];
        for &id in lives
            .ids
            .iter()
            .filter(|id| !kept.contains(id) && there.contains(id))
        {
            // A bucket or a place that a new value of the second training took.
            let row = now.ids.binary_search(&id).unwrap();
            assert_eq!(now.last_seen[row], 2, "{id}");
        }
        assert!(report(folder.path(), "second").contains("were beyond the capacity; 50 stay"));
    }
}

/// Ids of a hashed column have rows once they were seen often enough, in one training or in several.
#[test]
fn hashed_rows_wait_for_their_sightings() {
    // A session shows its user eight times.
    const LEAST: u32 = 12;
    let folder = log();
    let sets = [
        "columns.user={kind=\"categorical\", buckets=100000}",
        "tables.user={min_count=12}",
        // It may hide all sightings of a row.
        "training.id_dropout=\"none\"",
    ];
    let [first, second, third] = chain(folder.path(), &sets);
    let unknown = 100_001;
    let trained = |artifact: &Artifact| {
        let mut rows = rows(artifact, "user");
        rows.retain(|id| ![0, unknown].contains(id));
        rows
    };
    let mut n_waited = 0;
    for artifact in [&first, &second, &third] {
        let lives = &artifact.lives[table(artifact, "user")];
        let rows = trained(artifact);
        let sightings = lives.ids.iter().zip(&lives.sightings);
        let expected = sightings.filter(|(_, n)| **n >= LEAST).map(|(id, _)| *id);
        assert_eq!(rows, expected.collect());
        let waiting = lives.ids.len() - rows.len();
        assert!(waiting > 20, "{waiting}");
        n_waited = waiting;
        let scorer = Scorer::new(artifact).unwrap();
        let field = artifact
            .schema
            .fields
            .iter()
            .position(|field| field.name == "user");
        for id in lives.ids.iter().filter(|id| !rows.contains(id)) {
            assert!(scorer.is_unseen(field.unwrap(), *id), "{id}");
        }
    }
    // Some rows of the second training had been seen before, and not often enough in either.
    let before = &first.lives[table(&first, "user")];
    let n_before = |id: &u32| {
        before
            .ids
            .binary_search(id)
            .map_or(0, |row| before.sightings[row])
    };
    let after = &second.lives[table(&second, "user")];
    let n_after = |id: &u32| after.sightings[after.ids.binary_search(id).unwrap()];
    let is_joined =
        |id: &&u32| (1..LEAST).contains(&n_before(id)) && n_after(id) - n_before(id) < LEAST;
    assert!(trained(&second).iter().filter(is_joined).count() > 3);
    let told = format!("until they were seen min_count times: user: {n_waited}.");
    assert!(report(folder.path(), "third").contains(&told), "{told}");
}

#[test]
fn rows_expire_by_days() {
    let folder = log();
    let rows = |part: &str, day: &str| {
        let to = folder.path().join("log/days").join(day);
        fs::create_dir_all(&to).unwrap();
        let from = folder.path().join("log").join(format!("{part}.parquet"));
        fs::copy(from, to.join("rows.parquet")).unwrap();
    };
    rows("train", "day=2026-01-01");
    rows("valid", "day=2026-01-20");
    rows("test", "day=2026-03-01");
    let train = |day: &str, from: &str, out: &str, lifetime: &str| {
        let data = format!("data.train=\"days/day={day}\"");
        let start = format!("start.model=\"../{from}\"");
        let lifetime = format!("tables.item={{expire_after=\"{lifetime}\"}}");
        let split = "data.split={by=\"row\", valid=0.2}";
        let mut sets = vec![&data[..], &lifetime, split, "data.valid=[]", "data.test=[]"];
        sets.extend((!from.is_empty()).then_some(&start[..]));
        train(folder.path(), out, &sets)
    };
    train("2026-01-01", "", "first", "40 days");
    train("2026-01-20", "first", "second", "40 days");
    let third = train("2026-03-01", "second", "third", "40 days");
    let days: Vec<Option<i64>> = third.ancestry.iter().map(|step| step.day).collect();
    assert_eq!(days, [Some(20_473), Some(20_513)]);
    assert!(report(folder.path(), "third").contains("item: 0 rows expired"));
    // Forty days lie between the last two.
    train("2026-03-01", "third", "soon", "41 days");
    assert!(report(folder.path(), "soon").contains("item: 0 rows expired"));
    train("2026-03-01", "third", "late", "40 days");
    let late = report(folder.path(), "late");
    assert!(
        late.contains(" rows expired") && !late.contains("item: 0 rows expired"),
        "{late}"
    );
}

#[test]
fn a_table_without_a_lifetime_is_as_it_was() {
    let folder = log();
    let [_, _, third] = chain(folder.path(), &[]);
    assert!(third.lives.is_empty());
    assert!(!values(&third, "item").contains(&String::new()));
    assert!(!done(folder.path(), &["inspect", "third"]).contains("Lifetimes"));
}

#[test]
fn an_interrupted_training_ends_with_the_same_bytes() {
    let folder = log();
    let sets = ["tables.item={expire_after=1, capacity=40}"];
    chain(folder.path(), &sets);
    let sets = [
        &LATER[..],
        &sets,
        &["start.model=\"../second\"", "training.checkpoint_steps=1"],
    ]
    .concat();
    train(folder.path(), "whole", &sets);
    let file = short_run::open(folder.path(), &SETS, &sets);
    short_run::dies(&file, &folder.path().join("cut"), 2);
    train(folder.path(), "cut", &sets);
    let [cut, whole] = ["cut", "whole"].map(|out| short_run::bytes(&folder.path().join(out)));
    assert!(cut == whole);
}

#[test]
fn wrong_lifetimes_are_refused() {
    let folder = log();
    let check = |set: &str, part: &str| {
        refused(
            folder.path(),
            &["train", "log/run.toml", "--out", "out", "--set", set],
            &[part],
        );
    };
    check("tables.itm={capacity=5}", "no id space \"itm\"");
    check("tables.price={capacity=5}", "no id space \"price\"");
    check(
        "tables.item={}",
        "state expire_after, capacity, min_count, or several",
    );
    check(
        "tables.item={min_count=2}",
        "min_count of a table is about hashed ids",
    );
    check(
        "tables.item={expire_after=\"30 days\"}",
        "needs the day of the rows",
    );
    check("tables.item={expire_after=\"0 days\"}", "expire_after");
    for text in ["30 dys", "soon", "30days", "99999999999 days"] {
        check(
            &format!("tables.item={{expire_after=\"{text}\"}}"),
            "days such as \"30 days\"",
        );
    }
    check("tables.item={capacity=0}", "capacity");
}
