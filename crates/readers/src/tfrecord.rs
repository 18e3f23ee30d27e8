//! TFRecord files of `tf.train.Example`: the framing and the few protobuf messages, read by hand.
//!
//! A record is its length (u64), the masked CRC-32C of the length, the bytes, and theirs. A feature
//! with several values in a row makes its column a list; an absent one is null.

use crate::columns::{LONGEST_LIST, LONGEST_ROW, ReadRow, RowsBuilder};
use crate::input::Input;
use crate::source::ReadError;
use ncs_features::columns::ColumnBuilder;
use ncs_features::record_bytes::{HEADER_BYTES, length, masked_crc, varint};
use ncs_features::value::widen;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file of examples, read record by record.
pub(crate) struct TfRecord {
    path: PathBuf,
    input: Input,
    record: Vec<u8>,
    /// Index of the requested column of each feature.
    wanted: HashMap<Vec<u8>, usize>,
}

impl TfRecord {
    pub(crate) fn open(path: &Path, columns: &[String]) -> Result<TfRecord, ReadError> {
        let names = columns.iter().map(|name| name.as_bytes().to_vec());
        Ok(TfRecord {
            path: path.to_owned(),
            input: Input::open(path)?,
            record: Vec::new(),
            wanted: names.zip(0..).collect(),
        })
    }

    /// Reads the next record; `None` at the end.
    fn next_record(&mut self, rows: u64) -> Result<Option<Record>, ReadError> {
        if !self.fill(HEADER_BYTES as u64, rows)? {
            return Ok(None);
        }
        let header = self.record.first_chunk().expect("a header was read");
        let length = length(header).ok_or_else(|| {
            let what = "the length of the next record fails its checksum: the file is damaged, or no \
                        TFRecord; copy or write it again";
            ReadError::damaged(&self.path, rows, what)
        })?;
        if length > LONGEST_ROW as u64 {
            return self.pass_over(length.saturating_add(4), rows).map(Some);
        }
        if !self.fill(length + 4, rows)? {
            return Err(self.cut_short(rows));
        }
        let crc = self.record.split_off(length as usize);
        Ok(Some(if masked_crc(&self.record).to_le_bytes()[..] == crc {
            Record::Right
        } else {
            Record::Damaged
        }))
    }

    fn pass_over(&mut self, n_bytes: u64, rows: u64) -> Result<Record, ReadError> {
        let mut limited = (&mut self.input).take(n_bytes);
        let n = io::copy(&mut limited, &mut io::sink())
            .map_err(|source| ReadError::reading(&self.path, rows, source))?;
        if n == n_bytes {
            Ok(Record::TooLong)
        } else {
            Err(self.cut_short(rows))
        }
    }

    /// Reads that many bytes into `record`; returns `false` if the file ends before them.
    fn fill(&mut self, n_bytes: u64, rows: u64) -> Result<bool, ReadError> {
        self.record.clear();
        let mut limited = (&mut self.input).take(n_bytes);
        let n = limited
            .read_to_end(&mut self.record)
            .map_err(|source| ReadError::reading(&self.path, rows, source))?;
        if n > 0 && (n as u64) < n_bytes {
            return Err(self.cut_short(rows));
        }
        Ok(n > 0)
    }

    fn cut_short(&self, rows: u64) -> ReadError {
        ReadError::reading(&self.path, rows, io::ErrorKind::UnexpectedEof.into())
    }
}

