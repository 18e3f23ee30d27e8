//! Embedding tables. A row is initialised when training first sees its id; rows that no training row points to are
//! never written, and read as the zero vector.

mod hashed_index;
mod initial_rows;
mod shared_rows;
mod slot_index;
mod slot_rows;
mod slots;
mod stored_rows;
mod table_share;
mod zero_rows;

pub(crate) use hashed_index::HashedIndex;
pub use initial_rows::InitialRows;
pub use slot_rows::{SlotRows, SlotRowsPart, fetch_rows};
use slots::Slots;
pub use table_share::TableShare;
use zero_rows::ZeroRows;

use crate::counter_rng::CounterRng;
use crate::kernels::SimdLevel;
use crate::number::Real;
use crate::storage::{RowValues, TableStorage};
use std::sync::Arc;

/// An embedding table, `[rows, dim]`. Only initialised rows take memory, beside four bytes for each row. They are
/// stored contiguously in the order of initialisation, so that frequent ids, which tend to come
/// first, share pages and cache lines.
#[derive(Clone, Debug)]
pub struct Table<R: Real> {
    /// For each row, its slot in `rows`; 0, the row of zeros, until it is initialised.
    slots: Slots,
    /// The number of the row in each slot.
    ids: Vec<u32>,
    rows: SlotRows<R>,
    rng: CounterRng,
    deviation: f64,
    level: SimdLevel,
    /// Vectors at which some rows begin.
    initial: Option<Arc<InitialRows>>,
    /// The rows that the table holds; `None`: all.
    share: Option<TableShare>,
    /// Where its vectors lie.
    storage: TableStorage,
}

/// The initialised rows of a table, which are the rows that are saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows<R: Real> {
    /// Row numbers, ascending.
    pub ids: Vec<u32>,
    /// Their vectors, `[ids, dim]`.
    pub values: RowValues<R>,
}

impl<R: Real> Table<R> {
    /// Creates a table of `rows` rows, none initialised. Row `i` will be initialised from position `i` of `rng`, by a
    /// normal distribution with this standard deviation.
    pub fn new(rows: usize, dim: usize, rng: CounterRng, deviation: f64) -> Table<R> {
        Table {
            slots: Slots::direct(rows),
            ids: vec![0],
            rows: SlotRows::new(dim, rows),
            rng,
            deviation,
            level: SimdLevel::best(),
            initial: None,
            share: None,
            storage: TableStorage::Memory,
        }
    }

    /// Makes the vectors lie in a storage. The rows that the table has are taken out.
    pub fn store_in(&mut self, storage: &TableStorage) {
        self.storage = storage.clone();
        self.clear();
    }

    /// Returns where its vectors lie.
    pub fn storage(&self) -> &TableStorage {
        &self.storage
    }

    /// Makes rows that are initialised from now on begin at these vectors, where they have one.
    ///
    /// # Panics
    /// If the vectors have another length than those of the table.
    pub fn begin_at(&mut self, initial: Arc<InitialRows>) {
        assert_eq!(initial.dim(), self.dim(), "vectors of another length");
        self.initial = Some(initial);
    }

    /// Returns true if training leaves row `id` as it is.
    #[inline]
    pub fn keeps(&self, id: u32) -> bool {
        let initial = self.initial.as_ref();
        initial.is_some_and(|initial| initial.keeps(id))
    }

    /// Returns true if training leaves some rows as they are.
    pub fn keeps_any(&self) -> bool {
        let initial = self.initial.as_ref();
        initial.is_some_and(|initial| initial.keeps_any())
    }

    /// Returns the length of a vector.
    pub fn dim(&self) -> usize {
        self.rows.width()
    }

    /// Returns the number of rows, initialised or not.
    pub fn n_rows(&self) -> usize {
        self.slots.n_rows()
    }

    /// Returns the vector of row `id`.
    #[inline]
    pub fn row(&self, id: u32) -> &[R] {
        self.rows.row(self.slot(id))
    }

    /// Returns the vector of row `id`, mutably.
    ///
    /// # Panics
    /// If the row is not initialised.
    #[inline]
    pub fn row_mut(&mut self, id: u32) -> &mut [R] {
        self.rows.row_mut(self.slot(id))
    }

    /// Returns the slot of row `id`: from 1 in the order of initialisation, or 0 if it is not initialised.
    #[inline]
    pub fn slot(&self, id: u32) -> u32 {
        self.slots.get(id)
    }

    /// Returns the number of the row in each slot; slot 0 has none.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the vectors by slot.
    pub fn rows(&self) -> &SlotRows<R> {
        &self.rows
    }

    /// Returns the vectors by slot, mutably.
    pub fn rows_mut(&mut self) -> &mut SlotRows<R> {
        &mut self.rows
    }

