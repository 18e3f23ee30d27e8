//! The slots of a few rows of a table, in memory that grows with these rows and not with the table.

use crate::kernels::prefetch;

/// For some rows of a table, their slots, by a hash of the row number (open addressing, linear probing).
#[derive(Clone, Debug)]
pub(crate) struct HashedIndex {
    /// Row number and slot; slot 0: the place is free.
    places: Vec<[u32; 2]>,
    n_rows: usize,
}

/// Number of places at first.
const LEAST: usize = 16;

impl Default for HashedIndex {
    fn default() -> HashedIndex {
        HashedIndex {
            places: vec![[0; 2]; LEAST],
            n_rows: 0,
        }
    }
}

impl HashedIndex {
    /// Returns the slot of a row; 0 if it has none.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> u32 {
        self.places[self.place(id)][1]
    }

    /// Sets the slot of a row that had none.
    pub(crate) fn set(&mut self, id: u32, slot: u32) {
        debug_assert!(slot != 0, "slot 0 says that there is none");
        if 2 * (self.n_rows + 1) > self.places.len() {
            self.grow();
        }
        let place = self.place(id);
        self.places[place] = [id, slot];
        self.n_rows += 1;
    }

    /// Forgets all rows, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.places.fill([0; 2]);
        self.n_rows = 0;
    }

    /// Prefetches the slot of a row.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32) {
        prefetch(&self.places, self.first_place(id));
    }

    fn grow(&mut self) {
        let places = vec![[0; 2]; 2 * self.places.len()];
        let before = std::mem::replace(&mut self.places, places);
        for [id, slot] in before.into_iter().filter(|[_, slot]| *slot != 0) {
            let place = self.place(id);
            self.places[place] = [id, slot];
        }
    }

    /// Returns the place of a row, or the free one where it would be.
    #[inline]
    fn place(&self, id: u32) -> usize {
        let mask = self.places.len() - 1;
        let mut at = self.first_place(id);
        loop {
            let [found, slot] = self.places[at];
            if slot == 0 || found == id {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn first_place(&self, id: u32) -> usize {
        // Fibonacci hashing. Another hash decides who owns a row, so that the rows of one owner spread over all places.
        (id.wrapping_mul(0x9e37_79b9) >> (32 - self.places.len().trailing_zeros())) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_slots_as_the_index_grows() {
        let mut index = HashedIndex::default();
        let ids = || (0..10_000u32).map(|i| i.wrapping_mul(429_497));
        for (id, slot) in ids().zip(1..) {
            assert_eq!(index.get(id), 0);
            index.set(id, slot);
        }
        assert!(ids().zip(1..).all(|(id, slot)| index.get(id) == slot));
        assert_eq!((index.get(1), index.get(u32::MAX)), (0, 0));
        index.clear();
        assert!(ids().all(|id| index.get(id) == 0));
        index.set(u32::MAX, 7);
        assert_eq!(index.get(u32::MAX), 7);
    }
}
