use super::*;
use crate::block::{Column, Texts, Values};
use crate::encode::Encoder;
use crate::schema::{HashFunction, IdSpace, Objective, Pooling, Population, Table, Task};

const N_FIELDS: usize = 3;

/// Returns a hashed `user`, a list `tags` by vocabulary, a number `price`.
fn schema() -> Arc<Schema> {
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: (name == "tags").then_some('|'),
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into()],
    };
    let table = |name: &str, ids, range| Table {
        name: name.into(),
        ids,
        range,
    };
    let hash = IdSpace::Hash {
        buckets: 1 << 20,
        function: HashFunction::Xxh3,
        unknown: false,
    };
    let letters = IdSpace::Vocabulary {
        values: vec!["a".into(), "b".into()],
    };
    let scaled = IdSpace::Scaled {
        log: false,
        mean: 0.0,
        deviation: 1.0,
    };
    Arc::new(Schema {
        value_rule: crate::ValueRule::CURRENT,
        fields: ["user", "tags", "price"]
            .into_iter()
            .enumerate()
            .map(field)
            .collect(),
        tables: vec![
            table("user", hash, None),
            table("tags", letters, None),
            table("price", scaled, Some([0.0, 10.0])),
        ],
        tasks: vec![Task {
            name: "ctr".into(),
            label: "click".into(),
            population: Population::All,
            objective: Objective::CrossEntropy,
            weight: 1.0,
            truth: None,
            row_rules: Default::default(),
        }],
        group: None,
    })
}

