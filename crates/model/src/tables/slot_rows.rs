//! A growing matrix in chunks: adding rows neither moves nor copies the existing ones.

use super::ZeroRows;
use crate::number::Real;

/// Number of rows in a chunk.
const CHUNK: usize = 1 << 12;

/// A growing matrix `[rows, width]`. Row 0 exists from the start and stays zero: ids without a row of
/// their own point to it.
#[derive(Clone, Debug)]
pub struct SlotRows<R> {
    width: usize,
    n_rows: usize,
    /// Number of rows in a chunk; smaller for a matrix that cannot fill a chunk.
    per_chunk: usize,
    chunks: Vec<ZeroRows<R>>,
}

/// Some chunks of a [`SlotRows`], for one thread to change.
#[derive(Debug)]
pub struct SlotRowsPart<'a, R> {
    per_chunk: usize,
    first_chunk: usize,
    chunks: &'a mut [ZeroRows<R>],
}

impl<R: Real> SlotRows<R> {
    /// Creates a matrix with the row of zeros, which can grow by at most `max` rows.
    pub fn new(width: usize, max: usize) -> SlotRows<R> {
        let per_chunk = CHUNK.min(max + 1);
        SlotRows {
            width,
            n_rows: 1,
            per_chunk,
            chunks: vec![ZeroRows::new(per_chunk, width)],
        }
    }

    /// Returns the number of rows, including the row of zeros.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds rows of zeros until there are `n_rows`.
    pub fn grow_to(&mut self, n_rows: usize) {
        self.n_rows = self.n_rows.max(n_rows);
        while self.chunks.len() * self.per_chunk < self.n_rows {
            self.chunks.push(ZeroRows::new(self.per_chunk, self.width));
        }
    }

    /// Returns one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row(&self, slot: u32) -> &[R] {
        let (chunk, row) = place(slot, self.per_chunk);
        self.chunks[chunk].row(row)
    }

    /// Returns one row, mutably.
    ///
    /// # Panics
    /// If there is no such row, or it is the row of zeros.
    #[inline]
    pub fn row_mut(&mut self, slot: u32) -> &mut [R] {
        assert!(slot != 0, "the row of zeros stays");
        let (chunk, row) = place(slot, self.per_chunk);
        self.chunks[chunk].row_mut(row)
    }

    /// Prefetches a row.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let (chunk, row) = place(slot, self.per_chunk);
        if let Some(chunk) = self.chunks.get(chunk) {
            chunk.prefetch(row);
        }
    }

    /// Returns the first row after the chunk of `slot`; parts may end there.
    pub fn end_of_chunk(&self, slot: u32) -> usize {
        (place(slot, self.per_chunk).0 + 1) * self.per_chunk
    }

    /// Splits all rows into parts that end before these rows, which must be ends of chunks or beyond the last row.
    ///
    /// # Panics
    /// If the ends are not ascending, or not ends of chunks.
    pub fn split(&mut self, ends: &[usize]) -> Vec<SlotRowsPart<'_, R>> {
        let per_chunk = self.per_chunk;
        let n_chunks = self.chunks.len();
        let mut rest = self.chunks.as_mut_slice();
        let mut first_chunk = 0;
        let part = |&end: &usize| {
            assert!(end.is_multiple_of(per_chunk), "a part ends at row {end}");
            let end = n_chunks.min(end / per_chunk);
            let (chunks, after) = std::mem::take(&mut rest).split_at_mut(end - first_chunk);
            rest = after;
            let part = SlotRowsPart {
                per_chunk,
                first_chunk,
                chunks,
            };
            first_chunk = end;
            part
        };
        ends.iter().map(part).collect()
    }
}

impl<R: Real> SlotRowsPart<'_, R> {
    /// Returns the row with this number in the whole matrix, mutably.
    ///
    /// # Panics
    /// If it lies outside this part, or is the row of zeros.
    #[inline]
    pub fn row_mut(&mut self, slot: u32) -> &mut [R] {
        assert!(slot != 0, "the row of zeros stays");
        let (chunk, row) = place(slot, self.per_chunk);
        self.chunks[chunk - self.first_chunk].row_mut(row)
    }

    /// Prefetches a row of this part.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let (chunk, row) = place(slot, self.per_chunk);
        if let Some(chunk) = self.chunks.get(chunk.wrapping_sub(self.first_chunk)) {
            chunk.prefetch(row);
        }
    }
}

/// Returns the chunk of a row, and the row's position in it.
#[inline]
fn place(slot: u32, per_chunk: usize) -> (usize, u32) {
    if per_chunk == CHUNK {
        return (slot as usize / CHUNK, slot % CHUNK as u32);
    }
    (
        slot as usize / per_chunk,
        (slot as usize % per_chunk) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_do_not_move_as_the_matrix_grows() {
        let mut rows: SlotRows<f32> = SlotRows::new(3, 1_000_000);
        rows.grow_to(3);
        rows.row_mut(2).copy_from_slice(&[1.0, 2.0, 3.0]);
        let before = rows.row(2).as_ptr();
        rows.grow_to(3 * CHUNK);
        assert_eq!(rows.row(2), [1.0, 2.0, 3.0]);
        assert_eq!(rows.row(2).as_ptr(), before);
        assert_eq!(rows.row(0), [0.0; 3]);
        let mut parts = rows.split(&[CHUNK, 3 * CHUNK]);
        assert_eq!(parts[0].row_mut(2), [1.0, 2.0, 3.0]);
        parts[1].row_mut(CHUNK as u32)[0] = 5.0;
        assert_eq!(rows.row(CHUNK as u32), [5.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "the row of zeros stays")]
    fn the_row_of_zeros_cannot_be_changed() {
        SlotRows::<f32>::new(3, 10).row_mut(0);
    }
}
