//! Values as texts and as numbers: the same text and the same number from every file format.

mod events;

use crate::block::{Block, Column, Values};
use crate::canonical::{ValueRule, canonical, write_number};
use crate::error::EncodeError;
use crate::list_text;
use crate::schema::{Field, Pooling};
use crate::sequence::Newest;
use crate::shown;
use crate::time::{Timestamp, time_of_day};
use crate::time_reader::AgeReader;
pub use cut_text::items;
use half::{bf16, f16};
use weighted::Weights;

/// Holds the text of a value while it is looked at, so that no value costs an allocation.
#[derive(Default)]
pub struct TextBuffer {
    integer: itoa::Buffer,
    written: Vec<u8>,
}

impl TextBuffer {
    /// Returns the canonical text of value `i`, of any type (see [`canonical`]); empty if the value is
    /// missing (blank or NaN).
    pub fn text<'a>(&'a mut self, values: &'a Values, i: usize) -> &'a [u8] {
        match values {
            Values::Text(texts) => canonical(texts.get(i), &mut self.written),
            Values::Float(numbers) if numbers[i].is_nan() => b"",
            _ => self.plain(values, i),
        }
    }

    /// Returns value `i` as text: texts as they are, whole numbers in decimal (`7`, also where the file holds
    /// `7.0` as a floating-point number), other numbers by their shortest decimal text (`NaN` is one),
    /// instants in UTC.
    pub fn plain<'a>(&'a mut self, values: &'a Values, i: usize) -> &'a [u8] {
        match values {
            Values::Text(texts) => texts.get(i),
            Values::Int(numbers) => self.integer.format(numbers[i]).as_bytes(),
            Values::Float(numbers) => write_number(numbers[i], &mut self.written),
            Values::Time(times) => {
                self.written.clear();
                times[i].write(&mut self.written);
                &self.written
            }
        }
    }
}

/// Returns the number that has the shortest decimal text of `x`: 0.1 for 0.1f32, so that a number has the
/// same text whether a file holds it in 32 bits, in 64, or in decimal.
pub fn widen(x: f32) -> f64 {
    if x.trunc() == x || !x.is_finite() {
        return f64::from(x);
    }
    let text = x.to_string();
    text.parse().unwrap_or(f64::from(x))
}

/// Widens the bits of a half-precision number like [`widen`]: the 16-bit number nearest to 0.1 becomes 0.1.
pub fn widen_half(bits: u16) -> f64 {
    shortest(f16::from_bits(bits).to_f32(), |x| f16::from_f32(x).to_f32())
}

/// Widens the upper half of the bits of a 32-bit number like [`widen`].
pub fn widen_bfloat(bits: u16) -> f64 {
    let round = |x| bf16::from_f32(x).to_f32();
    shortest(bf16::from_bits(bits).to_f32(), round)
}

/// Returns the number of the fewest decimal digits that `round` takes to `x`.
fn shortest(x: f32, round: impl Fn(f32) -> f32) -> f64 {
    let says = |text: &String| text.parse().is_ok_and(|parsed: f32| round(parsed) == x);
    let texts = (0..8).map(|digits| format!("{x:.digits$e}"));
    let text = texts.filter(|_| x.is_finite()).find(says);
    text.and_then(|text| text.parse().ok())
        .unwrap_or(f64::from(x))
}

/// Returns value `i` as a text to show in a message, at most 60 characters of it.
pub fn shown(values: &Values, i: usize) -> String {
    let mut buffer = TextBuffer::default();
    shown_text(buffer.plain(values, i))
}

/// Returns the text of [`shown`], in quotes if it does not read as a number: a CSV file can hold a number
/// only as text.
pub(crate) fn shown_label(values: &Values, i: usize) -> String {
    let shown = shown(values, i);
    match shown.trim().parse::<f64>() {
        Ok(_) => shown,
        Err(_) => format!("\"{shown}\""),
    }
}

