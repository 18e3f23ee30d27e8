//! Ids to vectors. A row is drawn when training first meets its id, so that rows no id points to are
//! never written; a row that no training row has touched is the zero vector.

mod slot_rows;
mod zero_rows;

pub use slot_rows::{SlotRows, SlotRowsPart};
use zero_rows::ZeroRows;

use crate::counter_rng::CounterRng;
use crate::kernels::prefetch;
use crate::number::Real;

/// An embedding table, `[rows, dim]`. Only drawn rows take memory, beside four bytes for each row: they
/// lie side by side in the order in which they were drawn, so that the ids that come often, and so come
/// first, share pages and caches.
#[derive(Clone, Debug)]
pub struct Table<R> {
    /// For each row, where it lies in `rows`; 0, the row of zeros, until it is drawn. The system hands
    /// out the memory as it is written.
    slots: Vec<u32>,
    /// The number of the row that lies at each slot.
    ids: Vec<u32>,
    rows: SlotRows<R>,
    rng: CounterRng,
    deviation: f64,
}

/// The drawn rows of a table: what is saved of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseRows<R> {
    /// Row numbers, ascending.
    pub ids: Vec<u32>,
    /// Their vectors, `[ids, dim]`.
    pub values: Vec<R>,
}

impl<R: Real> Table<R> {
    /// A table of `rows` rows, none drawn yet; row `i` will be drawn at position `i` of `rng`, from a
    /// normal distribution of this deviation.
    pub fn new(rows: usize, dim: usize, rng: CounterRng, deviation: f64) -> Table<R> {
        Table {
            slots: vec![0; rows],
            ids: vec![0],
            rows: SlotRows::new(dim, rows),
            rng,
            deviation,
        }
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.rows.width()
    }

    /// Number of rows, drawn or not.
    pub fn n_rows(&self) -> usize {
        self.slots.len()
    }

    /// The vector of row `id`.
    #[inline]
    pub fn row(&self, id: u32) -> &[R] {
        self.rows.row(self.slot(id))
    }

    /// The vector of row `id`, to be changed.
    ///
    /// # Panics
    /// If the row is not drawn.
    #[inline]
    pub fn row_mut(&mut self, id: u32) -> &mut [R] {
        self.rows.row_mut(self.slot(id))
    }

    /// Where row `id` lies among the drawn rows, from 1 in the order of drawing; 0 if it is not drawn.
    #[inline]
    pub fn slot(&self, id: u32) -> u32 {
        self.slots[id as usize]
    }

    /// The row that lies at each slot; the first has none.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The vectors by slot.
    pub fn rows(&self) -> &SlotRows<R> {
        &self.rows
    }

    /// The vectors by slot, to be changed.
    pub fn rows_mut(&mut self) -> &mut SlotRows<R> {
        &mut self.rows
    }

    /// Asks for the vector of row `id`, which will soon be read.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        if let Some(&slot) = self.slots.get(id as usize) {
            self.rows.prefetch(slot);
        }
    }

    /// Asks for where row `id` lies: ahead of [`Table::prefetch`].
    #[inline]
    pub fn prefetch_slot(&self, id: u32) {
        prefetch(&self.slots, id as usize);
    }

    /// Whether row `id` was drawn.
    #[inline]
    pub fn is_drawn(&self, id: u32) -> bool {
        self.slot(id) != 0
    }

    /// Draws row `id` unless it is drawn already.
    #[inline]
    pub fn touch(&mut self, id: u32) {
        if !self.is_drawn(id) {
            let (rng, deviation) = (self.rng, self.deviation);
            draw_row(self.add(id), id, rng, deviation);
        }
    }

    /// Gives a row its place.
    fn add(&mut self, id: u32) -> &mut [R] {
        let slot = self.ids.len() as u32;
        self.ids.push(id);
        self.slots[id as usize] = slot;
        self.rows.grow_to(self.ids.len());
        self.rows.row_mut(slot)
    }

    /// Draws those of these rows that are not drawn yet. Where all are, as in most steps, it takes
    /// about a nanosecond for each.
    pub fn touch_all_of(&mut self, ids: &[u32]) {
        for block in ids.chunks(64) {
            // Without a branch, so that the look-ups of a block are under way together.
            let all = block.iter().fold(true, |all, &id| all & self.is_drawn(id));
            if !all {
                block.iter().for_each(|&id| self.touch(id));
            }
        }
    }

    /// Number of drawn rows.
    pub fn n_drawn(&self) -> usize {
        self.ids.len() - 1
    }

    /// The numbers of the drawn rows, ascending.
    pub fn drawn_ids(&self) -> impl Iterator<Item = u32> {
        // Slots first: after the last of 2^32 - 1 rows there is no next number to make.
        let slots = self.slots.iter().zip(0..);
        slots.filter(|(slot, _)| **slot != 0).map(|(_, id)| id)
    }

    /// A copy of the drawn rows.
    pub fn sparse_rows(&self) -> SparseRows<R> {
        let n_drawn = self.n_drawn();
        let mut rows = SparseRows {
            ids: Vec::with_capacity(n_drawn),
            values: Vec::with_capacity(n_drawn * self.dim()),
        };
        for id in self.drawn_ids() {
            rows.ids.push(id);
            rows.values.extend_from_slice(self.row(id));
        }
        rows
    }

    /// Makes `rows` the drawn rows, and no others. `None`, and the table unchanged, where they do not
    /// fit it.
    #[must_use]
    pub fn restore(&mut self, rows: &SparseRows<R>) -> Option<()> {
        let n_rows = self.n_rows();
        let fits = rows.values.len() == rows.ids.len() * self.dim()
            && rows.ids.is_sorted_by(|a, b| a < b)
            && rows.ids.last().is_none_or(|&id| (id as usize) < n_rows);
        fits.then_some(())?;
        self.forget();
        let dim = self.dim().max(1);
        for (&id, values) in rows.ids.iter().zip(rows.values.chunks_exact(dim)) {
            self.add(id).copy_from_slice(values);
        }
        Some(())
    }

    /// Makes these rows the drawn rows, and no others; `values` are their numbers, row after row. `None`
    /// where they do not fit the table, which is unchanged then. Ids are each there once.
    #[must_use]
    pub fn restore_drawn(
        &mut self,
        ids: &[u32],
        values: impl ExactSizeIterator<Item = R>,
    ) -> Option<()> {
        let fits = values.len() == ids.len() * self.dim()
            && ids.is_sorted_by(|a, b| a < b)
            && ids.last().is_none_or(|&id| (id as usize) < self.n_rows());
        fits.then_some(())?;
        self.forget();
        let mut values = values;
        for &id in ids {
            let row = self.add(id).iter_mut();
            row.zip(&mut values).for_each(|(to, from)| *to = from);
        }
        Some(())
    }

    fn forget(&mut self) {
        self.slots = vec![0; self.n_rows()];
        self.ids.truncate(1);
        self.rows = SlotRows::new(self.dim(), self.n_rows());
    }
}

