//! Tables whose rows are divided among processes: a share of a table, and the rows of a batch out of all shares.

use super::{SlotRows, Slots, SparseRows, Table, TableShare, fetch_rows};
use crate::number::Real;
use crate::storage::{RowWriter, StorageError, TableStorage};

impl<R: Real> Table<R> {
    /// Makes the table one that holds the rows of a share only: rows of others cannot be initialised, and are left out of
    /// what is restored. Its memory no longer grows with its number of rows. The rows that it has are taken out.
    pub fn hold_share(&mut self, share: TableShare) {
        self.share = Some(share);
        self.slots = Slots::hashed(self.n_rows());
        self.clear();
    }

    /// Returns true if the table holds row `id` once that is initialised.
    #[inline]
    pub fn owns(&self, id: u32) -> bool {
        self.share.is_none_or(|share| share.owns(id))
    }

    /// Creates a table of the same size without rows, into which rows of a batch are gathered. Its memory grows with
    /// these.
    pub fn gathering(&self) -> Table<R> {
        Table {
            slots: Slots::hashed(self.n_rows()),
            ids: vec![0],
            rows: SlotRows::new(self.dim(), self.n_rows()),
            rng: self.rng,
            deviation: self.deviation,
            level: self.level,
            initial: None,
            share: None,
            storage: TableStorage::Memory,
        }
    }

    /// Takes all rows out of a table, and keeps its memory for those of the next batch.
    pub fn begin_gathering(&mut self) {
        self.slots.clear();
        self.ids.truncate(1);
    }

    /// Adds the vectors of some rows, `[ids, dim]`, in this order. Returns `None` if they do not fit the table; some may
    /// then be added.
    #[must_use]
    pub fn gather(&mut self, ids: impl Iterator<Item = u32>, values: &[R]) -> Option<()> {
        let mut values = values.chunks_exact(self.dim().max(1));
        for id in ids {
            let is_new = (id as usize) < self.n_rows() && !self.is_initialised(id);
            is_new.then_some(())?;
            self.add(id).copy_from_slice(values.next()?);
        }
        values.next().is_none().then_some(())
    }

    /// Appends the vectors of those of these rows that are initialised to `values`, and for each row to `found` 1 if it
    /// is, or else 0. `initialise` makes all of them so before. Returns `None` if one lies outside the table or its
    /// share.
    #[must_use]
    pub fn look_up(
        &mut self,
        ids: &[u32],
        initialise: bool,
        values: &mut Vec<R>,
        found: &mut Vec<u8>,
    ) -> Option<()> {
        let is_own = |&id: &u32| (id as usize) < self.n_rows() && self.owns(id);
        ids.iter().all(is_own).then_some(())?;
        if initialise {
            self.init_rows(ids);
        }
        if self.rows.is_in_file() {
            let slots: Vec<u32> = ids.iter().map(|&id| self.slot(id)).collect();
            fetch_rows(&[(&self.rows, slots)]);
        }
        values.reserve(ids.len() * self.dim());
        for &id in ids {
            let slot = self.slot(id);
            found.push(u8::from(slot != 0));
            if slot != 0 {
                values.extend_from_slice(self.rows.row(slot));
            }
        }
        Some(())
    }
}

impl SparseRows<f32> {
    /// Joins rows of which each part has others, into one list with ascending numbers, in memory. Vectors have `dim`
    /// numbers.
    pub fn joined(parts: &[SparseRows<f32>], dim: usize) -> SparseRows<f32> {
        let joined = SparseRows::joined_in(&TableStorage::Memory, parts, dim);
        joined.expect("memory has no errors")
    }

    /// Joins rows as [`SparseRows::joined`] does, in a storage.
    ///
    /// # Errors
    /// The storage is full.
    pub fn joined_in(
        storage: &TableStorage,
        parts: &[SparseRows<f32>],
        dim: usize,
    ) -> Result<SparseRows<f32>, StorageError> {
        let mut places: Vec<(u32, usize, usize)> = Vec::new();
        for (p, part) in parts.iter().enumerate() {
            let rows = part.ids.iter().enumerate();
            places.extend(rows.map(|(row, &id)| (id, p, row)));
        }
        places.sort_unstable();
        let mut values = RowWriter::new(storage)?;
        for &(_, part, row) in &places {
            values.push(&parts[part].values[row * dim..(row + 1) * dim])?;
        }
        Ok(SparseRows {
            ids: places.into_iter().map(|(id, ..)| id).collect(),
            values: values.finish()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;

    fn table() -> Table<f32> {
        Table::new(1000, 3, CounterRng::new(1, "t"), 0.1)
    }

    fn shares(of: usize) -> Vec<Table<f32>> {
        let share = |index| {
            let mut table = table();
            table.hold_share(TableShare { index, of });
            table
        };
        (0..of).map(share).collect()
    }

    #[test]
    fn shares_hold_together_the_rows_of_the_whole() {
        let mut whole = table();
        whole.init_rows(&[7, 3, 999, 500, 12]);
        let rows = whole.sparse_rows();
        let mut shares = shares(3);
        shares
            .iter_mut()
            .for_each(|share| share.restore(&rows).unwrap());
        let parts: Vec<SparseRows<f32>> = shares.iter().map(Table::sparse_rows).collect();
        assert_eq!(parts.iter().map(|part| part.ids.len()).sum::<usize>(), 5);
        assert_eq!(SparseRows::joined(&parts, 3), rows);
        assert_eq!(SparseRows::<f32>::joined(&[], 3), SparseRows::default());
    }

    #[test]
    fn a_gathered_row_is_that_of_its_owner() {
        let (mut whole, mut shares) = (table(), shares(2));
        let mut gathered = shares[0].gathering();
        for initialise in [false, true] {
            gathered.begin_gathering();
            for (index, share) in shares.iter_mut().enumerate() {
                let own = [5, 6, 7, 8].into_iter();
                let own = own.filter(|&id| TableShare::owner(id, 2) == index);
                let own: Vec<u32> = own.collect();
                let (mut values, mut found) = (Vec::new(), Vec::new());
                share
                    .look_up(&own, initialise, &mut values, &mut found)
                    .unwrap();
                assert!(found.iter().all(|&found| (found == 1) == initialise));
                let ids = own.iter().zip(&found).filter(|(_, found)| **found == 1);
                gathered.gather(ids.map(|(&id, _)| id), &values).unwrap();
            }
            assert_eq!(gathered.n_initialised(), if initialise { 4 } else { 0 });
        }
        whole.init_rows(&[8, 7, 6, 5]);
        assert_eq!(gathered.sparse_rows(), whole.sparse_rows());
        assert_eq!(gathered.row(9), [0.0; 3]);
    }

    #[test]
    fn rows_of_others_are_refused() {
        let share = &mut shares(2)[0];
        let other = (0..1000).find(|&id| !share.owns(id)).unwrap();
        for id in [other, 1000] {
            let looked_up = share.look_up(&[id], true, &mut Vec::new(), &mut Vec::new());
            assert_eq!(looked_up, None);
        }
        let mut gathered = share.gathering();
        assert_eq!(gathered.gather([1000].into_iter(), &[0.0; 3]), None);
        assert_eq!(gathered.gather([1].into_iter(), &[0.0; 6]), None);
    }
}