    /// Prefetches the vector of row `id`.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        if (id as usize) < self.n_rows() {
            self.rows.prefetch(self.slot(id));
        }
    }

    /// Prefetches the slot of row `id`, ahead of [`Table::prefetch`].
    #[inline]
    pub fn prefetch_slot(&self, id: u32) {
        self.slots.prefetch(id);
    }

    /// Returns true if row `id` is initialised.
    #[inline]
    pub fn is_initialised(&self, id: u32) -> bool {
        self.slot(id) != 0
    }

    /// Initialises row `id` unless it is initialised already.
    #[inline]
    pub fn init_row(&mut self, id: u32) {
        if !self.is_initialised(id) {
            self.init_new_row(id);
        }
    }

    #[cold]
    fn init_new_row(&mut self, id: u32) {
        assert!(self.owns(id), "row {id} belongs to another share");
        let (rng, deviation, level) = (self.rng, self.deviation, self.level);
        let initial = self.initial.clone();
        let row = self.add(id);
        if let Some(vector) = initial.as_ref().and_then(|initial| initial.get(id)) {
            let values = row.iter_mut().zip(vector);
            return values.for_each(|(value, &x)| *value = R::of(f64::from(x)));
        }
        let first = u64::from(id) * row.len() as u64;
        rng.fill_normal(level, first, deviation, row);
    }

    /// Assigns the next slot to a row.
    fn add(&mut self, id: u32) -> &mut [R] {
        let slot = self.ids.len() as u32;
        self.ids.push(id);
        self.slots.set(id, slot);
        self.rows.grow_to(self.ids.len());
        self.rows.row_mut(slot)
    }

    /// Initialises those of these rows that are not initialised yet. If all are, as in most steps, it takes
    /// about a nanosecond for each row.
    pub fn init_rows(&mut self, ids: &[u32]) {
        for block in ids.chunks(64) {
            if !self.has_all(block) {
                block.iter().for_each(|&id| self.init_row(id));
            }
        }
    }

    /// Returns true if these rows are initialised.
    #[inline]
    fn has_all(&self, ids: &[u32]) -> bool {
        // Without a branch, so that the look-ups overlap.
        ids.iter()
            .fold(true, |all, &id| all & self.is_initialised(id))
    }

    /// Returns those of these rows that are not initialised yet, in their order.
    pub(crate) fn not_initialised(&self, ids: &[u32]) -> Vec<u32> {
        let mut new = Vec::new();
        for block in ids.chunks(64) {
            if !self.has_all(block) {
                new.extend(block.iter().filter(|id| !self.is_initialised(**id)));
            }
        }
        new
    }

    /// Returns the number of initialised rows.
    pub fn n_initialised(&self) -> usize {
        self.ids.len() - 1
    }

    /// Iterates over the numbers of the initialised rows, ascending.
    pub fn initialised_ids(&self) -> impl Iterator<Item = u32> {
        let (direct, mut hashed) = match &self.slots {
            Slots::Direct(index) => (index.all(), Vec::new()),
            Slots::Hashed { .. } => (&[][..], self.ids[1..].to_vec()),
        };
        hashed.sort_unstable();
        // Slots first: `zip` must not advance the counter beyond the last of 2^32 - 1 rows.
        let slots = direct.iter().zip(0..);
        let direct = slots.filter(|(slot, _)| **slot != 0).map(|(_, id)| id);
        direct.chain(hashed)
    }

    /// Returns a copy of the initialised rows, in memory.
    pub fn sparse_rows(&self) -> SparseRows<R> {
        let ids: Vec<u32> = self.initialised_ids().collect();
        let mut values = Vec::with_capacity(ids.len() * self.dim());
        ids.iter()
            .for_each(|&id| values.extend_from_slice(self.row(id)));
        SparseRows {
            ids,
            values: values.into(),
        }
    }

    /// Replaces the initialised rows by `rows`, or by those of them that belong to the table's share. Returns `None`,
    /// with the table unchanged, if they do not fit it.
    #[must_use]
    pub fn restore(&mut self, rows: &SparseRows<R>) -> Option<()> {
        self.restore_initialised(&rows.ids, rows.values.iter().copied())
    }

    /// Replaces the initialised rows; `values` holds their vectors, row after row. Of a table with a share, rows of
    /// others are left out. Returns `None`, with the table unchanged, if they do not fit it. Ids must be ascending and
    /// unique.
    #[must_use]
    pub fn restore_initialised(
        &mut self,
        ids: &[u32],
        values: impl ExactSizeIterator<Item = R>,
    ) -> Option<()> {
        self.fits(ids, values.len()).then_some(())?;
        self.clear();
        self.add_initialised(ids, values)
    }

    /// Adds initialised rows to the table as [`Table::restore_initialised`] does, in any order, beside those that it has,
    /// none of which may be among them. Returns `None` if they do not fit; some may then be added.
    #[must_use]
    pub fn add_initialised(
        &mut self,
        ids: &[u32],
        mut values: impl ExactSizeIterator<Item = R>,
    ) -> Option<()> {
        let is_row = |&id: &u32| (id as usize) < self.n_rows();
        let fits = values.len() == ids.len() * self.dim() && ids.iter().all(is_row);
        fits.then_some(())?;
        for &id in ids {
            if self.owns(id) {
                (!self.is_initialised(id)).then_some(())?;
                let row = self.add(id).iter_mut();
                row.zip(&mut values).for_each(|(to, from)| *to = from);
            } else {
                values.by_ref().take(self.dim()).for_each(drop);
            }
        }
        Some(())
    }

    /// Adds a row with its vector. Returns `None`, with the table unchanged, if it does not fit or is initialised.
    #[must_use]
    pub(crate) fn restore_row(&mut self, id: u32, vector: &[R]) -> Option<()> {
        let fits = vector.len() == self.dim() && (id as usize) < self.n_rows();
        (fits && !self.is_initialised(id)).then_some(())?;
        self.add(id).copy_from_slice(vector);
        Some(())
    }

    /// Returns true if these are rows of the table, ascending and unique, with as many numbers as their vectors have.
    fn fits(&self, ids: &[u32], n_values: usize) -> bool {
        n_values == ids.len() * self.dim()
            && ids.is_sorted_by(|a, b| a < b)
            && ids.last().is_none_or(|&id| (id as usize) < self.n_rows())
    }

    /// Takes all rows out of the table.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.ids.truncate(1);
        self.rows = SlotRows::new_in(&self.storage, self.dim(), self.n_rows());
    }
}

