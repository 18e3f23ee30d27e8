//! Values as texts and as numbers: the same text and the same number from every file format.

use crate::block::{Block, Column, Values};
use crate::error::EncodeError;
use crate::schema::{Field, Pooling};
use std::io::Write;

/// Holds the text of a number while it is looked at, so that no value costs an allocation.
#[derive(Default)]
pub struct TextBuffer {
    integer: itoa::Buffer,
    float: Vec<u8>,
}

impl TextBuffer {
    /// Value `i` as text: texts as they are, whole numbers in decimal (`7`, also where the file holds
    /// `7.0` as a floating-point number), other numbers by their shortest decimal text.
    pub fn text<'a>(&'a mut self, values: &'a Values, i: usize) -> &'a [u8] {
        match values {
            Values::Text(texts) => texts.get(i),
            Values::Int(numbers) => self.integer.format(numbers[i]).as_bytes(),
            Values::Float(numbers) => self.float(numbers[i]),
        }
    }

    fn float(&mut self, x: f64) -> &[u8] {
        const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0; // 2^63
        if x.trunc() == x && x.abs() < INTEGERS_END {
            return self.integer.format(x as i64).as_bytes();
        }
        self.float.clear();
        write!(self.float, "{x}").expect("writing to memory does not fail");
        &self.float
    }
}

/// The number that has the shortest decimal text of `x`: 0.1 for 0.1f32, so that a number has the
/// same text whether a file holds it in 32 bits, in 64, or in decimal.
pub fn widen(x: f32) -> f64 {
    if x.trunc() == x || !x.is_finite() {
        return f64::from(x);
    }
    let text = x.to_string();
    text.parse().unwrap_or(f64::from(x))
}

/// Value `i` as a text to show in a message, at most 60 characters of it.
pub fn shown(values: &Values, i: usize) -> String {
    let mut buffer = TextBuffer::default();
    shown_text(buffer.text(values, i))
}

/// As [`shown`], in quotes unless it reads as a number: a CSV file has no other way to hold one.
pub(crate) fn shown_label(values: &Values, i: usize) -> String {
    let shown = shown(values, i);
    match shown.trim().parse::<f64>() {
        Ok(_) => shown,
        Err(_) => format!("\"{shown}\""),
    }
}

/// A text to show in a message, at most 60 characters of it.
pub fn shown_text(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

impl Column {
    /// The index of the only value of row `row`, `None` where it is null, empty or an empty list.
    ///
    /// # Errors
    /// The row holds several values.
    pub fn only(&self, row: usize) -> Result<Option<usize>, EncodeError> {
        let range = self.range(row);
        match range.len() {
            0 => Ok(None),
            1 => Ok(Some(range.start).filter(|&i| !self.is_empty_text(i))),
            n => Err(EncodeError::ManyValues {
                column: self.name.clone(),
                row: row as u64 + 1,
                n,
            }),
        }
    }

    /// Value `i` as a finite number, `None` where it is an empty text.
    ///
    /// # Errors
    /// It is another text, NaN or infinite. `row` is the row it belongs to, from 0.
    pub fn number(&self, row: usize, i: usize) -> Result<Option<f64>, EncodeError> {
        let x = match &self.values {
            Values::Text(texts) => self.parse(row, texts.get(i))?,
            Values::Int(numbers) => Some(numbers[i] as f64),
            Values::Float(numbers) => Some(numbers[i]),
        };
        x.map(|x| self.finite(row, x)).transpose()
    }

    fn is_empty_text(&self, i: usize) -> bool {
        matches!(&self.values, Values::Text(texts) if texts.get(i).is_empty())
    }

    /// The number that a text says, finite or not; `None` for a blank one.
    fn parse(&self, row: usize, text: &[u8]) -> Result<Option<f64>, EncodeError> {
        let trimmed = text.trim_ascii();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(trimmed)
            .ok()
            .and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| EncodeError::NotANumber {
            column: self.name.clone(),
            row: row as u64 + 1,
            found: shown_text(text),
        })
    }

    fn finite(&self, row: usize, x: f64) -> Result<f64, EncodeError> {
        if x.is_finite() {
            return Ok(x);
        }
        Err(EncodeError::NotFinite {
            column: self.name.clone(),
            row: row as u64 + 1,
            found: x.to_string(),
        })
    }
}

impl Block {
    /// The column of this name, which `wanted_by` reads.
    ///
    /// # Errors
    /// There is none; the error names those that there are.
    pub fn require(&self, name: &str, wanted_by: &str) -> Result<&Column, EncodeError> {
        self.column(name).ok_or_else(|| EncodeError::MissingColumn {
            column: name.to_owned(),
            wanted_by: wanted_by.to_owned(),
            present: names_of(&self.columns),
        })
    }
}

