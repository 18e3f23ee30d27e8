//! Raw rows to ids, as a reader of the documentation would expect it.

use ncs_features::*;
use proptest::prelude::*;
use std::sync::Arc;

fn texts(values: &[&str]) -> Values {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    Values::Text(texts)
}

fn column(name: &str, values: Values) -> Column {
    Column {
        name: name.into(),
        values,
        ..Column::default()
    }
}

fn field(name: &str) -> Field {
    Field {
        name: name.into(),
        column: name.into(),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into()],
    }
}

fn list(pooling: Pooling) -> Field {
    Field {
        pooling: Some(pooling),
        separator: Some('|'),
        ..field("x")
    }
}

fn encoder(field: Field, ids: IdSpace) -> Encoder {
    Encoder::new(Arc::new(Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: vec![field],
        tables: vec![Table {
            name: "x".into(),
            ids,
            range: None,
        }],
        tasks: vec![],
        group: None,
    }))
}

fn hash() -> IdSpace {
    IdSpace::Hash {
        buckets: 1000,
        function: HashFunction::Farm,
        unknown: false,
    }
}

fn letters() -> IdSpace {
    IdSpace::Vocabulary {
        values: vec!["a".into(), "b".into()],
    }
}

fn encode(field: Field, ids: IdSpace, column: Column, n_rows: usize) -> Result<FieldIds, String> {
    let block = Block {
        n_rows,
        columns: vec![column],
    };
    let batch = encoder(field, ids)
        .encode(&block)
        .map_err(|error| error.to_string())?;
    assert_eq!(batch.n_rows, n_rows);
    Ok(batch.fields.into_iter().next().unwrap())
}

#[test]
fn single_values_become_one_id_a_row() {
    let check = |ids: IdSpace, values: Values, expected: &[u32]| {
        let found = encode(field("x"), ids, column("x", values), expected.len()).unwrap();
        assert_eq!(found.ids, expected);
        assert!(found.offsets.is_empty() && found.weights.is_empty());
    };
    check(hash(), texts(&["0", "1", "-1", ""]), &[736, 850, 0, 0]);
    check(hash(), Values::Int(vec![0, 1, -1]), &[736, 850, 0]);
    check(hash(), Values::Float(vec![0.0, 1.0, -1.0]), &[736, 850, 0]);
    check(letters(), texts(&["b", "a", "z", "-1"]), &[3, 2, 1, 0]);
    let boundaries = vec![0.0, 10.0];
    let buckets = IdSpace::Quantiles { boundaries };
    check(
        buckets.clone(),
        texts(&["-3", "0", " 9.5 ", "10", "-1"]),
        &[1, 2, 2, 3, 0],
    );
    check(
        buckets,
        Values::Int(vec![-3, 0, 9, 10, -1]),
        &[1, 2, 2, 3, 0],
    );
}

#[test]
fn nulls_have_id_0() {
    let mut x = column("x", Values::Int(vec![0, 0, 1]));
    x.nulls = vec![true, false, false];
    assert_eq!(encode(field("x"), hash(), x, 3).unwrap().ids, [0, 736, 850]);
}

#[test]
fn lists_leave_missing_values_out_unless_padded() {
    let rows = ["a|b", "", "-1|a||z", "-1"];
    let check = |field: Field, ids: &[u32], offsets: &[u32]| {
        let found = encode(field, letters(), column("x", texts(&rows)), 4).unwrap();
        assert_eq!((&found.ids[..], &found.offsets[..]), (ids, offsets));
    };
    check(list(Pooling::Mean), &[2, 3, 2, 1], &[0, 2, 2, 4, 4]);
    check(
        list(Pooling::PaddedMean),
        &[2, 3, 0, 2, 0, 1, 0],
        &[0, 2, 2, 6, 7],
    );
    let short = Field {
        max_values: Some(1),
        beside: Default::default(),
        ..list(Pooling::Sum)
    };
    check(short, &[2, 2], &[0, 1, 1, 2, 2]);
}

#[test]
fn lists_of_the_file_need_no_separator() {
    let lists = Column {
        offsets: Some(vec![0, 2, 2, 3]),
        ..column("x", Values::Int(vec![0, 1, 0]))
    };
    let found = encode(list(Pooling::Mean), hash(), lists.clone(), 3).unwrap();
    assert_eq!(
        (&found.ids[..], &found.offsets[..]),
        (&[736, 850, 736][..], &[0, 2, 2, 3][..])
    );
    let error = encode(field("x"), hash(), lists, 3).unwrap_err();
    assert_eq!(
        error,
        "column \"x\", row 1: 2 values where one belongs; a feature that is a list needs kind = \"list\""
    );
}

