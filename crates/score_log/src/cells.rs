//! Conversion of entries to the columns of a Parquet file.

use ncs_features::Column;
use ncs_features::value::TextBuffer;
use ncs_features::vector_reader::VectorReader;
use ncs_serve::score_log::Entry;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use std::time::SystemTime;

use super::layout::{Kind, Part};

/// Number of values that are buffered and written at once.
const CELLS_PER_WRITE: usize = 65_536;

/// Values with Parquet's definition and repetition levels; repetition level 0 starts a row.
#[derive(Debug)]
struct Cells<T> {
    /// Non-null values.
    values: Vec<T>,
    /// Definition levels; empty for a column without nulls.
    definition_levels: Vec<i16>,
    /// Repetition levels; empty for a column without lists.
    repetition_levels: Vec<i16>,
}

impl<T: Clone> Cells<T> {
    fn new() -> Cells<T> {
        Cells {
            values: Vec::new(),
            definition_levels: Vec::new(),
            repetition_levels: Vec::new(),
        }
    }

    /// Appends a row with a value or null.
    fn push(&mut self, value: Option<T>) {
        self.definition_levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// Appends a row with a list or null.
    fn push_list(&mut self, list: Option<impl ExactSizeIterator<Item = T>>) {
        let Some(items) = list else {
            self.definition_levels.push(0);
            return self.repetition_levels.push(0);
        };
        if items.len() == 0 {
            self.definition_levels.push(1);
            return self.repetition_levels.push(0);
        }
        for (n, item) in items.enumerate() {
            self.values.push(item);
            self.definition_levels.push(2);
            self.repetition_levels.push(i16::from(n > 0));
        }
    }

    fn append(&mut self, rows: &Cells<T>) {
        self.values.extend_from_slice(&rows.values);
        self.definition_levels
            .extend_from_slice(&rows.definition_levels);
        self.repetition_levels
            .extend_from_slice(&rows.repetition_levels);
    }

    fn len(&self) -> usize {
        self.values.len().max(self.definition_levels.len())
    }

    fn write<D: DataType<T = T>>(
        &mut self,
        column: &mut ColumnWriterImpl<'_, D>,
    ) -> Result<(), ParquetError> {
        let is_used = |levels: &Vec<i16>| !levels.is_empty();
        let definition_levels =
            is_used(&self.definition_levels).then_some(&self.definition_levels[..]);
        let repetition_levels =
            is_used(&self.repetition_levels).then_some(&self.repetition_levels[..]);
        column.write_batch(&self.values, definition_levels, repetition_levels)?;
        self.values.clear();
        self.definition_levels.clear();
        self.repetition_levels.clear();
        Ok(())
    }
}

/// Writes the values of the column `name` for all candidates of some entries.
pub(super) fn write(
    part: Part,
    name: &str,
    entries: &[Entry],
    column: &mut SerializedColumnWriter<'_>,
) -> Result<(), ParquetError> {
    match part {
        Part::RequestId => {
            shared::<ByteArrayType>(column, entries, |entry| text(&entry.request_id))
        }
        Part::Model => {
            shared::<ByteArrayType>(column, entries, |entry| text(&entry.identity.model))
        }
        Part::Hash => shared::<ByteArrayType>(column, entries, |entry| text(&entry.identity.hash)),
        Part::Time => {
            shared::<Int64Type>(column, entries, |entry| required(microseconds(entry.time)))
        }
        Part::Version => shared::<Int64Type>(column, entries, |entry| {
            required(i64::try_from(entry.identity.number).unwrap_or(i64::MAX))
        }),
        Part::Role => shared::<ByteArrayType>(column, entries, |entry| role(entry.role)),
        Part::Candidate => candidates(column, entries),
        Part::Feature(kind) => feature(kind, name, entries, column),
        Part::Raw(task) => scores(column, entries, |entry| &entry.raw[task]),
        Part::Answered(output) => scores(column, entries, |entry| &entry.calibrated[output]),
    }
}

/// Writes a value that all candidates of an entry share.
fn shared<D: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    entries: &[Entry],
    row: impl Fn(&Entry) -> Cells<D::T>,
) -> Result<(), ParquetError> {
    let once = |entry: &Entry, _: usize, cells: &mut Cells<D::T>| {
        *cells = row(entry);
    };
    rows::<D>(column, entries, |_| true, once)
}

/// Writes a row a candidate; a value that all rows of an entry share is computed once.
fn rows<D: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    entries: &[Entry],
    is_same: impl Fn(&Entry) -> bool,
    mut row: impl FnMut(&Entry, usize, &mut Cells<D::T>),
) -> Result<(), ParquetError> {
    let column = column.typed::<D>();
    let mut cells = Cells::new();
    for entry in entries {
        let mut one = Cells::new();
        let is_same = is_same(entry);
        if is_same {
            row(entry, 0, &mut one);
        }
        for candidate in 0..entry.n_candidates() {
            if is_same {
                cells.append(&one)
            } else {
                row(entry, candidate, &mut cells)
            }
            if cells.len() >= CELLS_PER_WRITE {
                cells.write(column)?;
            }
        }
    }
    match cells.len() {
        0 => Ok(()),
        _ => cells.write(column),
    }
}

