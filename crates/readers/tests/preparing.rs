//! From files to the cache: parts, broken rows, and what makes a data set another one.

mod synthetic_files;

use ncs_features::{Batch, SchemaPlan};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{self, Cache};
use ncs_readers::{
    DataPlan, Format, Moment, PrepareError, Prepared, Progress, Split, Stage, first_rows, prepare,
};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use synthetic_files::{FORMATS, plan, schema, write};
use tempfile::tempdir;

const GO: ControlFlow<()> = ControlFlow::Continue(());

fn prepared(plan: &DataPlan) -> Prepared {
    prepare(plan, &schema(), &mut |_| GO).unwrap()
}

fn complaint(plan: &DataPlan, schema: &SchemaPlan) -> String {
    let error = prepare(plan, schema, &mut |_| GO).unwrap_err().to_string();
    assert_eq!(
        cache::list(&plan.cache).unwrap(),
        [],
        "nothing is left in the cache"
    );
    error.replace(&plan.root.display().to_string(), "ROOT")
}

/// Returns all rows, as text, in which NaN is itself.
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

/// Positions of the columns of the synthetic log.
const PRICE: usize = 4;
const CLICK: usize = 16;

#[test]
fn a_second_run_reads_the_cache_only() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 20_000);
    let plan = plan(folder.path(), "train.csv");
    let mut steps: Vec<Progress> = Vec::new();
    let first = prepare(&plan, &schema(), &mut |step| {
        steps.push(step);
        GO
    })
    .unwrap();
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
    assert_ne!(prepare(&plan, &other, &mut |_| GO).unwrap().key, key);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(",1", ",2", 1)).unwrap();
    let changed = prepared(&plan);
    assert_ne!(changed.key, key);
    assert!(!changed.was_cached);
}

#[cfg(unix)]
#[test]
fn an_edit_is_seen_whose_size_and_time_of_modification_are_the_old_ones() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 300);
    let plan = plan(folder.path(), "train.csv");
    let key = prepared(&plan).key;
    let before = fs::metadata(&path).unwrap();
    let edited = fs::read_to_string(&path).unwrap().replacen(",1", ",2", 1);
    let put_back = |path: &Path| {
        fs::write(path, &edited).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        let after = fs::metadata(path).unwrap();
        assert_eq!(
            (after.len(), after.modified().unwrap()),
            (before.len(), before.modified().unwrap())
        );
        (after.ctime(), after.ctime_nsec())
    };
    // The system's clock may be as coarse as some milliseconds.
    while put_back(&path) == (before.ctime(), before.ctime_nsec()) {}
    let in_place = prepared(&plan);
    assert!(!in_place.was_cached && in_place.key != key);

    let beside = folder.path().join("beside");
    put_back(&beside);
    fs::rename(&beside, &path).unwrap();
    assert_ne!(
        prepared(&plan).key,
        in_place.key,
        "another file in its place"
    );
}

#[test]
fn a_file_is_in_one_part_only() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 50);
    let mut plan = plan(folder.path(), "train.csv");
    plan.train.push("./train.csv".into());
    prepared(&plan);
    cache::clear(&plan.cache).unwrap();
    plan.test = vec!["./tr*.csv".into()];
    let found = complaint(&plan, &schema());
    assert!(
        found.contains("train.csv: the file is named by `train` and by `test`; name it in one"),
        "{found}"
    );
}

#[test]
fn a_stop_leaves_nothing_in_the_cache() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 60_000);
    let plan = plan(folder.path(), "train.csv");
    for stage in [Stage::Fit, Stage::Encode] {
        let mut last = None;
        let mut until = |now: Progress| {
            last = Some((now.stage, now.rows));
            if now.stage == stage {
                ControlFlow::Break(())
            } else {
                GO
            }
        };
        let error = prepare(&plan, &schema(), &mut until).unwrap_err();
        assert!(matches!(error, PrepareError::Stopped), "{error}");
        assert!(error.to_string().contains("nothing is lost"), "{error}");
        assert_eq!(last, Some((stage, 8192)), "no block after the stop");
        assert_eq!(cache::list(&plan.cache).unwrap(), []);
    }
    assert!(!prepared(&plan).was_cached);
}

