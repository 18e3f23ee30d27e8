//! The same rows from every format, and a word on every way in which a file can be broken.

mod synthetic_files;

use flate2::Compression;
use flate2::write::GzEncoder;
use ncs_features::{Batch, Column, Encoder, Fit, Texts, Values};
use ncs_readers::synthetic::Synthetic;
use ncs_readers::{
    Encoded, Format, ReadError, Reading, Rows, RowsBlock, column_names, columns_of, open,
};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use synthetic_files::{FORMATS, schema, write};
use tempfile::{TempDir, tempdir};

fn texts(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&name| name.to_owned()).collect()
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn blocks(path: &Path, reading: &Reading, columns: &[&str]) -> Result<Vec<RowsBlock>, ReadError> {
    let mut rows = Rows::open(vec![path.to_owned()], reading, names(columns));
    let mut blocks = Vec::new();
    while let Some(block) = rows.next_block()? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Returns the columns of a file of one block.
fn columns(path: &Path, wanted: &[&str]) -> Vec<Column> {
    let mut blocks = blocks(path, &Reading::default(), wanted).unwrap();
    assert_eq!(blocks.len(), 1);
    blocks.remove(0).block.columns
}

/// Returns the error message of a file, without its path.
fn complaint(path: &Path, reading: &Reading, wanted: &[&str]) -> String {
    let error = blocks(path, reading, wanted).unwrap_err().to_string();
    error.replace(&path.display().to_string(), "FILE")
}

fn check_complaint(name: &str, bytes: &[u8], wanted: &[&str], expected: &str) {
    let (_folder, path) = file(name, bytes);
    let found = complaint(&path, &Reading::default(), wanted);
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn the_synthetic_log_is_the_same_from_every_format() {
    let mut fit = Fit::new(schema());
    let mut log = Synthetic::new(synthetic_files::log(20_000)).unwrap();
    let blocks: Vec<_> = log.by_ref().collect();
    blocks.iter().for_each(|block| fit.observe(block).unwrap());
    let encoder = Encoder::new(Arc::new(fit.finish().unwrap()));
    let expected: Vec<Batch> = blocks
        .iter()
        .map(|block| encoder.encode(block).unwrap())
        .collect();
    for format in FORMATS {
        let folder = tempdir().unwrap();
        let path = write(folder.path(), format, 20_000);
        let batches = Encoded::open(vec![path], &Reading::default(), encoder.clone(), true);
        let batches: Vec<Batch> = batches.map(Result::unwrap).collect();
        assert!(same(&batches, &expected), "{format:?}");
    }
}

/// Equal, NaN to NaN.
fn same(a: &[Batch], b: &[Batch]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn compressed_files_are_read_whatever_their_name() {
    let text = b"a,b\n1,x\n2,y\n";
    let two_members = [gzip(b"a,b\n1,x\n"), gzip(b"2,y\n")].concat();
    let frames = [&text[..8], &text[8..]].map(|part| zstd::encode_all(part, 1).unwrap());
    for (name, bytes) in [
        ("a.csv", text.to_vec()),
        ("a.csv.gz", two_members.clone()),
        ("a.csv", two_members),
        ("a.csv.zst", frames.concat()),
    ] {
        let (_folder, path) = file(name, &bytes);
        assert_eq!(
            columns(&path, &["b"])[0].values,
            texts(&["x", "y"]),
            "{name}"
        );
    }
}

#[test]
fn only_the_wanted_columns_come_in_the_order_asked_for() {
    let (_folder, path) = file("a.tsv", b"\xEF\xBB\xBFa\tb\tc\n1\tx\t\"q\tr\"\n");
    let columns = columns(&path, &["c", "a"]);
    assert_eq!(columns[0].name, "c");
    assert_eq!(columns[0].values, texts(&["q\tr"]));
    assert_eq!(columns[1].values, texts(&["1"]));
}

#[test]
fn a_csv_file_without_header_has_the_names_of_the_plan() {
    let (_folder, path) = file("a.csv", b"1;x\n2;y\n");
    let reading = Reading {
        delimiter: Some(b';'),
        header: Some(names(&["id", "what"])),
        ..Reading::default()
    };
    assert_eq!(column_names(&path, &reading).unwrap(), ["id", "what"]);
    let blocks = blocks(&path, &reading, &["what"]).unwrap();
    assert_eq!(blocks[0].block.columns[0].values, texts(&["x", "y"]));
}

#[test]
fn json_values_have_the_type_that_holds_them_all() {
    let lines = br#"{"i": 1, "f": 1.5, "b": true, "m": 3, "l": [1, null, 2], "n": null}

{"i": -2, "f": 2, "b": false, "m": "x\n", "l": [], "skipped": {"deep": [[]]}}
{"i": 18446744073709551615, "m": 1.25}
"#;
    let (_folder, path) = file("a.jsonl", lines);
    let columns = columns(&path, &["i", "f", "b", "m", "l", "n"]);
    assert_eq!(
        columns[0].values,
        texts(&["1", "-2", "18446744073709551615"])
    );
    assert_eq!(columns[1].values, Values::Float(vec![1.5, 2.0, 0.0]));
    assert_eq!(columns[1].nulls, [false, false, true]);
    assert_eq!(columns[2].values, Values::Int(vec![1, 0, 0]));
    assert_eq!(columns[3].values, texts(&["3", "x\n", "1.25"]));
    assert_eq!(columns[4].values, Values::Int(vec![1, 2]));
    assert_eq!(columns[4].offsets, Some(vec![0, 2, 2, 2]));
    assert_eq!(columns[4].nulls, [false, false, true]);
    assert_eq!(columns[5].nulls, [true; 3]);
    let found = column_names(&path, &Reading::default()).unwrap();
    assert_eq!(found, ["i", "f", "b", "m", "l", "n", "skipped"]);
}

#[test]
fn a_column_that_no_file_has_is_refused_with_those_that_there_are() {
    for format in FORMATS {
        let folder = tempdir().unwrap();
        let path = write(folder.path(), format, 50);
        let error = open(&path, &Reading::default(), &names(&["user", "clik"]))
            .err()
            .unwrap();
        let error = error.to_string();
        let expected = "no column \"clik\"; the nearest is \"click\"; it has ";
        assert!(error.contains(expected), "{format:?}: {error}");
        assert!(
            error.contains("session") && error.contains("tags"),
            "{error}"
        );
    }
}

#[test]
fn a_column_may_be_absent_from_a_later_file_of_rows() {
    let (_folder, first) = file("a.jsonl", b"{\"a\": 1, \"b\": 2}\n");
    let (_other, second) = file("b.jsonl", b"{\"a\": 3}\n");
    let mut rows = Rows::open(
        vec![first, second.clone()],
        &Reading::default(),
        names(&["b"]),
    );
    rows.next_block().unwrap();
    let rows = rows.next_block().unwrap().unwrap();
    assert_eq!((rows.file, rows.first_row), (second, 1));
    assert_eq!(rows.block.columns[0].nulls, [true]);
}

#[test]
fn a_file_that_is_cut_short_is_no_short_file() {
    let rows: String = (0..50_000)
        .map(|i| format!("{i},{}\n", i * 7919 % 10_007))
        .collect();
    let text = format!("a,b\n{rows}");
    let whole = gzip(text.as_bytes());
    for end in [whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let (_folder, path) = file("a.csv.gz", &whole[..end]);
        let found = complaint(&path, &Reading::default(), &["a"]);
        assert!(
            found.contains("the file ends too early: it is cut short"),
            "{found}"
        );
    }
    let whole = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (_folder, path) = file("a.csv.zst", &whole[..whole.len() / 2]);
    let found = complaint(&path, &Reading::default(), &["a"]);
    assert!(found.contains("cut short"), "{found}");
}

#[test]
fn a_damaged_gzip_is_refused() {
    let text: String = (0..5_000).map(|i| format!("{i},x\n")).collect();
    let mut bytes = gzip(format!("a,b\n{text}").as_bytes());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    let (_folder, path) = file("a.csv.gz", &bytes);
    assert!(blocks(&path, &Reading::default(), &["a"]).is_err());
}

#[test]
fn tfrecords_are_checked() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::TfRecord, 100);
    let bytes = fs::read(&path).unwrap();
    let first = 16 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let check = |place: usize, expected: &str| {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        check_complaint("a.tfrecord", &damaged, &["user"], expected);
        check_complaint("a.tfrecord", &gzip(&damaged), &["user"], expected);
    };
    let length = "FILE: after row 1: the length of the next record fails its checksum";
    check(first + 1, length);
    check(first + 9, length);
    let data = "FILE: row 2: the record fails its checksum: its bytes are damaged";
    check(first + 20, data);
    let cut = "FILE: after row 1: the file ends too early: it is cut short";
    check_complaint("a.tfrecord", &bytes[..first + 5], &["user"], cut);
    check_complaint("a.tfrecord", &bytes[..first + 12], &["user"], cut);
    check_complaint("a.tfrecord", &bytes[..first + 50], &["user"], cut);
}

#[test]
fn a_tfrecord_without_a_telling_name_is_known_by_its_content() {
    let folder = tempdir().unwrap();
    let written = write(folder.path(), Format::TfRecord, 10);
    let bytes = fs::read(written).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&bytes).unwrap();
    for bytes in [gzip(&bytes), zlib.finish().unwrap(), bytes] {
        let (_folder, path) = file("part-r-00000", &bytes);
        assert_eq!(columns(&path, &["user"])[0].range(9).len(), 1);
    }
    let (_folder, path) = file("notes", b"a,b\n1,2\n");
    let found = complaint(&path, &Reading::default(), &["a"]);
    assert!(
        found.starts_with("FILE: cannot tell its format from its name"),
        "{found}"
    );
}

