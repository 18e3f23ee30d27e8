//! Values of one column in the sampled rows.

use indexmap::IndexMap;
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Values};

use crate::column_auc::ColumnValues;

/// Type of the values in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    /// Texts, which may represent numbers: a CSV file has only texts.
    Text,
    /// Integers and booleans.
    Integer,
    /// Floating-point numbers.
    Float,
}

/// The values of a column.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) value_type: ValueType,
    /// True if the file has lists.
    pub(super) is_list: bool,
    /// Rows without a value.
    pub(super) nulls: usize,
    /// Distinct values with their counts, in order of first occurrence.
    pub(super) counts: IndexMap<Box<[u8]>, usize>,
    /// Number of each distinct value, NaN if it is not a number.
    pub(super) numbers: Vec<f64>,
    /// Start of each row's values in `values`, plus the end of the last row.
    starts: Vec<u32>,
    /// Values as indices into `counts`.
    values: Vec<u32>,
}

impl Profile {
    /// Collects the values of column `name`; a `separator` splits texts into items.
    pub(super) fn of<'a>(
        name: &str,
        separator: Option<char>,
        blocks: impl Iterator<Item = &'a Block>,
    ) -> Profile {
        let mut profile = Profile {
            name: name.to_owned(),
            value_type: ValueType::Integer,
            is_list: false,
            nulls: 0,
            counts: IndexMap::new(),
            numbers: Vec::new(),
            starts: vec![0],
            values: Vec::new(),
        };
        blocks.for_each(|block| profile.add(block, separator));
        let number = |text: &[u8]| parsed(text).unwrap_or(f64::NAN);
        profile.numbers = profile.counts.keys().map(|text| number(text)).collect();
        profile
    }

    fn add(&mut self, block: &Block, separator: Option<char>) {
        let Some(column) = block.column(&self.name) else {
            (0..block.n_rows).for_each(|_| self.end_row());
            return;
        };
        self.is_list |= column.offsets.is_some();
        let mut buffer = TextBuffer::default();
        for row in 0..block.n_rows {
            for i in column.range(row) {
                self.note_type(&column.values);
                let text = buffer.text(&column.values, i).trim_ascii();
                match separator {
                    None => self.push(text),
                    Some(separator) => items(text, separator).for_each(|item| self.push(item)),
                }
            }
            self.end_row();
        }
    }

    fn note_type(&mut self, values: &Values) {
        let own = if matches!(values, Values::Int(_)) {
            ValueType::Integer
        } else if matches!(values, Values::Float(_)) {
            ValueType::Float
        } else {
            ValueType::Text
        };
        self.value_type = match (self.value_type, own) {
            (ValueType::Text, _) | (_, ValueType::Text) => ValueType::Text,
            (ValueType::Float, _) | (_, ValueType::Float) => ValueType::Float,
            _ => ValueType::Integer,
        };
    }

    fn push(&mut self, text: &[u8]) {
        if text.is_empty() || matches!(text, b"NaN" | b"nan" | b"NAN" | b"-nan" | b"NaT" | b"<NA>")
        {
            return;
        }
        let index = match self.counts.get_full_mut(text) {
            Some((index, _, n)) => {
                *n += 1;
                index
            }
            None => self.counts.insert_full(text.into(), 1).0,
        };
        self.values.push(index as u32);
    }

    fn end_row(&mut self) {
        let end = self.values.len() as u32;
        self.nulls += usize::from(self.starts.last() == Some(&end));
        self.starts.push(end);
    }

    pub(super) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the number of rows with a value.
    pub(super) fn known(&self) -> usize {
        self.n_rows() - self.nulls
    }

    /// Returns the values of a row as indices into `counts`.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.values[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Returns the number of values of every row that has any, if it is the same.
    pub(super) fn common_length(&self) -> Option<usize> {
        let lengths = self.starts.windows(2).map(|ends| ends[1] - ends[0]);
        let mut lengths = lengths.filter(|&length| length > 0);
        let first = lengths.next()?;
        lengths
            .all(|length| length == first)
            .then_some(first as usize)
    }

    /// Returns the number of a row, if its value is a number.
    pub(super) fn number(&self, row: usize) -> Option<f64> {
        let value = self.row(row).first()?;
        Some(self.numbers[*value as usize]).filter(|x| !x.is_nan())
    }

    /// Returns the number of values of all rows.
    pub(super) fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Returns the share of the values for which `is_match` is true.
    pub(super) fn share(&self, is_match: impl Fn(&[u8], f64) -> bool) -> f64 {
        let values = self.counts.iter().zip(&self.numbers);
        let matching = values.filter(|((text, _), number)| is_match(text, **number));
        let n: usize = matching.map(|((_, n), _)| *n).sum();
        n as f64 / self.values.len().max(1) as f64
    }

    /// Returns the most frequent value.
    pub(super) fn mode(&self) -> Option<u32> {
        let counts = self.counts.values().enumerate();
        counts
            .max_by_key(|(_, n)| **n)
            .map(|(index, _)| index as u32)
    }
}

impl ColumnValues for Profile {
    fn n_values(&self) -> usize {
        self.counts.len()
    }

    fn values_of(&self, row: usize) -> &[u32] {
        self.row(row)
    }

    fn number_of(&self, row: usize) -> Option<f64> {
        self.number(row)
    }
}

/// Splits a text into items.
pub(super) fn items(text: &[u8], separator: char) -> impl Iterator<Item = &[u8]> {
    // All candidate separators are ASCII.
    let items = text.split(move |byte| *byte == separator as u8);
    items
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// Parses a text as a number; `None` for `007`, which is a code.
fn parsed(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.trim_start_matches(['-', '+']);
    let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse()
        .ok()
        .filter(|_| !is_padded && starts_with_digit)
}