#[test]
fn rows_without_a_key_stay_in_their_part_beside_broken_ones() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let put = |row: usize, text: &str| match row {
        7 => format!("{text}\n"),
        _ => format!("{{\"u\": null, \"c\": {}}}\n", row % 2),
    };
    let write = |text: &str| {
        let lines: String = (0..400).map(|row| put(row, text)).collect();
        fs::write(&path, lines).unwrap();
    };
    let schema = SchemaPlan {
        fields: vec![],
        tables: vec![],
        tasks: vec![synthetic_files::task(
            "c",
            ncs_features::Population::All,
            None,
        )],
        group: None,
        rates: Default::default(),
    };
    let mut plan = plan(folder.path(), "a.jsonl");
    plan.reading.max_broken_share = 0.1;
    plan.split = Split::Hash {
        column: "u".into(),
        valid: 0.3,
        test: 0.3,
        seed: 1,
    };
    let counts = |text: &str| {
        write(text);
        n_rows(&prepare(&plan, &schema, &mut |_| GO).unwrap())
    };
    let whole = counts("{\"u\": null, \"c\": 1}");
    let lost: Vec<u64> = whole
        .iter()
        .zip(counts("{\"u\": [1, 2], \"c\": 1}"))
        .map(|(before, after)| before - after)
        .collect();
    assert_eq!(lost.iter().sum::<u64>(), 1, "{lost:?}");
    assert!(whole.iter().all(|&n| n > 80), "{whole:?}");
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
    let (train, valid) = ("train.csv", "valid.csv");
    fs::copy(folder.path().join(train), folder.path().join(valid)).unwrap();
    plan.valid = vec![valid.into()];
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
        "inf",
        "ROOT/train.csv: column \"price\", row 2: inf where a finite number",
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
        tasks: vec![synthetic_files::task(
            "c",
            ncs_features::Population::All,
            None,
        )],
        group: None,
        rates: Default::default(),
    };
    let mut plan = plan(folder.path(), "a.csv");
    plan.split = Split::Time {
        column: "t".into(),
        valid_from: Moment::Number(2.0),
        test_from: None,
        format: None,
    };
    let found = complaint(&plan, &schema);
    assert!(
        found.starts_with("ROOT/a.csv: column \"t\", row 2: no time"),
        "{found}"
    );
    plan.reading.max_broken_share = 0.4;
    let prepared = prepare(&plan, &schema, &mut |_| GO).unwrap();
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
        format: None,
    };
    let mut schema = schema();
    let expected = "the split leaves none of 50 rows for train: valid_from is -1, and the times of \
                    column \"session\" go from ";
    let found = complaint(&plan, &schema);
    assert!(found.starts_with(expected), "{found}");
    schema.fields.truncate(1);
    schema.tables.truncate(1);
    let found = complaint(&plan, &schema);
    assert!(found.starts_with(expected), "{found}");
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
    let n = |n| -> (Vec<usize>, bool) {
        let first = first_rows(&plan, &["price".into()], n).unwrap();
        let sizes = first.blocks.iter().map(|rows| rows.block.n_rows);
        (sizes.collect(), first.are_all)
    };
    assert_eq!(n(10), (vec![10], false));
    assert_eq!(n(8_192), (vec![8192], false));
    assert_eq!(n(8_200), (vec![8192, 8], false));
    assert_eq!(n(9_000), (vec![8192, 808], true));
    assert_eq!(n(1 << 20), (vec![8192, 808], true));
}

#[test]
fn of_wide_rows_fewer_are_looked_at() {
    let folder = tempdir().unwrap();
    let row = format!("{}\n", "x".repeat(1 << 20));
    fs::write(
        folder.path().join("wide.csv"),
        format!("a\n{}", row.repeat(60)),
    )
    .unwrap();
    let plan = plan(folder.path(), "wide.csv");
    let first = first_rows(&plan, &["a".into()], 10_000).unwrap();
    let n_rows: usize = first.blocks.iter().map(|rows| rows.block.n_rows).sum();
    assert!((32..60).contains(&n_rows) && !first.are_all, "{n_rows}");
}

#[test]
fn files_of_a_part_that_all_are_empty_are_refused() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 300);
    let header = fs::read_to_string(&path).unwrap();
    let header = header.lines().next().unwrap();
    for name in ["empty-0.csv", "empty-1.csv"] {
        fs::write(folder.path().join(name), format!("{header}\n")).unwrap();
    }
    let mut plan = plan(folder.path(), "train.csv");
    plan.valid = vec!["empty-*.csv".into()];
    let found = complaint(&plan, &schema());
    assert!(
        found.contains("neither this file nor any other of the 2 holds a row"),
        "{found}"
    );
    plan.valid = vec![];
    plan.train = vec!["*.csv".into()];
    let prepared = prepared(&plan);
    assert_eq!(n_rows(&prepared).iter().sum::<u64>(), 300);
    assert!(
        prepared.report.notes[0].contains("2 of 3 files hold no rows"),
        "{:?}",
        prepared.report
    );
}

#[test]
fn a_file_that_is_replaced_between_the_passes_is_told() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 300);
    let plan = plan(folder.path(), "train.csv");
    let other = folder.path().join("other");
    fs::copy(&path, &other).unwrap();
    let mut is_replaced = false;
    let mut on = |step: Progress| {
        if step.stage == Stage::Encode && !is_replaced {
            is_replaced = true;
            fs::rename(&other, &path).unwrap();
        }
        GO
    };
    let error = prepare(&plan, &schema(), &mut on).unwrap_err().to_string();
    assert!(
        error.contains("the file changed while it was read"),
        "{error}"
    );
    assert_eq!(cache::list(&plan.cache).unwrap(), []);
}
