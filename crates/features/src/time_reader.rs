//! Moments out of a column: times, texts in ISO 8601, and numbers that count since 1970.

use crate::batch::FieldIds;
use crate::beside::Beside;
use crate::block::{Block, Column, Values};
use crate::canonical::{ValueRule, canonical};
use crate::error::EncodeError;
use crate::schema::Field;
use crate::time::{TimeUnit, Timestamp};
use crate::time_part::TimePart;
use crate::value::{number_of_text, shown};

/// Seconds of an hour.
pub(crate) const HOUR: f64 = 3600.0;

/// Reads the moments of a column row by row.
pub(crate) struct TimeReader<'a> {
    column: &'a Column,
    missing: Vec<String>,
    missing_numbers: Vec<f64>,
    unit: Option<TimeUnit>,
}

impl<'a> TimeReader<'a> {
    pub(crate) fn new(field: &Field, column: &'a Column, unit: Option<TimeUnit>) -> TimeReader<'a> {
        TimeReader {
            column,
            missing: field.missing_texts(ValueRule::CURRENT),
            missing_numbers: field.missing_numbers(),
            unit,
        }
    }

    /// Creates a reader of a column in which only nulls, blanks and NaN are missing.
    pub(crate) fn plain(column: &'a Column, unit: Option<TimeUnit>) -> TimeReader<'a> {
        TimeReader {
            column,
            missing: Vec::new(),
            missing_numbers: Vec::new(),
            unit,
        }
    }

    /// Returns the moment of a row; `None` where it is missing.
    ///
    /// # Errors
    /// The row holds something else than a moment, or several values.
    pub(crate) fn row(&self, row: usize) -> Result<Option<Timestamp>, EncodeError> {
        let Some(i) = self.column.only(row)? else {
            return Ok(None);
        };
        let number = match &self.column.values {
            Values::Time(times) => return Ok(Some(times[i])),
            Values::Int(numbers) => Some(numbers[i] as f64),
            Values::Float(numbers) => Some(numbers[i]),
            Values::Text(texts) => {
                let mut scratch = Vec::new();
                let text = canonical(texts.get(i), &mut scratch);
                if self
                    .missing
                    .iter()
                    .any(|missing| missing.as_bytes() == text)
                {
                    return Ok(None);
                }
                if let Some(moment) = Timestamp::parse(text) {
                    return Ok(Some(moment));
                }
                number_of_text(text)
            }
        };
        match number.filter(|x| x.is_finite()) {
            Some(x) if self.missing_numbers.contains(&x) => Ok(None),
            Some(x) => {
                let unit = self.unit.unwrap_or_else(|| TimeUnit::of_size(x));
                Ok(Some(Timestamp::of_f64(x, unit)))
            }
            None => Err(EncodeError::NotATime {
                column: self.column.name.clone(),
                row: row as u64 + 1,
                found: shown(&self.column.values, i),
            }),
        }
    }
}

/// Reads how long after one moment another is, row by row.
pub(crate) struct AgeReader<'a> {
    from: TimeReader<'a>,
    to: TimeReader<'a>,
}

impl<'a> AgeReader<'a> {
    /// Creates a reader of the time from the moment in a field's second column to the one in its own; `None` for fields
    /// without such a column.
    ///
    /// # Errors
    /// A column is absent, or one of its texts is not UTF-8.
    pub(crate) fn of(
        field: &Field,
        block: &'a Block,
    ) -> Result<Option<AgeReader<'a>>, EncodeError> {
        let Beside::Since {
            column: since,
            unit,
        } = &field.beside
        else {
            return Ok(None);
        };
        let wanted_by = format!("feature \"{}\"", field.name);
        let reader = |name| {
            Ok(TimeReader::new(
                field,
                block.require(name, &wanted_by)?,
                *unit,
            ))
        };
        Ok(Some(AgeReader {
            from: reader(since)?,
            to: reader(&field.column)?,
        }))
    }

    /// Returns the hours of a row, negative where the moments are in the other order; `None` where one is missing.
    ///
    /// # Errors
    /// A moment cannot be read.
    pub(crate) fn hours(&self, row: usize) -> Result<Option<f64>, EncodeError> {
        let moments = (self.from.row(row)?, self.to.row(row)?);
        let (Some(from), Some(to)) = moments else {
            return Ok(None);
        };
        let seconds = to.whole_seconds() as f64 - from.whole_seconds() as f64;
        let nanos = f64::from(to.nanos()) - f64::from(from.nanos());
        Ok(Some((seconds + nanos / 1e9) / HOUR))
    }
}

/// Returns the moment that a row of a column holds, as the encoder reads it for a field with a second column of moments;
/// `None` where it is missing.
///
/// # Errors
/// The row holds something else than a moment.
pub fn moment(
    field: &Field,
    unit: Option<TimeUnit>,
    column: &Column,
    row: usize,
) -> Result<Option<Timestamp>, EncodeError> {
    TimeReader::new(field, column, unit).row(row)
}

impl TimePart {
    /// Encodes the rows of a block.
    ///
    /// # Errors
    /// A column is absent, or a row of it holds no moment.
    pub(crate) fn encode(&self, field: &Field, block: &Block) -> Result<FieldIds, EncodeError> {
        let column = block.require(&field.column, &format!("feature \"{}\"", field.name))?;
        let reader = TimeReader::new(field, column, self.unit);
        let id = |row| Ok(reader.row(row)?.map_or(0, |moment| self.id(moment)));
        Ok(FieldIds {
            ids: (0..block.n_rows).map(id).collect::<Result<_, _>>()?,
            ..FieldIds::default()
        })
    }
}
