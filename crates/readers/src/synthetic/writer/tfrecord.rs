//! TFRecord of `tf.train.Example`: the framing and the few protobuf messages, written by hand.

use super::Wrong;
use super::output::Output;
use crate::tfrecord::masked_crc;
use ncs_features::{Block, Column, Values};
use std::io::{self, Write};

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

/// Length, its checksum, the bytes, their checksum; all little-endian.
fn write_record(output: &mut Output, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    output.write_all(&length)?;
    output.write_all(&masked_crc(&length).to_le_bytes())?;
    output.write_all(bytes)?;
    output.write_all(&masked_crc(bytes).to_le_bytes())
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

/// A length-delimited protobuf field.
fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    const LENGTH_DELIMITED: u64 = 2;
    push_varint(out, field << 3 | LENGTH_DELIMITED);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_seven_bits_a_byte() {
        let check = |number: i64, expected: &[u8]| {
            let mut out = Vec::new();
            push_varint(&mut out, number as u64);
            assert_eq!(out, expected);
        };
        check(0, &[0]);
        check(300, &[0xAC, 0x02]);
        check(
            -1,
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        );
    }
}
