//! Data files in each format: their columns are listed, and all rows are read, without malformed ones.
//!
//! An input is the contents of a file. For TFRecord, it is a byte whose lowest bit makes the last checksum wrong,
//! then records, each preceded by its length in two bytes. The lengths and checksums of the file are computed from
//! them, so that mutated records are read.

use super::Target;
use crate::mutate::Form;
use ncs_features::record_bytes::write_record;
use ncs_features::{Block, Column, Texts, Values};
use ncs_readers::synthetic::{Synthetic, SyntheticPlan, write_blocks};
use ncs_readers::{Format, Reading, Rows, column_names};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(super) const CSV: Target = Target {
    name: "csv",
    run: |input| run(input, Format::Csv, "a.csv"),
    seeds: || seeds(Format::Csv, "a.csv"),
    form: Form::Bytes,
    words: &["\"", ",", "\r\n", "\"\"", "user", "click", "NaN", "|"],
    max_length: 16 << 10,
};

pub(super) const JSON_LINES: Target = Target {
    name: "json_lines",
    run: |input| run(input, Format::JsonLines, "a.jsonl"),
    seeds: || seeds(Format::JsonLines, "a.jsonl"),
    form: Form::Bytes,
    words: &["{", "}", "[", "]", "\":", "user", "click", "null", "\\u00"],
    max_length: 16 << 10,
};

pub(super) const PARQUET: Target = Target {
    name: "parquet",
    run: |input| run(input, Format::Parquet, "a.parquet"),
    seeds: || seeds(Format::Parquet, "a.parquet"),
    form: Form::Bytes,
    words: &["PAR1", "PARE", "list", "element", "user", "\u{15}\0"],
    max_length: 32 << 10,
};

pub(super) const TFRECORD: Target = Target {
    name: "tfrecord",
    run: |input| run(&to_tfrecord(input), Format::TfRecord, "a.tfrecord"),
    seeds: || {
        let seeds = seeds(Format::TfRecord, "a.tfrecord");
        seeds.iter().map(|file| from_tfrecord(file)).collect()
    },
    form: Form::Bytes,
    words: &["user", "click", "\u{a}\u{5}", "\u{1a}\u{3}"],
    max_length: 16 << 10,
};

thread_local! {
    static FOLDER: TempDir = super::artifact::folder().expect("a temporary folder");
}

fn run(input: &[u8], format: Format, name: &str) -> Result<String, String> {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        fs::write(&path, input).expect("a temporary folder");
        let in_folder = folder.path().display().to_string();
        read(&path, format).map_err(|error| error.replace(&in_folder, ""))
    })
}

/// Reads all columns of all rows; returns the number of rows, and of malformed ones.
pub(crate) fn read(path: &Path, format: Format) -> Result<String, String> {
    let reading = Reading {
        format: Some(format),
        max_broken_share: 0.99,
        ..Reading::default()
    };
    let columns = column_names(path, &reading).map_err(|error| error.to_string())?;
    let mut rows = Rows::open(vec![path.to_owned()], &reading, columns);
    let (mut n_rows, mut n_broken) = (0, 0);
    while let Some(block) = rows.next_block().map_err(|error| error.to_string())? {
        let lengths = block
            .block
            .columns
            .iter()
            .map(|column| match &column.offsets {
                Some(offsets) => offsets.len() - 1,
                None => column.values.len(),
            });
        assert!(lengths.into_iter().all(|n| n == block.block.n_rows));
        n_rows += block.block.n_rows;
        n_broken += block.broken.len();
    }
    Ok(format!("{} rows, {} broken", bits(n_rows), bits(n_broken)))
}

/// Returns the TFRecord file of the records in an input.
fn to_tfrecord(input: &[u8]) -> Vec<u8> {
    let (first, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let mut file = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let n = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (record, next) = after.split_at(n);
        write_record(&mut file, record).expect("memory takes any record");
        rest = next;
    }
    if let (1, Some(last)) = (first & 1, file.last_mut()) {
        *last ^= 1;
    }
    file
}

/// Returns the input for a TFRecord file of short records.
fn from_tfrecord(file: &[u8]) -> Vec<u8> {
    let mut input = vec![0];
    let mut rest = file;
    while let Some((length, after)) = rest.split_first_chunk() {
        let n = u64::from_le_bytes(*length) as usize;
        input.extend((n as u16).to_le_bytes());
        // The record is between the checksum of its length and its own.
        input.extend_from_slice(&after[4..4 + n]);
        rest = &after[n + 8..];
    }
    input
}

/// Returns the number of binary digits, so that similar counts are one kind of result.
fn bits(n: usize) -> u32 {
    usize::BITS - n.leading_zeros()
}

/// Returns a synthetic log of a few rows, and rows with nulls, lists, special texts and boundary values.
fn seeds(format: Format, name: &str) -> Vec<Vec<u8>> {
    let folder = super::artifact::folder().expect("a temporary folder");
    let path = folder.path().join(name);
    let plan = |rows| SyntheticPlan {
        rows,
        users: 20,
        items: 20,
        ..SyntheticPlan::default()
    };
    let log = |rows| Synthetic::new(plan(rows)).expect("a valid plan");
    let file = |blocks: Box<dyn Iterator<Item = Block>>| {
        write_blocks(&path, format, blocks).expect("a temporary folder");
        fs::read(&path).expect("it was just written")
    };
    vec![
        file(Box::new(log(1))),
        file(Box::new(log(60))),
        file(Box::new(std::iter::once(special_rows()))),
        file(Box::new([special_rows(), special_rows()].into_iter())),
    ]
}

fn special_rows() -> Block {
    let mut texts = Texts::default();
    for text in ["v1", "", "é", "a,b\"c", " 7 ", "null"] {
        texts.push(text.as_bytes());
    }
    let column = |name: &str, values: Values| Column {
        name: name.to_owned(),
        values,
        ..Column::default()
    };
    let ints = vec![0, -1, i64::MAX, i64::MIN, 1 << 53, 7];
    let floats = vec![0.5, -0.0, f64::MAX, f64::MIN_POSITIVE, 1e16, -3.25];
    let mut columns = vec![
        column("user", Values::Text(texts)),
        column("price", Values::Float(floats)),
        column("click", Values::Int(ints)),
        column("tags", Values::Int(vec![1, 2, 3, 4])),
    ];
    columns[1].nulls = vec![false, true, false, false, true, false];
    columns[3].offsets = Some(vec![0, 2, 2, 3, 3, 4, 4]);
    Block { n_rows: 6, columns }
}