fn required<T: Clone>(value: T) -> Cells<T> {
    Cells {
        values: vec![value],
        ..Cells::new()
    }
}

fn text(text: &str) -> Cells<ByteArray> {
    required(ByteArray::from(text))
}

fn role(role: Option<&str>) -> Cells<ByteArray> {
    let mut cells = Cells::new();
    cells.push(role.map(ByteArray::from));
    cells
}

fn microseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

fn candidates(
    column: &mut SerializedColumnWriter<'_>,
    entries: &[Entry],
) -> Result<(), ParquetError> {
    let number = |_: &Entry, candidate: usize, cells: &mut Cells<i32>| {
        cells
            .values
            .push(i32::try_from(candidate).unwrap_or(i32::MAX));
    };
    rows::<Int32Type>(column, entries, |_| false, number)
}

fn scores<'a>(
    column: &mut SerializedColumnWriter<'_>,
    entries: &'a [Entry],
    scores: impl Fn(&'a Entry) -> &'a [f32],
) -> Result<(), ParquetError> {
    let column = column.typed::<FloatType>();
    for entry in entries {
        column.write_batch(scores(entry), None, None)?;
    }
    Ok(())
}

fn feature(
    kind: Kind,
    name: &str,
    entries: &[Entry],
    column: &mut SerializedColumnWriter<'_>,
) -> Result<(), ParquetError> {
    let is_same = |entry: &Entry| in_context(entry, name) || in_candidates(entry, name).is_none();
    let mut buffer = TextBuffer::default();
    match kind {
        Kind::Number => rows::<DoubleType>(column, entries, is_same, |entry, row, cells| {
            cells.push(find(entry, name).and_then(|column| number(column, row)));
        }),
        Kind::Vector { length, separator } => {
            rows::<DoubleType>(column, entries, is_same, |entry, row, cells| {
                let column = find(entry, name);
                let numbers = column.and_then(|column| {
                    let mut reader = VectorReader::new(column, separator, length);
                    // Vectors that cannot be read are rejected before.
                    let numbers = reader.row(row).ok().flatten();
                    numbers.map(<[f64]>::to_vec)
                });
                cells.push_list(numbers.map(Vec::into_iter));
            })
        }
        Kind::Text => rows::<ByteArrayType>(column, entries, is_same, |entry, row, cells| {
            let only = find(entry, name).and_then(|column| Some((column, only(column, row)?)));
            cells.push(only.map(|(column, i)| bytes(&mut buffer, column, i)));
        }),
        Kind::Texts => rows::<ByteArrayType>(column, entries, is_same, |entry, row, cells| {
            let column = find(entry, name).filter(|column| !column.is_null(row));
            let buffer = &mut buffer;
            let items = column.map(|column| {
                let range = column.range(row);
                let items = range.map(|i| bytes(buffer, column, i));
                // An empty text is an empty list, unlike a list of an empty text.
                let is_item = |item: &ByteArray| column.offsets.is_some() || !item.is_empty();
                items.filter(is_item).collect::<Vec<ByteArray>>()
            });
            cells.push_list(items.map(Vec::into_iter));
        }),
    }
}

/// Returns the column of this name, from the context (row 0 only) or from the candidates.
fn find<'a>(entry: &'a Entry, name: &str) -> Option<&'a Column> {
    let context = &entry.question.context;
    let of_context = context.column(name).filter(|_| context.n_rows > 0);
    of_context.or_else(|| in_candidates(entry, name))
}

fn in_context(entry: &Entry, name: &str) -> bool {
    let context = &entry.question.context;
    context.n_rows > 0 && context.column(name).is_some()
}

fn in_candidates<'a>(entry: &'a Entry, name: &str) -> Option<&'a Column> {
    entry.question.candidates.column(name)
}

/// Returns the index of a row's only value. (Rows with several values are rejected before, except in a group
/// column that no feature reads, where they form no group.)
fn only(column: &Column, row: usize) -> Option<usize> {
    let range = column.range(row);
    (range.len() == 1).then_some(range.start)
}

/// Returns the text of a value as it was sent.
fn bytes(buffer: &mut TextBuffer, column: &Column, i: usize) -> ByteArray {
    ByteArray::from(buffer.plain(&column.values, i).to_vec())
}

/// Returns the number that the encoder reads, also from a text. A text without a number is a marker of a
/// missing value; others are rejected before.
fn number(column: &Column, row: usize) -> Option<f64> {
    column.number(row, only(column, row)?).ok().flatten()
}
