//! Comma-separated text with a header line.

use super::output::Output;
use super::{LIST_SEPARATOR, Wrong};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column};
use std::io;

pub(super) fn write(
    output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), Wrong> {
    let mut file = csv::Writer::from_writer(output);
    let mut rows = 0;
    for block in blocks {
        if rows == 0 {
            file.write_record(block.columns.iter().map(|column| &column.name))
                .map_err(io_error)?;
        }
        write_rows(&mut file, &block, rows)?;
        rows += block.n_rows as u64;
    }
    let output = file.into_inner().map_err(|error| error.into_error())?;
    Ok((output, rows))
}

fn write_rows(file: &mut csv::Writer<Output>, block: &Block, before: u64) -> Result<(), Wrong> {
    let mut value = Vec::new();
    let mut buffer = TextBuffer::default();
    for row in 0..block.n_rows {
        for column in &block.columns {
            value.clear();
            join(column, row, &mut buffer, &mut value).map_err(|()| Wrong::Separator {
                column: column.name.clone(),
                row: before + row as u64 + 1,
            })?;
            file.write_field(&value).map_err(io_error)?;
        }
        file.write_record(None::<&[u8]>).map_err(io_error)?;
    }
    Ok(())
}

/// The values of a row, one after another; an error where a list could not be taken apart again.
fn join(column: &Column, row: usize, buffer: &mut TextBuffer, out: &mut Vec<u8>) -> Result<(), ()> {
    let range = column.range(row);
    for i in range.clone() {
        let item = buffer.plain(&column.values, i);
        if column.offsets.is_some() && item.contains(&(LIST_SEPARATOR as u8)) {
            return Err(());
        }
        if i > range.start {
            out.push(LIST_SEPARATOR as u8);
        }
        out.extend_from_slice(item);
    }
    Ok(())
}

fn io_error(error: csv::Error) -> io::Error {
    io::Error::from(error)
}
