//! Lists of structs: the same lists of their attributes from Parquet, Arrow and JSON lines.

use arrow_array::builder::{
    Float64Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
};
use arrow_array::{Array, RecordBatch, RecordBatchIterator};
use arrow_schema::{DataType, Field, Fields};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Values};
use ncs_readers::{Frame, Reading, Rows, column_names, open};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

const ATTRIBUTES: [&str; 3] = ["history.item", "history.kind", "history.share"];

/// Two events, an empty list, null, an event without an item or a share, and an event that is null itself.
const JSON: &str = r#"{"x": 1, "history": [{"item": 7, "kind": "a", "share": 0.5}, {"item": 9007199254740993, "kind": null, "share": 1}]}
{"x": 2, "history": []}
{"x": 3, "history": null}
{"x": 4, "history": [{"kind": "b"}]}
{"x": 5, "history": [null, {"item": 8, "kind": "c", "share": 0.25, "more": 1}]}
"#;

/// The texts of each row and attribute; an empty text where a value is missing.
fn expected() -> [[&'static [&'static str]; 3]; 5] {
    [
        [&["7", "9007199254740993"], &["a", ""], &["0.5", "1"]],
        [&[], &[], &[]],
        [&[], &[], &[]],
        [&[""], &["b"], &[""]],
        [&["", "8"], &["", "c"], &["", "0.25"]],
    ]
}

fn texts(block: &Block, attribute: usize, row: usize) -> Vec<String> {
    let column = &block.columns[attribute];
    let mut buffer = TextBuffer::default();
    let text = |i| String::from_utf8(buffer.text(&column.values, i).to_vec()).unwrap();
    column.range(row).map(text).collect()
}

#[track_caller]
fn check(block: &Block) {
    assert_eq!(block.n_rows, 5);
    for (row, lists) in expected().into_iter().enumerate() {
        for (attribute, list) in lists.into_iter().enumerate() {
            assert_eq!(texts(block, attribute, row), list, "row {row}, {attribute}");
        }
    }
}

fn wanted() -> Vec<String> {
    ATTRIBUTES.map(str::to_owned).to_vec()
}

#[test]
fn json_lines() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, JSON).unwrap();
    let mut file = open(&path, &Reading::default(), &wanted()).unwrap();
    check(&file.next_block().unwrap().unwrap().block);
    let names = column_names(&path, &Reading::default()).unwrap();
    assert_eq!(
        names,
        [
            "x",
            "history.item",
            "history.kind",
            "history.share",
            "history.more"
        ]
    );
    // The list itself is no column.
    let mut file = open(&path, &Reading::default(), &["history".to_owned()]).unwrap();
    let broken = file.next_block().unwrap().unwrap().broken;
    assert!(broken[0].what.contains("column \"history\""), "{broken:?}");
}

#[test]
fn a_key_of_the_whole_name_goes_first() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "{\"history.item\": [1, 2]}\n").unwrap();
    let mut file = open(&path, &Reading::default(), &wanted()[..1]).unwrap();
    let block = file.next_block().unwrap().unwrap().block;
    assert_eq!(block.columns[0].values, Values::Int(vec![1, 2]));
    fs::write(
        &path,
        "{\"history.item\": [1], \"history\": [{\"item\": 1}]}\n",
    )
    .unwrap();
    let mut file = open(&path, &Reading::default(), &wanted()[..1]).unwrap();
    let broken = file.next_block().unwrap().unwrap().broken;
    assert!(broken[0].what.contains("comes twice"), "{broken:?}");
}

type Event<'a> = (Option<i64>, Option<&'a str>, Option<f64>);

fn add(lists: &mut ListBuilder<StructBuilder>, event: Option<Event<'_>>) {
    let events = lists.values();
    let (item, kind, share) = event.unwrap_or_default();
    let items = events.field_builder::<Int64Builder>(0).unwrap();
    items.append_option(item);
    let kinds = events.field_builder::<StringBuilder>(1).unwrap();
    kinds.append_option(kind);
    let shares = events.field_builder::<Float64Builder>(2).unwrap();
    shares.append_option(share);
    events.append(event.is_some());
}

