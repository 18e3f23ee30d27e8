//! The values of a tensor, as they are written to a file.

use crate::tables::SlotRows;
use safetensors::tensor::Dtype;
use std::io;

const CHUNK_BYTES: usize = 1 << 16;

/// The values of a tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Weights and moments.
    F32(&'a [f32]),
    /// Weights and moments in the rows of a large matrix, written without a copy of the whole.
    F32Rows(FirstRows<'a>),
    /// Ids and counts below 2^32.
    U32(&'a [u32]),
    /// Counts and states of random number generators.
    U64(&'a [u64]),
    /// Bits and bytes.
    U8(&'a [u8]),
}

/// Rows of a matrix after the row of zeros, in their order, in which they are read from a file quickly.
#[derive(Clone, Copy, Debug)]
pub struct FirstRows<'a> {
    /// The matrix.
    pub rows: &'a SlotRows<f32>,
    /// Their number.
    pub n_rows: usize,
}

impl Values<'_> {
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Values::F32(_) | Values::F32Rows(_) => Dtype::F32,
            Values::U32(_) => Dtype::U32,
            Values::U64(_) => Dtype::U64,
            Values::U8(_) => Dtype::U8,
        }
    }

    /// Returns the size of a value in bytes.
    pub(crate) fn size(&self) -> usize {
        self.dtype().bitsize() / 8
    }

    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            Values::F32(values) => size_of_val(*values),
            Values::F32Rows(rows) => rows.n_values() * size_of::<f32>(),
            Values::U32(values) => size_of_val(*values),
            Values::U64(values) => size_of_val(*values),
            Values::U8(values) => size_of_val(*values),
        }
    }

    pub(crate) fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        self.visit_bytes(|bytes| {
            hasher.update(bytes);
            Ok(())
        })
        .expect("hashing does not fail");
        hasher.finalize()
    }

    /// Visits the little-endian bytes in chunks, so that a large tensor is never copied whole.
    pub(super) fn visit_bytes(&self, visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Values::F32(values) => visit_chunks(values, f32::to_le_bytes, visit),
            Values::F32Rows(rows) => rows.visit_bytes(visit),
            Values::U32(values) => visit_chunks(values, u32::to_le_bytes, visit),
            Values::U64(values) => visit_chunks(values, u64::to_le_bytes, visit),
            Values::U8(values) => values.chunks(CHUNK_BYTES).try_for_each(visit),
        }
    }
}

impl FirstRows<'_> {
    fn n_values(&self) -> usize {
        self.n_rows * self.rows.width()
    }

    fn visit_bytes(&self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES + self.rows.width() * size_of::<f32>());
        for row in 1..=self.n_rows as u32 {
            self.rows.read_ahead(row);
            let values = self.rows.row(row).iter();
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
            if bytes.len() >= CHUNK_BYTES {
                visit(&bytes)?;
                bytes.clear();
            }
        }
        visit(&bytes)
    }
}

fn visit_chunks<T: Copy, const N: usize>(
    values: &[T],
    to_bytes: fn(T) -> [u8; N],
    mut visit: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    for chunk in values.chunks(CHUNK_BYTES / N) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|&value| to_bytes(value)));
        visit(&bytes)?;
    }
    Ok(())
}
