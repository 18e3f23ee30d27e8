//! A growing matrix in chunks: adding rows neither moves nor copies the existing ones.

mod fetch;

pub use fetch::fetch_rows;

use super::ZeroRows;
use crate::kernels::prefetch;
use crate::number::Real;
use crate::storage::{GrowingFile, RowValues, TableFiles, TableStorage};
use std::sync::Arc;

/// Number of rows in a chunk.
const CHUNK: usize = 1 << 12;

/// Number of rows in a chunk of a matrix in a file: each chunk is a mapping, of which a process has 65,530.
const CHUNK_IN_FILE: usize = 1 << 18;

/// Bytes that are read ahead at once.
const READ_AHEAD: usize = 4 << 20;

/// A matrix that can have fewer rows stays in memory.
const LEAST_IN_FILE: usize = 1 << 10;

/// A growing matrix `[rows, width]`. Row 0 exists from the start and stays zero: ids without a row of
/// their own point to it.
#[derive(Debug)]
pub struct SlotRows<R: Real> {
    width: usize,
    n_rows: usize,
    /// Number of rows in a chunk; smaller for a matrix that cannot fill a chunk.
    per_chunk: usize,
    chunks: Vec<ZeroRows<R>>,
    /// The file of all chunks, and of further ones.
    file: Option<GrowingFile>,
    /// Rows after the row of zeros that are given, and cannot be changed.
    frozen: Option<RowValues<R>>,
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
            file: None,
            frozen: None,
        }
    }

    /// Creates such a matrix in a storage. Where that fails, it is in memory, and [`TableStorage::check`] tells. Matrices
    /// of the same storage and `max` have the same chunks.
    pub fn new_in(storage: &TableStorage, width: usize, max: usize) -> SlotRows<R> {
        let mut rows = SlotRows::new(width, max);
        let TableStorage::Files(files) = storage else {
            return rows;
        };
        if max < LEAST_IN_FILE {
            return rows;
        }
        rows.per_chunk = CHUNK_IN_FILE.min(max + 1);
        rows.chunks.clear();
        rows.begin_file(files);
        rows
    }

    /// Makes a matrix without chunks begin in a file.
    fn begin_file(&mut self, files: &Arc<TableFiles>) {
        match GrowingFile::new(files, self.per_chunk * self.width * size_of::<R>()) {
            Ok(file) => self.file = Some(file),
            Err(error) => files.note(&error),
        }
        self.grow_to(1);
    }

    /// Creates a matrix of these rows after the row of zeros. It cannot be changed.
    pub(crate) fn frozen(width: usize, values: RowValues<R>) -> SlotRows<R> {
        SlotRows {
            n_rows: 1 + values.len() / width.max(1),
            frozen: Some(values),
            ..SlotRows::new(width, 0)
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
    ///
    /// # Panics
    /// If the rows cannot be changed.
    pub fn grow_to(&mut self, n_rows: usize) {
        assert!(
            self.frozen.is_none() || n_rows <= self.n_rows,
            "frozen rows"
        );
        let before = self.n_rows;
        self.n_rows = before.max(n_rows);
        if self.file.is_some() {
            self.grow_file(before);
        }
        while self.chunks.len() * self.per_chunk < self.n_rows {
            self.chunks.push(ZeroRows::new(self.per_chunk, self.width));
        }
    }

    /// Gives all rows a place in the file, beside those that there were before. Where that fails, the last chunk and
    /// further ones are in memory.
    fn grow_file(&mut self, before: usize) {
        while let Some(file) = &mut self.file {
            let last = self.chunks.len().saturating_sub(1) * self.per_chunk;
            let n_last = (self.n_rows - last).min(self.per_chunk);
            let needed = n_last * self.width * size_of::<R>();
            let mut grown = match self.chunks.is_empty() {
                true => Ok(()),
                false => file.allocate(needed),
            };
            let is_full = self.chunks.len() * self.per_chunk < self.n_rows;
            if grown.is_ok() && is_full {
                grown = file.add(self.per_chunk * self.width).map(|numbers| {
                    self.chunks.push(ZeroRows::in_file(numbers, self.width));
                });
            } else if grown.is_ok() {
                return;
            }
            if let Err(error) = grown {
                file.files().note(&error);
                self.file = None;
                // The others have no place on the disk: they must be neither written nor read there.
                if let Some(chunk) = self.chunks.last_mut() {
                    let n_rows = before.saturating_sub(last).min(self.per_chunk);
                    *chunk = chunk.in_memory(self.per_chunk, n_rows);
                }
            }
        }
    }

    /// Asks the system to read the rows from a file, if they lie in one, some of them ahead of reading `slot`, when rows
    /// are read in order.
    pub(crate) fn read_ahead(&self, slot: u32) {
        let (slot, n) = (
            slot as usize,
            READ_AHEAD / (self.width * size_of::<R>()).max(1) + 1,
        );
        let is_first = slot <= 1;
        if self.file.is_none() || !(slot.is_multiple_of(n) || is_first) {
            return;
        }
        let from = if is_first { 0 } else { slot + n };
        let (chunk, row) = place(from as u32, self.per_chunk);
        if let Some(rows) = self.chunks.get(chunk) {
            let row = row as usize;
            let n = if is_first { 2 * n } else { n };
            rows.read_ahead(row..(row + n).min(self.per_chunk));
        }
    }

    /// Returns one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row(&self, slot: u32) -> &[R] {
        if let (Some(values), Some(row)) = (&self.frozen, (slot as usize).checked_sub(1)) {
            return &values[row * self.width..(row + 1) * self.width];
        }
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
        if let Some(values) = &self.frozen {
            return prefetch(
                values,
                (slot as usize).wrapping_sub(1).wrapping_mul(self.width),
            );
        }
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

impl<R: Real> Clone for SlotRows<R> {
    /// Copies the rows to where they lie: in memory, or in another file.
    fn clone(&self) -> SlotRows<R> {
        if let Some(values) = &self.frozen {
            return SlotRows::frozen(self.width, values.clone());
        }
        let mut copy = SlotRows {
            width: self.width,
            n_rows: 1,
            per_chunk: self.per_chunk,
            chunks: Vec::new(),
            file: None,
            frozen: None,
        };
        if let Some(file) = &self.file {
            copy.begin_file(file.files());
        }
        copy.grow_to(self.n_rows);
        for (number, (to, from)) in copy.chunks.iter_mut().zip(&self.chunks).enumerate() {
            let n_rows = self.n_rows - number * self.per_chunk;
            to.copy_from(from, n_rows.min(self.per_chunk));
        }
        copy
    }
}

/// Returns the chunk of a row, and the row's position in it.
#[inline]
fn place(slot: u32, per_chunk: usize) -> (usize, u32) {
    // Constants, so that a shift takes the place of a division.
    match per_chunk {
        CHUNK => return (slot as usize / CHUNK, slot % CHUNK as u32),
        CHUNK_IN_FILE => return (slot as usize / CHUNK_IN_FILE, slot % CHUNK_IN_FILE as u32),
        _ => {}
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

    fn in_file(folder: &std::path::Path, width: usize, max: usize) -> SlotRows<f32> {
        SlotRows::new_in(&TableStorage::in_folder(folder), width, max)
    }

    #[test]
    fn rows_in_a_file_are_those_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let n = CHUNK_IN_FILE + 5;
        let mut rows = in_file(folder.path(), 3, 10_000_000);
        assert_eq!((rows.row(0), rows.chunks.len()), (&[0.0; 3][..], 1));
        let value = |slot: usize| [slot as f32, -1.0, 0.5];
        for slot in 1..n {
            rows.grow_to(slot + 1);
            rows.row_mut(slot as u32).copy_from_slice(&value(slot));
        }
        assert!(rows.file.is_some() && rows.chunks.len() == 2);
        let copy = rows.clone();
        rows.row_mut(7)[0] = 0.0;
        for slot in (1..n).step_by(997).chain([7, n - 1]) {
            copy.read_ahead(slot as u32);
            assert_eq!(copy.row(slot as u32), value(slot));
        }
        assert!(copy.file.is_some());
        assert!(in_file(folder.path(), 3, 100).file.is_none(), "a small one");
        let ends = [CHUNK_IN_FILE, 2 * CHUNK_IN_FILE];
        assert_eq!(rows.split(&ends)[1].row_mut(n as u32 - 1), value(n - 1));
    }

    #[cfg(unix)]
    #[test]
    fn no_row_is_lost_when_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let storage = TableStorage::in_folder(folder.path());
        // A row of 4 KiB: blocks for 256 rows are allocated at once.
        let mut rows: SlotRows<f32> = SlotRows::new_in(&storage, 1024, 5000);
        for n in [200, 256, 257, 1000, 5001] {
            if n == 257 {
                assert_eq!(storage.check(), Ok(()));
                rows.file.as_mut().unwrap().fill_disk();
            }
            rows.grow_to(n);
            rows.row_mut(n as u32 - 1)[1023] = n as f32;
        }
        let error = storage.check().unwrap_err().to_string();
        assert!(error.contains("cannot keep table rows"), "{error}");
        assert!(rows.file.is_none());
        for n in [200, 256, 257, 1000, 5001] {
            assert_eq!(rows.row(n as u32 - 1)[1023], n as f32);
        }
    }

    #[test]
    fn rows_that_a_file_cannot_take_stay_in_memory() {
        let storage = TableStorage::in_folder(std::path::Path::new("no/such/folder"));
        let mut rows: SlotRows<f32> = SlotRows::new_in(&storage, 2, 5000);
        rows.grow_to(5000);
        rows.row_mut(4999)[1] = 1.0;
        assert_eq!(rows.row(4999), [0.0, 1.0]);
        assert!(storage.check().is_err());
    }

    #[test]
    fn frozen_rows_are_read_where_they_lie() {
        let rows = SlotRows::frozen(2, vec![1.0, 2.0, 3.0, 4.0].into());
        let copy = rows.clone();
        assert_eq!((rows.n_rows(), copy.row(0)), (3, &[0.0; 2][..]));
        assert_eq!(
            (rows.row(1), copy.row(2)),
            (&[1.0, 2.0][..], &[3.0, 4.0][..])
        );
        rows.prefetch(2);
        rows.prefetch(9);
    }

    #[test]
    #[should_panic(expected = "the row of zeros stays")]
    fn the_row_of_zeros_cannot_be_changed() {
        SlotRows::<f32>::new(3, 10).row_mut(0);
    }
}