fn record_batch() -> RecordBatch {
    let fields = Fields::from(vec![
        Field::new("item", DataType::Int64, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("share", DataType::Float64, true),
    ]);
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fields, 8));
    add(&mut lists, Some((Some(7), Some("a"), Some(0.5))));
    add(
        &mut lists,
        Some((Some(9_007_199_254_740_993), None, Some(1.0))),
    );
    lists.append(true);
    lists.append(true);
    lists.append(false);
    add(&mut lists, Some((None, Some("b"), None)));
    lists.append(true);
    add(&mut lists, None);
    add(&mut lists, Some((Some(8), Some("c"), Some(0.25))));
    lists.append(true);
    let lists = Arc::new(lists.finish()) as Arc<dyn Array>;
    RecordBatch::try_from_iter_with_nullable([("history", lists, true)]).unwrap()
}

fn frame() -> Frame {
    let batch = record_batch();
    let schema = batch.schema();
    let batches = [Ok(batch)].into_iter();
    Frame::new("frame", Box::new(RecordBatchIterator::new(batches, schema)))
}

#[test]
fn arrow() {
    assert_eq!(frame().columns(), ATTRIBUTES);
    let mut rows = Rows::of_frame(frame(), wanted()).unwrap();
    check(&rows.next_block().unwrap().unwrap().block);
    let refused = |name: &str| {
        let rows = Rows::of_frame(frame(), vec![name.to_owned()]);
        rows.err().unwrap().to_string()
    };
    let error = refused("history");
    assert!(error.contains("name one of their attributes"), "{error}");
    let error = refused("history.size");
    assert!(error.contains("which have item, kind, share"), "{error}");
}

/// Writes the lists with the definition and repetition levels of each attribute.
fn write_parquet(path: &Path, schema: &str, empty: i16) {
    let schema = parse_message_type(schema).unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(path).unwrap();
    let mut file = SerializedFileWriter::new(file, Arc::new(schema), properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let repeated = Some(&[0, 1, 0, 0, 0, 0, 1][..]);
    // Levels from the empty list on: an event, an attribute of it that is there.
    let levels = |present: [bool; 5]| {
        let [first, second, fourth, null, last] = present.map(|is| empty + if is { 3 } else { 2 });
        // An event that is null itself is one level lower.
        let null = null.min(empty + 1);
        vec![first, second, empty, empty - 1, fourth, null, last]
    };
    let mut number = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        let of = [
            [true, true, false, false, true],
            [true, false, true, false, true],
            [true, true, false, false, true],
        ][number];
        let levels = levels(of);
        let defined = Some(&levels[..]);
        let written = match column.untyped() {
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&[7, 9_007_199_254_740_993, 8], defined, repeated)
            }
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let values = ["a", "b", "c"].map(ByteArray::from);
                writer.write_batch(&values, defined, repeated)
            }
            ColumnWriter::DoubleColumnWriter(writer) => {
                writer.write_batch(&[0.5, 1.0, 0.25], defined, repeated)
            }
            _ => panic!("the schema has another type"),
        };
        written.unwrap();
        column.close().unwrap();
        number += 1;
    }
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn parquet() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = "message log { optional group history (LIST) { repeated group list { optional group element {
        optional int64 item; optional binary kind (STRING); optional double share; } } } }";
    write_parquet(&path, schema, 1);
    let mut file = open(&path, &Reading::default(), &wanted()).unwrap();
    check(&file.next_block().unwrap().unwrap().block);
    assert_eq!(
        column_names(&path, &Reading::default()).unwrap(),
        ATTRIBUTES
    );
    let refused = |name: &str| {
        let file = open(&path, &Reading::default(), &[name.to_owned()]);
        file.err().unwrap().to_string()
    };
    let error = refused("history");
    assert!(
        error.contains("name one of its attributes, such as \"history.item\""),
        "{error}"
    );
    let error = refused("history.size");
    assert!(error.contains("which have item, kind, share"), "{error}");
    let error = refused("histry.item");
    assert!(error.contains("history.item"), "{error}");
}
