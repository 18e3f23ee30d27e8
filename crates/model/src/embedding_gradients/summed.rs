//! Gradients of a table that several processes have computed, summed by row.

use super::TableGradient;
use super::part::{add_scaled, ones};
use crate::number::Real;
use crate::tables::{Table, TableShare};

impl<R: Real> TableGradient<R> {
    /// Returns the rows that belong to one of `n_owners` shares of the table, and their gradients, `[rows, dim]`. The rows
    /// of the gradient must lie owner by owner, as they do where a batch's rows were gathered so.
    pub fn of_owner(&self, owner: usize, n_owners: usize) -> (&[u32], &[R]) {
        let owner_of = |id: &u32| TableShare::owner(*id, n_owners);
        let start = self.ids.partition_point(|id| owner_of(id) < owner);
        let end = self.ids.partition_point(|id| owner_of(id) <= owner);
        let dim = self.values.len() / self.ids.len().max(1);
        (&self.ids[start..end], &self.values[start * dim..end * dim])
    }

    /// Replaces the gradient by the sum of several, each given as rows (each once) and their gradients, `[rows, dim]`. The
    /// gradients of a row are added in the order of `parts`; the rows lie in the order of their slots, as after a
    /// backward pass. Returns `None` if the sizes do not fit, or `table` has not initialised a row; the gradient is then
    /// unchanged.
    #[must_use]
    pub fn set_to_sum(&mut self, table: &Table<R>, parts: &[(Vec<u32>, Vec<R>)]) -> Option<()> {
        let dim = table.dim();
        let fits = |(ids, values): &(Vec<u32>, Vec<R>)| {
            let mut ids = ids.iter();
            values.len() == ids.len() * dim
                && ids.all(|&id| (id as usize) < table.n_rows() && table.is_initialised(id))
        };
        parts.iter().all(fits).then_some(())?;
        let mut bits = vec![0u64; table.ids().len().div_ceil(64)];
        for &id in parts.iter().flat_map(|(ids, _)| ids) {
            let slot = table.slot(id) as usize;
            bits[slot / 64] |= 1 << (slot % 64);
        }
        let mut before = Vec::with_capacity(bits.len());
        self.slots.clear();
        for (word, at) in bits.iter().zip(0..) {
            before.push(self.slots.len());
            self.slots.extend(ones(*word).map(|bit| at * 64 + bit));
        }
        let of_slots = self.slots.iter().map(|&slot| table.ids()[slot as usize]);
        self.ids = of_slots.collect();
        self.values.resize(self.ids.len() * dim);
        // Adding to -0 gives every number itself, 0 and -0 too.
        self.values.fill(-R::ZERO);
        for (ids, values) in parts {
            for (&id, gradients) in ids.iter().zip(values.chunks_exact(dim.max(1))) {
                let slot = table.slot(id) as usize;
                let lower = bits[slot / 64] & ((1 << (slot % 64)) - 1);
                let at = (before[slot / 64] + lower.count_ones() as usize) * dim;
                add_scaled(&mut self.values[at..at + dim], R::ONE, gradients);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;

    fn table() -> Table<f32> {
        let mut table = Table::new(300, 2, CounterRng::new(1, "t"), 0.1);
        // Slot 1 is row 299, and so on.
        (0..200).for_each(|i| table.init_row(299 - i));
        table
    }

    #[test]
    fn rows_are_summed_in_the_order_of_parts_and_lie_in_that_of_slots() {
        let table = table();
        let parts = [
            (vec![120, 299], vec![1e8, 0.0, 3.0, -0.0]),
            (vec![299, 200, 120], vec![1.0, 1.0, 5.0, 6.0, 1.0, 2.0]),
            (vec![120], vec![-1e8, 0.5]),
        ];
        let mut gradient = TableGradient::new(vec![7], vec![9.0, 9.0]);
        gradient.set_to_sum(&table, &parts).unwrap();
        assert_eq!(gradient.ids, [299, 200, 120]);
        assert_eq!(*gradient.values, [4.0, 1.0, 5.0, 6.0, 0.0, 2.5]);
        let slots: Vec<u32> = gradient.ids.iter().map(|&id| table.slot(id)).collect();
        assert_eq!(gradient.slots_in(&table), Some(&slots[..]));
        gradient.set_to_sum(&table, &[]).unwrap();
        assert!(gradient.ids.is_empty() && gradient.values.is_empty());
    }

    #[test]
    fn rows_of_another_table_are_refused() {
        let (table, mut gradient) = (table(), TableGradient::new(vec![7], vec![9.0, 9.0]));
        for part in [
            (vec![300], vec![0.0; 2]),
            (vec![99], vec![0.0; 2]),
            (vec![120], vec![0.0; 3]),
        ] {
            assert_eq!(gradient.set_to_sum(&table, &[part]), None);
            assert_eq!(gradient.ids, [7]);
        }
    }
}
