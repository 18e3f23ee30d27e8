//! TFRecord of `tf.train.Example`: the framing and the few protobuf messages, written by hand.

use super::Wrong;
use super::output::Output;
use ncs_features::record_bytes::{push_bytes, push_varint, write_record};
use ncs_features::{Block, Column, Values};

pub(super) fn write(
    mut output: Output,
    blocks: impl Iterator<Item = Block>,
) -> Result<(Output, u64), Wrong> {
    let mut rows = 0;
    for block in blocks {
        for row in 0..block.n_rows {
            write_record(&mut output, &example(&block, row))?;
        }
        rows += block.n_rows as u64;
    }
    Ok((output, rows))
}

/// `Example { features: Features { feature: map<string, Feature> } }`.
fn example(block: &Block, row: usize) -> Vec<u8> {
    let mut features = Vec::new();
    for column in block
        .columns
        .iter()
        .filter(|column| !column.range(row).is_empty())
    {
        let mut entry = Vec::new();
        push_bytes(&mut entry, 1, column.name.as_bytes());
        push_bytes(&mut entry, 2, &feature(column, row));
        push_bytes(&mut features, 1, &entry);
    }
    let mut example = Vec::with_capacity(features.len() + 8);
    push_bytes(&mut example, 1, &features);
    example
}

/// `Feature { oneof { bytes_list = 1, float_list = 2, int64_list = 3 } }`, lists of `value = 1`.
fn feature(column: &Column, row: usize) -> Vec<u8> {
    let range = column.range(row);
    let mut list = Vec::new();
    let mut packed = Vec::new();
    let kind = match &column.values {
        Values::Text(texts) => {
            range.for_each(|i| push_bytes(&mut list, 1, texts.get(i)));
            1
        }
        Values::Time(times) => {
            range.for_each(|i| push_bytes(&mut list, 1, times[i].to_string().as_bytes()));
            1
        }
        Values::Float(numbers) => {
            range.for_each(|i| packed.extend((numbers[i] as f32).to_le_bytes()));
            2
        }
        Values::Int(numbers) => {
            range.for_each(|i| push_varint(&mut packed, numbers[i] as u64));
            3
        }
    };
    if kind != 1 {
        push_bytes(&mut list, 1, &packed);
    }
    let mut feature = Vec::new();
    push_bytes(&mut feature, kind, &list);
    feature
}
