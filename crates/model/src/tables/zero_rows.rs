//! A matrix of zeros that takes no memory until it is written.

use crate::kernels::prefetch;
use crate::number::Real;
use crate::storage::MappedNumbers;
use std::ops::{Deref, DerefMut, Range};

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// A matrix `[rows, width]`, initially zero. The system provides its memory
/// page by page as it is written, so rows that are never written cost nothing. The first row is aligned to a
/// cache line, so that rows of 16 or 32 `f32` span as few lines as possible.
#[derive(Debug)]
pub(super) struct ZeroRows<R> {
    width: usize,
    values: Numbers<R>,
    /// The start of the first row in `values`.
    start: usize,
}

#[derive(Debug)]
enum Numbers<R> {
    /// With padding for the alignment.
    Memory(Vec<R>),
    File(MappedNumbers<R>),
}

impl<R: Real> Deref for Numbers<R> {
    type Target = [R];

    #[inline]
    fn deref(&self) -> &[R] {
        match self {
            Numbers::Memory(values) => values,
            Numbers::File(values) => values,
        }
    }
}

impl<R: Real> DerefMut for Numbers<R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [R] {
        match self {
            Numbers::Memory(values) => values,
            Numbers::File(values) => values,
        }
    }
}

impl<R: Real> ZeroRows<R> {
    /// Creates `n_rows` rows of `width` zeros.
    pub(super) fn new(n_rows: usize, width: usize) -> ZeroRows<R> {
        let slack = LINE / size_of::<R>();
        let values = vec![R::ZERO; n_rows * width + slack];
        let start = values.as_ptr().align_offset(LINE).min(slack);
        ZeroRows {
            width,
            values: Numbers::Memory(values),
            start,
        }
    }

    /// Creates rows of `width` numbers in a file.
    pub(super) fn in_file(values: MappedNumbers<R>, width: usize) -> ZeroRows<R> {
        ZeroRows {
            width,
            values: Numbers::File(values),
            start: 0,
        }
    }

    /// Returns as many rows in memory, the first `n_copied` of which are these, and the others zeros.
    pub(super) fn in_memory(&self, n_rows: usize, n_copied: usize) -> ZeroRows<R> {
        let mut copy = ZeroRows::new(n_rows, self.width);
        copy.copy_from(self, n_copied);
        copy
    }

    /// Copies the first rows of others.
    pub(super) fn copy_from(&mut self, other: &ZeroRows<R>, n_rows: usize) {
        let n = n_rows * self.width;
        let from = &other.values[other.start..other.start + n];
        self.values[self.start..self.start + n].copy_from_slice(from);
    }

    /// Asks the system to read rows from a file, if they lie in one.
    pub(super) fn read_ahead(&self, rows: Range<usize>) {
        if let Numbers::File(values) = &self.values {
            values.read_ahead(rows.start * self.width..rows.end * self.width);
        }
    }

    /// Returns false if the first number of a row has to be read from the disk.
    pub(super) fn is_in_memory(&self, row: u32) -> bool {
        match &self.values {
            Numbers::Memory(_) => true,
            Numbers::File(values) => values.is_in_memory(row as usize * self.width),
        }
    }

    /// Returns one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(super) fn row(&self, row: u32) -> &[R] {
        let start = self.start + row as usize * self.width;
        &self.values[start..start + self.width]
    }

    /// Returns one row, mutably.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(super) fn row_mut(&mut self, row: u32) -> &mut [R] {
        let start = self.start + row as usize * self.width;
        &mut self.values[start..start + self.width]
    }

    /// Prefetches a row.
    #[inline]
    pub(super) fn prefetch(&self, row: u32) {
        prefetch_row(
            &self.values,
            self.start + row as usize * self.width,
            self.width,
        );
    }
}

#[inline]
fn prefetch_row<R>(values: &[R], start: usize, width: usize) {
    for at in (0..width).step_by(LINE / size_of::<R>()) {
        prefetch(values, start.wrapping_add(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_zero_aligned_and_separate() {
        let mut rows: ZeroRows<f32> = ZeroRows::new(10, 16);
        assert!((0..10).all(|row| rows.row(row) == [0.0; 16]));
        assert_eq!(rows.row(3).as_ptr() as usize % LINE, 0);
        rows.row_mut(9)[15] = 1.0;
        assert_eq!(rows.row(9)[15], 1.0);
        let copy = rows.in_memory(12, 10);
        assert_eq!(copy.row(9), rows.row(9));
        rows.prefetch(9);
        rows.prefetch(u32::MAX);
    }
}
