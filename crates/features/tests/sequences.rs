//! Behaviour sequences: which events are kept, however a file holds them, and what is refused.

use ncs_features::*;
use std::sync::Arc;

fn attribute(newest: Newest) -> Pooling {
    Pooling::Events(EventAttribute {
        sequence: 0,
        pooling: SequencePooling::Mean,
        newest,
        target: None,
        decay: None,
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
            decay: None,
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
            decay: None,
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

/// A schema whose events weigh by their age, and the encoded rows of these columns.
fn with_ages(ages: EventAges, columns: Vec<Column>, most: usize) -> Result<Batch, EncodeError> {
    let mut plan = plan(Newest::Last, most);
    for field in &mut plan.fields {
        let Some(Pooling::Events(attribute)) = &mut field.pooling else {
            unreachable!("all are attributes");
        };
        attribute.decay = Some(EventDecay::Stated);
        field.beside = Beside::Ages(ages.clone());
    }
    let block = Block { n_rows: 2, columns };
    let mut fit = Fit::new(plan);
    fit.observe(&block)?;
    let schema = fit.finish().unwrap();
    schema.check_sequences().unwrap();
    Encoder::new(Arc::new(schema)).encode_features(&block)
}

fn list(name: &str, values: Values, offsets: &[u32]) -> Column {
    Column {
        name: name.into(),
        values,
        offsets: Some(offsets.to_vec()),
        nulls: Vec::new(),
    }
}

fn texts_of(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

/// Items and watched shares of three events and of one.
fn events() -> Vec<Column> {
    let names: Vec<String> = plan(Newest::Last, 9)
        .fields
        .into_iter()
        .map(|field| field.column)
        .collect();
    vec![
        list(&names[0], texts_of(&["a", "b", "c", "d"]), &[0, 3, 4]),
        list(
            &names[1],
            Values::Float(vec![0.5, 1.5, 2.5, 3.5]),
            &[0, 3, 4],
        ),
    ]
}

fn halves(batch: &Batch, field: usize) -> Vec<f32> {
    let half = |weight: &f32| -weight / std::f32::consts::LN_2;
    batch.fields[field].weights.iter().map(half).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    let pairs = found.iter().zip(expected);
    pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{found:?}, not {expected:?}"));
}

#[test]
fn weights_decay_by_ages_of_the_events_that_are_kept() {
    let ages = EventAges {
        column: "hours".into(),
        at: None,
        unit: None,
        half_life: 2.0,
    };
    let with = |values: Values, most| {
        let columns = [events(), vec![list("hours", values, &[0, 3, 4])]].concat();
        with_ages(ages.clone(), columns, most)
    };
    // One of an unknown age counts as the oldest, one from the future as of now.
    let batch = with(Values::Float(vec![8.0, f64::NAN, 1.0, -5.0]), 9).unwrap();
    for field in 0..2 {
        close(&halves(&batch, field), &[4.0, 4.0, 0.5, 0.0]);
    }
    let batch = with(texts_of(&["8", "", "1", "3"]), 2).unwrap();
    close(&halves(&batch, 0), &[0.5, 0.5, 1.5]);
    let columns = [
        events(),
        vec![list("hours", Values::Int(vec![1, 2, 3]), &[0, 2, 3])],
    ]
    .concat();
    let error = with_ages(ages, columns, 9).unwrap_err().to_string();
    assert!(
        error.contains("\"hours\", row 1: 3 and 2 values"),
        "{error}"
    );
}

#[test]
fn ages_follow_from_the_moments_of_event_and_row() {
    let ages = EventAges {
        column: "times".into(),
        at: Some("now".into()),
        unit: None,
        half_life: 12.0,
    };
    let now = Column {
        name: "now".into(),
        values: texts_of(&["2026-11-29T08:00:00Z", "2026-11-29T08:00:00Z"]),
        ..Column::default()
    };
    let of = |times: Values| {
        let columns = [
            events(),
            vec![list("times", times, &[0, 3, 4]), now.clone()],
        ]
        .concat();
        halves(&with_ages(ages.clone(), columns, 9).unwrap(), 1)
    };
    let start = 1_795_939_200;
    let expected = [2.0, 1.0, 0.0, 0.5];
    let seconds = [24, 12, 0, 6].map(|hours| start - hours * 3600);
    close(&of(Values::Int(seconds.to_vec())), &expected);
    let millis = seconds.map(|seconds| seconds as f64 * 1000.0);
    close(&of(Values::Float(millis.to_vec())), &expected);
    let texts = [
        "2026-11-28T08:00:00Z",
        "2026-11-28T20:00:00Z",
        "2026-11-29T08:00:00Z",
        "2026-11-29T02:00:00Z",
    ];
    close(&of(texts_of(&texts)), &expected);
}
