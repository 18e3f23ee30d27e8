//! A matrix of zeros that takes no memory until it is written.

use crate::kernels::prefetch;
use crate::number::Real;

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// A matrix `[rows, width]`, initially zero. The system provides its memory
/// page by page as it is written, so rows that are never written cost nothing. The first row is aligned to a
/// cache line, so that rows of 16 or 32 `f32` span as few lines as possible.
#[derive(Clone, Debug)]
pub(super) struct ZeroRows<R> {
    width: usize,
    /// The values, with padding for the alignment.
    values: Vec<R>,
    /// The start of the first row in `values`.
    start: usize,
}

impl<R: Real> ZeroRows<R> {
    /// Creates `n_rows` rows of `width` zeros.
    pub(super) fn new(n_rows: usize, width: usize) -> ZeroRows<R> {
        let slack = LINE / size_of::<R>();
        let values = vec![R::ZERO; n_rows * width + slack];
        let start = values.as_ptr().align_offset(LINE).min(slack);
        ZeroRows {
            width,
            values,
            start,
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
        let copy = rows.clone();
        assert_eq!(copy.row(9), rows.row(9));
        rows.prefetch(9);
        rows.prefetch(u32::MAX);
    }
}
