//! Features by id joined to rows: as of a time, in files and frames, and what is refused or counted.

use arrow_array::{Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use ncs_features::time::TimeUnit;
use ncs_features::{
    Field, IdSpacePlan, LookupTime, RatesPlan, SchemaPlan, TablePlan, Task, Values,
};
use ncs_readers::{DataPlan, Frame, Lookup, Prepared, ReadError, Reading, Rows, Split, prepare};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

const ITEMS: &str = "item,since,price\n\
                     7,2024-03-03,30\n7,2024-03-01,10\n7.0,2024-03-02T12:00:00Z,20\n8,2024-03-02,80\n";
const LOG: &str = "ts,item,click\n\
                   2024-02-29,7,0\n2024-03-01,7,1\n2024-03-02,7,0\n2024-03-02T12:00:00Z,7,1\n\
                   2024-03-09,7,0\n2024-03-09,8,1\n2024-03-09,9,0\n2024-03-09,,1\n";
/// Prices of the rows; empty where there is none.
const PRICES: [&str; 8] = ["", "10", "10", "20", "30", "80", "", ""];

fn folder(items: &str, log: &str) -> TempDir {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("items.csv"), items).unwrap();
    fs::write(folder.path().join("log.csv"), log).unwrap();
    folder
}

fn lookup(folder: &Path) -> Lookup {
    let time = LookupTime {
        record: "since".into(),
        row: "ts".into(),
        unit: None,
    };
    Lookup::new("item", vec!["items.csv".into()], folder.to_owned()).with_time(Some(time))
}

fn reading(lookup: Lookup) -> Reading {
    Reading {
        lookups: vec![lookup],
        ..Reading::default()
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The texts of a column in all rows, empty where a value is null.
fn texts(rows: &mut Rows, column: usize) -> Result<Vec<String>, ReadError> {
    let mut texts = Vec::new();
    while let Some(block) = rows.next_block()? {
        let column = &block.block.columns[column];
        let Values::Text(values) = &column.values else {
            panic!("{column:?}");
        };
        texts.extend(
            (0..block.block.n_rows).map(|row| match column.is_null(row) {
                true => String::new(),
                false => String::from_utf8(values.get(row).to_vec()).unwrap(),
            }),
        );
    }
    Ok(texts)
}

fn open(folder: &Path, reading: &Reading, columns: &[&str]) -> Rows {
    Rows::open(vec![folder.join("log.csv")], reading, names(columns))
}

#[test]
fn rows_get_the_newest_record_that_is_not_later() {
    let folder = folder(ITEMS, LOG);
    let path = folder.path();
    let reading = reading(lookup(path));
    // Whatever columns are wanted, and in whatever order.
    for (wanted, place) in [
        (&["price"][..], 0),
        (&["click", "price"], 1),
        (&["ts", "price", "item", "since"], 1),
    ] {
        let mut rows = open(path, &reading, wanted);
        assert_eq!(texts(&mut rows, place).unwrap(), PRICES, "{wanted:?}");
    }
    let mut rows = open(path, &reading, &["click", "price"]);
    texts(&mut rows, 0).unwrap();
    let notes = rows.looked_up();
    let expected = "features by item (items.csv: 2 ids, 4 records, 0.0 MiB in memory): found for 62.5 % of 8 rows and \
                    66.7 % of 3 ids; 12.5 % have an id that is not there; 12.5 % are earlier than the first record of their \
                    id; 12.5 % have no id; half of the records are at most 24.0 hours old, nine of ten 7.0 days";
    assert_eq!(notes, [expected]);
    // Nothing is joined where nothing is wanted of the file.
    let mut rows = open(path, &reading, &["click"]);
    texts(&mut rows, 0).unwrap();
    assert!(rows.looked_up().is_empty());
}

#[test]
fn frames_are_joined_as_files_are() {
    let folder = folder(ITEMS, LOG);
    let lines = LOG.lines().skip(1).map(|line| line.split(',').collect());
    let lines: Vec<Vec<&str>> = lines.collect();
    let times = StringArray::from_iter_values(lines.iter().map(|line| line[0]));
    let items: Int64Array = lines.iter().map(|line| line[1].parse().ok()).collect();
    let batch =
        RecordBatch::try_from_iter([("ts", Arc::new(times) as _), ("item", Arc::new(items) as _)])
            .unwrap();
    let frame = || {
        let reader = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        Frame::new("frame", Box::new(reader))
    };
    let lookups = [lookup(folder.path())];
    let mut rows = Rows::of_frame_with(frame(), &lookups, names(&["price"])).unwrap();
    assert_eq!(texts(&mut rows, 0).unwrap(), PRICES);
    let error = Rows::of_frame_with(frame(), &lookups, names(&["cost"])).err();
    assert!(matches!(error, Some(ReadError::MissingColumn { .. })));
}

#[test]
fn a_row_whose_moment_cannot_be_read_is_a_broken_row() {
    let log = "ts,item,click\n2024-03-02,7,0\nsoon,7,1\n2024-03-09,7,1\n";
    let folder = folder(ITEMS, log);
    let path = folder.path();
    let strict = reading(lookup(path));
    let error = texts(&mut open(path, &strict, &["price"]), 0).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("log.csv: row 2: column \"ts\": \"soon\" is not a time"),
        "{text}"
    );
    let lenient = Reading {
        max_broken_share: 0.5,
        ..strict
    };
    let found = texts(&mut open(path, &lenient, &["price"]), 0).unwrap();
    assert_eq!(found, ["10", "30"]);
}

#[test]
fn numbers_of_different_units_are_compared_as_instants() {
    // Milliseconds in the file, seconds in the log; with a unit that is stated, both are numbers of it.
    let items = "item,since,price\n7,1709251200000,10\n7,1709424000000,30\n";
    let log = "ts,item,click\n1709251199,7,0\n1709251200,7,0\n1709510400,7,0\n";
    let folder = folder(items, log);
    let path = folder.path();
    let found = texts(&mut open(path, &reading(lookup(path)), &["price"]), 0).unwrap();
    assert_eq!(found, ["", "10", "30"]);
    let mut stated = lookup(path);
    stated.time.as_mut().unwrap().unit = Some(TimeUnit::Seconds);
    let found = texts(&mut open(path, &reading(stated), &["price"]), 0).unwrap();
    assert_eq!(found, ["", "", ""]);
}

#[test]
fn a_file_that_changes_between_two_passes_is_refused() {
    let folder = folder(ITEMS, LOG);
    let path = folder.path();
    let reading = reading(lookup(path));
    texts(&mut open(path, &reading, &["price"]), 0).unwrap();
    fs::write(path.join("items.csv"), format!("{ITEMS}9,2024-03-01,5\n")).unwrap();
    let error = texts(&mut open(path, &reading, &["price"]), 0).unwrap_err();
    assert!(matches!(error, ReadError::Changed { .. }), "{error}");
}

#[test]
fn columns_of_two_sources_are_refused() {
    let folder = folder(ITEMS, "ts,item,price,click\n2024-03-02,7,1,0\n");
    let path = folder.path();
    let both = reading(lookup(path));
    let error = texts(&mut open(path, &both, &["price"]), 0).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("log.csv: column \"price\" is in it and in items.csv"),
        "{text}"
    );
    let mut two = both.clone();
    two.lookups.push(Lookup::new(
        "click",
        vec!["prices.csv".into()],
        path.to_owned(),
    ));
    fs::write(path.join("prices.csv"), "click,price\n0,1\n").unwrap();
    let error = texts(&mut open(path, &two, &["price"]), 0).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("\"price\" is looked up by click here"),
        "{text}"
    );
    // Columns that nothing wants may be anywhere.
    assert_eq!(texts(&mut open(path, &both, &["click"]), 0).unwrap(), ["0"]);
}

