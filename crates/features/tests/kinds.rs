//! Crosses, parts of times, ages, boundaries and weights of lists: what rows become.

use ncs_features::time::{TimeUnit, Timestamp};
use ncs_features::*;
use std::sync::Arc;

fn field(name: &str, column: &str, table: usize) -> Field {
    Field {
        name: name.into(),
        column: column.into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Beside::None,
        missing: vec!["none".into()],
    }
}

fn texts(name: &str, values: &[&str]) -> Column {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    Column {
        name: name.into(),
        values: Values::Text(texts),
        ..Column::default()
    }
}

fn lists(name: &str, values: Values, offsets: &[u32]) -> Column {
    Column {
        name: name.into(),
        values,
        offsets: Some(offsets.into()),
        nulls: vec![],
    }
}

fn block(columns: Vec<Column>) -> Block {
    let first = &columns[0];
    let n_rows = match &first.offsets {
        Some(offsets) => offsets.len() - 1,
        None => first.values.len(),
    };
    Block { n_rows, columns }
}

fn encoder(fields: Vec<(Field, IdSpacePlan)>, rows: &Block) -> Encoder {
    let (fields, ids): (Vec<Field>, Vec<IdSpacePlan>) = fields.into_iter().unzip();
    let table = |(field, ids): (&Field, IdSpacePlan)| TablePlan {
        name: field.name.clone(),
        ids,
    };
    let mut fit = Fit::new(SchemaPlan {
        tables: fields.iter().zip(ids).map(table).collect(),
        fields,
        tasks: vec![],
        group: None,
        rates: RatesPlan::None,
    });
    fit.observe(rows).unwrap();
    Encoder::new(Arc::new(fit.finish().unwrap()))
}

fn vocabulary() -> IdSpacePlan {
    IdSpacePlan::Vocabulary {
        min_count: 1,
        max_size: None,
    }
}

fn crossed() -> Encoder {
    let rows = block(vec![texts("user", &["a", "b"]), texts("kind", &["x", "y"])]);
    let cross = IdSpacePlan::Cross(Cross {
        of: vec![1, 2],
        buckets: 1000,
    });
    let fields = vec![
        (field("cross", "user", 0), cross),
        (field("user", "user", 1), vocabulary()),
        (field("kind", "kind", 2), vocabulary()),
    ];
    encoder(fields, &rows)
}

#[test]
fn a_cross_is_missing_or_unknown_with_its_parts() {
    let rows = block(vec![
        texts("user", &["a", "a", "b", "", "new", ""]),
        texts("kind", &["x", "y", "x", "x", "x", "new"]),
    ]);
    let ids = crossed().encode(&rows).unwrap().fields[0].ids.clone();
    let [ax, ay, bx, missing, unknown, both] = ids[..] else {
        panic!("{ids:?}");
    };
    assert!([ax, ay, bx].iter().all(|id| (1..=1000).contains(id)));
    assert!(ax != ay && ay != bx && ax != bx);
    assert_eq!((missing, unknown, both), (0, 1001, 0));
}

#[test]
fn a_cross_is_the_same_where_its_parts_come_from_two_blocks() {
    let encoder = crossed();
    let whole = block(vec![
        texts("user", &["b", "b", "b"]),
        texts("kind", &["x", "", "y"]),
    ]);
    let expected = encoder.encode(&whole).unwrap();
    let in_context = |f: usize| f == 1;
    let context = block(vec![texts("user", &["b"])]);
    let context = encoder.encode_some(&context, in_context).unwrap();
    let candidates = block(vec![texts("kind", &["x", "", "y"])]);
    let mut candidates = encoder
        .encode_some(&candidates, |f| !in_context(f))
        .unwrap();
    encoder.encode_across(&context, &mut candidates, in_context);
    assert_eq!(candidates.fields[0], expected.fields[0]);
}

#[test]
fn an_age_is_hours_from_times_of_any_form() {
    let age = |unit| {
        let beside = Beside::Since {
            column: "since".into(),
            unit,
        };
        let field = Field {
            beside,
            ..field("age", "now", 0)
        };
        let ids = IdSpacePlan::Numeric(NumericPlan::Boundaries(vec![-0.5, 0.0, 1.5]));
        (field, ids)
    };
    let now = texts(
        "now",
        &[
            "2026-11-29T08:30:00Z",
            "1795941000",
            "2026-11-29T10:00:00+02:00",
            "none",
            "",
        ],
    );
    let moment = |text: &str| Timestamp::parse(text.as_bytes()).unwrap();
    let since = Column {
        name: "since".into(),
        values: Values::Time(vec![
            moment("2026-11-29T07:00:00Z"),
            moment("2026-11-29T08:30:00Z"),
            moment("2026-11-29T08:30:00.5Z"),
            moment("2026-11-29T08:30:00Z"),
            moment("2026-11-29T08:30:00Z"),
        ]),
        ..Column::default()
    };
    let rows = block(vec![now, since]);
    // 1.5 hours, exactly none, and half an hour and half a second less.
    let ids = encoder(vec![age(None)], &rows).encode(&rows).unwrap();
    assert_eq!(ids.fields[0].ids, [4, 3, 1, 0, 0]);
    let numbers = |name: &str, numbers: &[f64]| Column {
        name: name.into(),
        values: Values::Float(numbers.into()),
        ..Column::default()
    };
    let rows = block(vec![numbers("now", &[5400.0]), numbers("since", &[0.0])]);
    let ids = encoder(vec![age(Some(TimeUnit::Seconds))], &rows).encode(&rows);
    assert_eq!(ids.unwrap().fields[0].ids, [4]);
}

