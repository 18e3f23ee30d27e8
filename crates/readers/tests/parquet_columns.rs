//! The types and the two ways of lists that other programs write into Parquet.

use ncs_features::{Column, Texts, Values};
use ncs_readers::{Reading, column_names, open};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

const SCHEMA: &str = "message log {
    required int32 small;
    required int32 unsigned (INTEGER(32, false));
    required int64 huge (INTEGER(64, false));
    optional int32 cents (DECIMAL(9, 2));
    required boolean yes;
    required float price;
    optional binary city (STRING);
    optional group three (LIST) { repeated group list { optional int64 element; } }
    optional group two (LIST) { repeated binary array (STRING); }
    repeated double bare;
    required group pair { required int32 a; required int32 b; }
    required fixed_len_byte_array(12) span (INTERVAL);
}";

/// Values, definition levels and repetition levels of the columns of three rows.
fn write_column(writer: &mut ColumnWriter<'_>, name: &str) {
    use ColumnWriter::*;
    let written = match (writer, name) {
        (Int32ColumnWriter(w), "small") => w.write_batch(&[1, -2, 3], None, None),
        (Int32ColumnWriter(w), "unsigned") => w.write_batch(&[1, -1, 3], None, None),
        (Int64ColumnWriter(w), "huge") => w.write_batch(&[1, -1, 3], None, None),
        (Int32ColumnWriter(w), "cents") => w.write_batch(&[1050, -5], Some(&[1, 0, 1]), None),
        (BoolColumnWriter(w), _) => w.write_batch(&[true, false, true], None, None),
        (FloatColumnWriter(w), _) => w.write_batch(&[0.1, 2.0, f32::NAN], None, None),
        (ByteArrayColumnWriter(w), "city") => {
            w.write_batch(&[bytes("a"), bytes("a")], Some(&[1, 1, 0]), None)
        }
        // [7, null, 8], null, []
        (Int64ColumnWriter(w), "three") => {
            w.write_batch(&[7, 8], Some(&[3, 2, 3, 0, 1]), Some(&[0, 1, 1, 0, 0]))
        }
        // null, [], [x, y]
        (ByteArrayColumnWriter(w), "two") => w.write_batch(
            &[bytes("x"), bytes("y")],
            Some(&[0, 1, 2, 2]),
            Some(&[0, 0, 0, 1]),
        ),
        // [0.5], [], [1.5, 2.5]
        (DoubleColumnWriter(w), "bare") => {
            w.write_batch(&[0.5, 1.5, 2.5], Some(&[1, 0, 1, 1]), Some(&[0, 0, 0, 1]))
        }
        (Int32ColumnWriter(w), _) => w.write_batch(&[0, 0, 0], None, None),
        (FixedLenByteArrayColumnWriter(w), _) => {
            w.write_batch(&[0; 3].map(|_| vec![0; 12].into()), None, None)
        }
        _ => unreachable!("{name}"),
    };
    written.unwrap();
}

fn bytes(text: &str) -> ByteArray {
    ByteArray::from(text)
}

/// Two row groups of three rows.
fn written() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(&path).unwrap();
    let mut file = SerializedFileWriter::new(file, schema, properties).unwrap();
    for _ in 0..2 {
        let mut group = file.next_row_group().unwrap();
        let names = [
            "small", "unsigned", "huge", "cents", "yes", "price", "city", "three", "two", "bare",
            "a", "b", "span",
        ];
        for name in names {
            let mut column = group.next_column().unwrap().unwrap();
            write_column(column.untyped(), name);
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.close().unwrap();
    (folder, path)
}

/// Returns the column in the first row group; the second must be the same.
fn read(path: &Path, name: &str) -> Column {
    let mut file = open(path, &Reading::default(), &[name.to_owned()]).unwrap();
    let first = file.next_block().unwrap().unwrap();
    let second = file.next_block().unwrap().unwrap();
    assert!(file.next_block().unwrap().is_none());
    assert_eq!((first.first_row, second.first_row), (1, 4));
    // By text, in which NaN is itself.
    assert_eq!(format!("{:?}", first.block), format!("{:?}", second.block));
    first.block.columns.into_iter().next().unwrap()
}

fn texts(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

#[test]
fn values_have_their_types() {
    let (_folder, path) = written();
    let check = |name: &str, values: Values, nulls: &[bool]| {
        let column = read(&path, name);
        assert_eq!((column.offsets, &column.nulls[..]), (None, nulls), "{name}");
        assert_eq!(
            format!("{:?}", column.values),
            format!("{values:?}"),
            "{name}"
        );
    };
    check("small", Values::Int(vec![1, -2, 3]), &[]);
    check("unsigned", Values::Int(vec![1, 4_294_967_295, 3]), &[]);
    check("huge", texts(&["1", "18446744073709551615", "3"]), &[]);
    check(
        "cents",
        Values::Float(vec![10.5, 0.0, -0.05]),
        &[false, true, false],
    );
    check("yes", Values::Int(vec![1, 0, 1]), &[]);
    check("price", Values::Float(vec![0.1, 2.0, f64::NAN]), &[]);
    check("city", texts(&["a", "a", ""]), &[false, false, true]);
}

#[test]
fn lists_are_read_in_every_encoding() {
    let (_folder, path) = written();
    let check = |name: &str, values: Values, offsets: &[u32], nulls: &[bool]| {
        let column = read(&path, name);
        assert_eq!(column.values, values, "{name}");
        assert_eq!(column.offsets.as_deref(), Some(offsets), "{name}");
        assert_eq!(column.nulls, nulls, "{name}");
    };
    check(
        "three",
        Values::Int(vec![7, 8]),
        &[0, 2, 2, 2],
        &[false, true, false],
    );
    check(
        "two",
        texts(&["x", "y"]),
        &[0, 0, 0, 2],
        &[true, false, false],
    );
    check(
        "bare",
        Values::Float(vec![0.5, 1.5, 2.5]),
        &[0, 1, 1, 3],
        &[],
    );
}

#[test]
fn a_column_without_values_for_us_is_refused() {
    let (_folder, path) = written();
    let check = |name: &str, expected: &str| {
        let error = open(&path, &Reading::default(), &[name.to_owned()])
            .err()
            .unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("pair", "column \"pair\" is a group of several columns");
    check("span", "column \"span\" is an interval");
    check("a", "no column \"a\"");
    let names = column_names(&path, &Reading::default()).unwrap();
    assert_eq!(names.len(), 12);
    assert_eq!(names[10..], ["pair", "span"]);
}
