//! A value has one id, in whatever format and type the file holds it.

use ncs_features::time::Timestamp;
use ncs_features::{
    Block, Column, Encoder, Field, HashFunction, IdSpace, Schema, Table, Texts, ValueRule, Values,
};
use ncs_readers::synthetic::write_blocks;
use ncs_readers::{Format, Reading, Rows};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::tempdir;

const COLUMNS: [&str; 5] = ["vip", "day", "at", "user", "price"];

fn encoder() -> Encoder {
    let field = |(table, name): (usize, &&str)| Field {
        name: (*name).into(),
        column: (*name).into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into()],
    };
    let table = |name: &&str| Table {
        name: (*name).into(),
        ids: IdSpace::Hash {
            buckets: 1 << 30,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        range: None,
    };
    Encoder::new(Arc::new(Schema {
        value_rule: ValueRule::CURRENT,
        fields: COLUMNS.iter().enumerate().map(field).collect(),
        tables: COLUMNS.iter().map(table).collect(),
        tasks: vec![],
        group: None,
    }))
}

/// Returns the ids of all rows of a file, column by column.
fn ids(file: PathBuf) -> Vec<Vec<u32>> {
    let wanted = COLUMNS.map(str::to_owned).to_vec();
    let mut rows = Rows::open(vec![file], &Reading::default(), wanted);
    let block = rows.next_block().unwrap().unwrap().block;
    let batch = encoder().encode(&block).unwrap();
    batch.fields.into_iter().map(|field| field.ids).collect()
}

fn texts(values: &[&str]) -> Values {
    let mut texts = Texts::default();
    values.iter().for_each(|value| texts.push(value.as_bytes()));
    Values::Text(texts)
}

fn block(values: [Values; 5]) -> Block {
    let column = |(name, values): (&str, Values)| Column {
        name: name.into(),
        values,
        ..Column::default()
    };
    Block {
        n_rows: 3,
        columns: COLUMNS.into_iter().zip(values).map(column).collect(),
    }
}

#[test]
fn csv_parquet_json_and_tfrecord_agree() {
    let folder = tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let pandas = "vip,day,at,user,price\n\
                  True,2024-01-01,2024-01-01 00:00:00,12.0,\n\
                  False,2024-01-02,2024-01-01 12:30:00.500000,900719925474099301,0.1\n\
                  true,2024-01-03,2024-01-01 01:00:00+01:00, 7 ,-1.0\n";
    let expected = ids(put("pandas.csv", pandas));
    assert_eq!(expected[4], [0, expected[4][1], 0], "missing values");
    assert_eq!(expected[2][0], expected[2][2], "an hour in two zones");
    let json = "{\"vip\":true,\"day\":\"2024-01-01\",\"at\":\"2024-01-01T00:00:00Z\",\"user\":12.0,\"price\":null}\n\
                {\"vip\":false,\"day\":\"2024-01-02\",\"at\":\"2024-01-01T12:30:00.5Z\",\"user\":900719925474099301,\"price\":0.1}\n\
                {\"vip\":1,\"day\":\"2024-01-03 00:00\",\"at\":\"2024-01-01\",\"user\":\"7\",\"price\":-1}\n";
    assert_eq!(ids(put("log.jsonl", json)), expected);
    let days = ["2024-01-01", "2024-01-02", "2024-01-03"];
    let at = ["2024-01-01", "2024-01-01 12:30:00.5", "2024-01-01"];
    let time = |text: &&str| Timestamp::parse(text.as_bytes()).unwrap();
    let typed = block([
        Values::Int(vec![1, 0, 1]),
        Values::Time(days.iter().map(time).collect()),
        Values::Time(at.iter().map(time).collect()),
        Values::Int(vec![12, 900_719_925_474_099_301, 7]),
        Values::Float(vec![f64::NAN, 0.1, -1.0]),
    ]);
    let written = block([
        texts(&["true", "FALSE", "1.0"]),
        texts(&days),
        texts(&[
            "2024-01-01T00:00:00Z",
            "2024-01-01 12:30:00.500",
            "2023-12-31T23:00:00-01:00",
        ]),
        texts(&["12.00", "900719925474099301", "7"]),
        texts(&["nan", "0.1", "-1"]),
    ]);
    for block in [typed, written] {
        for (format, name) in [
            (Format::Parquet, "log.parquet"),
            (Format::TfRecord, "log.tfrecord"),
            (Format::Csv, "log.csv"),
            (Format::JsonLines, "written.jsonl"),
        ] {
            let path = folder.path().join(name);
            write_blocks(&path, format, std::iter::once(block.clone())).unwrap();
            assert_eq!(ids(path), expected, "{format:?}");
        }
    }
}

#[test]
fn whole_numbers_of_any_length_keep_their_digits_in_json() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let row = |user: &str| {
        let nulls = "\"vip\":null,\"day\":null,\"at\":null,\"price\":null";
        format!("{{{nulls},\"user\":{user}}}\n")
    };
    let long = "123456789012345678901234567890";
    let users = [
        long.to_owned(),
        format!("\"{long}\""),
        long.replace('9', "8"),
        "1e30".to_owned(),
    ];
    fs::write(&path, users.map(|user| row(&user)).concat()).unwrap();
    let found = ids(path).remove(3);
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0], found[2]);
    assert_ne!(found[0], found[3]);
}
