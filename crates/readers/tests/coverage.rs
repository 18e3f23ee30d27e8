//! Coverage of a part by the training rows, both for parts later in time and for random parts.

mod synthetic_files;

use ncs_features::*;
use ncs_readers::split::Part;
use ncs_readers::{DataPlan, Prepared, Reading, Split, prepare};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use synthetic_files::{field, task};
use tempfile::tempdir;

const N_ROWS: usize = 3_000;

/// Users come back twenty times at most, so that some are in one part only.
fn user(row: usize) -> String {
    format!("u{}", (row * 7919) % 150)
}

fn click(row: usize) -> bool {
    row.is_multiple_of(3)
}

/// Rows of user, flag, price and click. Fill values stand in rows 10 and 2,990, counted from 0.
fn csv(rows: std::ops::Range<usize>, flag: &str) -> String {
    let mut text = "user,flag,price,click\n".to_owned();
    for row in rows {
        let price = match row {
            10 | 2_990 => 1e20,
            _ => (row % 50) as f64,
        };
        writeln!(
            text,
            "{},{flag},{price},{}",
            user(row),
            u8::from(click(row))
        )
        .unwrap();
    }
    text
}

fn schema() -> SchemaPlan {
    let table = |(name, ids): (&str, IdSpacePlan)| TablePlan {
        name: name.into(),
        ids,
    };
    let hash = IdSpacePlan::Hash {
        buckets: 1 << 24,
        function: HashFunction::Xxh3,
    };
    let vocabulary = IdSpacePlan::Vocabulary {
        min_count: 2,
        max_size: None,
    };
    let number = IdSpacePlan::Numeric(NumericPlan::Standardise);
    SchemaPlan {
        fields: vec![field("user", 0), field("flag", 1), field("price", 2)],
        tables: [("user", hash), ("flag", vocabulary), ("price", number)]
            .map(table)
            .into(),
        tasks: vec![task("click", Population::All, None)],
        group: None,
        rates: Default::default(),
    }
}

fn prepared(folder: &Path, valid: &[&str], split: Split) -> Prepared {
    let plan = DataPlan {
        train: vec!["train.csv".into()],
        valid: valid.iter().map(|&name| name.into()).collect(),
        test: vec![],
        root: folder.into(),
        reading: Reading::default(),
        split,
        cache: folder.join("cache"),
    };
    let first = prepare(&plan, &schema(), &mut |_| ControlFlow::Continue(())).unwrap();
    let again = prepare(&plan, &schema(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(again.was_cached);
    assert_eq!(again.report.parts.len(), first.report.parts.len());
    assert_eq!(
        again.report.parts[1].columns[1],
        first.report.parts[1].columns[1]
    );
    first
}

#[test]
fn users_of_no_training_row_are_counted_though_parts_are_mixed() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("train.csv"), csv(0..N_ROWS, "yes")).unwrap();
    let split = Split::Row {
        valid: 0.2,
        test: 0.7,
        seed: 5,
    };
    let block = Block {
        n_rows: N_ROWS,
        columns: vec![],
    };
    let parts = split.parts(&block, 0).unwrap();
    let rows = |part| {
        (0..N_ROWS)
            .filter(|&row| parts[row] == part)
            .collect::<Vec<_>>()
    };
    let trained: HashSet<String> = rows(Part::Train).into_iter().map(user).collect();
    let prepared = prepared(folder.path(), &[], split);
    for report in &prepared.report.parts {
        let unseen = |row: &&usize| !trained.contains(&user(**row));
        let rows = rows(report.part);
        let expected = rows.iter().filter(unseen).count() as u64;
        let clicked = rows
            .iter()
            .filter(unseen)
            .filter(|row| click(**row))
            .count() as u64;
        let column = &report.columns[0];
        assert_eq!(column.rows, rows.len() as u64);
        assert_eq!(column.unseen, expected, "{:?}", report.part);
        assert_eq!(column.new_values.is_empty(), expected == 0);
        assert!(
            column
                .new_values
                .iter()
                .all(|new| !trained.contains(&new.value))
        );
        if report.part == Part::Test {
            assert!(expected > 0);
            let labels = &column.labels[0];
            assert_eq!(labels.unseen.positives, clicked);
            assert_eq!(labels.seen.known + labels.unseen.known, rows.len() as u64);
        }
    }
}

#[test]
fn another_spelling_shows_and_fill_values_are_placed() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("train.csv"), csv(0..2_000, "yes")).unwrap();
    fs::write(folder.path().join("valid.csv"), csv(2_000..N_ROWS, "YES")).unwrap();
    let prepared = prepared(folder.path(), &["valid.csv"], Split::Files);
    let [train, valid] = &prepared.report.parts[..] else {
        panic!("two parts");
    };
    let flag = &valid.columns[1];
    assert_eq!((flag.values, flag.unseen), (1_000, 1_000));
    assert_eq!(
        (&flag.new_values[0].value[..], flag.new_values[0].count),
        ("YES", 1_000)
    );
    assert_eq!((train.columns[0].unseen, train.columns[1].unseen), (0, 0));
    for (part, name, row) in [(train, "train.csv", 11), (valid, "valid.csv", 991)] {
        let price = &part.columns[2];
        assert_eq!(price.clipped, 1);
        let first = price.first_clipped.as_ref().unwrap();
        assert_eq!(first.value, 1e20);
        assert!(
            first.place.ends_with(&format!("{name}: row {row}")),
            "{}",
            first.place
        );
    }
}
