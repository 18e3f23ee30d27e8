//! The latest shares of the rows, and all rows once more for a refit.

mod synthetic_files;

use ncs_features::{IdSpace, SchemaPlan};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;
use ncs_readers::{
    DataPlan, Format, Moment, PrepareError, Prepared, Split, prepare, prepare_all, resolve,
};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use synthetic_files::{plan, schema, write};
use tempfile::tempdir;

const GO: ControlFlow<()> = ControlFlow::Continue(());

fn complaint(plan: &DataPlan, schema: &SchemaPlan) -> String {
    let error = prepare(plan, schema, &mut |_| GO).unwrap_err().to_string();
    error.replace(&plan.root.display().to_string(), "ROOT")
}

fn n_rows(prepared: &Prepared) -> [u64; 3] {
    let n = |cache: Option<&Cache>| cache.map_or(0, Cache::n_rows);
    [
        n(Some(&prepared.train)),
        n(prepared.valid.as_ref()),
        n(prepared.test.as_ref()),
    ]
}

/// Rows of the times 0 to 9, of one time as many as the next, in no order.
fn timed(folder: &Path, n: u64) -> (DataPlan, SchemaPlan) {
    let row = |i: u64| format!("{},{}\n", i * 7 % 10, i % 2);
    let rows: String = (0..n).map(row).collect();
    fs::write(folder.join("a.csv"), format!("t,c\n{rows}")).unwrap();
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
    (plan(folder, "a.csv"), schema)
}

fn latest(valid: f64, test: f64) -> Split {
    Split::Latest {
        column: "t".into(),
        valid,
        test,
        format: None,
    }
}

#[test]
fn shares_of_time_become_the_latest_rows() {
    let folder = tempdir().unwrap();
    let (mut plan, schema) = timed(folder.path(), 20_000);
    plan.split = latest(0.22, 0.1);
    let prepared = prepare(&plan, &schema, &mut |_| GO).unwrap();
    assert_eq!(n_rows(&prepared), [14_000, 4_000, 2_000]);
    let note = "validation: the rows from 7 on by column \"t\" (20.0 % of 20000 rows); test: rows from 9 on (10.0 %)";
    assert_eq!(prepared.report.notes, [note]);
    let again = prepare(&plan, &schema, &mut |_| panic!("nothing is read")).unwrap();
    assert!(again.was_cached);
    assert_eq!(again.report.notes, [note]);
    let in_days = Split::Time {
        column: "t".into(),
        valid_from: Moment::Number(7.0),
        test_from: Some(Moment::Number(9.0)),
        format: None,
    };
    assert_eq!(
        resolve(&plan, &mut |_, _| GO).unwrap().unwrap().split,
        in_days
    );
}

#[test]
fn shares_of_time_that_cannot_be_are_refused() {
    let folder = tempdir().unwrap();
    let (mut plan, schema) = timed(folder.path(), 200);
    plan.split = latest(0.04, 0.03);
    let found = complaint(&plan, &schema);
    assert!(
        found.starts_with("the rows have too few different times"),
        "{found}"
    );
    plan.split = latest(0.1, 0.0);
    let found = prepare(&plan, &schema, &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(found, PrepareError::Stopped), "{found}");
    fs::write(folder.path().join("a.csv"), "t,c\n3,0\n2024-01-01,1\n").unwrap();
    let found = complaint(&plan, &schema);
    let expected = "ROOT/a.csv: row 2: column \"t\" holds numbers in some rows and dates";
    assert!(found.starts_with(expected), "{found}");
    fs::write(folder.path().join("a.csv"), "t,c\n3,0\n,1\n5,1\n").unwrap();
    let found = complaint(&plan, &schema);
    assert!(
        found.starts_with("ROOT/a.csv: column \"t\", row 2: no time"),
        "{found}"
    );
    plan.reading.max_broken_share = 0.4;
    let prepared = prepare(&plan, &schema, &mut |_| GO).unwrap();
    assert_eq!(n_rows(&prepared), [1, 1, 0]);
}

#[test]
fn all_rows_are_encoded_as_they_were_with_new_values_at_the_end() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 600);
    let plan = plan(folder.path(), "train.csv");
    let base = prepare(&plan, &schema(), &mut |_| GO).unwrap();
    let [train, valid, test] = n_rows(&base);
    let all = prepare_all(&plan, &schema(), &base, None, &mut |_| GO).unwrap();
    assert_eq!(n_rows(&all), [train + valid, 0, test]);
    assert_ne!(all.key, base.key);
    for (before, after) in base.schema.tables.iter().zip(&all.schema.tables) {
        match (&before.ids, &after.ids) {
            (IdSpace::Vocabulary { values }, IdSpace::Vocabulary { values: more }) => {
                assert!(more.starts_with(values), "{}", before.name);
            }
            (before, after) => assert_eq!(before, after),
        }
    }
    // If new values become unknown again, all rows are the rows of both parts.
    let ids = |cache: &Cache| -> Vec<u32> {
        let batches = cache.batches(BatchPlan::default()).map(Result::unwrap);
        batches
            .flat_map(|batch| batch.fields[2].ids.clone())
            .collect()
    };
    let known = base.schema.tables[2].ids.n_rows() as u32;
    let mut expected = [ids(&base.train), ids(base.valid.as_ref().unwrap())].concat();
    let mut found = ids(&all.train);
    found
        .iter_mut()
        .filter(|id| **id >= known)
        .for_each(|id| *id = 1);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let again = prepare_all(&plan, &schema(), &base, None, &mut |_| {
        panic!("nothing is read")
    })
    .unwrap();
    assert!(again.was_cached && base.schema != again.schema);
}
