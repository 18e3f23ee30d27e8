//! From files to the cache: parts, broken rows, and what makes a data set another one.

mod made_up;

use made_up::{FORMATS, plan, schema, write};
use ncs_features::{Batch, SchemaPlan};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{self, Cache};
use ncs_readers::{
    DataPlan, Format, Moment, Prepared, Progress, Split, Stage, first_rows, prepare,
};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn prepared(plan: &DataPlan) -> Prepared {
    prepare(plan, &schema(), &mut |_| {}).unwrap()
}

fn complaint(plan: &DataPlan, schema: &SchemaPlan) -> String {
    let error = prepare(plan, schema, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(
        cache::list(&plan.cache).unwrap(),
        [],
        "nothing is left in the cache"
    );
    error.replace(&plan.root.display().to_string(), "ROOT")
}

/// All rows, as text, in which NaN is itself.
fn rows(cache: &Cache) -> String {
    let batches: Vec<Batch> = cache
        .batches(BatchPlan::default())
        .map(Result::unwrap)
        .collect();
    format!("{batches:?}")
}

fn n_rows(prepared: &Prepared) -> [u64; 3] {
    let n = |cache: Option<&Cache>| cache.map_or(0, Cache::n_rows);
    [
        n(Some(&prepared.train)),
        n(prepared.valid.as_ref()),
        n(prepared.test.as_ref()),
    ]
}

/// Replaces a value in the CSV file: line `row` (the header is 0), field `place`.
fn put(path: &Path, row: usize, place: usize, value: &str) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let mut fields: Vec<&str> = lines[row].split(',').collect();
    fields[place] = value;
    lines[row] = fields.join(",");
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Where the made-up log has its columns.
const PRICE: usize = 4;
const CLICK: usize = 16;

#[test]
fn a_second_run_reads_the_cache_only() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 20_000);
    let plan = plan(folder.path(), "train.csv");
    let mut steps: Vec<Progress> = Vec::new();
    let first = prepare(&plan, &schema(), &mut |step| steps.push(step)).unwrap();
    assert!(!first.was_cached);
    let stages: Vec<Stage> = steps.iter().map(|step| step.stage).collect();
    assert_eq!(
        stages,
        [vec![Stage::Fit; 3], vec![Stage::Encode; 3]].concat()
    );
    let last = steps.last().unwrap();
    assert_eq!((last.rows, last.bytes), (20_000, last.total_bytes));
    assert_eq!(n_rows(&first).iter().sum::<u64>(), 20_000);
    assert_eq!(first.report.parts.len(), 3);

    let second = prepare(&plan, &schema(), &mut |_| panic!("no file is read")).unwrap();
    assert!(second.was_cached);
    assert_eq!(
        (&second.schema, &second.report),
        (&first.schema, &first.report)
    );
    assert_eq!(second.key, first.key);
    assert_eq!(rows(&second.train), rows(&first.train));
}

#[test]
fn every_format_gives_the_same_cache() {
    let expected = std::cell::OnceCell::new();
    for format in FORMATS {
        let folder = tempdir().unwrap();
        let path = write(folder.path(), format, 9_000);
        let plan = plan(folder.path(), path.to_str().unwrap());
        let prepared = prepared(&plan);
        let found = (rows(&prepared.train), rows(prepared.test.as_ref().unwrap()));
        assert!(
            expected.get_or_init(|| found.clone()) == &found,
            "{format:?}"
        );
    }
}

#[test]
fn other_data_or_another_plan_has_another_key() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 300);
    let plan = plan(folder.path(), "train.csv");
    let key = prepared(&plan).key;
    let by_glob = DataPlan {
        train: vec!["./tr*.csv".into()],
        ..plan.clone()
    };
    assert_eq!(prepared(&by_glob).key, key, "the same file by another name");
    let mut other = plan.clone();
    other.reading.max_broken_share = 0.1;
    assert_ne!(prepared(&other).key, key);
    other = plan.clone();
    other.split = Split::Files;
    assert_ne!(prepared(&other).key, key);
    let mut other = schema();
    other.group = None;
    assert_ne!(prepare(&plan, &other, &mut |_| {}).unwrap().key, key);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(",1", ",2", 1)).unwrap();
    let changed = prepared(&plan);
    assert_ne!(changed.key, key);
    assert!(!changed.was_cached);
}

#[test]
fn files_of_other_parts_are_used_whole() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Parquet, 1000);
    fs::copy(
        folder.path().join("train.parquet"),
        folder.path().join("valid.parquet"),
    )
    .unwrap();
    fs::create_dir(folder.path().join("test")).unwrap();
    write(&folder.path().join("test"), Format::JsonLines, 30);
    let mut plan = plan(folder.path(), "train.parquet");
    let [train, valid, test] = n_rows(&prepared(&plan));
    plan.valid = vec!["valid.parquet".into()];
    plan.test = vec!["test/*".into()];
    let whole = prepared(&plan);
    assert_eq!(n_rows(&whole), [train, valid + 1000, test + 30]);
    plan.split = Split::Files;
    assert_eq!(n_rows(&prepared(&plan)), [1000, 1000, 30]);
    plan.valid = vec![];
    plan.test = vec![];
    let alone = prepared(&plan);
    assert!(alone.valid.is_none() && alone.test.is_none());
}

