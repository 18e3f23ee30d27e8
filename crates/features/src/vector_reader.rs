//! Reads vectors out of a column, one for each row, however the file writes them.

use crate::batch::FieldIds;
use crate::block::{Block, Column, Values};
use crate::canonical::canonical;
use crate::error::EncodeError;
use crate::list_text;
use crate::range::Moments;
use crate::schema::Field;
use crate::value::items;
use crate::vector::Vector;

impl Vector {
    /// Encodes the rows of a block.
    pub(crate) fn encode(&self, field: &Field, block: &Block) -> Result<FieldIds, EncodeError> {
        let mut reader = VectorReader::of_field(field, block, self.length)?;
        let mut out = FieldIds {
            width: if self.projected {
                0
            } else {
                self.length as usize
            },
            ..FieldIds::default()
        };
        if self.projected {
            out.offsets.push(0);
        }
        for row in 0..block.n_rows {
            let numbers = reader.row(row)?;
            if self.projected {
                self.project(numbers, &mut out)
            } else {
                self.place(numbers, &mut out)
            }
        }
        Ok(out)
    }
}

/// Reads the vectors of a column row by row.
pub struct VectorReader<'a> {
    column: &'a Column,
    separator: Option<String>,
    length: usize,
    numbers: Vec<f64>,
}

impl<'a> VectorReader<'a> {
    /// Creates a reader of vectors of `length` numbers; `separator` divides those that are texts.
    pub fn new(column: &'a Column, separator: Option<char>, length: u32) -> VectorReader<'a> {
        VectorReader {
            column,
            separator: separator.map(String::from),
            length: length as usize,
            numbers: Vec::with_capacity(length as usize),
        }
    }

    fn of_field(
        field: &Field,
        block: &'a Block,
        length: u32,
    ) -> Result<VectorReader<'a>, EncodeError> {
        let wanted_by = format!("feature \"{}\"", field.name);
        let column = block.require(&field.column, &wanted_by)?;
        Ok(VectorReader::new(column, field.separator, length))
    }

    /// Returns the numbers of a row; `None` where it holds null, an empty text or an empty list.
    ///
    /// # Errors
    /// It holds another number of numbers, or something else than numbers that single precision can hold.
    pub fn row(&mut self, row: usize) -> Result<Option<&[f64]>, EncodeError> {
        self.numbers.clear();
        let column = self.column;
        for i in column.range(row) {
            match &column.values {
                Values::Text(texts) => self.push_text(row, texts.get(i))?,
                _ => {
                    let x = column.any_number(row, i)?;
                    self.push(row, x)?;
                }
            }
        }
        match self.numbers.len() {
            0 => Ok(None),
            n if n == self.length => Ok(Some(&self.numbers)),
            n => Err(EncodeError::VectorLength {
                column: column.name.clone(),
                row: row as u64 + 1,
                n,
                length: self.length,
            }),
        }
    }

    /// Reads a list in a text: `[0.1, 0.2]`, or numbers between separators.
    fn push_text(&mut self, row: usize, text: &[u8]) -> Result<(), EncodeError> {
        if canonical(text, &mut Vec::new()).is_empty() {
            return Ok(());
        }
        if let Some(items) = list_text::items_of(text) {
            return items.iter().try_for_each(|item| {
                let x = self.column.parse(row, item)?;
                self.push(row, x)
            });
        }
        let separator = self.separator.take();
        let read = items(text, separator.as_deref()).try_for_each(|item| {
            let x = self.column.parse(row, item)?;
            self.push(row, x)
        });
        self.separator = separator;
        read
    }

    fn push(&mut self, row: usize, x: Option<f64>) -> Result<(), EncodeError> {
        let x = x.unwrap_or(f64::NAN);
        if !(x as f32).is_finite() {
            return Err(EncodeError::NoVector {
                column: self.column.name.clone(),
                row: row as u64 + 1,
                place: self.numbers.len() + 1,
                found: x.to_string(),
            });
        }
        self.numbers.push(x);
        Ok(())
    }
}

/// Calls `each` with the number of every row and the vector that it holds, if any, as the encoder reads it.
///
/// # Errors
/// The same as [`crate::Encoder::encode_features`].
pub fn each_vector(
    field: &Field,
    length: u32,
    block: &Block,
    mut each: impl FnMut(usize, Option<&[f64]>),
) -> Result<(), EncodeError> {
    let mut reader = VectorReader::of_field(field, block, length)?;
    for row in 0..block.n_rows {
        each(row, reader.row(row)?);
    }
    Ok(())
}

/// Mean and deviation of each number over the training rows.
pub(crate) struct VectorScale(Vec<Moments>);

impl VectorScale {
    pub(crate) fn new(length: u32) -> VectorScale {
        VectorScale((0..length).map(|_| Moments::default()).collect())
    }

    pub(crate) fn observe(&mut self, field: &Field, block: &Block) -> Result<(), EncodeError> {
        let Ok(length) = u32::try_from(self.0.len()) else {
            return Ok(());
        };
        each_vector(field, length, block, |_, numbers| {
            let numbers = numbers.unwrap_or_default().iter();
            self.0
                .iter_mut()
                .zip(numbers)
                .for_each(|(moments, x)| moments.add(*x));
        })
    }

    /// Returns the scale; `None` without a vector.
    pub(crate) fn finish(self) -> Option<Vec<[f64; 2]>> {
        let scale = self.0.iter().map(Moments::finish);
        scale.map(|found| found.map(Into::into)).collect()
    }
}