fn names_of(columns: &[Column]) -> String {
    if columns.is_empty() {
        return "no column".to_owned();
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

/// Reads the values of one field out of a column, row by row, by the field's rules for missing
/// values and lists.
pub(crate) struct FieldReader<'a> {
    field: &'a Field,
    column: &'a Column,
    separator: Option<String>,
    missing_numbers: Vec<f64>,
    buffer: TextBuffer,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(field: &'a Field, block: &'a Block) -> Result<Self, EncodeError> {
        Ok(FieldReader {
            field,
            column: block.require(&field.column, &format!("feature \"{}\"", field.name))?,
            separator: field.separator.map(String::from),
            missing_numbers: field
                .missing
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            buffer: TextBuffer::default(),
        })
    }

    /// Calls `each` with every value of row `row`, `None` for a missing one: once for a
    /// single-valued field. Lists leave missing values out, unless they are padded.
    pub(crate) fn texts(
        &mut self,
        row: usize,
        mut each: impl FnMut(Option<&[u8]>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(pooling) = self.field.pooling else {
            let text = self
                .column
                .only(row)?
                .map(|i| self.buffer.text(&self.column.values, i));
            return each(text.filter(|text| !is_missing(self.field, text)));
        };
        let mut room = self.field.max_values.unwrap_or(usize::MAX);
        for i in self.column.range(row) {
            let text = self.buffer.text(&self.column.values, i);
            for item in items(text, self.separator.as_deref()) {
                let missing = item.is_empty() || is_missing(self.field, item);
                if missing && pooling != Pooling::PaddedMean {
                    continue;
                }
                if room == 0 {
                    return Ok(());
                }
                room -= 1;
                each((!missing).then_some(item))?;
            }
        }
        Ok(())
    }

    /// As [`Self::texts`], for numbers, which must be finite.
    pub(crate) fn numbers(
        &mut self,
        row: usize,
        mut each: impl FnMut(Option<f64>),
    ) -> Result<(), EncodeError> {
        let column = self.column;
        if self.field.pooling.is_none() && !matches!(column.values, Values::Text(_)) {
            let i = column.only(row)?;
            each(i.map(|i| self.typed_number(row, i)).transpose()?.flatten());
            return Ok(());
        }
        let drops_missing = matches!(self.field.pooling, Some(Pooling::Mean | Pooling::Sum));
        let missing = std::mem::take(&mut self.missing_numbers);
        let outcome = self.texts(row, |text| {
            let said = text
                .map(|text| column.parse(row, text))
                .transpose()?
                .flatten();
            let x = said.filter(|&x| !is_among(&missing, x));
            if x.is_some() || !drops_missing {
                each(x.map(|x| column.finite(row, x)).transpose()?);
            }
            Ok(())
        });
        self.missing_numbers = missing;
        outcome
    }

    /// Value `i` of a numeric column, `None` where the field calls it missing.
    fn typed_number(&self, row: usize, i: usize) -> Result<Option<f64>, EncodeError> {
        let x = match &self.column.values {
            Values::Int(numbers) => numbers[i] as f64,
            Values::Float(numbers) => numbers[i],
            Values::Text(_) => return self.column.number(row, i),
        };
        if is_among(&self.missing_numbers, x) {
            return Ok(None);
        }
        self.column.finite(row, x).map(Some)
    }
}

fn is_missing(field: &Field, text: &[u8]) -> bool {
    field
        .missing
        .iter()
        .any(|missing| missing.as_bytes() == text)
}

fn is_among(numbers: &[f64], x: f64) -> bool {
    numbers
        .iter()
        .any(|&number| number == x || number.is_nan() && x.is_nan())
}

/// The items of a text that holds a list, cut at the separator; the empty text is the empty list.
pub fn items<'a>(text: &'a [u8], separator: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (item, after) = match separator.and_then(|separator| cut(text, separator.as_bytes())) {
            Some((item, after)) => (item, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(item)
    })
}

fn cut<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = match separator {
        [byte] => text.iter().position(|b| b == byte),
        _ => text
            .windows(separator.len())
            .position(|window| window == separator),
    }?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_text_whatever_its_type() {
        let check = |values: Values, text: &str| {
            assert_eq!(TextBuffer::default().text(&values, 0), text.as_bytes());
        };
        check(Values::Int(vec![-17]), "-17");
        check(Values::Float(vec![-17.0]), "-17");
        check(Values::Float(vec![-0.0]), "0");
        check(Values::Float(vec![0.1]), "0.1");
        check(
            Values::Float(vec![9_007_199_254_740_992.0]),
            "9007199254740992",
        );
        check(Values::Float(vec![f64::NAN]), "NaN");
        check(Values::Int(vec![i64::MIN]), "-9223372036854775808");
    }

    #[test]
    fn texts_are_cut_at_the_separator() {
        let check = |text: &str, separator: Option<&str>, expected: &[&str]| {
            let found: Vec<&[u8]> = items(text.as_bytes(), separator).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|item| item.as_bytes()).collect();
            assert_eq!(found, expected);
        };
        check("a|b||c", Some("|"), &["a", "b", "", "c"]);
        check("a·b", Some("·"), &["a", "b"]);
        check("a|b", None, &["a|b"]);
        check("", Some("|"), &[]);
    }

    #[test]
    fn a_short_number_keeps_its_text() {
        assert_eq!(widen(0.1), 0.1);
        assert_eq!(widen(-20.08), -20.08);
        assert_eq!(widen(16_777_216.0), 16_777_216.0);
        assert!(widen(f32::NAN).is_nan());
    }
}