#[test]
fn only_training_rows_are_learned_from() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 2000);
    let mut plan = plan(folder.path(), "train.csv");
    let split = prepared(&plan);
    plan.split = Split::Files;
    assert_ne!(prepared(&plan).schema, split.schema);
    plan.valid = vec!["train.csv".into()];
    let with_valid = prepared(&plan);
    plan.valid = vec![];
    assert_eq!(prepared(&plan).schema, with_valid.schema);
}

#[test]
fn a_row_that_cannot_be_encoded_is_named() {
    let check = |row: usize, place: usize, value: &str, expected: &str| {
        let folder = tempdir().unwrap();
        let path = write(folder.path(), Format::Csv, 9_000);
        put(&path, row, place, value);
        let found = complaint(&plan(folder.path(), "train.csv"), &schema());
        assert!(found.starts_with(expected), "{found}");
    };
    check(
        8_500,
        PRICE,
        "dear",
        "ROOT/train.csv: column \"price\", row 8500: text where a number",
    );
    check(
        2,
        PRICE,
        "NaN",
        "ROOT/train.csv: column \"price\", row 2: NaN where a finite number",
    );
    check(
        9_000,
        CLICK,
        "2",
        "ROOT/train.csv: column \"click\", row 9000: the label of task \"click\" is 2",
    );
}

#[test]
fn rows_that_cannot_be_encoded_count_as_broken() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 9_000);
    let plan = |share| {
        let mut plan = plan(folder.path(), "train.csv");
        plan.reading.max_broken_share = share;
        plan.split = Split::Row {
            valid: 0.2,
            test: 0.0,
            seed: 1,
        };
        plan
    };
    let whole = prepared(&plan(0.01));
    put(&path, 3, PRICE, "dear");
    put(&path, 8_700, CLICK, "2");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + "torn\n").unwrap();
    let partly = prepared(&plan(0.01));
    assert_eq!(partly.report.broken_rows, 3);
    let n = |prepared: &Prepared| n_rows(prepared).iter().sum::<u64>();
    assert_eq!((n(&whole), n(&partly)), (9_000, 8_998));
    // The other rows are in the parts where they were.
    assert!(
        n_rows(&whole)
            .iter()
            .zip(n_rows(&partly))
            .all(|(a, b)| a - b <= 2)
    );
    cache::clear(&folder.path().join("cache")).unwrap();
    let found = complaint(&plan(0.0003), &schema());
    let expected = "3 of 9001 rows cannot be used, more than a share of 0.0003 \
                    (`max_broken_share`); the first: ROOT/train.csv: column \"price\", row 3: text";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn a_row_without_time_is_broken() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "t,c\n1,0\n,1\n3,1\n").unwrap();
    let schema = SchemaPlan {
        fields: vec![],
        tables: vec![],
        tasks: vec![made_up::task("c", ncs_features::Population::All, None)],
        group: None,
    };
    let mut plan = plan(folder.path(), "a.csv");
    plan.split = Split::Time {
        column: "t".into(),
        valid_from: Moment::Number(2.0),
        test_from: None,
    };
    let found = complaint(&plan, &schema);
    assert!(
        found.starts_with("ROOT/a.csv: column \"t\", row 2: no time"),
        "{found}"
    );
    plan.reading.max_broken_share = 0.4;
    let prepared = prepare(&plan, &schema, &mut |_| {}).unwrap();
    assert_eq!(
        (n_rows(&prepared), prepared.report.broken_rows),
        ([1, 1, 0], 1)
    );
}

#[test]
fn a_split_that_leaves_no_training_row_is_refused() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 50);
    let mut plan = plan(folder.path(), "train.csv");
    plan.split = Split::Time {
        column: "session".into(),
        valid_from: Moment::Number(-1.0),
        test_from: None,
    };
    let mut schema = schema();
    assert!(complaint(&plan, &schema).starts_with("no training rows to fit"));
    schema.fields.truncate(1);
    schema.tables.truncate(1);
    assert!(complaint(&plan, &schema).starts_with("none of the 50 rows of the training files"));
    plan.train = vec![];
    assert!(complaint(&plan, &schema).starts_with("no training files"));
}

#[test]
fn an_absent_column_is_named_at_once() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 50);
    let mut schema = schema();
    schema.tasks[0].label = "clik".into();
    let mut plan = plan(folder.path(), "train.csv");
    plan.reading.max_broken_share = 0.9;
    let found = complaint(&plan, &schema);
    assert!(
        found.starts_with("ROOT/train.csv: no column \"clik\"; the nearest is \"click\""),
        "{found}"
    );
}

#[test]
fn the_first_rows_can_be_looked_at() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 9_000);
    let plan = plan(folder.path(), "train.csv");
    let n = |n| -> Vec<usize> {
        let blocks = first_rows(&plan, &["price".into()], n).unwrap();
        blocks.iter().map(|rows| rows.block.n_rows).collect()
    };
    assert_eq!(n(10), [10]);
    assert_eq!(n(8_200), [8192, 8]);
    assert_eq!(n(1 << 20), [8192, 808]);
}