#[test]
fn scaled_numbers_are_two_weighted_ids() {
    let scale = |log| IdSpace::Scaled {
        log,
        mean: 1.0,
        deviation: 2.0,
    };
    let found = encode(
        field("x"),
        scale(false),
        column("x", texts(&["5", "-1", "0"])),
        3,
    )
    .unwrap();
    assert_eq!(found.ids, [1, 2, 0, 1, 2]);
    assert_eq!(found.offsets, [0, 2, 3, 5]);
    assert_eq!(found.weights, [2.0, 1.0, 1.0, -0.5, 1.0]);
    let e = std::f64::consts::E;
    let logs = column("x", Values::Float(vec![e - 1.0, 1.0 - e]));
    assert_eq!(
        encode(field("x"), scale(true), logs, 2).unwrap().weights,
        [0.0, 1.0, -1.0, 1.0]
    );
}

#[test]
fn numbers_beyond_the_range_are_clipped_and_their_rows_noted() {
    let encode = |ids, range| {
        let mut schema = Schema::clone(encoder(field("x"), ids).schema());
        schema.tables[0].range = range;
        let block = Block {
            n_rows: 5,
            columns: vec![column("x", texts(&["5", "1e20", "", "-9.97e36", "0"]))],
        };
        let encoder = Encoder::new(Arc::new(schema));
        encoder.encode_features(&block).unwrap().fields[0].clone()
    };
    let scale = IdSpace::Scaled {
        log: false,
        mean: 1.0,
        deviation: 2.0,
    };
    let found = encode(scale.clone(), Some([0.0, 5.0]));
    assert_eq!(
        found.weights,
        [2.0, 1.0, 2.0, 1.0, 1.0, -0.5, 1.0, -0.5, 1.0]
    );
    assert_eq!(found.clipped, [1, 3]);
    let without = encode(scale, None);
    assert_eq!(without.weights[2], 5e19);
    assert!(without.clipped.is_empty());
    let boundaries = vec![1.0, 5.0];
    let found = encode(IdSpace::Quantiles { boundaries }, Some([0.0, 5.0]));
    assert_eq!(found.ids, [3, 3, 0, 1, 1]);
    assert_eq!(found.clipped, [1, 3]);
}

#[test]
fn a_schema_without_ranges_is_read_and_written_as_before() {
    let ids = IdSpace::Quantiles {
        boundaries: vec![1.0],
    };
    let text = format!(
        r#"{{"name":"x","ids":{}}}"#,
        serde_json::to_string(&ids).unwrap()
    );
    let table: Table = serde_json::from_str(&text).unwrap();
    assert_eq!(table.range, None);
    assert_eq!(serde_json::to_string(&table).unwrap(), text);
}

#[test]
fn what_is_no_number_is_refused_by_name() {
    let check = |values: Values, expected: &str| {
        let ids = IdSpace::Quantiles { boundaries: vec![] };
        let error = encode(field("x"), ids, column("x", values), 2).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        texts(&["1", "old"]),
        "column \"x\", row 2: text where a number belongs: \"old\"",
    );
    check(
        Values::Float(vec![1.0, f64::INFINITY]),
        "column \"x\", row 2: inf where a finite number belongs",
    );
    check(
        texts(&["inf", "1"]),
        "column \"x\", row 1: inf where a finite number belongs",
    );
}

#[test]
fn nan_is_missing() {
    for values in [texts(&["nan", "3"]), Values::Float(vec![f64::NAN, 3.0])] {
        let ids = IdSpace::Quantiles { boundaries: vec![] };
        let found = encode(field("x"), ids, column("x", values.clone()), 2).unwrap();
        assert_eq!(found.ids, [0, 1]);
        let found = encode(field("x"), hash(), column("x", values), 2).unwrap();
        assert_eq!(found.ids[0], 0);
    }
}

#[test]
fn an_absent_column_is_named() {
    let error = encode(field("x"), hash(), column("y", Values::Int(vec![])), 0).unwrap_err();
    assert_eq!(
        error,
        "no column \"x\", which feature \"x\" reads; the rows have y"
    );
}

fn task(name: &str, population: Population, objective: Objective) -> Task {
    Task {
        population,
        objective,
        ..ncs_testkit::task(name)
    }
}

fn labels_of(tasks: Vec<Task>, columns: Vec<Column>) -> Result<Vec<Vec<f32>>, String> {
    let schema = Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: vec![],
        tables: vec![],
        tasks,
        group: None,
    };
    let n_rows = 4;
    let batch = Encoder::new(Arc::new(schema)).encode(&Block { n_rows, columns });
    batch
        .map(|batch| batch.labels)
        .map_err(|error| error.to_string())
}

#[test]
fn labels_outside_the_population_are_unknown() {
    let tasks = vec![
        task("click", Population::All, Objective::CrossEntropy),
        task("watched", Population::Where(0), Objective::Ratio),
        task("bought", Population::Where(1), Objective::CrossEntropy),
    ];
    let columns = vec![
        column("click", texts(&["1", "0", "", "True"])),
        column("watched", Values::Float(vec![0.5, 0.5, 0.5, 1.0])),
        column("bought", Values::Int(vec![1, 1, 1, 0])),
    ];
    let shown = format!("{:?}", labels_of(tasks, columns).unwrap());
    assert_eq!(
        shown,
        "[[1.0, 0.0, NaN, 1.0], [0.5, NaN, NaN, 1.0], [NaN, NaN, NaN, 0.0]]"
    );
}

