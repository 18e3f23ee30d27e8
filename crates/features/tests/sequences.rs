//! Behaviour sequences: which events are kept, however a file holds them, and what is refused.

use ncs_features::*;
use std::sync::Arc;

fn attribute(newest: Newest) -> Pooling {
    Pooling::Events(EventAttribute {
        sequence: 0,
        pooling: SequencePooling::Mean,
        newest,
        target: None,
    })
}

/// Events of an item, and an age in quantiles of the training rows.
fn plan(newest: Newest, most: usize) -> SchemaPlan {
    let field = |(table, name): (usize, &&str)| Field {
        name: (*name).into(),
        column: (*name).into(),
        table,
        pooling: Some(attribute(newest)),
        separator: Some('|'),
        max_values: Some(most),
        beside: Default::default(),
        missing: vec!["-".into()],
    };
    let table = |name: &str, ids| TablePlan {
        name: name.into(),
        ids,
    };
    SchemaPlan {
        fields: ["items", "ages"].iter().enumerate().map(field).collect(),
        tables: vec![
            table(
                "items",
                IdSpacePlan::Vocabulary {
                    min_count: 1,
                    max_size: None,
                },
            ),
            table(
                "ages",
                IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets: 2 }),
            ),
        ],
        tasks: vec![],
        group: None,
        rates: RatesPlan::None,
    }
}

fn column(name: &str, values: Values, offsets: Option<&[u32]>) -> Column {
    Column {
        name: name.into(),
        values,
        offsets: offsets.map(Into::into),
        nulls: vec![],
    }
}

fn texts(values: &[&str]) -> Values {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    Values::Text(texts)
}

fn block(columns: [Column; 2], n_rows: usize) -> Block {
    Block {
        n_rows,
        columns: columns.into(),
    }
}

/// Three rows as lists: no event, one, four with an unknown item and an unknown age.
fn lists() -> Block {
    let offsets: Option<&[u32]> = Some(&[0, 0, 1, 5]);
    let ages = Values::Float(vec![1.0, 9.0, f64::NAN, 8.0, 2.0]);
    let columns = [
        column("items", texts(&["a", "a", "b", "-", "c"]), offsets),
        column("ages", ages, offsets),
    ];
    block(columns, 3)
}

/// The same as texts.
fn written() -> Block {
    let columns = [
        column("items", texts(&["", "a", "a|b|-|c"]), None),
        column("ages", texts(&["", "1", "9||8|2"]), None),
    ];
    block(columns, 3)
}

/// The same as a server's log holds such texts: lists of one text.
fn logged() -> Block {
    let offsets: Option<&[u32]> = Some(&[0, 0, 1, 2]);
    let columns = [
        column("items", texts(&["a", "a|b|-|c"]), offsets),
        column("ages", texts(&["1", "9||8|2"]), offsets),
    ];
    block(columns, 3)
}

/// The same in brackets.
fn bracketed() -> Block {
    let columns = [
        column(
            "items",
            texts(&["[]", "['a']", "['a', 'b', '-', 'c']"]),
            None,
        ),
        column("ages", texts(&["[]", "[1]", "[9, null, 8, 2]"]), None),
    ];
    block(columns, 3)
}

fn encode(newest: Newest, most: usize, rows: &Block) -> (Arc<Schema>, Batch) {
    let mut fit = Fit::new(plan(newest, most));
    fit.observe(rows).unwrap();
    let schema = Arc::new(fit.finish().unwrap());
    let batch = Encoder::new(schema.clone()).encode(rows).unwrap();
    (schema, batch)
}

#[test]
fn the_most_recent_events_are_kept_aligned() {
    for rows in [lists(), written(), logged(), bracketed()] {
        // a, b and c are 2, 3, 4; an unknown value is 0; ages below the median are 1.
        let check = |newest, most, items: &[u32], ages: &[u32], offsets: &[u32]| {
            let (_, batch) = encode(newest, most, &rows);
            assert_eq!(batch.fields[0].ids, items, "{rows:?}");
            assert_eq!(batch.fields[1].ids, ages, "{rows:?}");
            for field in &batch.fields {
                assert_eq!(field.offsets, offsets, "{rows:?}");
            }
        };
        check(
            Newest::Last,
            9,
            &[2, 2, 3, 0, 4],
            &[1, 2, 0, 2, 1],
            &[0, 0, 1, 5],
        );
        check(
            Newest::Last,
            4,
            &[2, 2, 3, 0, 4],
            &[1, 2, 0, 2, 1],
            &[0, 0, 1, 5],
        );
        check(
            Newest::First,
            3,
            &[2, 2, 3, 0],
            &[1, 2, 0, 2],
            &[0, 0, 1, 4],
        );
        check(Newest::First, 1, &[2, 2], &[1, 2], &[0, 0, 1, 2]);
    }
}

