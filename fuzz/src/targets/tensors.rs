//! Tensors as bytes: their shapes, datatypes and values, and how they become columns.
//!
//! An input is a sequence of tensors: a byte each for the name, the datatype and the number of
//! sizes, four bytes for each size, two for the number of value bytes, and the values.

use super::{Target, WORDS, requests};
use crate::mutate::Form;
use ncs_features::Column;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::wire::datatype::Datatype;
use ncs_serve::wire::tensors::{Tensor, blocks, n_values};

pub(super) const TARGET: Target = Target {
    name: "tensors",
    run,
    seeds,
    form: Form::Bytes,
    words: WORDS,
    max_length: 16 << 10,
};

const NAMES: [&str; 12] = [
    "user",
    "hour",
    "history",
    "history:lengths",
    "video",
    "tags",
    "tags:lengths",
    "price",
    "age",
    "watch",
    "watch:lengths",
    ":lengths",
];

const DATATYPES: [&str; 14] = [
    "BYTES", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "BF16", "FP32", "FP64",
];

fn run(mut input: &[u8]) -> Result<String, String> {
    let mut tensors = Vec::new();
    while !input.is_empty() {
        tensors.push(tensor(&mut input)?);
    }
    let query = |accepts: &_| {
        let (context, candidates) = blocks(tensors.clone(), accepts)?;
        for column in &context.columns {
            check_column(column, 1);
        }
        for column in &candidates.columns {
            check_column(column, candidates.n_rows);
        }
        let query = RankQuery {
            context,
            candidates,
            ..RankQuery::default()
        };
        Ok((query, ()))
    };
    requests::handle(query, |_, ()| Ok(()))
}

fn tensor(input: &mut &[u8]) -> Result<Tensor, String> {
    let short = || "it is truncated".to_owned();
    let [name, datatype, n_sizes] = *take::<3>(input).ok_or_else(short)?;
    let sizes = (0..n_sizes % 4).map(|_| take(input).map(|&size| i32::from_le_bytes(size).into()));
    let shape: Vec<i64> = sizes.collect::<Option<_>>().ok_or_else(short)?;
    let n_bytes = u16::from_le_bytes(*take(input).ok_or_else(short)?);
    let bytes = input.split_off(..n_bytes.into()).ok_or_else(short)?;
    let datatype = DATATYPES[usize::from(datatype) % DATATYPES.len()];
    let values = Datatype::parse(datatype)
        .and_then(|datatype| datatype.read(bytes, n_values(&shape)?))
        .map_err(|error| error.message)?;
    Ok(Tensor {
        name: NAMES[usize::from(name) % NAMES.len()].to_owned(),
        shape,
        values,
    })
}

fn take<'a, const N: usize>(input: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(first)
}

/// Checks that a column has every row.
fn check_column(column: &Column, n_rows: usize) {
    let n_values = column.values.len();
    match &column.offsets {
        None => assert_eq!(n_values, n_rows, "{}", column.name),
        Some(offsets) => {
            assert_eq!(offsets.len(), n_rows + 1, "{}", column.name);
            assert!(offsets.is_sorted(), "{}", column.name);
            assert_eq!(
                offsets.last().copied(),
                Some(n_values as u32),
                "{}",
                column.name
            );
        }
    }
}

/// Encodes a tensor for an input: positions in the lists of names and datatypes, sizes, bytes.
fn encode(name: u8, datatype: u8, shape: &[i32], bytes: &[u8]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_le_bytes());
    let mut bytes_out = vec![name, datatype, shape.len() as u8];
    bytes_out.extend(sizes);
    bytes_out.extend((bytes.len() as u16).to_le_bytes());
    bytes_out.extend(bytes);
    bytes_out
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = [
        encode(0, 0, &[1], b"\x02\0\0\0u7"),
        encode(1, 2, &[1], &[21]),
        encode(2, 0, &[1, 2], b"\x02\0\0\0v1\x01\0\0\0x"),
        encode(3, 4, &[1], &[1, 0, 0, 0]),
        encode(4, 9, &[2], &[255; 16]),
        encode(5, 0, &[2, 1], b"\x04\0\0\0news\0\0\0\0"),
        encode(7, 10, &[2], &[0, 60, 0, 192]),
        encode(8, 13, &[1, 1], &33f64.to_le_bytes()),
        encode(9, 3, &[2, 2], &[1, 0, 2, 0, 3, 0, 4, 0]),
        encode(10, 1, &[2], &[0, 1]),
    ];
    let numbers = (1..14).map(|datatype| encode(4, datatype, &[1, 0], &[]));
    let mut seeds: Vec<Vec<u8>> = numbers.collect();
    seeds.push(whole.concat());
    seeds.push(whole[4..].concat());
    seeds.extend(whole);
    seeds
}