/// Returns a record of these bytes; the checksum of the bytes is left to be wrong.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let crc = crc32c::crc32c(&length)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8);
    let data = crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8);
    [&length[..], &crc.to_le_bytes(), bytes, &data.to_le_bytes()].concat()
}

/// Returns an example of features of one whole number each.
fn example(features: &[(&str, u8)]) -> Vec<u8> {
    let feature = |(name, x): &(&str, u8)| {
        let value = [0x1A, 3, 0x0A, 1, *x];
        message(
            1,
            &[message(1, name.as_bytes()), message(2, &value)].concat(),
        )
    };
    let all: Vec<u8> = features.iter().flat_map(feature).collect();
    message(1, &all)
}

/// Returns a field of a protobuf message that holds bytes.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    [&field, bytes].concat()
}

#[test]
fn a_record_that_is_too_long_or_names_a_feature_twice_is_a_broken_row() {
    let long = vec![0; (16 << 20) + 1];
    let records = [
        example(&[("a", 1), ("b", 2)]),
        long,
        example(&[("a", 3), ("b", 4), ("a", 5)]),
        example(&[("b", 6), ("a", 7), ("b", 8)]),
    ];
    let bytes: Vec<u8> = records.iter().flat_map(|bytes| record(bytes)).collect();
    let (_folder, path) = file("a.tfrecord", &bytes);
    let reading = Reading {
        max_broken_share: 0.9,
        ..Reading::default()
    };
    let found = blocks(&path, &reading, &["a"]).unwrap();
    assert_eq!(found[0].block.columns[0].values, Values::Int(vec![1, 7]));
    let broken: Vec<&str> = found[0].broken.iter().map(|broken| &*broken.what).collect();
    assert_eq!(
        broken,
        [
            "row 2: the record is longer than 16 MiB",
            "row 3: column \"a\" comes twice"
        ]
    );
}