#[test]
fn a_number_at_a_boundary_is_in_the_upper_bucket() {
    let plan = IdSpacePlan::Numeric(NumericPlan::Boundaries(vec![1.0, 2.0]));
    let rows = block(vec![texts(
        "x",
        &["0.5", "1", "1.5", "2", "1e300", "", "none"],
    )]);
    let encoder = encoder(vec![(field("x", "x", 0), plan)], &rows);
    assert!(
        encoder.schema().tables[0].range.is_none(),
        "nothing is clipped"
    );
    let ids = encoder.encode(&rows).unwrap();
    assert_eq!(ids.fields[0].ids, [1, 2, 2, 3, 3, 0, 0]);
}

fn weighted(pooling: Pooling, beside: Beside) -> Vec<(Field, IdSpacePlan)> {
    let field = Field {
        pooling: Some(pooling),
        separator: Some('|'),
        beside,
        ..field("tags", "tags", 0)
    };
    vec![(field, vocabulary())]
}

fn parallel() -> Beside {
    Beside::Weights {
        column: "weights".into(),
    }
}

#[test]
fn weights_are_factors_of_mean_one_in_a_mean_and_themselves_in_a_sum() {
    let tags = texts("tags", &["a|b|none|a", "b", "", "a|b"]);
    let weights = texts("weights", &["1|3|7|0", "0.25", "", "0|0"]);
    let rows = block(vec![tags, weights]);
    let encode = |pooling| {
        let encoder = encoder(weighted(pooling, parallel()), &rows);
        encoder.encode(&rows).unwrap().fields[0].clone()
    };
    let mean = encode(Pooling::Mean);
    // "b" comes first, as it is more frequent; values of weight 0 do not count.
    assert_eq!(mean.ids, [3, 2, 2]);
    assert_eq!(mean.offsets, [0, 2, 3, 3, 3]);
    assert_eq!(mean.weights, [0.5, 1.5, 1.0]);
    assert_eq!(encode(Pooling::Sum).weights, [1.0, 3.0, 0.25]);
}

#[test]
fn every_form_of_weights_is_the_same() {
    let lists = block(vec![
        lists(
            "tags",
            texts("", &["a", "b:c", "b:c"]).values,
            &[0, 2, 2, 3],
        ),
        lists("weights", Values::Float(vec![0.5, 2.0, 1.0]), &[0, 2, 2, 3]),
    ]);
    let expected = encoder(weighted(Pooling::Mean, parallel()), &lists).encode(&lists);
    // The last character counts, and a text without it has weight 1.
    let joined = block(vec![texts("tags", &["a:0.5|b:c:2", "", "b:c:1"])]);
    let after = Beside::WeightAfter { separator: ':' };
    let found = encoder(weighted(Pooling::Mean, after.clone()), &joined).encode(&joined);
    assert_eq!(found.unwrap().fields, expected.unwrap().fields);
    let plain = block(vec![texts("tags", &["a|b:3"])]);
    let found = encoder(weighted(Pooling::Sum, after), &plain).encode(&plain);
    assert_eq!(found.unwrap().fields[0].weights, [1.0, 3.0]);
}

#[test]
fn lists_and_weights_that_do_not_fit_are_errors_of_their_row() {
    let refuses = |beside: Beside, columns: Vec<Column>, what: &str| {
        let plan = SchemaPlan {
            fields: weighted(Pooling::Mean, beside)
                .into_iter()
                .map(|(field, _)| field)
                .collect(),
            tables: vec![TablePlan {
                name: "tags".into(),
                ids: vocabulary(),
            }],
            tasks: vec![],
            group: None,
            rates: RatesPlan::None,
        };
        let error = Fit::new(plan).observe(&block(columns)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    let tags = || texts("tags", &["a", "a|b"]);
    refuses(
        parallel(),
        vec![tags(), texts("weights", &["1", "1"])],
        "column \"weights\", row 2: 1 weight where column \"tags\" holds 2 values",
    );
    refuses(
        parallel(),
        vec![tags(), texts("weights", &["1|2", "1|2"])],
        "column \"weights\", row 1: 2 weights where column \"tags\" holds 1 value;",
    );
    refuses(
        parallel(),
        vec![tags(), texts("weights", &["1", "1|-2"])],
        "row 2: the weight \"-2\" is not a finite number of at least 0",
    );
    let after = Beside::WeightAfter { separator: ':' };
    refuses(
        after,
        vec![texts("tags", &["a:1", "b:x"])],
        "column \"tags\", row 2: the weight \"x\"",
    );
    refuses(
        parallel(),
        vec![tags()],
        "no column \"weights\", which feature \"tags\" reads",
    );
}
