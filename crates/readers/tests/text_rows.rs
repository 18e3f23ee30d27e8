//! Invalid rows of CSV and JSON lines: each is reported with its line, and the rows after it are read.

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ncs_features::Values;
use ncs_readers::{Encoding, ReadError, Reading, Rows, column_names};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn some_may_break() -> Reading {
    Reading {
        max_broken_share: 0.9,
        ..Reading::default()
    }
}

/// Content of a file: values of one column as text, errors of rows, notes.
#[derive(Debug, Default, PartialEq)]
struct Read {
    values: Vec<String>,
    broken: Vec<String>,
    notes: Vec<String>,
}

fn read(path: &Path, reading: &Reading, column: &str) -> Result<Read, ReadError> {
    let mut rows = Rows::open(vec![path.to_path_buf()], reading, vec![column.to_owned()]);
    let mut read = Read::default();
    while let Some(block) = rows.next_block()? {
        let Values::Text(texts) = &block.block.columns[0].values else {
            panic!("texts");
        };
        let text = |i| String::from_utf8(texts.get(i).to_vec()).unwrap();
        read.values.extend((0..texts.len()).map(text));
        read.broken
            .extend(block.broken.into_iter().map(|broken| broken.what));
    }
    read.notes = rows.notes();
    Ok(read)
}

/// Checks the valid values of column `a`, and the start of the error messages of the other rows.
fn check(name: &str, bytes: &[u8], values: &[&str], broken: &[&str]) {
    let (_folder, path) = file(name, bytes);
    let found = read(&path, &some_may_break(), "a").unwrap();
    assert_eq!(found.values, values, "{:?}", found.broken);
    assert_eq!(found.broken.len(), broken.len(), "{:?}", found.broken);
    for (found, expected) in found.broken.iter().zip(broken) {
        assert!(found.starts_with(expected), "{found}");
    }
    if let Some(first) = broken.first() {
        let error = read(&path, &Reading::default(), "a")
            .unwrap_err()
            .to_string();
        assert!(error.contains(first), "{error}");
    }
}

#[test]
fn a_quote_that_is_never_closed_breaks_its_own_row_only() {
    check(
        "a.csv",
        b"a,b\n1,x\n2,\"y\n3,z\n4,\"\"\n5,w",
        &["1", "3", "4", "5"],
        &["row 2 (line 3): it opens a quote that the file never closes"],
    );
    check(
        "a.csv",
        b"a,b\n\"1,x\n2,y\n",
        &["2"],
        &["row 1 (line 2): it opens a quote that the file never closes"],
    );
    check(
        "a.tsv",
        b"a\tb\r\n\r\n1\tx\r\n2\t\"y",
        &["1"],
        &["row 2 (line 4): it opens a quote that the file never closes"],
    );
}

#[test]
fn a_quote_that_another_row_closes_breaks_its_own_row_only() {
    check(
        "a.csv",
        b"a,b\n1,\"24 inch\n2,x\n3,\"24 inch\n4,y\n",
        &["2", "4"],
        &[
            "row 1 (line 2): it opens a quote that the next one closes in the middle of a text, 2 lines \
             later, in line 4",
            "row 3 (line 4): it opens a quote that the file never closes",
        ],
    );
    // The first column: the record has too many fields, and lines of it are rows.
    check(
        "a.csv",
        b"a,b\n\"1,x\n2,y\n3,z\n\"4\",w\n",
        &["2", "3", "4"],
        &["row 1 (line 2): "],
    );
}

