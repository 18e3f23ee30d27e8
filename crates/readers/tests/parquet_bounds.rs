//! Parquet: blocks end where they are full, however wide rows are; codecs, duplicate names, what is not supported.

use ncs_features::{Column, Values};
use ncs_readers::{RawBlock, ReadError, Reading, Rows, open};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

/// Maximum size of a block, doubled: a row may be as large, and pages are read whole.
const BLOCK: usize = 16 << 20;

/// The values of a column with their definition and repetition levels.
enum Written {
    Texts(Vec<ByteArray>, Vec<i16>, Vec<i16>),
    Ints(Vec<i64>, Vec<i16>, Vec<i16>),
}

fn texts(values: impl IntoIterator<Item = usize>) -> Written {
    let text = |n: usize| ByteArray::from("x".repeat(n).into_bytes());
    // One allocation for each width, as a dictionary has.
    let mut known = std::collections::HashMap::new();
    let values = values
        .into_iter()
        .map(|n| known.entry(n).or_insert_with(|| text(n)).clone());
    Written::Texts(values.collect(), Vec::new(), Vec::new())
}

/// Lists of these lengths, all items 7.
fn lists(lengths: &[usize]) -> Written {
    let mut defined = Vec::new();
    let mut repeated = Vec::new();
    for &n in lengths {
        defined.extend(std::iter::repeat_n(i16::from(n > 0), n.max(1)));
        repeated.push(0);
        repeated.extend(std::iter::repeat_n(1, n.saturating_sub(1)));
    }
    Written::Ints(vec![7; lengths.iter().sum()], defined, repeated)
}

fn write(
    schema: &str,
    properties: WriterPropertiesBuilder,
    columns: &[Written],
) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(properties.build());
    let file = File::create(&path).unwrap();
    let mut file = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    for column in columns {
        let mut writer = group.next_column().unwrap().unwrap();
        let levels = |levels: &'_ Vec<i16>| (!levels.is_empty()).then(|| levels.clone());
        match (writer.untyped(), column) {
            (ColumnWriter::ByteArrayColumnWriter(w), Written::Texts(values, defined, repeated)) => {
                w.write_batch(
                    values,
                    levels(defined).as_deref(),
                    levels(repeated).as_deref(),
                )
                .unwrap()
            }
            (ColumnWriter::Int64ColumnWriter(w), Written::Ints(values, defined, repeated)) => w
                .write_batch(
                    values,
                    levels(defined).as_deref(),
                    levels(repeated).as_deref(),
                )
                .unwrap(),
            _ => unreachable!("texts and whole numbers"),
        };
        writer.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    (folder, path)
}

fn zstd() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).unwrap();
    WriterProperties::builder().set_compression(Compression::ZSTD(level))
}

fn blocks(path: &Path, columns: &[&str]) -> Result<Vec<RawBlock>, ReadError> {
    let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let mut file = open(path, &Reading::default(), &columns)?;
    let mut blocks = Vec::new();
    while let Some(block) = file.next_block()? {
        assert!(block.block.n_rows > 0 || !block.broken.is_empty());
        blocks.push(block);
    }
    Ok(blocks)
}

/// Reads all blocks one after another; the numbers of rows and of broken ones, and the largest block.
fn measured(path: &Path, columns: &[&str]) -> (usize, Vec<u64>, usize) {
    let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let mut file = open(path, &Reading::default(), &columns).unwrap();
    let (mut rows, mut broken, mut largest) = (0, Vec::new(), 0);
    while let Some(raw) = file.next_block().unwrap() {
        assert_eq!(raw.first_row as usize, rows + broken.len() + 1);
        rows += raw.block.n_rows;
        broken.extend(raw.broken.iter().map(|broken| broken.row));
        largest = largest.max(raw.block.n_bytes());
        if let Some(last) = raw.block.n_rows.checked_sub(1) {
            let ends = raw
                .block
                .columns
                .iter()
                .map(|column| column.range(last).end);
            assert!(ends.eq(raw.block.columns.iter().map(n_values)));
        }
    }
    (rows, broken, largest)
}