#[test]
fn files_of_very_many_names_are_listed_in_time() {
    // In quadratic time, each of these takes minutes.
    let names: Vec<String> = (0..300_000).map(|i| format!("feature_{i}")).collect();
    let line: Vec<String> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    let (_folder, path) = file("a.jsonl", format!("{{{}}}\n", line.join(",")).as_bytes());
    assert_eq!(column_names(&path, &Reading::default()).unwrap(), names);
    let features: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (_folder, path) = file("a.tfrecord", &record(&example(&features)));
    assert_eq!(column_names(&path, &Reading::default()).unwrap(), names);
    let wide = format!("{0}\n{0}\n", names.join(","));
    let (_folder, path) = file("a.csv", wide.as_bytes());
    assert_eq!(
        columns(&path, &["feature_299999"])[0].values,
        texts(&["feature_299999"])
    );
}

#[test]
fn a_parquet_file_cut_short_is_refused() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Parquet, 1000);
    let bytes = fs::read(path).unwrap();
    for end in [3, bytes.len() / 2, bytes.len() - 1] {
        let expected = "FILE: no Parquet file, or one cut short";
        check_complaint("a.parquet", &bytes[..end], &["user"], expected);
    }
}

#[test]
fn files_without_rows_are_refused() {
    let expected = "FILE: the file holds no rows";
    check_complaint("a.csv", b"", &["a"], expected);
    check_complaint("a.csv", b"a,b\n", &["a"], expected);
    check_complaint("a.csv.gz", &gzip(b""), &["a"], expected);
    check_complaint("a.jsonl", b"\n\n", &["a"], expected);
    check_complaint("a.parquet", b"", &["a"], expected);
    check_complaint("a.tfrecord", &gzip(b""), &["a"], expected);
}

