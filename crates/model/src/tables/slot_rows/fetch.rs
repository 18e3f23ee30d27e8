//! Rows that lie in a file and not in memory. A thread that reads such a row waits for the disk, and a disk that is asked
//! for one page at a time is many times slower than one that is asked for all pages of a batch.

use super::{SlotRows, place};
use crate::number::Real;
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// Bytes of the smallest page of any system.
const PAGE: usize = 4096;

/// One row of so many is probed, to see whether all are in memory: a probe takes a microsecond.
const ROWS_PER_PROBE: usize = 128;

/// At most about so many are probed.
const MAX_PROBES: usize = 64;

/// Asks the system for the pages of these rows of matrices, in any order, all at once, if they lie in files and not all of a
/// sample are in memory. It does not wait for them.
///
/// # Panics
/// If there is no such row.
pub fn fetch_rows<R: Real>(wanted: &[(&SlotRows<R>, Vec<u32>)]) {
    let n_rows: usize = wanted.iter().map(|(_, slots)| slots.len()).sum();
    let every = (n_rows / MAX_PROBES).max(ROWS_PER_PROBE);
    let rows = wanted
        .iter()
        .flat_map(|(rows, slots)| slots.iter().map(move |&slot| (rows, slot)));
    let mut probed = rows.step_by(every);
    if probed.all(|(rows, slot)| rows.is_in_memory(slot)) {
        return;
    }
    wanted.iter().for_each(|(rows, slots)| rows.fetch(slots));
}

impl<R: Real> SlotRows<R> {
    fn fetch(&self, slots: &[u32]) {
        if !self.is_in_file() {
            return;
        }
        let mut slots = slots.to_vec();
        slots.par_sort_unstable();
        slots.dedup();
        let runs = self.runs(&slots);
        runs.into_par_iter().for_each(|run| self.read_ahead_of(run));
    }

    /// Returns true if the rows lie in a file.
    pub fn is_in_file(&self) -> bool {
        let frozen = self.frozen.as_ref();
        self.file.is_some() || frozen.is_some_and(|values| values.is_in_file())
    }

    fn is_in_memory(&self, slot: u32) -> bool {
        if let Some((file, start)) = self.frozen.as_ref().and_then(|values| values.file()) {
            let row = (slot as usize).saturating_sub(1);
            return file.is_in_memory(start + row * self.row_bytes());
        }
        let (chunk, row) = place(slot, self.per_chunk);
        let chunk = self.chunks.get(chunk);
        chunk.is_none_or(|chunk| chunk.is_in_memory(row))
    }

    fn row_bytes(&self) -> usize {
        self.width * size_of::<R>()
    }

    /// Joins ascending slots whose rows lie in the same page, or in the next, and in the same chunk.
    fn runs(&self, slots: &[u32]) -> Vec<RangeInclusive<u32>> {
        let n_bytes = self.row_bytes();
        let first_page = |slot: u32| slot as usize * n_bytes / PAGE;
        let last_page = |slot: u32| ((slot as usize + 1) * n_bytes).saturating_sub(1) / PAGE;
        let chunk = |slot: u32| place(slot, self.per_chunk).0;
        let is_next = |a: &u32, b: &u32| {
            first_page(*b) <= last_page(*a) + 1 && (self.frozen.is_some() || chunk(*a) == chunk(*b))
        };
        let runs = slots.chunk_by(is_next);
        runs.map(|run| run[0]..=run[run.len() - 1]).collect()
    }

    fn read_ahead_of(&self, run: RangeInclusive<u32>) {
        let (first, last) = run.into_inner();
        if let Some((file, start)) = self.frozen.as_ref().and_then(|values| values.file()) {
            let row = |slot: u32| start + (slot as usize).saturating_sub(1) * self.row_bytes();
            return file.read_ahead(row(first)..row(last) + self.row_bytes());
        }
        let (chunk, row) = place(first, self.per_chunk);
        if let Some(chunk) = self.chunks.get(chunk) {
            chunk.read_ahead(row as usize..(row + (last - first) + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CHUNK_IN_FILE;
    use super::*;
    use crate::storage::TableStorage;

    fn in_file(folder: &tempfile::TempDir, width: usize, n_rows: usize) -> SlotRows<f32> {
        let storage = TableStorage::in_folder(folder.path());
        let mut rows = SlotRows::new_in(&storage, width, 1_000_000);
        rows.grow_to(n_rows);
        rows
    }

    #[test]
    fn neighbours_are_asked_for_together() {
        let folder = tempfile::tempdir().unwrap();
        // 64 rows to a page.
        let rows = in_file(&folder, 16, CHUNK_IN_FILE + 10);
        let end = CHUNK_IN_FILE as u32 - 1;
        let slots = [0, 3, 64, 127, 256, 400, end, end + 1, end + 5];
        let runs = [0..=127, 256..=256, 400..=400, end..=end, end + 1..=end + 5];
        assert_eq!(rows.runs(&slots), runs);
        // Rows that lie in two pages.
        let rows = in_file(&folder, 1500, 10);
        assert_eq!(rows.runs(&[0, 2, 5, 9]), [0..=2, 5..=5, 9..=9]);
    }

    #[test]
    fn rows_are_the_same_after_they_were_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = in_file(&folder, 16, 5000);
        for slot in 1..5000 {
            rows.row_mut(slot).fill(slot as f32);
        }
        assert!(rows.is_in_memory(4999), "it has just been written");
        rows.fetch(&[700, 4999, 1, 1]);
        fetch_rows(&[(&rows, (0..5000).rev().collect())]);
        assert!((1..5000).all(|slot| rows.row(slot) == [slot as f32; 16]));
        let memory: SlotRows<f32> = SlotRows::new(16, 10);
        assert!(!memory.is_in_file() && memory.is_in_memory(0));
        fetch_rows(&[(&memory, vec![0]), (&rows, Vec::new())]);
    }
}