fn n_values(column: &Column) -> usize {
    column.values.len()
}

const TEXT: &str = "message log { required binary a (STRING); required int64 b; }";
const LIST: &str = "message log { repeated int64 a; required int64 b; }";

fn numbers(n: usize) -> Written {
    Written::Ints((0..n as i64).collect(), Vec::new(), Vec::new())
}

#[test]
fn wide_texts_make_short_blocks() {
    // 100 kB in each row, of one entry of the dictionary: 800 MB of text in a few kB.
    let (_folder, path) = write(TEXT, zstd(), &[texts(vec![100_000; 8192]), numbers(8192)]);
    assert!(fs::metadata(&path).unwrap().len() < 100_000);
    let (rows, broken, largest) = measured(&path, &["a", "b"]);
    assert_eq!((rows, broken), (8192, vec![]));
    assert!(largest <= BLOCK, "{largest}");
    // Wide ones after thousands of narrow ones.
    let widths = (0..10_000).map(|row| if row < 9_000 { 3 } else { 50_000 });
    let (_folder, path) = write(TEXT, zstd(), &[texts(widths), numbers(10_000)]);
    let (rows, _, largest) = measured(&path, &["b", "a"]);
    assert_eq!(rows, 10_000);
    assert!(largest <= BLOCK, "{largest}");
}

#[test]
fn a_text_that_is_more_than_a_row_may_hold_is_a_broken_row() {
    let widths = [3, 17 << 20, 4, 5];
    let properties = zstd().set_dictionary_enabled(false);
    let (_folder, path) = write(TEXT, properties, &[texts(widths), numbers(4)]);
    let found = blocks(&path, &["b", "a"]).unwrap();
    let kept: Vec<&Values> = found
        .iter()
        .map(|raw| &raw.block.columns[0].values)
        .collect();
    let kept: Vec<i64> = kept
        .into_iter()
        .flat_map(|values| match values {
            Values::Int(numbers) => numbers.clone(),
            _ => panic!("whole numbers"),
        })
        .collect();
    assert_eq!(kept, [0, 2, 3]);
    let broken: Vec<&str> = found
        .iter()
        .flat_map(|raw| &raw.broken)
        .map(|b| &*b.what)
        .collect();
    assert_eq!(broken.len(), 1);
    assert!(
        broken[0].starts_with("row 2: column \"a\" holds more than a row may: 16 MiB"),
        "{broken:?}"
    );
}

#[test]
fn long_lists_make_short_blocks_in_every_version_of_pages() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = || {
            zstd()
                .set_writer_version(version)
                .set_data_page_row_count_limit(1000)
        };
        // 4 M items in one file, and rows that go on from page to page in the other.
        let (_folder, path) = write(LIST, properties(), &[lists(&[1000; 4096]), numbers(4096)]);
        let (rows, broken, largest) = measured(&path, &["a", "b"]);
        assert_eq!((rows, broken), (4096, vec![]));
        assert!(largest <= BLOCK, "{largest}");
        let lengths: Vec<usize> = (0..3000)
            .map(|row| if row < 2995 { row % 3 } else { 900_000 })
            .collect();
        let (_folder, path) = write(LIST, properties(), &[lists(&lengths), numbers(3000)]);
        let (rows, broken, largest) = measured(&path, &["a", "b"]);
        assert_eq!((rows, broken), (3000, vec![]));
        assert!(largest <= BLOCK, "{largest}");
    }
}