impl ReadRow for TfRecord {
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError> {
        let Some(record) = self.next_record(rows.rows_done())? else {
            return Ok(false);
        };
        let features = match record {
            Record::Right => wanted_features(&self.record, &self.wanted),
            Record::Damaged => {
                Err("the record fails its checksum: its bytes are damaged".to_owned())
            }
            Record::TooLong => Err(format!(
                "the record is longer than {} MiB",
                LONGEST_ROW >> 20
            )),
        };
        match features {
            Err(what) => rows.break_row(None, &what),
            Ok(features) => {
                for (i, feature) in features.iter().enumerate() {
                    push(rows.column(i), feature.as_ref());
                }
                rows.end_row();
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }
}

/// Returns the names of the features of the first `n` records, in order of appearance.
pub(crate) fn names(path: &Path, n: usize) -> Result<Vec<String>, ReadError> {
    let mut file = TfRecord::open(path, &[])?;
    let mut names: Vec<String> = Vec::new();
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut rows = 0;
    while rows < n as u64
        && let Some(record) = file.next_record(rows)?
    {
        rows += 1;
        let entries = match record {
            Record::Right => entries(&file.record).unwrap_or_default(),
            Record::Damaged | Record::TooLong => continue,
        };
        for (name, _) in entries {
            if !known.contains(name) {
                known.insert(name.to_owned());
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(names)
}

/// Result of reading a record.
enum Record {
    /// The record is intact.
    Right,
    /// It fails its checksum.
    Damaged,
    /// It is more than a row may be, and was passed over.
    TooLong,
}

/// The values of one feature.
#[derive(Debug, PartialEq)]
enum Feature<'a> {
    Texts(Vec<&'a [u8]>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Feature<'_> {
    fn len(&self) -> usize {
        match self {
            Feature::Texts(texts) => texts.len(),
            Feature::Floats(numbers) => numbers.len(),
            Feature::Ints(numbers) => numbers.len(),
        }
    }
}

fn push(column: &mut ColumnBuilder, feature: Option<&Feature<'_>>) {
    let Some(feature) = feature else { return };
    column.see();
    if feature.len() > 1 {
        column.begin_list(feature.len());
    }
    match feature {
        Feature::Texts(texts) => texts.iter().for_each(|text| column.push_text(text)),
        Feature::Floats(numbers) => numbers.iter().for_each(|&x| column.push_float(widen(x))),
        Feature::Ints(numbers) => numbers.iter().for_each(|&x| column.push_int(x)),
    }
}

/// Returns the features of the requested columns; the error describes why the bytes are not a row.
fn wanted_features<'a>(
    example: &'a [u8],
    wanted: &HashMap<Vec<u8>, usize>,
) -> Result<Vec<Option<Feature<'a>>>, String> {
    let no_example = || "the record is not a tf.train.Example".to_owned();
    let mut features: Vec<_> = std::iter::repeat_with(|| None).take(wanted.len()).collect();
    for (name, value) in entries(example).ok_or_else(no_example)? {
        let Some(&place) = wanted.get(name) else {
            continue;
        };
        let column = || String::from_utf8_lossy(name);
        if features[place].is_some() {
            return Err(format!("column {:?} comes twice", column()));
        }
        let feature = feature(value).ok_or_else(no_example)?;
        if feature.len() > LONGEST_LIST {
            let what = format!("a list of more than {LONGEST_LIST} values");
            return Err(format!("column {:?}: {what}", column()));
        }
        features[place] = Some(feature);
    }
    Ok(features)
}

/// Names and bytes of the features:
/// `Example { features = 1: Features { feature = 1: map { key = 1, value = 2: Feature } } }`.
fn entries(example: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut entries = Vec::new();
    for features in messages(example, 1) {
        for entry in messages(features?, 1) {
            let entry = entry?;
            let name = messages(entry, 1).last().unwrap_or(Some(&[]))?;
            let value = messages(entry, 2).last().unwrap_or(Some(&[]))?;
            entries.push((name, value));
        }
    }
    Some(entries)
}

/// `Feature { oneof { bytes_list = 1, float_list = 2, int64_list = 3 } }`, lists of `value = 1`.
fn feature(bytes: &[u8]) -> Option<Feature<'_>> {
    let mut feature = Feature::Texts(Vec::new());
    for part in (Fields { bytes }) {
        match part? {
            (1, Value::Bytes(list)) => feature = Feature::Texts(texts(list)?),
            (2, Value::Bytes(list)) => feature = Feature::Floats(floats(list)?),
            (3, Value::Bytes(list)) => feature = Feature::Ints(ints(list)?),
            _ => {}
        }
    }
    Some(feature)
}

fn texts(list: &[u8]) -> Option<Vec<&[u8]>> {
    messages(list, 1).collect()
}

fn floats(list: &[u8]) -> Option<Vec<f32>> {
    let mut floats = Vec::new();
    for part in (Fields { bytes: list }) {
        match part? {
            (1, Value::Fixed32(bytes)) => floats.push(f32::from_le_bytes(bytes)),
            (1, Value::Bytes(packed)) => {
                let (numbers, []) = packed.as_chunks() else {
                    return None;
                };
                floats.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            _ => {}
        }
    }
    Some(floats)
}

fn ints(list: &[u8]) -> Option<Vec<i64>> {
    let mut ints = Vec::new();
    for part in (Fields { bytes: list }) {
        match part? {
            (1, Value::Varint(x)) => ints.push(x as i64),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    ints.push(varint(&mut packed)? as i64);
                }
            }
            _ => {}
        }
    }
    Some(ints)
}

/// Returns the length-delimited fields of this number in a message.
fn messages(bytes: &[u8], number: u64) -> impl Iterator<Item = Option<&[u8]>> {
    Fields { bytes }.filter_map(move |field| match field {
        None => Some(None),
        Some((found, Value::Bytes(bytes))) if found == number => Some(Some(bytes)),
        Some(_) => None,
    })
}

/// Iterator over the fields of a protobuf message: number and value; yields `None` once and ends if the
/// message is invalid.
struct Fields<'a> {
    bytes: &'a [u8],
}

enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.bytes = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = varint(&mut self.bytes)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.bytes)?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = varint(&mut self.bytes)?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(n)?;
        self.bytes = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_packed_or_not() {
        let check = |bytes: &[u8], expected: Option<Feature<'_>>| {
            assert_eq!(feature(bytes), expected, "{bytes:x?}");
        };
        check(
            b"\x1A\x05\x0A\x03\x01\xAC\x02",
            Some(Feature::Ints(vec![1, 300])),
        );
        check(
            b"\x1A\x05\x08\x01\x08\xAC\x02",
            Some(Feature::Ints(vec![1, 300])),
        );
        check(
            b"\x12\x06\x0A\x04\0\0\0\x3F",
            Some(Feature::Floats(vec![0.5])),
        );
        check(b"\x12\x05\x0D\0\0\0\x3F", Some(Feature::Floats(vec![0.5])));
        check(b"\x0A\x03\x0A\x01a", Some(Feature::Texts(vec![b"a"])));
        check(b"", Some(Feature::Texts(vec![])));
        check(b"\x1A\x05\x0A\x04\x01\xAC\x02", None);
        check(b"\x12\x05\x0A\x03\0\0\0", None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_example_or_not(bytes: Vec<u8>) {
            let _ = wanted_features(&bytes, &HashMap::from([(vec![], 0)]));
        }
    }
}
