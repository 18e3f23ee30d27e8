//! What the rows that are looked at hold of one column.

use indexmap::IndexMap;
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Values};

use crate::column_auc::ColumnValues;

/// What the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Texts, which may well be numbers: a CSV file has nothing else.
    Text,
    /// Whole numbers and booleans.
    Integer,
    /// Floating-point numbers.
    Float,
}

/// The values of a column.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) holds: Holds,
    /// Whether the file holds lists.
    pub(super) is_list: bool,
    /// Rows without a value.
    pub(super) nulls: usize,
    /// Different values and how often each is there, in the order in which they came.
    pub(super) counts: IndexMap<Box<[u8]>, usize>,
    /// The number that each different value is, NaN where it is none.
    pub(super) numbers: Vec<f64>,
    /// Where the values of each row start in `values`: one more than there are rows.
    starts: Vec<u32>,
    /// Positions in `counts`.
    values: Vec<u32>,
}

impl Profile {
    /// The values of column `name`; a `separator` cuts texts into items.
    pub(super) fn of<'a>(
        name: &str,
        separator: Option<char>,
        blocks: impl Iterator<Item = &'a Block>,
    ) -> Profile {
        let mut profile = Profile {
            name: name.to_owned(),
            holds: Holds::Integer,
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
        let found = if matches!(values, Values::Int(_)) {
            Holds::Integer
        } else if matches!(values, Values::Float(_)) {
            Holds::Float
        } else {
            Holds::Text
        };
        self.holds = match (self.holds, found) {
            (Holds::Text, _) | (_, Holds::Text) => Holds::Text,
            (Holds::Float, _) | (_, Holds::Float) => Holds::Float,
            _ => Holds::Integer,
        };
    }

    fn push(&mut self, text: &[u8]) {
        if text.is_empty() || matches!(text, b"NaN" | b"nan" | b"NAN" | b"-nan" | b"NaT" | b"<NA>")
        {
            return;
        }
        let place = match self.counts.get_full_mut(text) {
            Some((place, _, n)) => {
                *n += 1;
                place
            }
            None => self.counts.insert_full(text.into(), 1).0,
        };
        self.values.push(place as u32);
    }

    fn end_row(&mut self) {
        let end = self.values.len() as u32;
        self.nulls += usize::from(self.starts.last() == Some(&end));
        self.starts.push(end);
    }

    pub(super) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows with a value.
    pub(super) fn known(&self) -> usize {
        self.n_rows() - self.nulls
    }

    /// The values of a row, as positions in `counts`.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.values[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// The number of a row, if its value is one.
    pub(super) fn number(&self, row: usize) -> Option<f64> {
        let value = self.row(row).first()?;
        Some(self.numbers[*value as usize]).filter(|x| !x.is_nan())
    }

    /// Values of all rows together.
    pub(super) fn n_values(&self) -> usize {
        self.values.len()
    }

    /// The share of the values that are so.
    pub(super) fn share(&self, is_so: impl Fn(&[u8], f64) -> bool) -> f64 {
        let values = self.counts.iter().zip(&self.numbers);
        let so = values.filter(|((text, _), number)| is_so(text, **number));
        let n: usize = so.map(|((_, n), _)| *n).sum();
        n as f64 / self.values.len().max(1) as f64
    }

    /// The most frequent value.
    pub(super) fn mode(&self) -> Option<u32> {
        let counts = self.counts.values().enumerate();
        counts
            .max_by_key(|(_, n)| **n)
            .map(|(place, _)| place as u32)
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

/// The items of a text.
pub(super) fn items(text: &[u8], separator: char) -> impl Iterator<Item = &[u8]> {
    // Separators are ASCII here.
    let items = text.split(move |byte| *byte == separator as u8);
    items
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// The number that a text says; none for `007`, which is a code.
fn parsed(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.trim_start_matches(['-', '+']);
    let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let starts_well = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| !is_padded && starts_well)
}