type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Rows of user, tags, price and click.
fn rows(rows: &[Row<'_>]) -> (Block, Batch) {
    let column = |name: &str, of: fn(&Row<'_>) -> String| {
        let mut texts = Texts::default();
        rows.iter().for_each(|row| texts.push(of(row).as_bytes()));
        Column {
            name: name.into(),
            values: Values::Text(texts),
            ..Column::default()
        }
    };
    let block = Block {
        n_rows: rows.len(),
        columns: vec![
            column("user", |row| row.0.into()),
            column("tags", |row| row.1.into()),
            column("price", |row| row.2.into()),
            column("click", |row| row.3.into()),
        ],
    };
    let batch = Encoder::new(schema()).encode(&block).unwrap();
    (block, batch)
}

/// Returns the coverage of `test` for the training rows `train`.
fn coverage(train: &[Row<'_>], test: &[Row<'_>]) -> Vec<ColumnCoverage> {
    let mut seen = SeenIds::new(&schema());
    let (_, batch) = rows(train);
    seen.observe(&batch, &(0..train.len()).collect::<Vec<_>>());
    let (block, batch) = rows(test);
    let mut coverage = Coverage::new(&schema());
    let all: Vec<usize> = (0..test.len()).collect();
    let place = |row| format!("test.csv: row {}", row + 1);
    coverage.observe_rows(&block, &batch, &all, place, |f, id| seen.is_unseen(f, id));
    coverage.finish(|f, id| seen.is_unseen(f, id))
}

const TRAIN: [Row<'_>; 2] = [("u1", "a", "1", "0"), ("u2", "b", "2", "1")];

#[test]
fn values_that_training_never_saw_are_counted_and_named() {
    let test = [
        ("u1", "a|x", "1", "1"),
        ("u9", "x|y", "", "0"),
        ("u9", "a|b", "3", "1"),
        ("u8", "", "4", ""),
        ("", "-1", "5", "1"),
    ];
    let found = coverage(&TRAIN, &test);
    let counts =
        |column: &ColumnCoverage| (column.rows, column.nulls, column.values, column.unseen);
    assert_eq!(found.len(), N_FIELDS);
    assert_eq!(counts(&found[0]), (5, 1, 4, 3));
    assert_eq!(counts(&found[1]), (5, 2, 6, 3));
    assert_eq!(counts(&found[2]), (5, 1, 4, 0));
    let new = |column: &ColumnCoverage| -> Vec<(String, u64)> {
        let values = column.new_values.iter();
        values.map(|new| (new.value.clone(), new.count)).collect()
    };
    assert_eq!(new(&found[0]), [("u9".to_owned(), 2), ("u8".to_owned(), 1)]);
    assert_eq!(new(&found[1]), [("x".to_owned(), 2), ("y".to_owned(), 1)]);
    let labels = &found[0].labels[0];
    let counts = |known, positives| KnownLabels { known, positives };
    assert_eq!((labels.seen, labels.unseen), (counts(1, 1), counts(2, 1)));
    assert_eq!(labels.unseen.rate(), Some(0.5));
}

#[test]
fn clipped_numbers_are_counted_and_the_first_is_placed() {
    let test = [
        ("u1", "a", "3", ""),
        ("u1", "a", "1e20", ""),
        ("u1", "a", "-0.5", ""),
    ];
    let price = &coverage(&TRAIN, &test)[2];
    assert_eq!((price.clipped, price.range), (2, Some([0.0, 10.0])));
    assert!(price.has_far_number());
    let first = price.first_clipped.as_ref().unwrap();
    assert_eq!(
        (first.place.as_str(), first.value),
        ("test.csv: row 2", 1e20)
    );
    // No label is known.
    assert!(price.labels.is_empty());
}

#[test]
fn a_number_far_off_is_placed_before_one_that_is_merely_larger() {
    let first = |prices: &[&str]| {
        let test: Vec<Row<'_>> = prices.iter().map(|&price| ("u1", "a", price, "")).collect();
        let price = coverage(&TRAIN, &test)[2].clone();
        let value = price.first_clipped.as_ref().map(|first| first.value);
        (value, price.clipped, price.has_far_number())
    };
    assert_eq!(first(&["3", "11", "12"]), (Some(11.0), 2, false));
    assert_eq!(first(&["11", "12", "-99", "1e20"]), (Some(-99.0), 4, true));
    assert_eq!(first(&["3"]), (None, 0, false));
}

#[test]
fn only_the_rows_that_are_asked_for_count() {
    let (block, batch) = rows(&[
        ("u1", "x", "1", "1"),
        ("u2", "y", "99", "0"),
        ("u3", "x", "98", "0"),
    ]);
    let mut coverage = Coverage::new(&schema());
    let none = SeenIds::new(&schema());
    let place = |row| format!("row {row}");
    coverage.observe_rows(&block, &batch, &[0, 2], place, |f, id| {
        none.is_unseen(f, id)
    });
    let found = coverage.finish(|f, id| none.is_unseen(f, id));
    assert_eq!((found[0].rows, found[0].unseen, found[1].unseen), (2, 2, 2));
    assert_eq!(found[2].clipped, 1);
    assert_eq!(found[2].first_clipped.as_ref().unwrap().place, "row 2");
}

#[test]
fn cached_rows_are_counted_by_their_ids() {
    let (_, batch) = rows(&[("u1", "x|a", "1", "1"), ("", "", "", "0")]);
    let mut coverage = Coverage::new(&schema());
    coverage.observe(&batch, |f, id| f == 1 && id == 1);
    let found = coverage.finish(|_, _| true);
    let counts =
        |column: &ColumnCoverage| (column.rows, column.nulls, column.values, column.unseen);
    assert_eq!(counts(&found[0]), (2, 1, 1, 0));
    assert_eq!(counts(&found[1]), (2, 1, 2, 1));
    assert!(found[1].new_values.is_empty());
}

#[test]
fn texts_are_escaped_and_cut() {
    let long = "é".repeat(300);
    let found = coverage(
        &TRAIN,
        &[("a\tb\u{1b}[1m", "a", "1", ""), (&long, "a", "1", "")],
    );
    let values: Vec<&str> = found[0]
        .new_values
        .iter()
        .map(|new| &new.value[..])
        .collect();
    assert_eq!(
        values,
        [r"a\tb\u{1b}[1m", &format!("{}...", "é".repeat(60))]
    );
}

#[test]
fn a_jump_is_a_share_far_above_the_reference() {
    let check = |unseen, nulls, reference: Option<(f64, f64)>, expected| {
        let column = ColumnCoverage {
            rows: 1000,
            nulls,
            values: 1000,
            unseen,
            ..ColumnCoverage::default()
        };
        let reference = reference.map(|(unseen, nulls)| Shares {
            unseen: Some(unseen),
            nulls,
        });
        assert_eq!(
            column.jump(reference),
            expected,
            "{unseen} {nulls} {reference:?}"
        );
    };
    check(1000, 0, None, Some(Jump::Unseen));
    check(600, 0, None, None);
    check(600, 0, Some((0.01, 0.0)), Some(Jump::Unseen));
    check(400, 0, Some((0.01, 0.0)), None);
    // Users of another day are new by nature.
    check(930, 0, Some((0.9, 0.0)), None);
    check(1000, 0, Some((0.9, 0.0)), Some(Jump::Unseen));
    check(0, 990, Some((0.0, 0.01)), Some(Jump::Nulls));
    check(0, 990, Some((0.0, 0.99)), None);
    let few = ColumnCoverage {
        rows: 9,
        values: 9,
        unseen: 9,
        ..ColumnCoverage::default()
    };
    assert_eq!(few.jump(None), None);
}