#[test]
fn a_quote_that_is_not_closed_within_a_rows_bound_does_not_swallow_the_file() {
    let rows = "1,x\n".repeat(5 << 20);
    let (_folder, path) = file("a.csv", format!("a,b\n0,\"y\n{rows}").as_bytes());
    let error = read(&path, &Reading::default(), "a")
        .unwrap_err()
        .to_string();
    let expected = "row 1 (line 2): it opens a quote that is not closed within 16 MiB";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_line_longer_than_a_row_may_be_is_a_broken_row() {
    let long = "x".repeat(17 << 20);
    check(
        "a.csv",
        format!("a,b\n1,x\n{long},y\n3,z\n").as_bytes(),
        &["1", "3"],
        &["row 2 (line 3): it is longer than 16 MiB"],
    );
    check(
        "a.jsonl",
        format!("{{\"a\":\"1\"}}\n{{\"a\":\"{long}\"}}\n{{\"a\":\"3\"}}\n").as_bytes(),
        &["1", "3"],
        &["row 2 (line 2): it is longer than 16 MiB"],
    );
    let list = vec!["1"; (1 << 20) + 1].join(",");
    check(
        "a.jsonl",
        format!("{{\"a\":\"1\"}}\n{{\"a\":[{list}]}}\n").as_bytes(),
        &["1"],
        &["row 2 (line 2): column \"a\": a list of more than 1048576 items"],
    );
}

#[test]
fn texts_of_several_lines_are_read_and_many_lines_are_noted() {
    let check = |text: &str, n_rows: usize, note: Option<&str>| {
        let (_folder, path) = file("a.csv", format!("a,b,c\n{text}").as_bytes());
        let found = read(&path, &Reading::default(), "a").unwrap();
        assert_eq!(found.values.len(), n_rows);
        match note {
            None => assert_eq!(found.notes, [""; 0]),
            Some(note) => assert!(found.notes[0].contains(note), "{:?}", found.notes),
        }
    };
    check("1,2,\"x\n\ny, \"\"z\"\"\n\"\n2,3,\"\r\n\"\r\n", 2, None);
    let lines = "line\n".repeat(100);
    check(
        &format!("1,2,x\n1,2,\"{lines}\"\n1,2,\"{lines}\"\n"),
        3,
        Some(
            "row 2 (line 3): its fields in quotes hold 100 line breaks in it: look for a quote that is \
              not closed; 1 more such rows follow",
        ),
    );
    check(
        "1,2,\"x\n2,3,y\n3,4,y\n4,5,y\n5,6,z\"\n",
        1,
        Some(
            "row 1 (line 2): its fields in quotes hold 4 line breaks and lines that look like rows",
        ),
    );
}

#[test]
fn json_that_cannot_be_read_is_told_in_the_parsers_words() {
    let check = |text: &[u8], expected: &[&str]| {
        let (_folder, path) = file("a.json", text);
        let errors = [
            column_names(&path, &Reading::default())
                .unwrap_err()
                .to_string(),
            read(&path, &Reading::default(), "a")
                .unwrap_err()
                .to_string(),
        ];
        for error in errors {
            for expected in expected {
                assert!(error.contains(expected), "{error}");
            }
        }
    };
    check(
        b"[{\"a\": 1}, {\"a\": 2}]",
        &[
            "row 1 (line 1): ",
            "expected one JSON object a line",
            "jq -c '.[]' a.json",
        ],
    );
    check(
        b"[\n  {\"a\": 1}\n]\n",
        &["row 1 (line 1): ", "jq -c '.[]' a.json"],
    );
    check(
        b"{\n  \"a\": 1\n}\n",
        &[
            "row 1 (line 1): EOF while parsing an object",
            "jq -c . a.json",
        ],
    );
    check(
        b"\n{\"a\": 1},\n",
        &[
            "row 1 (line 2): trailing characters at character 9",
            "leave out the comma",
        ],
    );
    check(
        b"{\"a\": 1}\n{\"a\": 1\n",
        &["row 2 (line 2): EOF while parsing an object at character 7"],
    );
    // Only who reads the column looks into its text.
    let check = |text: &[u8], expected: &[&str]| {
        let (_folder, path) = file("a.json", text);
        let error = read(&path, &Reading::default(), "a")
            .unwrap_err()
            .to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
    };
    check(
        b"{\"a\": \"K\xF6ln\"}\n",
        &[
            "row 1 (line 1): ",
            "invalid unicode code point",
            "set encoding = \"latin-1\"",
        ],
    );
    check(
        b"{\"a\": \"\\ud83d\"}\n",
        &["row 1 (line 1): ", "surrogate"],
    );
}

#[test]
fn what_is_wrong_in_a_column_that_nobody_reads_is_passed_over() {
    let lines = b"{\"a\": \"1\", \"bio\": \"\\ud83d\", \"city\": \"K\xF6ln\"}\n";
    let (_folder, path) = file("a.jsonl", lines);
    assert_eq!(
        column_names(&path, &Reading::default()).unwrap(),
        ["a", "bio", "city"]
    );
    let found = read(&path, &Reading::default(), "a").unwrap();
    assert_eq!(found.values, ["1"]);
}

#[test]
fn keys_of_broken_rows_are_passed_over_where_rows_may_break() {
    let (_folder, path) = file("a.jsonl", b"{\"a\n{\"b\": 1}\n");
    assert_eq!(column_names(&path, &some_may_break()).unwrap(), ["b"]);
    let (_folder, path) = file("a.jsonl", b"{\"a\n");
    assert!(column_names(&path, &some_may_break()).is_err());
}

#[test]
fn bytes_that_are_no_utf_8_are_told_with_their_row_and_read_in_their_encoding() {
    check(
        "a.csv",
        b"a,b\nx,1\nK\xF6ln,2\ny,3\n",
        &["x", "y"],
        &["row 2: column \"a\": the bytes \"K\\xf6ln\" are not UTF-8"],
    );
    let check = |name: &str, bytes: &[u8], encoding: Encoding, expected: &str| {
        let (_folder, path) = file(name, bytes);
        let reading = Reading {
            encoding,
            ..Reading::default()
        };
        assert_eq!(read(&path, &reading, "ä").unwrap().values, [expected]);
    };
    check("a.csv", b"\xE4,b\nK\xF6ln,2\n", Encoding::Latin1, "Köln");
    check("a.csv", b"\xE4,b\n\x80 5,2\n", Encoding::Windows1252, "€ 5");
    check(
        "a.csv.gz",
        &gzip(b"\xE4,b\n\"K\xF6,ln\",2\n"),
        Encoding::Latin1,
        "Kö,ln",
    );
    check(
        "a.jsonl",
        b"{\"\xE4\": \"K\xF6ln\"}\n",
        Encoding::Latin1,
        "Köln",
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn kinds_of_bytes_that_are_not_read_are_named() {
    let check = |name: &str, bytes: &[u8], expected: &str| {
        let (_folder, path) = file(name, bytes);
        let reading = Reading {
            format: Some(ncs_readers::Format::Csv),
            ..Reading::default()
        };
        let error = column_names(&path, &reading).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
    };
    let utf_16 = |text: &str, mark: &[u8]| {
        let bytes = text.encode_utf16().flat_map(u16::to_le_bytes);
        [mark, &bytes.collect::<Vec<u8>>()].concat()
    };
    check(
        "a.csv.bz2",
        b"BZh91AY&SY\x12\x34\x56",
        "compressed by bzip2",
    );
    check("a.csv.xz", b"\xFD7zXZ\0\0\x04", "compressed by xz");
    check("a.zip", b"PK\x03\x04\x14\0\0\0", "a ZIP archive");
    check(
        "a.csv",
        &utf_16("user,click\n1,0\n", b"\xFF\xFE"),
        "UTF-16; write it as UTF-8",
    );
    check("a.csv", &utf_16("user,click\n1,0\n", b""), "UTF-16");
    check(
        "a.csv",
        &utf_16("用户,点击\n1,0\n2,1\n3,0\n", b""),
        "UTF-16",
    );
    check(
        "a.csv.gz",
        &gzip(&utf_16("user,click\n1,0\n", b"")),
        "UTF-16",
    );
    let utf_32: Vec<u8> = "user,click"
        .chars()
        .flat_map(|c| u32::from(c).to_be_bytes())
        .collect();
    check("a.csv", &utf_32, "UTF-32");
    check("a.csv", b"PAR1\x15\x04\x15\x04", "a Parquet file");
}

#[test]
fn a_zlib_stream_is_read_and_a_text_that_begins_as_one_too() {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"a,b\n1,2\n").unwrap();
    let (_folder, path) = file("a.csv", &encoder.finish().unwrap());
    assert_eq!(read(&path, &Reading::default(), "a").unwrap().values, ["1"]);
    let (_folder, path) = file("a.csv", b"x^2,a\n1,2\n");
    assert_eq!(read(&path, &Reading::default(), "a").unwrap().values, ["2"]);
}

#[test]
fn names_are_shown_so_that_blanks_and_control_characters_are_seen() {
    let (_folder, path) = file("a.csv", b"user, click,\x1B[31m\n1,0,x\n");
    let error = read(&path, &Reading::default(), "click")
        .unwrap_err()
        .to_string();
    let expected =
        "no column \"click\"; the nearest is \" click\"; it has user, \" click\", \"\\u{1b}[31m\"";
    assert!(error.contains(expected), "{error}");
}