#[cold]
fn draw_row<R: Real>(row: &mut [R], id: u32, rng: CounterRng, deviation: f64) {
    let first = u64::from(id) * row.len() as u64;
    for (value, position) in row.iter_mut().zip(first..) {
        *value = R::of(rng.normal(position) * deviation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<f32> {
        Table::new(100, 3, CounterRng::new(1, "t"), 0.1)
    }

    #[test]
    fn a_row_is_zero_until_it_is_touched_and_drawn_once() {
        let mut table = table();
        assert_eq!(table.row(7), [0.0; 3]);
        table.touch(7);
        let drawn = table.row(7).to_vec();
        assert!(drawn.iter().all(|&x| x != 0.0));
        table.row_mut(7)[0] = 5.0;
        table.touch(7);
        assert_eq!(table.row(7)[0], 5.0);
        let mut other = self::table();
        other.touch_all_of(&[3, 7, 3]);
        assert_eq!(
            other.row(7),
            drawn,
            "a row does not depend on what was touched before"
        );
        assert_eq!((other.n_drawn(), other.is_drawn(8)), (2, false));
    }

    #[test]
    fn drawn_rows_come_back() {
        let mut table = table();
        table.touch_all_of(&[99, 0, 64]);
        let rows = table.sparse_rows();
        assert_eq!(rows.ids, [0, 64, 99]);
        let mut other = self::table();
        other.touch(5);
        other.restore(&rows).unwrap();
        assert_eq!(other.sparse_rows(), rows);
        assert_eq!(other.row(5), [0.0; 3]);
        let wrong = SparseRows {
            ids: vec![100],
            values: vec![0.0; 3],
        };
        assert_eq!(other.restore(&wrong), None);
        assert_eq!(other.sparse_rows(), rows);
    }

    #[test]
    fn drawn_rows_come_back_one_number_after_the_other() {
        let mut table = table();
        table.touch_all_of(&[99, 0, 64]);
        let rows = table.sparse_rows();
        let mut other = self::table();
        other.touch(5);
        let restore = |other: &mut Table<f32>, ids: &[u32], values: &[f32]| {
            other.restore_drawn(ids, values.iter().copied())
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

    /// Fifteen million rows of which a thousand are touched: a clone of the whole would be seen in the
    /// memory that is resident.
    #[cfg(target_os = "linux")]
    #[test]
    fn untouched_rows_are_never_written() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut table: Table<f32> = Table::new(15_000_000, 16, CounterRng::new(1, "t"), 0.1);
        (0..1000u32).for_each(|i| table.touch(i * 14_999));
        assert_eq!(table.sparse_rows().ids.len(), 1000);
        let grown = resident().saturating_sub(before);
        // Other tests of this process take memory meanwhile.
        assert!(grown < 96 << 20, "{grown} bytes of 960 MB are resident");
    }
}
