//! Values of the Parquet types as texts: ids of any width, decimals, dates, times and bytes.

use ncs_features::Block;
use ncs_features::value::TextBuffer;
use ncs_readers::{Reading, open};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::sync::Arc;
use tempfile::tempdir;

/// The values of one column.
enum Stored<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Int96(&'a [[u32; 3]]),
    Float(&'a [f32]),
    Bytes(&'a [&'a [u8]]),
    Fixed(&'a [&'a [u8]]),
}

/// Returns a column of this type, written and read.
fn read(kind: &str, stored: &Stored<'_>) -> Block {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = parse_message_type(&format!("message log {{ required {kind}; }}")).unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(&path).unwrap();
    let mut file = SerializedFileWriter::new(file, Arc::new(schema), properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    write(column.untyped(), stored);
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
    let mut file = open(&path, &Reading::default(), &["x".to_owned()]).unwrap();
    file.next_block().unwrap().unwrap().block
}

fn write(column: &mut ColumnWriter<'_>, stored: &Stored<'_>) {
    use ColumnWriter::*;
    let written = match (column, stored) {
        (Int32ColumnWriter(w), Stored::Int32(values)) => w.write_batch(values, None, None),
        (Int64ColumnWriter(w), Stored::Int64(values)) => w.write_batch(values, None, None),
        (FloatColumnWriter(w), Stored::Float(values)) => w.write_batch(values, None, None),
        (Int96ColumnWriter(w), Stored::Int96(values)) => {
            let value = |value: &[u32; 3]| Int96::from(value.to_vec());
            w.write_batch(&values.iter().map(value).collect::<Vec<_>>(), None, None)
        }
        (ByteArrayColumnWriter(w), Stored::Bytes(values)) => {
            let values = values.iter().map(|value| ByteArray::from(value.to_vec()));
            w.write_batch(&values.collect::<Vec<_>>(), None, None)
        }
        (FixedLenByteArrayColumnWriter(w), Stored::Fixed(values)) => {
            let values = values
                .iter()
                .map(|value| FixedLenByteArray::from(value.to_vec()));
            w.write_batch(&values.collect::<Vec<_>>(), None, None)
        }
        _ => panic!("the schema has another type"),
    };
    written.unwrap();
}

fn texts(block: &Block) -> Vec<String> {
    let column = &block.columns[0];
    let mut buffer = TextBuffer::default();
    let mut text = |i| String::from_utf8(buffer.text(&column.values, i).to_vec()).unwrap();
    (0..column.values.len()).map(&mut text).collect()
}

fn check(kind: &str, stored: Stored<'_>, expected: &[&str]) {
    assert_eq!(texts(&read(kind, &stored)), expected, "{kind}");
}

#[test]
fn ids_keep_all_their_digits() {
    let ids = [900_719_925_474_099_301i64, -1, 7];
    let expected = ["900719925474099301", "-1", "7"];
    check("int64 x", Stored::Int64(&ids), &expected);
    check("int64 x (DECIMAL(18, 0))", Stored::Int64(&ids), &expected);
    let bytes = ids.map(i64::to_be_bytes);
    let bytes = [&bytes[0][..], &[255], &[7]];
    check(
        "binary x (DECIMAL(18, 0))",
        Stored::Bytes(&bytes),
        &expected,
    );
    let wide = ids.map(|x| i128::from(x).to_be_bytes());
    let wide: Vec<&[u8]> = wide.iter().map(|bytes| &bytes[..]).collect();
    let kind = "fixed_len_byte_array(16) x (DECIMAL(38, 0))";
    check(kind, Stored::Fixed(&wide), &expected);
    let most = i128::MAX.to_be_bytes();
    let digits = ["170141183460469231731687303715884105727"];
    check(kind, Stored::Fixed(&[&most]), &digits);
    let unsigned = Stored::Int64(&[-1, 5]);
    check(
        "int64 x (INTEGER(64, false))",
        unsigned,
        &["18446744073709551615", "5"],
    );
}

#[test]
fn decimals_have_their_shortest_text() {
    let check = |kind: &str, stored: Stored<'_>| check(kind, stored, &["10.5", "-0.05", "3"]);
    check("int32 x (DECIMAL(9, 2))", Stored::Int32(&[1050, -5, 300]));
    check("int64 x (DECIMAL(18, 2))", Stored::Int64(&[1050, -5, 300]));
    let bytes: [&[u8]; 3] = [&[4, 26], &[251], &[1, 44]];
    check("binary x (DECIMAL(9, 2))", Stored::Bytes(&bytes));
    let fixed: [&[u8]; 3] = [&[0, 4, 26], &[255, 255, 251], &[0, 1, 44]];
    check(
        "fixed_len_byte_array(3) x (DECIMAL(5, 2))",
        Stored::Fixed(&fixed),
    );
}

#[test]
fn instants_have_one_text_whatever_their_unit() {
    let seconds = 1_704_110_400i64;
    let check = |kind: &str, stored: Stored<'_>| {
        check(kind, stored, &["2024-01-01 12:00:00", "1969-12-31"]);
    };
    let units = |per_second: i64| [seconds * per_second, -86_400 * per_second];
    check(
        "int64 x (TIMESTAMP(MILLIS, true))",
        Stored::Int64(&units(1_000)),
    );
    check(
        "int64 x (TIMESTAMP(MICROS, false))",
        Stored::Int64(&units(1_000_000)),
    );
    check(
        "int64 x (TIMESTAMP(NANOS, true))",
        Stored::Int64(&units(1_000_000_000)),
    );
    check("int64 x (TIMESTAMP_MILLIS)", Stored::Int64(&units(1_000)));
    check(
        "int64 x (TIMESTAMP_MICROS)",
        Stored::Int64(&units(1_000_000)),
    );
    let noon = 43_200_000_000_000u64;
    let noon = [noon as u32, (noon >> 32) as u32, 2_460_311];
    check("int96 x", Stored::Int96(&[noon, [0, 0, 2_440_587]]));
}

#[test]
fn dates_and_times_of_day_are_texts() {
    let days = Stored::Int32(&[19_723, -719_162, 2_932_896]);
    check(
        "int32 x (DATE)",
        days,
        &["2024-01-01", "0001-01-01", "9999-12-31"],
    );
    let times = Stored::Int32(&[45_000_000, 45_000_500]);
    check(
        "int32 x (TIME(MILLIS, true))",
        times,
        &["12:30:00", "12:30:00.5"],
    );
    let times = Stored::Int64(&[45_000_000_000]);
    check("int64 x (TIME(MICROS, true))", times, &["12:30:00"]);
}

#[test]
fn bytes_of_fixed_length_are_named() {
    let id: [u8; 16] = std::array::from_fn(|i| i as u8 * 16);
    let kind = "fixed_len_byte_array(16) x";
    let uuid = ["00102030-4050-6070-8090-a0b0c0d0e0f0"];
    check(&format!("{kind} (UUID)"), Stored::Fixed(&[&id]), &uuid);
    check(
        kind,
        Stored::Fixed(&[&id]),
        &["00102030405060708090a0b0c0d0e0f0"],
    );
    let halves: [&[u8]; 2] = [&[0x66, 0x2E], &[0, 0x4A]];
    check(
        "fixed_len_byte_array(2) x (FLOAT16)",
        Stored::Fixed(&halves),
        &["0.1", "12"],
    );
    check(
        "float x",
        Stored::Float(&[0.1, 12.0, f32::NAN]),
        &["0.1", "12", ""],
    );
}
