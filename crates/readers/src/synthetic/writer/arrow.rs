//! Arrow's file format (Feather of version 2), a batch for each block.

use super::Wrong;
use super::output::Output;
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Field};
use ncs_features::{Block, Column, Values};
use std::io;
use std::sync::Arc;

pub(super) fn write(
    output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), Wrong> {
    Ok(write_batches(output, blocks).map_err(io_error)?)
}

fn io_error(error: ArrowError) -> io::Error {
    match error {
        // Keeps the file system's own words, such as "no space left on device".
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    }
}

fn write_batches(
    output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), ArrowError> {
    let mut blocks = blocks.map(|block| batch(&block)).peekable();
    let first = match blocks.peek() {
        Some(Ok(first)) => first.schema(),
        // The loop below has the error.
        _ => Arc::new(arrow_schema::Schema::empty()),
    };
    let mut file = FileWriter::try_new(output, &first)?;
    let mut rows = 0;
    for batch in blocks {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        file.write(&batch)?;
    }
    Ok((file.into_inner()?, rows))
}

fn batch(block: &Block) -> Result<RecordBatch, ArrowError> {
    let columns = block.columns.iter().map(|column| {
        let array = match column.offsets {
            Some(_) => list(column)?,
            None => values(
                column,
                (0..block.n_rows).map(|row| column.range(row).next()),
            ),
        };
        Ok((column.name.as_str(), array, true))
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_from_iter_with_nullable(columns)
}

/// Returns the values at these positions, null for `None`. A time is written as text.
fn values(column: &Column, places: impl Iterator<Item = Option<usize>>) -> ArrayRef {
    match &column.values {
        Values::Int(numbers) => {
            let numbers = places.map(|place| place.map(|place| numbers[place]));
            Arc::new(numbers.collect::<Int64Array>())
        }
        Values::Float(numbers) => {
            let numbers = places.map(|place| place.map(|place| numbers[place]));
            Arc::new(numbers.collect::<Float64Array>())
        }
        Values::Time(times) => {
            let texts = places.map(|place| place.map(|place| times[place].to_string()));
            Arc::new(texts.collect::<StringArray>())
        }
        Values::Text(texts) => {
            let texts = places.map(|place| {
                place.map(|place| String::from_utf8_lossy(texts.get(place)).into_owned())
            });
            Arc::new(texts.collect::<StringArray>())
        }
    }
}

fn list(column: &Column) -> Result<ArrayRef, ArrowError> {
    let offsets = column.offsets.iter().flatten();
    let lengths = offsets
        .clone()
        .zip(offsets.skip(1))
        .map(|(start, end)| (end - start) as usize);
    let items = values(column, (0..column.values.len()).map(Some));
    let field = Field::new_list_field(items.data_type().clone(), true);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        Arc::new(field),
        offsets,
        items,
        None,
    )?))
}
