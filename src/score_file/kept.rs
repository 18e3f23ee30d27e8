//! Columns of the rows that go into a file of scores as they are: ids, mostly.

use std::io::{self, Write};
use std::sync::Arc;

use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column, Values};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};

use super::io_error;

/// Whole numbers up to here are floating-point numbers too.
const EXACT: u64 = 1 << 53;

/// Appends the text of row `row`: the empty text for null, a JSON list for a list.
pub(super) fn write_text(column: &Column, row: usize, text: &mut Vec<u8>) {
    let mut buffer = TextBuffer::default();
    if column.offsets.is_none() {
        if let Some(i) = column.range(row).next() {
            text.extend_from_slice(value(&mut buffer, &column.values, i));
        }
        return;
    }
    if column.is_null(row) {
        return;
    }
    text.push(b'[');
    for (n, i) in column.range(row).enumerate() {
        if n > 0 {
            text.extend_from_slice(b", ");
        }
        let item = value(&mut buffer, &column.values, i);
        match &column.values {
            Values::Text(_) => {
                let item = String::from_utf8_lossy(item);
                let _ = write!(text, "{}", serde_json::Value::from(item));
            }
            _ => text.extend_from_slice(item),
        }
    }
    text.push(b']');
}

/// A text as the file holds it, a number in decimal.
fn value<'a>(buffer: &'a mut TextBuffer, values: &'a Values, i: usize) -> &'a [u8] {
    match values {
        Values::Text(texts) => texts.get(i),
        _ => buffer.plain(values, i),
    }
}

/// What a kept column holds in a Parquet file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    holds: Holds,
    is_list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    Integers,
    Numbers,
    Texts,
}

impl Kind {
    /// What column `c` of the blocks holds: the narrowest type that takes all its values.
    pub(super) fn of(blocks: &[Block], c: usize) -> Kind {
        let columns = || blocks.iter().map(|block| &block.columns[c]);
        let mut found: Option<Holds> = None;
        for column in columns().filter(|column| has_value(column)) {
            let own = Holds::of(column);
            found = Some(match found {
                Some(before) if before != own && is_wide(columns()) => Holds::Texts,
                Some(before) => before.max(own),
                None => own,
            });
        }
        Kind {
            holds: found.unwrap_or(Holds::Texts),
            is_list: columns().any(|column| column.offsets.is_some()),
        }
    }

    /// The column of this name as Parquet declares it: every row may be null.
    pub(super) fn column(self, name: &str) -> Result<TypePtr, ParquetError> {
        if !self.is_list {
            return self.value(name, Repetition::OPTIONAL);
        }
        let items = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![self.value("element", Repetition::REQUIRED)?]);
        let list = Type::group_type_builder(name)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(items.build()?)]);
        Ok(Arc::new(list.build()?))
    }

    fn value(self, name: &str, repetition: Repetition) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self.holds {
            Holds::Integers => (Physical::INT64, None),
            Holds::Numbers => (Physical::DOUBLE, None),
            Holds::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        Ok(Arc::new(column.build()?))
    }

    /// Writes column `c` of the blocks.
    ///
    /// # Errors
    /// A value does not fit the type; the file system refuses.
    pub(super) fn write(
        self,
        blocks: &[Block],
        c: usize,
        to: &mut SerializedColumnWriter<'_>,
    ) -> io::Result<()> {
        match self.holds {
            Holds::Integers => {
                self.write_as::<Int64Type>(blocks, c, to, |values, i| match values {
                    Values::Int(numbers) => Some(numbers[i]),
                    _ => None,
                })
            }
            Holds::Numbers => {
                self.write_as::<DoubleType>(blocks, c, to, |values, i| match values {
                    Values::Float(numbers) => Some(numbers[i]),
                    Values::Int(numbers) => {
                        (numbers[i].unsigned_abs() <= EXACT).then_some(numbers[i] as f64)
                    }
                    _ => None,
                })
            }
            Holds::Texts => {
                let mut buffer = TextBuffer::default();
                self.write_as::<ByteArrayType>(blocks, c, to, |values, i| {
                    Some(ByteArray::from(value(&mut buffer, values, i).to_vec()))
                })
            }
        }
    }

    fn write_as<D: DataType>(
        self,
        blocks: &[Block],
        c: usize,
        to: &mut SerializedColumnWriter<'_>,
        mut value: impl FnMut(&Values, usize) -> Option<D::T>,
    ) -> io::Result<()> {
        let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks {
            let column = &block.columns[c];
            for row in 0..block.n_rows {
                let range = column.range(row);
                if range.is_empty() {
                    defined.push(i16::from(self.is_list && !column.is_null(row)));
                    repeated.push(0);
                }
                for (n, i) in range.enumerate() {
                    values.push(value(&column.values, i).ok_or_else(|| self.other(column))?);
                    defined.push(if self.is_list { 2 } else { 1 });
                    repeated.push(i16::from(n > 0));
                }
                if column.offsets.is_some() && !self.is_list {
                    return Err(self.other(column));
                }
            }
        }
        let repeated = self.is_list.then_some(&repeated[..]);
        let to = to.typed::<D>();
        to.write_batch(&values, Some(&defined), repeated)
            .map_err(io_error)?;
        Ok(())
    }

    fn other(self, column: &Column) -> io::Error {
        let name = &column.name;
        io::Error::other(format!(
            "column {name:?}, which --keep names, holds other values than in the rows before, where its type \
             was settled; name a file that ends in .csv"
        ))
    }
}

impl Holds {
    fn of(column: &Column) -> Holds {
        match column.values {
            Values::Int(_) => Holds::Integers,
            Values::Float(_) => Holds::Numbers,
            _ => Holds::Texts,
        }
    }
}

fn has_value(column: &Column) -> bool {
    match &column.offsets {
        Some(offsets) => offsets.first() != offsets.last(),
        None => column.nulls.is_empty() || column.nulls.iter().any(|is_null| !is_null),
    }
}

/// Whether some whole number is no floating-point number.
fn is_wide<'a>(mut columns: impl Iterator<Item = &'a Column>) -> bool {
    columns.any(|column| match &column.values {
        Values::Int(numbers) => numbers.iter().any(|x| x.unsigned_abs() > EXACT),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: Values, nulls: &[bool]) -> Block {
        let n_rows = nulls.len();
        let column = Column {
            name: "id".to_owned(),
            values,
            offsets: None,
            nulls: nulls.to_vec(),
        };
        Block {
            n_rows,
            columns: vec![column],
        }
    }

    #[test]
    fn a_column_has_the_narrowest_type_that_takes_all_its_values() {
        let ints = |x: i64| block(Values::Int(vec![x]), &[false]);
        let floats = || block(Values::Float(vec![0.5]), &[false]);
        let nulls = || block(Values::default(), &[true]);
        let check = |blocks: &[Block], expected| {
            assert_eq!(Kind::of(blocks, 0).holds, expected);
        };
        check(&[nulls(), ints(7)], Holds::Integers);
        check(&[ints(7), floats()], Holds::Numbers);
        check(&[ints(i64::MAX), floats()], Holds::Texts);
        check(&[nulls()], Holds::Texts);
    }
}