#[test]
fn labels_out_of_range_are_refused_by_name() {
    let check = |objective: Objective, values: Values, expected: &str| {
        let tasks = vec![task("cvr", Population::All, objective)];
        let error = labels_of(tasks, vec![column("cvr", values)]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    };
    let binary = Objective::CrossEntropy;
    let start = "column \"cvr\", row 3: the label of task \"cvr\" is";
    check(
        binary,
        Values::Int(vec![0, 1, 2, 0]),
        &format!("{start} 2; it must be 0 or 1"),
    );
    check(
        binary,
        texts(&["0", "1", "yes", ""]),
        &format!("{start} \"yes\"; it must be 0 or 1"),
    );
    check(
        binary,
        texts(&["0", "1", "2", ""]),
        &format!("{start} 2; it must be 0 or 1"),
    );
    check(
        binary,
        Values::Float(vec![0.0, 1.0, 0.5, 0.0]),
        &format!("{start} 0.5;"),
    );
    check(
        Objective::Ratio,
        Values::Float(vec![0.0, 7.0, -1.0, 0.0]),
        &format!("{start} -1;"),
    );
    check(
        Objective::Ratio,
        Values::Float(vec![0.0, 7.0, f64::INFINITY, 0.0]),
        &format!("{start} inf;"),
    );
}

#[test]
fn serving_needs_no_label() {
    let schema = Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: vec![field("x")],
        tables: vec![Table {
            name: "x".into(),
            ids: hash(),
            range: None,
        }],
        tasks: vec![task("click", Population::All, Objective::CrossEntropy)],
        group: Some("user".into()),
    };
    let encoder = Encoder::new(Arc::new(schema));
    let block = Block {
        n_rows: 1,
        columns: vec![column("x", Values::Int(vec![1]))],
    };
    let batch = encoder.encode_features(&block).unwrap();
    assert_eq!(batch.fields[0].ids, [850]);
    assert_eq!(batch.labels, [Vec::<f32>::new()]);
    assert_eq!(batch.select(&[0, 0]).fields[0].ids, [850, 850]);
    let error = encoder.encode(&block).unwrap_err().to_string();
    assert!(
        error.contains("which the label of task \"click\" reads"),
        "{error}"
    );
}

#[test]
fn rows_without_a_group_are_told_from_all_groups() {
    assert_eq!(HashFunction::Xxh3.hash(b""), NO_GROUP);
    let schema = Schema {
        fields: vec![],
        tables: vec![],
        tasks: vec![],
        group: Some("user".into()),
        value_rule: ncs_features::ValueRule::CURRENT,
    };
    let groups = |column| {
        let block = Block {
            n_rows: 3,
            columns: vec![column],
        };
        let encoder = Encoder::new(Arc::new(schema.clone()));
        encoder.encode(&block).unwrap().groups
    };
    let by_text = groups(column("user", texts(&["7", " ", "8"])));
    let by_null = groups(Column {
        nulls: vec![false, true, false],
        ..column("user", Values::Int(vec![7, 0, 8]))
    });
    assert_eq!(by_text, by_null);
    assert_eq!(by_text[1], NO_GROUP);
    assert!(by_text[0] != by_text[2] && by_text[0] != NO_GROUP);
}

#[test]
fn label_counts_tell_constants() {
    let mut counts = LabelCounts::new(2);
    let batch = |labels| Batch {
        n_rows: 3,
        labels,
        ..Batch::default()
    };
    counts.observe(&batch(vec![vec![0.0, 1.0, f32::NAN], vec![0.0; 3]]));
    counts.observe(&batch(vec![vec![1.0, 1.0, 0.0], vec![0.0; 3]]));
    assert_eq!(
        (
            counts.rows,
            counts.tasks[0].known,
            counts.tasks[0].positives
        ),
        (6, 5, 3)
    );
    assert_eq!(
        (counts.tasks[0].constant(), counts.tasks[1].constant()),
        (None, Some(0.0))
    );
}

proptest! {
    #[test]
    fn a_row_alone_has_the_ids_it_has_among_others(
        rows in prop::collection::vec("[ab|1-]{0,6}", 1..30),
        padded: bool,
    ) {
        let pooling = if padded { Pooling::PaddedMean } else { Pooling::Mean };
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let all = encode(list(pooling), letters(), column("x", texts(&rows)), rows.len()).unwrap();
        for (row, text) in rows.iter().enumerate() {
            let one = encode(list(pooling), letters(), column("x", texts(&[text])), 1).unwrap();
            prop_assert_eq!(&one.ids[..], &all.ids[all.range(row)]);
        }
    }

    #[test]
    fn a_whole_number_has_one_id_whatever_its_type(x in -(1i64 << 53)..(1i64 << 53)) {
        let id = |values| encode(field("x"), hash(), column("x", values), 1).unwrap().ids[0];
        let expected = id(Values::Int(vec![x]));
        prop_assert_eq!(id(Values::Float(vec![x as f64])), expected);
        prop_assert_eq!(id(texts(&[&x.to_string()])), expected);
    }
}