#[test]
fn a_list_that_is_too_long_is_a_broken_row() {
    let lengths = [2, 3_000_000, 0, 1, (1 << 20) + 1, 1 << 20];
    let (_folder, path) = write(LIST, zstd(), &[lists(&lengths), numbers(6)]);
    for columns in [&["b", "a"], &["a", "b"]] {
        let (rows, broken, _) = measured(&path, columns);
        assert_eq!((rows, broken), (4, vec![2, 5]), "{columns:?}");
    }
    let schema = "message log { repeated int64 a; required binary b (UTF8); }";
    let columns = [lists(&[2, (1 << 20) + 1]), texts([5, 6])];
    let (_folder, path) = write(schema, zstd(), &columns);
    let (rows, broken, _) = measured(&path, &["a", "b"]);
    assert_eq!((rows, broken), (1, vec![2]));
}

#[test]
fn an_empty_part_file_is_passed_over_and_its_columns_are_checked() {
    let folder = tempdir().unwrap();
    let empty = folder.path().join("part-00000.parquet");
    let schema = Arc::new(parse_message_type(TEXT).unwrap());
    let file = File::create(&empty).unwrap();
    let file = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    file.close().unwrap();
    let (_folder, full) = write(TEXT, zstd(), &[texts([1, 2]), numbers(2)]);
    let rows = |files: &[&PathBuf], column: &str| -> Result<(usize, Vec<String>), ReadError> {
        let files = files.iter().map(|&file| file.clone()).collect();
        let mut rows = Rows::open(files, &Reading::default(), vec![column.to_owned()]);
        let mut n = 0;
        while let Some(block) = rows.next_block()? {
            n += block.block.n_rows;
        }
        Ok((n, rows.notes()))
    };
    for files in [[&empty, &full], [&full, &empty]] {
        let (n, notes) = rows(&files, "b").unwrap();
        assert_eq!((n, notes.len()), (2, 1));
        let expected = "part-00000.parquet: the file holds no rows; it is passed over";
        assert!(notes[0].ends_with(expected), "{notes:?}");
    }
    let error = rows(&[&empty, &full], "c").unwrap_err().to_string();
    assert!(
        error.contains("part-00000.parquet: no column \"c\""),
        "{error}"
    );
    let error = rows(&[&empty], "b").unwrap_err().to_string();
    assert!(error.contains("the file holds no rows"), "{error}");
}

#[test]
fn every_codec_is_read() {
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ] {
        let properties = WriterProperties::builder().set_compression(codec);
        let (_folder, path) = write(TEXT, properties, &[texts([1, 2, 3]), numbers(3)]);
        let found = blocks(&path, &["b"]).unwrap();
        assert_eq!(
            found[0].block.columns[0].values,
            Values::Int(vec![0, 1, 2]),
            "{codec:?}"
        );
    }
}

#[test]
fn two_columns_of_one_name_are_refused_where_they_are_wanted() {
    let schema = "message log { required int64 a; required int64 b; required int64 a; }";
    let columns = [numbers(2), numbers(2), numbers(2)];
    let (_folder, path) = write(schema, zstd(), &columns);
    let error = blocks(&path, &["b", "a"]).unwrap_err().to_string();
    assert!(
        error.ends_with("two columns are named \"a\"; rename one"),
        "{error}"
    );
    assert_eq!(blocks(&path, &["b"]).unwrap().len(), 1);
}

#[test]
fn what_is_not_supported_is_not_called_damaged() {
    // LZO is a codec of the format that no program but few write: the footer names it by its number.
    let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW);
    let (_folder, path) = write(TEXT, properties, &[texts([1]), numbers(1)]);
    let mut bytes = fs::read(&path).unwrap();
    let footer = bytes.len()
        - 8
        - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    // Field 4 of a column's metadata, an i32 in zigzag: 7 (LZ4_RAW) becomes 3 (LZO).
    let mut n = 0;
    for i in footer..bytes.len() - 2 {
        if bytes[i..i + 2] == [0x15, 14] {
            bytes[i + 1] = 6;
            n += 1;
        }
    }
    assert!(n > 0);
    fs::write(&path, bytes).unwrap();
    let error = blocks(&path, &["a"]).unwrap_err().to_string();
    assert!(
        error.contains("not supported") && error.contains("LZO"),
        "{error}"
    );
    assert!(error.contains("it is not damaged"), "{error}");
}
