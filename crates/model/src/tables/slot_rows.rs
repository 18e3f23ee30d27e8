//! A growing matrix in chunks: adding rows neither moves nor copies the existing ones, but for those of the first chunk,
//! once.

use super::ZeroRows;
use super::zero_rows::prefetch_row;
use crate::number::Real;

/// Number of rows in a chunk: enough to fill some large pages.
const CHUNK: usize = 1 << 16;

/// Number of rows that go to one thread together.
const PIECE: usize = 1 << 12;

/// A growing matrix `[rows, width]`. Row 0 exists from the start and stays zero: ids without a row of
/// their own point to it.
///
/// The first chunk is in ordinary pages, since many tables have few rows; when it is full, it moves to
/// large pages, in which the others are from the start.
#[derive(Clone, Debug)]
pub struct SlotRows<R> {
    width: usize,
    n_rows: usize,
    /// Number of rows in a chunk; smaller for a matrix that cannot fill a chunk.
    per_chunk: usize,
    chunks: Vec<ZeroRows<R>>,
}

/// Some rows of a [`SlotRows`], for one thread to change.
#[derive(Debug)]
pub struct SlotRowsPart<'a, R> {
    width: usize,
    per_piece: usize,
    first_piece: usize,
    pieces: Vec<&'a mut [R]>,
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
            if self.chunks.len() == 1 {
                self.chunks[0].move_to_large_pages();
            }
            let chunk = ZeroRows::in_large_pages(self.per_chunk, self.width);
            self.chunks.push(chunk);
        }
    }

    /// Returns one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row(&self, slot: u32) -> &[R] {
        let (chunk, row) = place::<CHUNK>(slot, self.per_chunk);
        self.chunks[chunk].row(row)
    }

    /// Returns one row, mutably.
    ///
    /// # Panics
    /// If there is no such row, or it is the row of zeros.
    #[inline]
    pub fn row_mut(&mut self, slot: u32) -> &mut [R] {
        assert!(slot != 0, "the row of zeros stays");
        let (chunk, row) = place::<CHUNK>(slot, self.per_chunk);
        self.chunks[chunk].row_mut(row)
    }

    /// Prefetches a row.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let (chunk, row) = place::<CHUNK>(slot, self.per_chunk);
        if let Some(chunk) = self.chunks.get(chunk) {
            chunk.prefetch(row);
        }
    }

    /// Number of rows in a piece.
    fn per_piece(&self) -> usize {
        PIECE.min(self.per_chunk)
    }

    /// Returns the first row after the piece of `slot`; parts may end there.
    pub fn end_of_piece(&self, slot: u32) -> usize {
        let per_piece = self.per_piece();
        (slot as usize / per_piece + 1) * per_piece
    }

    /// Splits all rows into parts that end before these rows, which must be ends of pieces or beyond the last row.
    ///
    /// # Panics
    /// If the ends are not ascending, or not ends of pieces.
    pub fn split(&mut self, ends: &[usize]) -> Vec<SlotRowsPart<'_, R>> {
        let (width, per_piece) = (self.width, self.per_piece());
        // A chunk has a whole number of pieces, or is one itself.
        let chunks = self.chunks.iter_mut();
        let mut pieces =
            chunks.flat_map(|chunk| chunk.all_mut().chunks_mut((per_piece * width).max(1)));
        let mut first_piece = 0;
        let part = |&end: &usize| {
            assert!(end.is_multiple_of(per_piece), "a part ends at row {end}");
            let n_pieces = end / per_piece - first_piece;
            let part = SlotRowsPart {
                width,
                per_piece,
                first_piece,
                pieces: pieces.by_ref().take(n_pieces).collect(),
            };
            first_piece += n_pieces;
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
        let (piece, row) = place::<PIECE>(slot, self.per_piece);
        let start = row as usize * self.width;
        &mut self.pieces[piece - self.first_piece][start..start + self.width]
    }

    /// Prefetches a row of this part.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let (piece, row) = place::<PIECE>(slot, self.per_piece);
        if let Some(piece) = self.pieces.get(piece.wrapping_sub(self.first_piece)) {
            prefetch_row(piece, row as usize * self.width, self.width);
        }
    }
}

/// Returns the group of rows that a row is in, of `per_group` rows each, usually `USUAL`, and its position there.
#[inline]
fn place<const USUAL: usize>(slot: u32, per_group: usize) -> (usize, u32) {
    if per_group == USUAL {
        return (slot as usize / USUAL, slot % USUAL as u32);
    }
    (
        slot as usize / per_group,
        (slot as usize % per_group) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_values_as_the_matrix_grows() {
        let mut rows: SlotRows<f32> = SlotRows::new(3, 1_000_000);
        rows.grow_to(3);
        rows.row_mut(2).copy_from_slice(&[1.0, 2.0, 3.0]);
        rows.grow_to(2 * CHUNK);
        assert_eq!(rows.row(2), [1.0, 2.0, 3.0]);
        let before = rows.row(2).as_ptr();
        rows.grow_to(3 * CHUNK);
        assert_eq!(rows.row(2).as_ptr(), before, "only once");
        assert_eq!(rows.row(0), [0.0; 3]);
        let ends = [PIECE, 2 * CHUNK + PIECE, 3 * CHUNK + PIECE];
        let mut parts = rows.split(&ends);
        assert_eq!(parts[0].row_mut(2), [1.0, 2.0, 3.0]);
        parts[1].row_mut(PIECE as u32)[0] = 5.0;
        parts[1].row_mut(2 * CHUNK as u32)[1] = 6.0;
        parts[2].row_mut(3 * CHUNK as u32 - 1)[2] = 7.0;
        let check = |rows: &SlotRows<f32>| {
            assert_eq!(rows.row(PIECE as u32), [5.0, 0.0, 0.0]);
            assert_eq!(rows.row(2 * CHUNK as u32), [0.0, 6.0, 0.0]);
            assert_eq!(rows.row(3 * CHUNK as u32 - 1), [0.0, 0.0, 7.0]);
        };
        check(&rows);
        check(&rows.clone());
    }

    #[test]
    fn a_small_matrix_is_one_piece() {
        let mut rows: SlotRows<f32> = SlotRows::new(2, 9);
        rows.grow_to(10);
        let end = rows.end_of_piece(9);
        assert_eq!((end, rows.end_of_piece(0)), (10, 10));
        rows.split(&[end])[0].row_mut(9)[1] = 1.0;
        assert_eq!(rows.row(9), [0.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "the row of zeros stays")]
    fn the_row_of_zeros_cannot_be_changed() {
        SlotRows::<f32>::new(3, 10).row_mut(0);
    }
}