/// Returns a text to show in a message, at most 60 characters of it.
pub fn shown_text(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

impl Column {
    /// Returns the index of the only value of row `row`, `None` if it is null, blank, NaN or an empty list.
    ///
    /// # Errors
    /// The row holds several values.
    pub fn only(&self, row: usize) -> Result<Option<usize>, EncodeError> {
        Ok(self.only_stored(row)?.filter(|&i| !self.says_nothing(i)))
    }

    /// Returns the index of the only value like [`Column::only`], but counts blanks and NaN as values.
    fn only_stored(&self, row: usize) -> Result<Option<usize>, EncodeError> {
        let range = self.range(row);
        match range.len() {
            0 => Ok(None),
            1 => Ok(Some(range.start)),
            n => Err(EncodeError::ManyValues {
                column: self.name.clone(),
                row: row as u64 + 1,
                n,
                fractions: self.has_fractions(),
            }),
        }
    }

    fn says_nothing(&self, i: usize) -> bool {
        match &self.values {
            Values::Text(texts) => canonical(texts.get(i), &mut Vec::new()).is_empty(),
            Values::Float(numbers) => numbers[i].is_nan(),
            Values::Int(_) | Values::Time(_) => false,
        }
    }

    /// Returns true if some value in any row is a number with a fraction: such numbers cannot be ids.
    fn has_fractions(&self) -> bool {
        let is_fraction = |x: &f64| x.is_finite() && x.fract() != 0.0;
        matches!(&self.values, Values::Float(numbers) if numbers.iter().any(is_fraction))
    }

    /// Returns value `i` as a finite number, `None` for a blank text or NaN. An instant is converted to
    /// seconds since 1970, a time of day to seconds since midnight.
    ///
    /// # Errors
    /// It is another text, or infinite. `row` is the row it belongs to, from 0.
    pub fn number(&self, row: usize, i: usize) -> Result<Option<f64>, EncodeError> {
        let x = self.any_number(row, i)?;
        x.map(|x| self.finite(row, x)).transpose()
    }

    /// Returns the number of [`Column::number`], finite or not.
    pub(crate) fn any_number(&self, row: usize, i: usize) -> Result<Option<f64>, EncodeError> {
        Ok(match &self.values {
            Values::Text(texts) => self.parse(row, texts.get(i))?,
            Values::Int(numbers) => Some(numbers[i] as f64),
            Values::Float(numbers) => Some(numbers[i]).filter(|x| !x.is_nan()),
            Values::Time(times) => Some(times[i].seconds_f64()),
        })
    }

    /// Parses the number in a text, finite or not; `None` for a text without a value.
    pub(crate) fn parse(&self, row: usize, text: &[u8]) -> Result<Option<f64>, EncodeError> {
        let mut scratch = Vec::new();
        let parsed = canonical(text, &mut scratch);
        if parsed.is_empty() {
            return Ok(None);
        }
        let time = || Timestamp::parse(parsed).or_else(|| time_of_day(parsed));
        let number = number_of_text(parsed).or_else(|| Some(time()?.seconds_f64()));
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

impl Field {
    /// Returns the numbers that mean "missing" in a numeric column: those of [`Field::missing`] that are numbers.
    pub fn missing_numbers(&self) -> Vec<f64> {
        let numbers = self.missing.iter();
        numbers
            .filter_map(|text| number_of_text(text.as_bytes()))
            .collect()
    }
}

/// Parses the number in a text: `7`, `1.50`, `1e3`, `true`; `None` for a date or any other text.
pub fn number_of_text(text: &[u8]) -> Option<f64> {
    let mut scratch = Vec::new();
    let parsed = std::str::from_utf8(canonical(text, &mut scratch)).ok()?;
    parsed.parse().ok().filter(|x: &f64| !x.is_nan())
}

impl Block {
    /// Returns the column of this name, which `wanted_by` reads.
    ///
    /// # Errors
    /// The column does not exist (the error lists the existing ones), or one of its texts is not UTF-8.
    pub fn require(&self, name: &str, wanted_by: &str) -> Result<&Column, EncodeError> {
        let column = self
            .column(name)
            .ok_or_else(|| EncodeError::MissingColumn {
                column: name.to_owned(),
                wanted_by: wanted_by.to_owned(),
                present: names_of(&self.columns),
            })?;
        match column.not_utf8() {
            None => Ok(column),
            Some(row) => Err(not_utf8(column, row)),
        }
    }
}

fn not_utf8(column: &Column, row: usize) -> EncodeError {
    let is_no_text = |text: &&[u8]| std::str::from_utf8(text).is_err();
    let texts = column.range(row).filter_map(|i| match &column.values {
        Values::Text(texts) => Some(texts.get(i)),
        _ => None,
    });
    EncodeError::NotUtf8 {
        column: column.name.clone(),
        row: row as u64 + 1,
        found: shown_text({ texts }.find(is_no_text).unwrap_or_default()),
    }
}

fn names_of(columns: &[Column]) -> String {
    if columns.is_empty() {
        return "no column".to_owned();
    }
    shown::names(columns.iter().map(|column| column.name.as_str()))
}

/// Reads the values of one field out of a column, row by row, by the field's rules for missing
/// values and lists.
pub(crate) struct FieldReader<'a> {
    field: &'a Field,
    column: &'a Column,
    rule: ValueRule,
    separator: Option<String>,
    missing: Vec<String>,
    missing_numbers: Vec<f64>,
    weights: Weights<'a>,
    ages: Option<AgeReader<'a>>,
    buffer: TextBuffer,
    item: Vec<u8>,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(
        field: &'a Field,
        block: &'a Block,
        rule: ValueRule,
    ) -> Result<Self, EncodeError> {
        let column = block.require(&field.column, &format!("feature \"{}\"", field.name))?;
        if rule == ValueRule::Verbatim && matches!(column.values, Values::Time(_)) {
            return Err(EncodeError::OldTimes {
                column: column.name.clone(),
            });
        }
        Ok(FieldReader {
            weights: Weights::of(field, block)?,
            ages: AgeReader::of(field, block)?,
            field,
            column,
            rule,
            separator: field.separator.map(String::from),
            missing_numbers: field.missing_numbers(),
            missing: field.missing_texts(rule),
            buffer: TextBuffer::default(),
            item: Vec::new(),
        })
    }

    /// Calls `each` with every value of row `row`, `None` for a missing one: once for a
    /// single-valued field. Lists leave missing values out, unless they are padded or hold events, of which the most
    /// recent ones are read.
    pub(crate) fn texts(
        &mut self,
        row: usize,
        mut each: impl FnMut(Option<&[u8]>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.weighted_texts(row, |text, _| each(text))
    }

    /// Visits values like [`Self::texts`], with their weights, 1 for those of fields without. Values of weight 0 are
    /// left out.
    pub(crate) fn weighted_texts(
        &mut self,
        row: usize,
        mut each: impl FnMut(Option<&[u8]>, f64) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(pooling) = self.field.pooling else {
            let text = self.column.only_stored(row)?.map(|i| match self.rule {
                ValueRule::Verbatim => self.buffer.plain(&self.column.values, i),
                ValueRule::Canonical => self.buffer.text(&self.column.values, i),
            });
            return each(text.filter(|text| !is_missing(&self.missing, text)), 1.0);
        };
        let separator = self.separator.as_deref();
        let mut weights = self.weights.of_row(self.column, row, separator)?;
        let mut room = self.field.max_values.unwrap_or(usize::MAX);
        let attribute = pooling.attribute();
        let keeps_missing = attribute.is_some() || pooling == Pooling::PaddedMean;
        let mut n_older = match attribute.map(|attribute| attribute.newest) {
            Some(Newest::Last) => self.n_events(row).saturating_sub(room),
            Some(Newest::First) | None => 0,
        };
        let is_text = matches!(self.column.values, Values::Text(_));
        let may_be_written = is_text && self.may_be_written(row);
        let has_places = attribute.is_some() && self.column.offsets.is_some();
        for i in self.column.range(row) {
            let text = self.buffer.plain(&self.column.values, i);
            let mut take = |item: &[u8]| {
                let (item, weight) = weights.split(item)?;
                let item = match self.rule {
                    ValueRule::Verbatim => item,
                    ValueRule::Canonical => canonical(item, &mut self.item),
                };
                let missing = is_missing(&self.missing, item);
                if missing && !keeps_missing || room == 0 || weight == 0.0 {
                    return Ok(());
                }
                if n_older > 0 {
                    n_older -= 1;
                    return Ok(());
                }
                room -= 1;
                each((!missing).then_some(item), weight)
            };
            // A number is one event, and so is an empty text in a list.
            if attribute.is_some() && !is_text || has_places && text.is_empty() {
                take(text)?;
                continue;
            }
            let written = match self.rule {
                ValueRule::Canonical if may_be_written => list_text::items_of(text),
                _ => None,
            };
            match written {
                Some(written) => written.iter().try_for_each(|item| take(item))?,
                None => items(text, separator).try_for_each(take)?,
            }
        }
        weights.finish()
    }

    /// Returns numbers like [`Self::texts`]; they must be finite.
    pub(crate) fn numbers(
        &mut self,
        row: usize,
        mut each: impl FnMut(Option<f64>),
    ) -> Result<(), EncodeError> {
        if let Some(ages) = &self.ages {
            each(ages.hours(row)?);
            return Ok(());
        }
        let column = self.column;
        if self.field.pooling.is_none() && !matches!(column.values, Values::Text(_)) {
            let i = column.only(row)?;
            let x = i.map(|i| column.any_number(row, i)).transpose()?.flatten();
            let x = x.filter(|x| !self.missing_numbers.contains(x));
            each(x.map(|x| column.finite(row, x)).transpose()?);
            return Ok(());
        }
        let drops_missing = matches!(self.field.pooling, Some(Pooling::Mean | Pooling::Sum));
        let missing = std::mem::take(&mut self.missing_numbers);
        let outcome = self.texts(row, |text| {
            let parsed = text
                .map(|text| column.parse(row, text))
                .transpose()?
                .flatten();
            let x = parsed.filter(|x| !missing.contains(x));
            if x.is_some() || !drops_missing {
                each(x.map(|x| column.finite(row, x)).transpose()?);
            }
            Ok(())
        });
        self.missing_numbers = missing;
        outcome
    }
}

/// Calls `each` with the row and the text of every value of a field's column as the encoder reads it: a
/// category or a list; `None` for a missing value, of which a list has none.
///
/// # Errors
/// The same as [`crate::Encoder::encode_features`].
pub fn each_text(
    field: &Field,
    block: &Block,
    mut each: impl FnMut(usize, Option<&[u8]>),
) -> Result<(), EncodeError> {
    let mut reader = FieldReader::new(field, block, ValueRule::CURRENT)?;
    for row in 0..block.n_rows {
        reader.texts(row, |text| {
            each(row, text);
            Ok(())
        })?;
    }
    Ok(())
}

/// Visits numbers like [`each_text`], for a numeric field.
///
/// # Errors
/// The same as [`crate::Encoder::encode_features`].
pub fn each_number(
    field: &Field,
    block: &Block,
    mut each: impl FnMut(usize, Option<f64>),
) -> Result<(), EncodeError> {
    let mut reader = FieldReader::new(field, block, ValueRule::CURRENT)?;
    for row in 0..block.n_rows {
        reader.numbers(row, |x| each(row, x))?;
    }
    Ok(())
}

fn is_missing(missing: &[String], text: &[u8]) -> bool {
    text.is_empty() || missing.iter().any(|missing| missing.as_bytes() == text)
}

mod cut_text;
mod weighted;

#[cfg(test)]
mod tests;
