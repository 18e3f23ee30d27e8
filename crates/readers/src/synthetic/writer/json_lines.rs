//! One JSON object a line, keys in the order of the columns.

use super::Wrong;
use super::output::Output;
use ncs_features::{Block, Column, Values};
use std::io::{self, Write};

pub(super) fn write(
    mut output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), Wrong> {
    let mut rows = 0;
    for block in blocks {
        for row in 0..block.n_rows {
            write_row(&mut output, &block, row)?;
        }
        rows += block.n_rows as u64;
    }
    Ok((output, rows))
}

fn write_row(output: &mut Output, block: &Block, row: usize) -> io::Result<()> {
    for (i, column) in block.columns.iter().enumerate() {
        output.write_all(if i == 0 { b"{" } else { b"," })?;
        serde_json::to_writer(&mut *output, &column.name)?;
        output.write_all(b":")?;
        write_values(output, column, row)?;
    }
    output.write_all(b"}\n")
}

fn write_values(output: &mut Output, column: &Column, row: usize) -> io::Result<()> {
    let mut values = column.range(row);
    if column.offsets.is_none() {
        return match values.next() {
            Some(i) => write_value(output, &column.values, i),
            None => output.write_all(b"null"),
        };
    }
    output.write_all(b"[")?;
    for i in values.clone() {
        if i > values.start {
            output.write_all(b",")?;
        }
        write_value(output, &column.values, i)?;
    }
    output.write_all(b"]")
}

fn write_value(output: &mut Output, values: &Values, i: usize) -> io::Result<()> {
    match values {
        Values::Text(texts) => {
            serde_json::to_writer(output, &String::from_utf8_lossy(texts.get(i)))?
        }
        Values::Int(numbers) => serde_json::to_writer(output, &numbers[i])?,
        Values::Float(numbers) => serde_json::to_writer(output, &numbers[i])?,
        Values::Time(times) => serde_json::to_writer(output, &times[i].to_string())?,
    }
    Ok(())
}