#[test]
fn older_events_are_cut_off_before_anything_is_learned_of_them() {
    for rows in [lists(), written(), logged(), bracketed()] {
        let (schema, batch) = encode(Newest::Last, 2, &rows);
        let IdSpace::Vocabulary { values } = &schema.tables[0].ids else {
            panic!("{schema:?}");
        };
        assert_eq!(values, &["a", "c"]);
        assert_eq!(batch.fields[0].ids, [2, 0, 3]);
        assert_eq!(batch.fields[0].offsets, [0, 0, 1, 3]);
        assert_eq!(batch.fields[1].offsets, [0, 0, 1, 3]);
    }
}

#[test]
fn attributes_of_different_lengths_are_refused_even_where_they_are_cut() {
    let mut rows = lists();
    rows.columns[1] = column(
        "ages",
        Values::Float(vec![1.0, 9.0, 8.0, 2.0]),
        Some(&[0, 0, 1, 4]),
    );
    let (schema, _) = encode(Newest::Last, 2, &lists());
    let encoder = Encoder::new(schema);
    let error = encoder.encode(&rows).unwrap_err();
    let text = error.clone().after(10).to_string();
    assert!(
        text.starts_with("columns \"items\" and \"ages\", row 13: 4 and 3 values, where both are about the same events"),
        "{text}"
    );
    // A request may hold one of them only: then there is nothing to compare.
    assert!(encoder.encode_some(&rows, |f| f == 0).is_ok());
    assert_eq!(encoder.divided_events(|f| f == 0), Some(["items", "ages"]));
    assert_eq!(encoder.divided_events(|_| true), None);
}

#[test]
fn a_schema_from_a_file_is_checked() {
    let (schema, _) = encode(Newest::Last, 9, &lists());
    let changed = |change: &dyn Fn(&mut Schema)| {
        let mut schema = Schema::clone(&schema);
        change(&mut schema);
        schema.check_sequences()
    };
    let din = |hidden, target| {
        Some(Pooling::Events(EventAttribute {
            sequence: 0,
            pooling: SequencePooling::Din(Attention {
                hidden,
                softmax: true,
            }),
            newest: Newest::Last,
            target,
        }))
    };
    changed(&|_| {}).unwrap();
    changed(&|schema| schema.fields[0].max_values = Some(1)).unwrap_err();
    changed(&|schema| schema.fields[1].pooling = Some(attribute(Newest::First))).unwrap_err();
    let all = |pooling: Option<Pooling>| {
        changed(&|schema| {
            schema
                .fields
                .iter_mut()
                .for_each(|field| field.pooling = pooling);
            let candidate = Field {
                pooling: None,
                ..schema.fields[0].clone()
            };
            schema.fields.push(candidate);
        })
    };
    all(din([8, 4], Some(2))).unwrap();
    all(din([8, 4], None)).unwrap_err();
    all(din([8, 4], Some(1))).unwrap_err();
    all(din([8, 4], Some(3))).unwrap_err();
    all(din([8, 0], Some(2))).unwrap_err();
    all(din([2000, 4], Some(2))).unwrap_err();
    let mha = |heads, positions| {
        Some(Pooling::Events(EventAttribute {
            sequence: 0,
            pooling: SequencePooling::Mha(MultiHead { heads, positions }),
            newest: Newest::Last,
            target: Some(2),
        }))
    };
    all(mha(4, 9)).unwrap();
    all(mha(4, 8)).unwrap_err();
    all(mha(0, 9)).unwrap_err();
    changed(&|schema| {
        schema.tables[1].ids = IdSpace::Scaled {
            log: false,
            mean: 0.0,
            deviation: 1.0,
        };
    })
    .unwrap_err();
}
