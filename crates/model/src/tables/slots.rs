//! The slot of each row of a table: by row number, or by a hash of it.

use super::hashed_index::HashedIndex;
use super::slot_index::SlotIndex;

/// For each row of a table, its slot; 0 for rows without any.
#[derive(Clone, Debug)]
pub(super) enum Slots {
    /// Four bytes for each row of the table.
    Direct(SlotIndex),
    /// At most 32 bytes for each row that has a slot.
    Hashed { n_rows: usize, index: HashedIndex },
}

impl Slots {
    pub(super) fn direct(n_rows: usize) -> Slots {
        Slots::Direct(SlotIndex::new(n_rows))
    }

    pub(super) fn hashed(n_rows: usize) -> Slots {
        let index = HashedIndex::default();
        Slots::Hashed { n_rows, index }
    }

    /// Returns the number of rows, with or without a slot.
    #[inline]
    pub(super) fn n_rows(&self) -> usize {
        match self {
            Slots::Direct(index) => index.n_rows(),
            Slots::Hashed { n_rows, .. } => *n_rows,
        }
    }

    /// Returns the slot of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(super) fn get(&self, id: u32) -> u32 {
        match self {
            Slots::Direct(index) => index.get(id),
            Slots::Hashed { n_rows, index } => {
                assert!((id as usize) < *n_rows, "no row {id}");
                index.get(id)
            }
        }
    }

    /// Sets the slot of a row that had none.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn set(&mut self, id: u32, slot: u32) {
        match self {
            Slots::Direct(index) => index.set(id, slot),
            Slots::Hashed { n_rows, index } => {
                assert!((id as usize) < *n_rows, "no row {id}");
                index.set(id, slot);
            }
        }
    }

    /// Takes the slots of all rows away.
    pub(super) fn clear(&mut self) {
        match self {
            Slots::Direct(index) => *index = SlotIndex::new(index.n_rows()),
            Slots::Hashed { index, .. } => index.clear(),
        }
    }

    /// Prefetches the slot of a row.
    #[inline]
    pub(super) fn prefetch(&self, id: u32) {
        match self {
            Slots::Direct(index) => index.prefetch(id),
            Slots::Hashed { index, .. } => index.prefetch(id),
        }
    }
}
