//! Ids to vectors. A row is drawn when training first meets its id, so that rows no id points to are
//! never written; a row that no training row has touched is the zero vector.

use crate::draw::Draw;
use crate::number::Real;

/// An embedding table, `[rows, dim]`.
#[derive(Clone, Debug)]
pub struct Table<R> {
    dim: usize,
    /// Zeros where not drawn: memory that the system hands out only when it is written.
    values: Vec<R>,
    /// One bit a row: drawn.
    drawn: Vec<u64>,
    draw: Draw,
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
    /// A table of `rows` rows, none drawn yet; row `i` will be drawn at position `i` of `draw`, from a
    /// normal distribution of this deviation.
    pub fn new(rows: usize, dim: usize, draw: Draw, deviation: f64) -> Table<R> {
        Table {
            dim,
            values: vec![R::ZERO; rows * dim],
            drawn: vec![0; rows.div_ceil(64)],
            draw,
            deviation,
        }
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows, drawn or not.
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    /// The vector of row `id`.
    #[inline]
    pub fn row(&self, id: u32) -> &[R] {
        let start = id as usize * self.dim;
        &self.values[start..start + self.dim]
    }

    /// The vector of row `id`, to be changed.
    #[inline]
    pub fn row_mut(&mut self, id: u32) -> &mut [R] {
        let start = id as usize * self.dim;
        &mut self.values[start..start + self.dim]
    }

    /// Whether row `id` was drawn.
    pub fn is_drawn(&self, id: u32) -> bool {
        self.drawn[id as usize / 64] >> (id % 64) & 1 == 1
    }

    /// Draws row `id` unless it is drawn already.
    #[inline]
    pub fn touch(&mut self, id: u32) {
        if self.is_drawn(id) {
            return;
        }
        self.drawn[id as usize / 64] |= 1 << (id % 64);
        let (draw, deviation) = (self.draw, self.deviation);
        let first = u64::from(id) * self.dim as u64;
        for (value, position) in self.row_mut(id).iter_mut().zip(first..) {
            *value = R::of(draw.normal(position) * deviation);
        }
    }

    /// Number of drawn rows.
    pub fn n_drawn(&self) -> usize {
        self.drawn
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The drawn rows.
    pub fn sparse_rows(&self) -> SparseRows<R> {
        let mut rows = SparseRows::default();
        for (word, &bits) in self.drawn.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let id = (word * 64) as u32 + bits.trailing_zeros();
                rows.ids.push(id);
                rows.values.extend_from_slice(self.row(id));
                bits &= bits - 1;
            }
        }
        rows
    }

    /// Makes `rows` the drawn rows, and no others. `None`, and the table unchanged, where they do not
    /// fit it.
    #[must_use]
    pub fn restore(&mut self, rows: &SparseRows<R>) -> Option<()> {
        let n_rows = self.n_rows();
        let fits = rows.values.len() == rows.ids.len() * self.dim
            && rows.ids.iter().all(|&id| (id as usize) < n_rows);
        fits.then_some(())?;
        self.values = vec![R::ZERO; self.values.len()];
        self.drawn.fill(0);
        for (place, &id) in rows.ids.iter().enumerate() {
            self.drawn[id as usize / 64] |= 1 << (id % 64);
            let start = place * self.dim;
            let values = &rows.values[start..start + self.dim];
            self.row_mut(id).copy_from_slice(values);
        }
        Some(())
    }
}

/// The gradient of the rows that one step touches: each row once.
#[derive(Clone, Debug, Default)]
pub struct TableGradient<R> {
    /// The touched rows, in the order in which the batch meets them.
    pub ids: Vec<u32>,
    /// Their gradients, `[ids, dim]`.
    pub values: Vec<R>,
    places: Places,
}

impl<R: Real> TableGradient<R> {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
        self.places.clear();
    }

    /// Adds `weight * slope` to the gradient of row `id`.
    #[inline]
    pub fn add(&mut self, id: u32, weight: R, slope: &[R]) {
        let place = self.places.of(id, self.ids.len() as u32) as usize;
        if place == self.ids.len() {
            self.ids.push(id);
            self.values.resize(self.values.len() + slope.len(), R::ZERO);
        }
        let start = place * slope.len();
        for (sum, &slope) in self.values[start..start + slope.len()]
            .iter_mut()
            .zip(slope)
        {
            *sum += weight * slope;
        }
    }
}

/// A map from ids to their places, by open addressing. Clearing it costs nothing: entries carry the
/// number of the round they were made in.
#[derive(Clone, Debug, Default)]
struct Places {
    /// `(round, id, place)`; the length is a power of two.
    entries: Vec<(u32, u32, u32)>,
    round: u32,
    n_entries: usize,
}

impl Places {
    fn clear(&mut self) {
        self.n_entries = 0;
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.entries.clear();
            self.round = 1;
        }
    }

    /// The place of `id`; `next` if it has none yet.
    #[inline]
    fn of(&mut self, id: u32, next: u32) -> u32 {
        if self.n_entries * 2 >= self.entries.len() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = (id.wrapping_mul(0x9E37_79B1) >> 7) as usize & mask;
        loop {
            let (round, known, place) = self.entries[at];
            if round != self.round {
                self.entries[at] = (self.round, id, next);
                self.n_entries += 1;
                return next;
            }
            if known == id {
                return place;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        if self.round == 0 {
            self.round = 1;
        }
        let size = (self.entries.len() * 2).max(256);
        let old = std::mem::replace(&mut self.entries, vec![(0, 0, 0); size]);
        self.n_entries = 0;
        for (round, id, place) in old {
            if round == self.round {
                self.of(id, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn table() -> Table<f32> {
        Table::new(100, 3, Draw::new(1, "t"), 0.1)
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
        other.touch(3);
        other.touch(7);
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
        [99, 0, 64].into_iter().for_each(|id| table.touch(id));
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

    /// Fifteen million rows of which a thousand are touched: a dense gradient or a clone of the whole
    /// would be seen in the memory that is resident.
    #[cfg(target_os = "linux")]
    #[test]
    fn untouched_rows_are_never_written() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut table: Table<f32> = Table::new(15_000_000, 16, Draw::new(1, "t"), 0.1);
        let mut gradient = TableGradient::default();
        for i in 0..1000u32 {
            table.touch(i * 14_999);
            gradient.add(i * 14_999, 1.0, &[1.0; 16]);
        }
        assert_eq!(table.sparse_rows().ids.len(), 1000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes of 960 MB are resident");
    }

    proptest! {
        #[test]
        fn gradients_of_an_id_add_up(rounds in prop::collection::vec(
            prop::collection::vec((0u32..500, -1.0f64..1.0), 0..600), 1..4)
        ) {
            let mut gradient = TableGradient::default();
            for adds in rounds {
                gradient.clear();
                let mut expected: BTreeMap<u32, f64> = BTreeMap::new();
                for &(id, slope) in &adds {
                    gradient.add(id, 2.0, &[slope]);
                    *expected.entry(id).or_default() += 2.0 * slope;
                }
                let found: BTreeMap<u32, f64> =
                    gradient.ids.iter().copied().zip(gradient.values.iter().copied()).collect();
                prop_assert_eq!(gradient.ids.len(), expected.len());
                prop_assert_eq!(found, expected);
            }
        }
    }
}
