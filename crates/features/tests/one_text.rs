//! A value means one thing, whatever type or text a file holds it in.

use ncs_features::time::Timestamp;
use ncs_features::*;
use std::sync::Arc;

fn texts(values: &[&str]) -> Values {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    Values::Text(texts)
}

fn block(values: Values) -> Block {
    Block {
        n_rows: values.len(),
        columns: vec![Column {
            name: "x".into(),
            values,
            ..Column::default()
        }],
    }
}

fn field(missing: &[&str]) -> Field {
    Field {
        name: "x".into(),
        column: "x".into(),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: missing.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn encoder(field: Field, ids: IdSpace, value_rule: ValueRule) -> Encoder {
    Encoder::new(Arc::new(Schema {
        value_rule,
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
        buckets: 1 << 30,
        function: HashFunction::Xxh3,
        unknown: false,
    }
}

/// Returns the ids of these values, each of a row of its own.
fn ids(field: Field, values: Values) -> Vec<u32> {
    let encoder = encoder(field, hash(), ValueRule::CURRENT);
    let batch = encoder.encode(&block(values)).unwrap();
    batch.fields.into_iter().next().unwrap().ids
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_value_has_one_id_from_every_type() {
    let check = |text: &str, others: Vec<Values>| {
        let expected = ids(field(&[]), texts(&[text]))[0];
        for values in others {
            let shown = format!("{values:?}");
            for id in ids(field(&[]), values) {
                assert_eq!(id, expected, "{text}, {shown}");
            }
        }
    };
    let one = texts(&["1.0", " 1 ", "1.00", "True", "TRUE", "true", "1.0E0"]);
    check(
        "1",
        vec![one, Values::Int(vec![1]), Values::Float(vec![1.0])],
    );
    let zero = texts(&["0.0", "-0", "False", "false", "-0.0"]);
    check(
        "0",
        vec![zero, Values::Int(vec![0]), Values::Float(vec![0.0, -0.0])],
    );
    let small = texts(&["1e-05", "1.0E-5", "0.00001"]);
    check("0.00001", vec![small, Values::Float(vec![1e-5])]);
    let midnight = texts(&["2024-01-01 00:00:00", "2024-01-01T02:00:00+02:00"]);
    check(
        "2024-01-01",
        vec![midnight, Values::Time(vec![time("2024-01-01")])],
    );
    let noon = texts(&["2024-01-01T12:00:00.250000Z"]);
    let typed = Values::Time(vec![time("2024-01-01 12:00:00.25")]);
    check("2024-01-01 12:00:00.25", vec![noon, typed]);
    let missing = texts(&[" ", "NaN", "nan"]);
    check("", vec![missing, Values::Float(vec![f64::NAN])]);
    assert_eq!(ids(field(&[]), texts(&["nan"])), [0]);
}

#[test]
fn texts_that_only_look_like_numbers_stay_apart() {
    let found = ids(
        field(&[]),
        texts(&["7", "007", "1.10", "1.1", "1e3", "1000", "+1", "1"]),
    );
    let mut distinct = found.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), found.len());
}

#[test]
fn missing_texts_are_compared_as_values_are() {
    for missing in ["-1", "-1.0", " -1 "] {
        let of = |values| ids(field(&[missing]), values);
        assert_eq!(of(texts(&["-1", "-1.0", " -1"])), [0; 3], "{missing:?}");
        assert_eq!(of(Values::Int(vec![-1])), [0]);
        assert_eq!(of(Values::Float(vec![-1.0])), [0]);
        let quantiles = IdSpace::Quantiles { boundaries: vec![] };
        let numeric = encoder(field(&[missing]), quantiles, ValueRule::CURRENT);
        let batch = numeric.encode(&block(texts(&["-1.0", "-2"]))).unwrap();
        assert_eq!(batch.fields[0].ids, [0, 1]);
    }
    let quantiles = IdSpace::Quantiles { boundaries: vec![] };
    let numeric = encoder(field(&["inf"]), quantiles, ValueRule::CURRENT);
    for values in [texts(&["Infinity"]), Values::Float(vec![f64::INFINITY])] {
        assert_eq!(numeric.encode(&block(values)).unwrap().fields[0].ids, [0]);
    }
}

#[test]
fn items_of_a_list_have_the_text_of_single_values() {
    let list = |separator| Field {
        pooling: Some(Pooling::Mean),
        separator,
        ..field(&["none"])
    };
    let single = ids(field(&[]), texts(&["a", "1", "2024-01-01"]));
    let items = "a | 1.0 |nan|2024-01-01 00:00:00| none";
    assert_eq!(ids(list(Some('|')), texts(&[items])), single);
}

#[test]
fn the_number_of_a_time_is_its_seconds() {
    let scale = IdSpace::Scaled {
        log: false,
        mean: 0.0,
        deviation: 1.0,
    };
    let encoder = encoder(field(&[]), scale, ValueRule::CURRENT);
    let weights = |values| {
        encoder.encode(&block(values)).unwrap().fields[0]
            .weights
            .clone()
    };
    let expected = [86_400.5, 1.0];
    assert_eq!(weights(texts(&["1970-01-02T00:00:00.5Z"])), expected);
    assert_eq!(
        weights(Values::Time(vec![time("1970-01-02 00:00:00.5")])),
        expected
    );
    assert_eq!(weights(texts(&["12:30:00"])), [45_000.0, 1.0]);
    assert_eq!(weights(texts(&["True"])), [1.0, 1.0]);
}

#[test]
fn bytes_that_are_no_text_are_told_with_the_row() {
    let mut values = Texts::default();
    values.push(b"caf\xC3\xA9");
    values.push(b"caf\xE9");
    let rows = block(Values::Text(values.clone()));
    let encoder = encoder(field(&[]), hash(), ValueRule::CURRENT);
    let error = encoder.encode(&rows).unwrap_err().to_string();
    assert!(
        error.starts_with("column \"x\", row 2: \"caf\u{FFFD}\" is not UTF-8"),
        "{error}"
    );
    let mut lists = rows;
    lists.n_rows = 3;
    lists.columns[0].offsets = Some(vec![0, 1, 1, 2]);
    let error = encoder.encode(&lists).unwrap_err().to_string();
    assert!(error.starts_with("column \"x\", row 3"), "{error}");
}

#[test]
fn schemas_without_a_rule_encode_as_they_did() {
    let old: Schema = serde_json::from_value(serde_json::json!({
        "fields": [{"name": "x", "column": "x", "table": 0, "pooling": null, "separator": null,
                    "max_values": null, "missing": ["-1"]}],
        "tables": [{"name": "x", "ids": {"Vocabulary": {"values": ["True", "1.0", "NaN", " a"]}}}],
        "tasks": [],
        "group": null,
    }))
    .unwrap();
    assert_eq!(old.value_rule, ValueRule::Verbatim);
    let encoder = Encoder::new(Arc::new(old));
    let ids = |values| {
        encoder.encode(&block(values)).unwrap().fields[0]
            .ids
            .clone()
    };
    assert_eq!(
        ids(texts(&["True", "1.0", " a", "a", "-1", ""])),
        [2, 3, 5, 1, 0, 0]
    );
    assert_eq!(ids(Values::Float(vec![f64::NAN])), [4]);
    let times = block(Values::Time(vec![time("2024-01-01")]));
    let error = encoder.encode(&times).unwrap_err().to_string();
    assert!(error.contains("train it again"), "{error}");
}

#[test]
fn texts_that_say_0_or_1_are_labels() {
    let task = Task {
        label: "x".into(),
        ..ncs_testkit::task("ctr")
    };
    let read = |values| labels::labels(std::slice::from_ref(&task), &block(values));
    let ones = texts(&["1", "1.00", "1e0", "+1", " TRUE ", "1.000000"]);
    assert_eq!(read(ones).unwrap(), [[1.0; 6]]);
    let zeros = texts(&["0", "0.0000", "0e0", "-0", "false"]);
    assert_eq!(read(zeros).unwrap(), [[0.0; 5]]);
    let unknown = read(texts(&["", " ", "nan"])).unwrap();
    assert!(unknown[0].iter().all(|label| label.is_nan()));
    for text in ["t", "yes", "2", "0.5", "1970-01-01", "00:00:01", "inf"] {
        let error = read(texts(&[text])).unwrap_err().to_string();
        assert!(error.contains("it must be 0 or 1"), "{error}");
    }
}
