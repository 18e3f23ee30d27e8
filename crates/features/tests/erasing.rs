//! Values that are erased from a schema: they encode as unseen ones, and every other value as before.

use ncs_features::*;
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

fn field(name: &str, table: usize) -> Field {
    Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    }
}

/// `user` and the list `friends` share a vocabulary, `bought` is hashed, `age` a number; users are the groups.
fn schema() -> Schema {
    let friends = Field {
        pooling: Some(Pooling::Mean),
        separator: Some('|'),
        max_values: Some(1),
        ..field("friends", 0)
    };
    let table = |name: &str, ids| Table {
        name: name.into(),
        ids,
        range: None,
    };
    let values = ["u1", "12", "u3", "1"].map(str::to_owned).to_vec();
    let hash = IdSpace::Hash {
        buckets: 50,
        function: HashFunction::Xxh3,
        unknown: true,
    };
    let quantiles = IdSpace::Quantiles {
        boundaries: vec![20.0, 40.0],
    };
    Schema {
        value_rule: ValueRule::CURRENT,
        fields: vec![
            field("user", 0),
            friends,
            field("bought", 1),
            field("age", 2),
        ],
        tables: vec![
            table("user", IdSpace::Vocabulary { values }),
            table("bought", hash),
            table("age", quantiles),
        ],
        tasks: vec![],
        group: Some("user".into()),
    }
}

fn rows() -> Block {
    let users = ["u1", "12", "12.0", "x", "true"];
    let friends = ["", "u1|u3", "u1|12", "u3", ""];
    Block {
        n_rows: 5,
        columns: vec![
            column("user", texts(&users)),
            column("friends", texts(&friends)),
            column("bought", Values::Int(vec![12, 5, 12, 5, 7])),
            column("age", Values::Int(vec![10, 30, 50, 12, 30])),
        ],
    }
}

fn erased(column: &str, values: &[&str]) -> ErasedValues {
    let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
    ErasedValues::of(&schema(), column, &values).unwrap_or_else(|error| panic!("{error}"))
}

fn ids(schema: Schema) -> Vec<Vec<u32>> {
    let batch = Encoder::new(Arc::new(schema))
        .encode_features(&rows())
        .unwrap();
    batch.fields.into_iter().map(|field| field.ids).collect()
}

#[test]
fn an_erased_value_becomes_unknown_and_no_other_id_moves() {
    // The spellings of one value are one value.
    let values = erased("user", &["12.0", "True", "nobody"]);
    assert_eq!(values.len(), 3);
    let traces = |schema: &Schema| values.traces(schema).entries;
    assert_eq!(traces(&schema()), 2);
    let without = values.without(&schema());
    assert_eq!(traces(&without), 0);
    assert!(!format!("{without:?}").contains("\"12\""));
    assert_eq!(
        without.tables[0].ids.n_rows(),
        schema().tables[0].ids.n_rows()
    );
    let (before, after) = (ids(schema()), ids(without));
    assert_eq!(before[0], [2, 3, 3, 1, 5]);
    assert_eq!(after[0], [2, 1, 1, 1, 1]);
    assert_eq!(before[1..], after[1..]);
}

#[test]
fn rows_are_found_in_every_column_of_the_table() {
    // `friends` keeps one value of a list; a row holds all of them.
    let holds = |column, values: &[&str]| erased(column, values).rows_of(&rows()).unwrap();
    assert_eq!(holds("user", &["u3"]), [false, true, false, true, false]);
    assert_eq!(holds("user", &["12"]), [false, true, true, false, false]);
    assert_eq!(holds("bought", &["12"]), [true, false, true, false, false]);
    assert_eq!(erased("user", &["u3"]).columns(), ["friends", "user"]);
    let some = Block {
        n_rows: 5,
        columns: vec![rows().columns[1].clone()],
    };
    assert_eq!(
        erased("user", &["12"]).rows_of(&some).unwrap(),
        [false, false, true, false, false]
    );
}

#[test]
fn encoded_rows_are_found_by_ids_and_by_groups() {
    let batch = Encoder::new(Arc::new(schema())).encode(&rows()).unwrap();
    let one = |row: usize| {
        let row = rows().select(&[row]);
        Encoder::new(Arc::new(schema())).encode(&row).unwrap()
    };
    assert!(erased("user", &["12"]).are_in(&batch));
    assert!(!erased("user", &["u2"]).are_in(&batch));
    // Unknown to the vocabulary: the group of the row says who it is.
    assert!(erased("user", &["x"]).are_in(&one(3)));
    assert!(!erased("user", &["x"]).are_in(&one(2)));
    assert!(erased("bought", &["7"]).are_in(&one(4)));
}

#[test]
fn a_hashed_value_is_the_row_of_its_bucket() {
    let values = erased("bought", &["12"]);
    let (table, ids_of) = values.tables().next().unwrap();
    let id = ids(schema())[2][0];
    assert_eq!(
        (table, ids_of.iter().copied().collect::<Vec<_>>()),
        (1, vec![id])
    );
    assert!(values.has_row(1, id) && !values.has_row(0, id));
    assert_eq!(values.without(&schema()), schema(), "buckets have no text");
}

#[test]
fn columns_without_ids_are_refused() {
    let error = |column: &str| {
        let error = ErasedValues::of(&schema(), column, &["1".to_owned()]).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        error("usr"),
        "no column \"usr\"; columns with ids are user, friends, bought"
    );
    assert!(
        error("age").contains("is read as a number"),
        "{}",
        error("age")
    );
}

/// Rows of a cross are not known by the values that they were made of.
#[test]
fn a_crossed_column_is_refused() {
    let mut schema = schema();
    let cross = Cross {
        of: vec![0, 2],
        buckets: 100,
    };
    schema.tables.push(Table {
        name: "user_bought".into(),
        ids: IdSpace::Cross(cross),
        range: None,
    });
    schema.fields.push(field("user_bought", 3));
    let values = ["u1".to_owned()];
    for crossed in ["user", "bought"] {
        let error = ErasedValues::of(&schema, crossed, &values).unwrap_err();
        assert!(
            matches!(&error, EraseError::Crossed { feature, .. } if feature == "user_bought"),
            "{error}"
        );
    }
}
