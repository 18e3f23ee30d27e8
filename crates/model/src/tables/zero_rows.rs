//! Rows of numbers that take no memory until they are written.

use crate::kernels::prefetch;
use crate::number::Real;

/// Bytes of a cache line.
const LINE: usize = 64;

/// A matrix `[rows, width]` that is zero where nothing was written. The system hands out its memory
/// page by page as it is written, so that rows nobody writes cost nothing. The first row begins on a
/// cache line: rows of 16 or 32 `f32` touch no more lines than they must.
#[derive(Clone, Debug)]
pub struct ZeroRows<R> {
    n_rows: usize,
    width: usize,
    /// Some numbers more than there are, so that `start` can be chosen.
    values: Vec<R>,
    /// Where the first row begins.
    start: usize,
}

/// Some rows of a [`ZeroRows`], side by side, to be changed by one thread.
#[derive(Debug)]
pub struct RowsPart<'a, R> {
    first: usize,
    width: usize,
    values: &'a mut [R],
}

impl<R: Real> ZeroRows<R> {
    /// `n_rows` rows of `width` zeros.
    pub fn new(n_rows: usize, width: usize) -> ZeroRows<R> {
        let slack = LINE / size_of::<R>();
        let values = vec![R::ZERO; n_rows * width + slack];
        let start = values.as_ptr().align_offset(LINE).min(slack);
        ZeroRows {
            n_rows,
            width,
            values,
            start,
        }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row-major.
    pub fn values(&self) -> &[R] {
        &self.values[self.start..self.start + self.n_rows * self.width]
    }

    /// One row.
    ///
    /// # Panics
    /// If there is none of this number.
    #[inline]
    pub fn row(&self, row: u32) -> &[R] {
        let start = self.start + row as usize * self.width;
        &self.values[start..start + self.width]
    }

    /// One row, to be changed.
    ///
    /// # Panics
    /// If there is none of this number.
    #[inline]
    pub fn row_mut(&mut self, row: u32) -> &mut [R] {
        let start = self.start + row as usize * self.width;
        &mut self.values[start..start + self.width]
    }

    /// Asks for a row that will soon be read or written.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        prefetch_row(
            &self.values,
            self.start + row as usize * self.width,
            self.width,
        );
    }

    /// All rows cut into parts that end before these rows.
    ///
    /// # Panics
    /// If the ends fall, or lie behind the last row.
    pub fn split(&mut self, ends: &[usize]) -> Vec<RowsPart<'_, R>> {
        let width = self.width;
        let mut rest = &mut self.values[self.start..self.start + self.n_rows * width];
        let mut first = 0;
        let mut part = |&end: &usize| {
            let (values, behind) = std::mem::take(&mut rest).split_at_mut((end - first) * width);
            rest = behind;
            let part = RowsPart {
                first,
                width,
                values,
            };
            first = end;
            part
        };
        ends.iter().map(&mut part).collect()
    }
}

impl<R: Real> RowsPart<'_, R> {
    /// The row that has this number in the whole, to be changed.
    ///
    /// # Panics
    /// If it lies outside of this part.
    #[inline]
    pub fn row_mut(&mut self, row: u32) -> &mut [R] {
        let start = (row as usize - self.first) * self.width;
        &mut self.values[start..start + self.width]
    }

    /// Asks for a row of this part that will soon be read or written.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        let start = (row as usize).wrapping_sub(self.first);
        prefetch_row(self.values, start.wrapping_mul(self.width), self.width);
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
    fn rows_are_zero_aligned_and_apart() {
        let mut rows: ZeroRows<f32> = ZeroRows::new(10, 16);
        assert_eq!(rows.values(), [0.0; 160]);
        assert_eq!(rows.row(3).as_ptr() as usize % LINE, 0);
        rows.row_mut(9)[15] = 1.0;
        assert_eq!(rows.values()[159], 1.0);
        let copy = rows.clone();
        assert_eq!(copy.row(9), rows.row(9));
        rows.prefetch(9);
        rows.prefetch(u32::MAX);
    }

    #[test]
    fn parts_are_the_rows_of_the_whole() {
        let mut rows: ZeroRows<f64> = ZeroRows::new(7, 3);
        let mut parts = rows.split(&[2, 2, 6, 7]);
        parts[0].row_mut(1)[0] = 1.0;
        parts[2].row_mut(2)[1] = 2.0;
        parts[2].row_mut(5)[2] = 3.0;
        parts[3].row_mut(6)[2] = 4.0;
        parts.iter().for_each(|part| part.prefetch(0));
        let found = [
            rows.row(1)[0],
            rows.row(2)[1],
            rows.row(5)[2],
            rows.row(6)[2],
        ];
        assert_eq!(found, [1.0, 2.0, 3.0, 4.0]);
    }
}