impl<R: Real> Default for SparseRows<R> {
    fn default() -> SparseRows<R> {
        SparseRows {
            ids: Vec::new(),
            values: RowValues::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<f32> {
        Table::new(100, 3, CounterRng::new(1, "t"), 0.1)
    }

    #[test]
    fn a_row_is_zero_until_it_is_initialised_once() {
        let mut table = table();
        assert_eq!(table.row(7), [0.0; 3]);
        table.init_row(7);
        let initial = table.row(7).to_vec();
        assert!(initial.iter().all(|&x| x != 0.0));
        table.row_mut(7)[0] = 5.0;
        table.init_row(7);
        assert_eq!(table.row(7)[0], 5.0);
        let mut other = self::table();
        other.init_rows(&[3, 7, 3]);
        assert_eq!(
            other.row(7),
            initial,
            "a row does not depend on the rows initialised before it"
        );
        assert_eq!((other.n_initialised(), other.is_initialised(8)), (2, false));
    }

    #[test]
    fn rows_begin_at_their_vectors() {
        let mut initial = InitialRows::new(3, true);
        assert!(initial.insert(7, &[1.0, -2.0, 0.5]));
        assert!(!initial.insert(7, &[0.0; 3]));
        let mut table = table();
        table.begin_at(Arc::new(initial));
        assert_eq!((table.n_initialised(), table.row(7)), (0, &[0.0; 3][..]));
        table.init_rows(&[3, 7]);
        assert_eq!(table.row(7), [1.0, -2.0, 0.5]);
        let mut other = self::table();
        other.init_row(3);
        assert_eq!(table.row(3), other.row(3), "others begin as they did");
        assert!(table.keeps(7) && !table.keeps(3) && table.keeps_any());
        let rows = table.sparse_rows();
        table.restore(&rows).unwrap();
        assert!(table.keeps(7), "restored rows stay kept");
    }

    #[test]
    fn initialised_rows_are_restored() {
        let mut table = table();
        table.init_rows(&[99, 0, 64]);
        let rows = table.sparse_rows();
        assert_eq!(rows.ids, [0, 64, 99]);
        let mut other = self::table();
        other.init_row(5);
        other.restore(&rows).unwrap();
        assert_eq!(other.sparse_rows(), rows);
        assert_eq!(other.row(5), [0.0; 3]);
        let wrong = SparseRows {
            ids: vec![100],
            values: vec![0.0; 3].into(),
        };
        assert_eq!(other.restore(&wrong), None);
        assert_eq!(other.sparse_rows(), rows);
    }

    #[test]
    fn initialised_rows_are_restored_from_an_iterator() {
        let mut table = table();
        table.init_rows(&[99, 0, 64]);
        let rows = table.sparse_rows();
        let mut other = self::table();
        other.init_row(5);
        let restore = |other: &mut Table<f32>, ids: &[u32], values: &[f32]| {
            other.restore_initialised(ids, values.iter().copied())
        };
        restore(&mut other, &rows.ids, &rows.values).unwrap();
        assert_eq!(other.sparse_rows(), rows);
        for (ids, values) in [
            (&[1, 100][..], &[0.0; 6][..]),
            (&[1, 2], &[0.0; 5]),
            (&[1, 1], &[0.0; 6]),
        ] {
            assert_eq!(restore(&mut other, ids, values), None);
            assert_eq!(other.sparse_rows(), rows);
        }
    }

    /// A thousand of fifteen million rows are initialised: a clone of the whole would show in the
    /// resident memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn uninitialised_rows_are_never_written() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut table: Table<f32> = Table::new(15_000_000, 16, CounterRng::new(1, "t"), 0.1);
        (0..1000u32).for_each(|i| table.init_row(i * 14_999));
        assert_eq!(table.sparse_rows().ids.len(), 1000);
        let grown = resident().saturating_sub(before);
        // Other tests of this process take memory meanwhile.
        assert!(grown < 320 << 20, "{grown} bytes of 960 MB are resident");
    }
}
