//! The plan and the training rows give the schema.

use ncs_features::*;

fn fit(ids: IdSpacePlan, columns: Vec<Column>) -> Result<IdSpace, String> {
    Ok(fitted(ids, columns)?.tables[0].ids.clone())
}

fn fitted(ids: IdSpacePlan, columns: Vec<Column>) -> Result<Schema, String> {
    let field = |column: &Column| Field {
        name: column.name.clone(),
        column: column.name.clone(),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
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
        rates: Default::default(),
    });
    let Values::Float(numbers) = &columns[0].values else {
        panic!("these tests fit numbers");
    };
    let n_rows = numbers.len();
    fit.observe(&Block { n_rows, columns })
        .map_err(|error| error.to_string())?;
    fit.finish().map_err(|error| error.to_string())
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

const NUMERIC: [NumericPlan; 3] = [
    NumericPlan::Standardise,
    NumericPlan::Log,
    NumericPlan::Quantiles { buckets: 4 },
];

#[test]
fn the_range_is_that_of_the_training_numbers() {
    for plan in NUMERIC {
        let numbers = [3.0, -5.0, 0.25, 12.0, 7.0];
        let schema = fitted(
            IdSpacePlan::Numeric(plan.clone()),
            vec![column("a", &numbers)],
        )
        .unwrap();
        assert_eq!(schema.tables[0].range, Some([-5.0, 12.0]), "{plan:?}");
    }
    let words = IdSpacePlan::Vocabulary {
        min_count: 1,
        max_size: None,
    };
    let schema = fitted(words, vec![column("a", &[1.0, 2.0])]).unwrap();
    assert_eq!(schema.tables[0].range, None);
}

/// Fits a column of 0 to 99 with `n` additional fill values in training and returns the encoding.
fn with_fill(plan: NumericPlan, fill: f64, n: usize) -> (Schema, Vec<f32>) {
    let near = (0..100).map(f64::from);
    let numbers: Vec<f64> = near.chain(std::iter::repeat_n(fill, n)).collect();
    let columns = vec![column("a", &numbers)];
    let schema = fitted(IdSpacePlan::Numeric(plan), columns.clone()).unwrap();
    let encoder = Encoder::new(schema.clone().into());
    let n_rows = numbers.len();
    let batch = encoder.encode_features(&Block { n_rows, columns }).unwrap();
    let field = &batch.fields[0];
    let z = if field.weights.is_empty() {
        field.ids.iter().map(|&id| id as f32).collect()
    } else {
        field.weights.iter().step_by(2).copied().collect()
    };
    (schema, z)
}

#[test]
fn a_fill_value_leaves_the_other_numbers_apart() {
    for (fill, n) in [
        (1e20, 1),
        (1e20, 60),
        (-9.97e36, 3),
        (1e308, 60),
        (f64::MAX, 1),
        (9999.0, 9),
    ] {
        let (_, z) = with_fill(NumericPlan::Standardise, fill, n);
        assert!(z.iter().all(|z| z.abs() < 20.0), "{fill} {n}: {z:?}");
        assert!((z[99] - z[0]).abs() > 1.0, "{fill} {n}: {} {}", z[0], z[99]);
        assert!(
            (z[100] - z[99]).abs() > 0.1,
            "the fill value is told from others"
        );
        for plan in NUMERIC {
            let (_, z) = with_fill(plan.clone(), fill, n);
            assert!(z.iter().all(|z| z.is_finite()), "{plan:?} {fill} {n}");
            assert!((z[99] - z[0]).abs() > 1.0, "{plan:?} {fill} {n}");
        }
    }
}

#[test]
fn numbers_near_the_largest_that_there_are_have_a_scale() {
    let numbers = [-1.7e308, -1e308, 0.0, 1e308, 1.7e308];
    for plan in NUMERIC {
        let columns = vec![column("a", &numbers)];
        let schema = fitted(IdSpacePlan::Numeric(plan.clone()), columns.clone()).unwrap();
        let encoder = Encoder::new(schema.into());
        let batch = encoder
            .encode_features(&Block { n_rows: 5, columns })
            .unwrap();
        assert!(
            batch.fields[0].weights.iter().all(|z| z.abs() < 3.0),
            "{plan:?}"
        );
        assert_eq!(batch.fields[0].clipped, [0u32; 0], "{plan:?}");
    }
}

#[test]
fn a_long_column_is_scaled_by_all_of_its_numbers() {
    let numbers: Vec<f64> = (0..250_000).map(|i| f64::from(i % 1000)).collect();
    let plan = IdSpacePlan::Numeric(NumericPlan::Standardise);
    let IdSpace::Scaled { mean, .. } = fit(plan, vec![column("a", &numbers)]).unwrap() else {
        panic!("a number is scaled");
    };
    assert!((mean - 499.5).abs() < 1e-9, "{mean}");
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
        &[1.0, f64::INFINITY],
        "column \"a\", row 2: inf where a finite number belongs",
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
        rates: Default::default(),
    };
    let fit = Fit::new(plan);
    assert!(!fit.needs_rows());
    assert_eq!(fit.finish().unwrap().tables[0].ids.n_rows(), 12);
}

#[test]
fn an_extended_schema_has_new_values_at_its_end_and_all_else_as_it_was() {
    let plan = |max_size| SchemaPlan {
        fields: ["a", "x"]
            .into_iter()
            .zip(0..)
            .map(|(name, table)| Field {
                name: name.into(),
                column: name.into(),
                table,
                pooling: None,
                separator: None,
                max_values: None,
                beside: Default::default(),
                missing: vec![],
            })
            .collect(),
        tables: vec![
            TablePlan {
                name: "a".into(),
                ids: IdSpacePlan::Vocabulary {
                    min_count: 2,
                    max_size,
                },
            },
            TablePlan {
                name: "x".into(),
                ids: IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces: 4 }),
            },
        ],
        tasks: vec![],
        group: None,
        rates: Default::default(),
    };
    let block = |a: &[f64], x: &[f64]| Block {
        n_rows: a.len(),
        columns: vec![column("a", a), column("x", x)],
    };
    let first = block(
        &[5.0, 5.0, 5.0, 1.0, 1.0, 7.0],
        &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    );
    let later = block(&[9.0, 9.0, 9.0, 7.0, 2.0, 1.0], &[90.0; 6]);
    let check = |max_size, expected: &[&str]| {
        let mut fit = Fit::new(plan(max_size));
        fit.observe(&first).unwrap();
        let base = fit.finish().unwrap();
        let mut fit = Fit::extending(plan(max_size), &base);
        assert!(fit.needs_rows());
        fit.observe(&first).unwrap();
        fit.observe(&later).unwrap();
        let found = fit.finish().unwrap();
        let values = expected.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(found.tables[0].ids, IdSpace::Vocabulary { values });
        assert_eq!(found.tables[1], base.tables[1]);
        assert_eq!(found.fields, base.fields);
    };
    // 7 was there once before: with its second row it is often enough.
    check(None, &["5", "1", "9", "7"]);
    check(Some(3), &["5", "1", "9"]);
    check(Some(2), &["5", "1"]);
}
