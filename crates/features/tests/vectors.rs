//! Vectors that come with the rows: what they become, in every way that a file can hold them, and what is refused.

use ncs_features::*;
use std::sync::Arc;

fn plan(projected: bool, standardise: bool) -> SchemaPlan {
    SchemaPlan {
        fields: vec![Field {
            name: "item".into(),
            column: "x".into(),
            table: 0,
            pooling: None,
            separator: Some('|'),
            max_values: None,
            beside: Default::default(),
            missing: vec![],
        }],
        tables: vec![TablePlan {
            name: "item".into(),
            ids: IdSpacePlan::Numeric(NumericPlan::Vector(VectorPlan {
                length: 2,
                projected,
                standardise,
            })),
        }],
        tasks: vec![],
        group: None,
        rates: RatesPlan::None,
    }
}

fn block(values: Values, offsets: Option<Vec<u32>>, nulls: Vec<bool>) -> Block {
    let n_rows = match &offsets {
        Some(offsets) => offsets.len() - 1,
        None => values.len(),
    };
    let column = Column {
        name: "x".into(),
        values,
        offsets,
        nulls,
    };
    Block {
        n_rows,
        columns: vec![column],
    }
}

fn floats(values: &[f64], offsets: &[u32]) -> Block {
    block(Values::Float(values.into()), Some(offsets.into()), vec![])
}

fn texts(values: &[&str]) -> Block {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    block(Values::Text(texts), None, vec![])
}

fn encoder(plan: SchemaPlan, rows: &Block) -> Encoder {
    let mut fit = Fit::new(plan);
    fit.observe(rows).unwrap();
    Encoder::new(Arc::new(fit.finish().unwrap()))
}

fn encode(rows: &Block) -> Result<FieldIds, String> {
    let encoder = encoder(plan(false, false), &floats(&[], &[0]));
    let batch = encoder.encode(rows).map_err(|error| error.to_string())?;
    Ok(batch.fields[0].clone())
}

#[test]
fn a_vector_is_its_numbers_and_a_missing_one_begins_with_nan() {
    let found = encode(&floats(&[0.5, -2.0, 3.0, 4.0], &[0, 2, 2, 4])).unwrap();
    assert_eq!(found.width, 2);
    assert!(found.ids.is_empty() && found.offsets.is_empty());
    assert_eq!(found.numbers_of(0), [0.5, -2.0]);
    assert!(found.numbers_of(1)[0].is_nan() && found.numbers_of(1)[1] == 0.0);
    assert_eq!(found.numbers_of(2), [3.0, 4.0]);
}

#[test]
fn every_way_of_writing_a_vector_is_the_same() {
    let expected = encode(&floats(&[0.5, -2.0, 3.0, 4.0], &[0, 2, 4])).unwrap();
    let check = |rows: Block| assert_eq!(encode(&rows).unwrap(), expected);
    check(texts(&["0.5|-2", "3|4.0"]));
    check(texts(&["[0.5, -2]", "[3 4]"]));
    check(texts(&["{0.5,-2.0}", " 3 | 4 "]));
    let Values::Text(items) = texts(&["0.5", "-2", "3", "4"]).columns.remove(0).values else {
        unreachable!()
    };
    check(block(Values::Text(items), Some(vec![0, 2, 4]), vec![]));
    let whole = block(Values::Int(vec![3, 4]), Some(vec![0, 2]), vec![]);
    assert_eq!(encode(&whole).unwrap().numbers, [3.0, 4.0]);
    for missing in [texts(&["", "nan", "[]"]), floats(&[], &[0, 0, 0, 0])] {
        let found = encode(&missing).unwrap();
        assert!((0..3).all(|row| found.numbers_of(row)[0].is_nan()));
    }
}

#[test]
fn a_projected_vector_weighs_the_rows_of_its_table() {
    let rows = floats(&[0.5, -2.0], &[0, 2, 2]);
    let encoder = encoder(plan(true, false), &rows);
    let found = encoder.encode(&rows).unwrap().fields[0].clone();
    assert_eq!(found.ids, [1, 2, 3, 0]);
    assert_eq!(found.weights, [0.5, -2.0, 1.0, 1.0]);
    assert_eq!(found.offsets, [0, 3, 4]);
    assert_eq!(encoder.schema().tables[0].ids.n_rows(), 4);
}

#[test]
fn numbers_are_standardised_where_that_is_said() {
    let rows = floats(&[1.0, 7.0, 3.0, 7.0], &[0, 2, 4, 4]);
    let encoder = encoder(plan(false, true), &rows);
    let found = encoder.encode(&rows).unwrap().fields[0].clone();
    // Means 2 and 7, deviations 1 and (of a constant) 1.
    assert_eq!(found.numbers_of(0), [-1.0, 0.0]);
    assert_eq!(found.numbers_of(1), [1.0, 0.0]);
    assert!(found.numbers_of(2)[0].is_nan());
    let none = Fit::new(plan(false, true));
    assert!(none.finish().is_err());
}

#[test]
fn what_is_no_vector_is_refused_with_column_and_row() {
    let check = |rows: Block, expected: &str| {
        let error = encode(&rows).unwrap_err();
        assert!(error.contains("column \"x\", row 2"), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    check(
        floats(&[1.0, 2.0, 3.0], &[0, 2, 3]),
        "a vector of 1 numbers, where length = 2 is stated",
    );
    check(
        floats(&[1.0, 2.0, 3.0, f64::NAN], &[0, 2, 4]),
        "number 2 of the vector is NaN",
    );
    check(
        floats(&[1.0, 2.0, f64::INFINITY, 0.0], &[0, 2, 4]),
        "number 1 of the vector is inf",
    );
    check(texts(&["1|2", "1||2"]), "number 2 of the vector is NaN");
    check(texts(&["1|2", "1|two"]), "text where a number belongs");
}

#[test]
fn rows_of_batches_are_gathered_and_selected() {
    let rows = floats(&[0.5, -2.0, 3.0, 4.0], &[0, 2, 4]);
    let batch = encoder(plan(false, false), &rows).encode(&rows).unwrap();
    assert_eq!(
        batch.select(&[1, 0, 1]).fields[0].numbers,
        [3.0, 4.0, 0.5, -2.0, 3.0, 4.0]
    );
    let mut gathered = Batch::empty_like(&batch);
    gathered.gather(
        &[batch.clone(), batch.clone()],
        &[Pick::new(1, 1), Pick::new(0, 0)],
    );
    assert_eq!(gathered.fields[0].numbers, [3.0, 4.0, 0.5, -2.0]);
    assert_eq!(gathered.fields[0].width, 2);
}