#[test]
fn a_broken_row_is_named() {
    let fields = "FILE: row 2 (line 3): 1 fields where 2 belong";
    check_complaint("a.csv", b"a,b\n1,x\n2\n3,z\n", &["a"], fields);
    let fields = "FILE: row 1 (line 2): 3 fields where 2 belong";
    check_complaint("a.csv", b"a,b\n1,x,\n", &["a"], fields);
    let json = "FILE: row 3 (line 4): EOF while parsing an object at character 6";
    check_complaint(
        "a.jsonl",
        b"{\"a\":1}\n\n{\"a\":2}\n{\"a\":3\n",
        &["a"],
        json,
    );
}

#[test]
fn two_csv_columns_of_one_name_are_refused_where_they_are_wanted() {
    let expected = "FILE: two columns are named \"a\"; rename one";
    check_complaint("a.csv", b"a,b,a\n1,2,3\n", &["a"], expected);
    let (_folder, path) = file("a.csv", b"a,b,a\n1,2,3\n");
    assert_eq!(columns(&path, &["b"])[0].values, texts(&["2"]));
}

#[test]
fn a_share_of_broken_rows_can_be_left_out() {
    let line = |i: usize| match i % 10 {
        3 => format!("{i}\n"),
        _ => format!("{i},x\n"),
    };
    let text: String = (1..=20_000).map(line).collect();
    let (_folder, path) = file("a.csv", format!("a,b\n{text}").as_bytes());
    let reading = |max_broken_share| Reading {
        max_broken_share,
        ..Reading::default()
    };
    let found = blocks(&path, &reading(0.1), &["a"]).unwrap();
    let rows: usize = found.iter().map(|rows| rows.block.n_rows).sum();
    assert_eq!(rows, 18_000);
    for rows in &found {
        for row in 1..=rows.block.n_rows {
            let in_file = rows.in_file(row as u64).to_string();
            let Values::Text(texts) = &rows.block.columns[0].values else {
                panic!("texts");
            };
            assert_eq!(texts.get(row - 1), in_file.as_bytes());
        }
    }
    let found = complaint(&path, &reading(0.09), &["a"]);
    assert!(
        found.ends_with(
            "the first: FILE: row 3 (line 4): 1 fields where 2 belong; look at its quotes and separators"
        ),
        "{found}"
    );
}

