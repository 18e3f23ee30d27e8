//! The slot of each row of a table.

use crate::kernels::large_pages;
use crate::kernels::prefetch;

/// One initialised row in so many, and nearly every page of 4 KB is written.
const SPREAD: usize = 512;

/// For each row of a table, its slot; 0 for rows without any. The system provides the memory as it is
/// written. Rows are scattered over it, so when the pages are written anyway, it moves to large ones.
#[derive(Clone, Debug)]
pub(super) struct SlotIndex {
    n_rows: usize,
    /// The slots, in large pages with padding for their alignment.
    slots: Vec<u32>,
    /// The place of the first row's slot.
    start: usize,
    n_set: usize,
    is_large: bool,
}

impl SlotIndex {
    /// Creates an index of rows without slots.
    pub(super) fn new(n_rows: usize) -> SlotIndex {
        SlotIndex {
            n_rows,
            slots: vec![0; n_rows],
            start: 0,
            n_set: 0,
            is_large: false,
        }
    }

    /// Returns the number of rows.
    #[inline]
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the slots of all rows.
    #[inline]
    pub(super) fn all(&self) -> &[u32] {
        &self.slots[self.start..self.start + self.n_rows]
    }

    /// Returns the slot of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(super) fn get(&self, id: u32) -> u32 {
        self.all()[id as usize]
    }

    /// Sets the slot of a row that had none.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn set(&mut self, id: u32, slot: u32) {
        assert!((id as usize) < self.n_rows, "no row {id}");
        self.n_set += 1;
        let is_written = self.n_set * SPREAD > self.n_rows;
        if is_written && !self.is_large && size_of_val(self.all()) >= large_pages::LARGE_PAGE {
            self.move_to_large_pages();
        }
        self.slots[self.start + id as usize] = slot;
    }

    fn move_to_large_pages(&mut self) {
        let (mut slots, start) = large_pages::zeros(self.n_rows);
        slots[start..start + self.n_rows].copy_from_slice(self.all());
        (self.slots, self.start, self.is_large) = (slots, start, true);
    }

    /// Prefetches the slot of a row.
    #[inline]
    pub(super) fn prefetch(&self, id: u32) {
        prefetch(self.all(), id as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_as_the_index_moves_to_large_pages() {
        let n = 1_000_000;
        let mut index = SlotIndex::new(n);
        let ids = || (0..n as u32).step_by(300);
        for (id, slot) in ids().zip(1..) {
            index.set(id, slot);
        }
        assert!(index.is_large);
        assert_eq!(index.all().as_ptr() as usize % large_pages::LARGE_PAGE, 0);
        assert!(ids().zip(1..).all(|(id, slot)| index.get(id) == slot));
        assert_eq!(
            index.all().iter().filter(|slot| **slot != 0).count(),
            ids().count()
        );
    }
}