fn schema() -> SchemaPlan {
    let names = ["item", "price"];
    let field = |(table, name): (usize, &&str)| Field {
        name: (*name).into(),
        column: (*name).into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: Vec::new(),
    };
    let table = |name: &&str| TablePlan {
        name: (*name).into(),
        ids: IdSpacePlan::Vocabulary {
            min_count: 1,
            max_size: None,
        },
    };
    SchemaPlan {
        fields: names.iter().enumerate().map(field).collect(),
        tables: names.iter().map(table).collect(),
        tasks: vec![Task {
            label: "click".into(),
            ..ncs_testkit::task("click")
        }],
        group: None,
        rates: RatesPlan::None,
    }
}

fn prepared(folder: &Path) -> Prepared {
    let plan = DataPlan {
        train: vec!["log.csv".into()],
        valid: Vec::new(),
        test: Vec::new(),
        root: folder.to_owned(),
        reading: reading(lookup(folder)),
        split: Split::Files,
        cache: folder.join("cache"),
    };
    prepare(&plan, &schema(), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// The key of the cache is part of what a run is resumed by.
#[test]
fn another_file_is_another_data_set() {
    let folder = folder(ITEMS, LOG);
    let path = folder.path();
    let first = prepared(path);
    assert!(!first.was_cached);
    let again = prepared(path);
    assert!(again.was_cached);
    assert!(
        again
            .report
            .notes
            .iter()
            .any(|note| note.starts_with("features by item"))
    );
    fs::write(path.join("items.csv"), ITEMS.replace("80", "81")).unwrap();
    let other = prepared(path);
    assert!(!other.was_cached);
    assert_ne!(other.key, first.key);
    assert_ne!(other.schema, first.schema);
}