#[test]
fn scoring_leaves_no_row_out() {
    let folder = tempdir().unwrap();
    let path = write(folder.path(), Format::Csv, 300);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let broken = lines[250].replacen(lines[250].split(',').nth(4).unwrap(), "dear", 1);
    fs::write(&path, text.replace(lines[250], &broken)).unwrap();
    let mut fit = Fit::new(schema());
    fit.observe(
        &Synthetic::new(synthetic_files::log(300))
            .unwrap()
            .block(0..300),
    )
    .unwrap();
    let encoder = Encoder::new(Arc::new(fit.finish().unwrap()));
    let reading = Reading {
        max_broken_share: 0.5,
        ..Reading::default()
    };
    let mut batches = Encoded::open(vec![path.clone()], &reading, encoder, false);
    let error = batches.next().unwrap().unwrap_err().to_string();
    let expected = "column \"price\", row 250: text where a number belongs: \"dear\"";
    assert!(
        error.starts_with(&format!("{}: {expected}", path.display())),
        "{error}"
    );
    assert!(batches.next().is_none());
}

#[test]
fn scoring_needs_no_labels() {
    let (_folder, path) = file(
        "a.csv",
        b"user,category,tags,price,hour,city\nu,c,t|s,1.5,3,\n",
    );
    let mut fit = Fit::new(schema());
    fit.observe(
        &Synthetic::new(synthetic_files::log(300))
            .unwrap()
            .block(0..300),
    )
    .unwrap();
    let encoder = Encoder::new(Arc::new(fit.finish().unwrap()));
    let with_labels = |with_labels| {
        let files = vec![path.clone()];
        Encoded::open(files, &Reading::default(), encoder.clone(), with_labels)
            .next()
            .unwrap()
    };
    assert_eq!(with_labels(false).unwrap().n_rows, 1);
    let error = with_labels(true).unwrap_err().to_string();
    assert!(error.contains("no column \"click\""), "{error}");
}

#[test]
fn columns_of_a_run_come_once() {
    let plan = synthetic_files::plan("".as_ref(), "train.csv");
    let expected = [
        "user",
        "category",
        "tags",
        "price",
        "hour",
        "city",
        "click",
        "conversion",
        "p_click",
        "p_conversion",
        "session",
    ];
    assert_eq!(columns_of(&plan, &schema()), expected);
}

/// Returns a file of 30 rows of every format.
fn small_files() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let read = |format| {
            let folder = tempdir().unwrap();
            let path = write(folder.path(), format, 30);
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), fs::read(&path).unwrap())
        };
        FORMATS.map(read).into()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    /// Damage is an error or another value, never a crash.
    #[test]
    fn damaged_files_are_survived(format in 0usize..4, place in 0.0f64..1.0, flip in 1u8..) {
        let (name, bytes) = &small_files()[format];
        let mut bytes = bytes.clone();
        let place = (place * bytes.len() as f64) as usize;
        bytes[place] ^= flip;
        let (_folder, path) = file(name, &bytes);
        let _ = blocks(&path, &Reading::default(), &["user", "tags", "price", "city"]);
    }
}

#[test]
fn a_parquet_page_that_makes_no_sense_is_an_error() {
    let (name, bytes) = &small_files()[2];
    let damage = |place: usize| {
        let mut bytes = bytes.clone();
        bytes[place] ^= 178;
        let (_folder, path) = file(name, &bytes);
        blocks(
            &path,
            &Reading::default(),
            &["user", "tags", "price", "city"],
        )
        .err()
    };
    // Some of these places make the library panic.
    let end = bytes.len();
    let errors = (end * 7 / 10..end * 8 / 10).filter_map(damage);
    assert!(errors.count() > 0);
}
