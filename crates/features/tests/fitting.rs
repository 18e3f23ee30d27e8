//! The plan and the training rows give the schema.

use ncs_features::*;

fn fit(ids: IdSpacePlan, columns: Vec<Column>) -> Result<IdSpace, String> {
    let field = |column: &Column| Field {
        name: column.name.clone(),
        column: column.name.clone(),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        missing: vec![],
    };
    let mut fit = Fit::new(SchemaPlan {
        fields: columns.iter().map(field).collect(),
        tables: vec![TablePlan {
            name: "t".into(),
            ids,
        }],
        tasks: vec![],
        group: None,
    });
    let Values::Float(numbers) = &columns[0].values else {
        panic!("these tests fit numbers");
    };
    let n_rows = numbers.len();
    fit.observe(&Block { n_rows, columns })
        .map_err(|error| error.to_string())?;
    let schema = fit.finish().map_err(|error| error.to_string())?;
    Ok(schema.tables[0].ids.clone())
}

fn column(name: &str, numbers: &[f64]) -> Column {
    Column {
        name: name.into(),
        values: Values::Float(numbers.to_vec()),
        ..Column::default()
    }
}

#[test]
fn vocabularies_count_over_all_fields_of_their_table() {
    let check = |min_count, max_size, expected: &[&str]| {
        let columns = vec![column("a", &[3.0, 1.0, 1.5]), column("b", &[3.0, 7.0, 1.0])];
        let found = fit(
            IdSpacePlan::Vocabulary {
                min_count,
                max_size,
            },
            columns,
        )
        .unwrap();
        let values = expected.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(found, IdSpace::Vocabulary { values });
    };
    check(1, None, &["1", "3", "1.5", "7"]);
    check(2, None, &["1", "3"]);
    check(1, Some(3), &["1", "3", "1.5"]);
}

#[test]
fn numbers_are_standardised() {
    let check = |plan, numbers: &[f64], expected: (bool, f64, f64)| {
        let found = fit(IdSpacePlan::Numeric(plan), vec![column("a", numbers)]).unwrap();
        let (log, mean, deviation) = expected;
        assert_eq!(
            found,
            IdSpace::Scaled {
                log,
                mean,
                deviation
            }
        );
    };
    check(NumericPlan::Standardise, &[1.0, 5.0], (false, 3.0, 2.0));
    check(NumericPlan::Standardise, &[4.0, 4.0], (false, 4.0, 1.0));
    check(NumericPlan::Log, &[0.0, 0.0], (true, 0.0, 1.0));
}

#[test]
fn quantiles_are_distinct_and_leave_no_bucket_empty() {
    let check = |numbers: &[f64], expected: &[f64]| {
        let plan = IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets: 4 });
        let found = fit(plan, vec![column("a", numbers)]).unwrap();
        let boundaries = expected.to_vec();
        assert_eq!(found, IdSpace::Quantiles { boundaries });
    };
    check(&[4.0, 3.0, 2.0, 1.0], &[2.0, 3.0, 4.0]);
    check(&[1.0, 1.0, 1.0, 9.0], &[9.0]);
    check(&[5.0, 5.0], &[]);
}

#[test]
fn long_columns_are_sampled_evenly_and_alike_each_time() {
    let numbers: Vec<f64> = (0..1_500_000).map(|i| f64::from(i % 100_000)).collect();
    let once = || {
        let plan = IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets: 2 });
        fit(plan, vec![column("a", &numbers)]).unwrap()
    };
    let IdSpace::Quantiles { boundaries } = once() else {
        panic!("a quantile table becomes boundaries");
    };
    assert!(
        (49_000.0..51_000.0).contains(&boundaries[0]),
        "{boundaries:?}"
    );
    assert_eq!(once(), IdSpace::Quantiles { boundaries });
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let check = |numbers: &[f64], expected: &str| {
        let plan = IdSpacePlan::Numeric(NumericPlan::Standardise);
        let error = fit(plan, vec![column("a", numbers)]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(&[], "no training rows to fit \"t\" to");
    check(
        &[1.0, f64::NAN],
        "column \"a\", row 2: NaN where a finite number belongs",
    );
}

#[test]
fn hashes_need_no_rows() {
    let plan = SchemaPlan {
        fields: vec![],
        tables: vec![TablePlan {
            name: "t".into(),
            ids: IdSpacePlan::Hash {
                buckets: 10,
                function: HashFunction::Xxh3,
            },
        }],
        tasks: vec![],
        group: None,
    };
    let fit = Fit::new(plan);
    assert!(!fit.needs_rows());
    assert_eq!(fit.finish().unwrap().tables[0].ids.n_rows(), 11);
}
