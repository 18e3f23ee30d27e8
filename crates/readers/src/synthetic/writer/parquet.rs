//! Parquet: one row group for each 131,072 rows, dictionaries and Snappy as the format's default.

use super::Wrong;
use super::output::Output;
use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{Type, TypePtr};
use ncs_features::{Block, Column, Values};
use std::io;
use std::sync::Arc;

const ROWS_PER_GROUP: usize = 131_072;

pub(super) fn write(
    output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), Wrong> {
    Ok(write_groups(output, blocks).map_err(io_error)?)
}

fn io_error(error: ParquetError) -> io::Error {
    match error {
        // Keeps the file system's own words, such as "no space left on device".
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}

type File = SerializedFileWriter<Output>;

fn write_groups(
    output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), ParquetError> {
    let mut blocks = blocks.peekable();
    let columns = blocks.peek().map_or(&[][..], |first| &first.columns);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut file = File::new(output, schema(columns)?, Arc::new(properties))?;
    let mut rows = 0;
    let mut group = Vec::new();
    while let Some(block) = blocks.next() {
        rows += block.n_rows as u64;
        group.push(block);
        let held: usize = group.iter().map(|block: &Block| block.n_rows).sum();
        if held >= ROWS_PER_GROUP || blocks.peek().is_none() {
            write_group(&mut file, &group)?;
            group.clear();
        }
    }
    Ok((file.into_inner()?, rows))
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| match column.offsets {
        Some(_) => list(column),
        None => value(column, &column.name, Repetition::OPTIONAL),
    });
    let schema = Type::group_type_builder("log").with_fields(fields.collect::<Result<_, _>>()?);
    Ok(Arc::new(schema.build()?))
}

fn value(column: &Column, name: &str, repetition: Repetition) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.values {
        Values::Text(_) | Values::Time(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Values::Int(_) => (Physical::INT64, None),
        Values::Float(_) => (Physical::DOUBLE, None),
    };
    let value = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    Ok(Arc::new(value.build()?))
}

/// `required group NAME (List) { repeated group list { required element } }`, the standard's shape.
fn list(column: &Column) -> Result<TypePtr, ParquetError> {
    let items = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![value(column, "element", Repetition::REQUIRED)?])
        .build()?;
    let list = Type::group_type_builder(&column.name)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(items)]);
    Ok(Arc::new(list.build()?))
}

fn write_group(file: &mut File, blocks: &[Block]) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    let mut column = 0;
    while let Some(mut writer) = group.next_column()? {
        for block in blocks {
            write_column(writer.untyped(), &block.columns[column])?;
        }
        writer.close()?;
        column += 1;
    }
    group.close()?;
    Ok(())
}

fn write_column(writer: &mut ColumnWriter<'_>, column: &Column) -> Result<(), ParquetError> {
    match (writer, &column.values) {
        (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(texts)) => {
            let value = |i| ByteArray::from(texts.get(i).to_vec());
            write_values::<ByteArrayType>(writer, column, value)
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), Values::Time(times)) => {
            let value = |i: usize| ByteArray::from(times[i].to_string().into_bytes());
            write_values::<ByteArrayType>(writer, column, value)
        }
        (ColumnWriter::Int64ColumnWriter(writer), Values::Int(numbers)) => {
            write_values::<Int64Type>(writer, column, |i| numbers[i])
        }
        (ColumnWriter::DoubleColumnWriter(writer), Values::Float(numbers)) => {
            write_values::<DoubleType>(writer, column, |i| numbers[i])
        }
        _ => Err(ParquetError::General(format!(
            "column \"{}\" changes its type from block to block",
            column.name
        ))),
    }
}

/// Values with their levels. Single values: defined or not. Lists: level 1 for an item, 0 for the
/// empty list; an item that begins a row repeats at level 0, another one at level 1.
fn write_values<T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    column: &Column,
    value: impl Fn(usize) -> T::T,
) -> Result<(), ParquetError> {
    let n_rows = match &column.offsets {
        Some(offsets) => offsets.len() - 1,
        None => column.values.len(),
    };
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..n_rows {
        let range = column.range(row);
        if range.is_empty() {
            defined.push(0);
            repeated.push(0);
        }
        for i in range.clone() {
            values.push(value(i));
            defined.push(1);
            repeated.push(i16::from(i > range.start));
        }
    }
    let repeated = column.offsets.is_some().then_some(&repeated[..]);
    writer.write_batch(&values, Some(&defined), repeated)?;
    Ok(())
}
