//! Columns of the rows that are copied into a score file unchanged, mostly ids.

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

/// Largest integer up to which every integer is exactly a floating-point number.
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

/// Returns a text unchanged, a number in decimal.
fn value<'a>(buffer: &'a mut TextBuffer, values: &'a Values, i: usize) -> &'a [u8] {
    match values {
        Values::Text(texts) => texts.get(i),
        _ => buffer.plain(values, i),
    }
}

/// Parquet type of a kept column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    value_type: ValueType,
    is_list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ValueType {
    Integers,
    Numbers,
    Texts,
}

impl Kind {
    /// Returns the type of column `c` of the blocks: the narrowest type that fits all its values.
    pub(super) fn of(blocks: &[Block], c: usize) -> Kind {
        let columns = || blocks.iter().map(|block| &block.columns[c]);
        let mut common: Option<ValueType> = None;
        for column in columns().filter(|column| has_value(column)) {
            let own = ValueType::of(column);
            common = Some(match common {
                Some(before) if before != own && is_wide(columns()) => ValueType::Texts,
                Some(before) => before.max(own),
                None => own,
            });
        }
        Kind {
            value_type: common.unwrap_or(ValueType::Texts),
            is_list: columns().any(|column| column.offsets.is_some()),
        }
    }

    /// Returns the Parquet declaration of the column; every row may be null.
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
        let (physical, logical) = match self.value_type {
            ValueType::Integers => (Physical::INT64, None),
            ValueType::Numbers => (Physical::DOUBLE, None),
            ValueType::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        Ok(Arc::new(column.build()?))
    }

    /// Writes column `c` of the blocks.
    ///
    /// Fails if a value does not fit the type, or on an error of the file system.
    pub(super) fn write(
        self,
        blocks: &[Block],
        c: usize,
        to: &mut SerializedColumnWriter<'_>,
    ) -> io::Result<()> {
        match self.value_type {
            ValueType::Integers => {
                self.write_as::<Int64Type>(blocks, c, to, |values, i| match values {
                    Values::Int(numbers) => Some(numbers[i]),
                    _ => None,
                })
            }
            ValueType::Numbers => {
                self.write_as::<DoubleType>(blocks, c, to, |values, i| match values {
                    Values::Float(numbers) => Some(numbers[i]),
                    Values::Int(numbers) => {
                        (numbers[i].unsigned_abs() <= EXACT).then_some(numbers[i] as f64)
                    }
                    _ => None,
                })
            }
            ValueType::Texts => {
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
        let (mut values, mut definition_levels, mut repetition_levels) =
            (Vec::new(), Vec::new(), Vec::new());
        for block in blocks {
            let column = &block.columns[c];
            for row in 0..block.n_rows {
                let range = column.range(row);
                if range.is_empty() {
                    definition_levels.push(i16::from(self.is_list && !column.is_null(row)));
                    repetition_levels.push(0);
                }
                for (n, i) in range.enumerate() {
                    values.push(value(&column.values, i).ok_or_else(|| self.type_error(column))?);
                    definition_levels.push(if self.is_list { 2 } else { 1 });
                    repetition_levels.push(i16::from(n > 0));
                }
                if column.offsets.is_some() && !self.is_list {
                    return Err(self.type_error(column));
                }
            }
        }
        let repetition_levels = self.is_list.then_some(&repetition_levels[..]);
        let to = to.typed::<D>();
        to.write_batch(&values, Some(&definition_levels), repetition_levels)
            .map_err(io_error)?;
        Ok(())
    }

    fn type_error(self, column: &Column) -> io::Error {
        let name = &column.name;
        io::Error::other(format!(
            "column {name:?} of --keep has values of another type than the earlier rows, which determined its type; \
             write to a file that ends in .csv"
        ))
    }
}

impl ValueType {
    fn of(column: &Column) -> ValueType {
        match column.values {
            Values::Int(_) => ValueType::Integers,
            Values::Float(_) => ValueType::Numbers,
            _ => ValueType::Texts,
        }
    }
}

fn has_value(column: &Column) -> bool {
    match &column.offsets {
        Some(offsets) => offsets.first() != offsets.last(),
        None => column.nulls.is_empty() || column.nulls.iter().any(|is_null| !is_null),
    }
}

/// Returns true if some integer is not exactly a floating-point number.
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
    fn a_column_has_the_narrowest_type_that_fits_all_its_values() {
        let ints = |x: i64| block(Values::Int(vec![x]), &[false]);
        let floats = || block(Values::Float(vec![0.5]), &[false]);
        let nulls = || block(Values::default(), &[true]);
        let check = |blocks: &[Block], expected| {
            assert_eq!(Kind::of(blocks, 0).value_type, expected);
        };
        check(&[nulls(), ints(7)], ValueType::Integers);
        check(&[ints(7), floats()], ValueType::Numbers);
        check(&[ints(i64::MAX), floats()], ValueType::Texts);
        check(&[nulls()], ValueType::Texts);
    }
}
