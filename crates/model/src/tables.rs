//! Ids to vectors. A row is drawn when training first meets its id, so that rows no id points to are
//! never written; a row that no training row has touched is the zero vector.

mod zero_rows;

pub use zero_rows::{RowsPart, ZeroRows};

use crate::draw::Draw;
use crate::number::Real;

/// Rows of a word of the drawn bits.
const WORD: usize = 64;

/// An embedding table, `[rows, dim]`.
#[derive(Clone, Debug)]
pub struct Table<R> {
    /// Zeros where not drawn.
    rows: ZeroRows<R>,
    /// One bit a row: drawn.
    drawn: Vec<u64>,
    draw: Draw,
    deviation: f64,
}

/// Some rows of a table, side by side, to be changed by one thread.
#[derive(Debug)]
pub struct TablePart<'a, R> {
    rows: RowsPart<'a, R>,
    /// The word of the part's first row.
    first_word: usize,
    drawn: &'a mut [u64],
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
            rows: ZeroRows::new(rows, dim),
            drawn: vec![0; rows.div_ceil(WORD)],
            draw,
            deviation,
        }
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.rows.width()
    }

    /// Number of rows, drawn or not.
    pub fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    /// All rows: zeros where not drawn.
    pub fn rows(&self) -> &ZeroRows<R> {
        &self.rows
    }

    /// The vector of row `id`.
    #[inline]
    pub fn row(&self, id: u32) -> &[R] {
        self.rows.row(id)
    }

    /// The vector of row `id`, to be changed.
    #[inline]
    pub fn row_mut(&mut self, id: u32) -> &mut [R] {
        self.rows.row_mut(id)
    }

    /// Asks for the vector of row `id`, which will soon be read.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        self.rows.prefetch(id);
    }

    /// Whether row `id` was drawn.
    #[inline]
    pub fn is_drawn(&self, id: u32) -> bool {
        is_drawn(&self.drawn, id as usize)
    }

    /// One bit a row, from the lowest bit of each word: drawn.
    pub fn drawn(&self) -> &[u64] {
        &self.drawn
    }

    /// Draws row `id` unless it is drawn already.
    #[inline]
    pub fn touch(&mut self, id: u32) {
        if !self.is_drawn(id) {
            self.drawn[id as usize / WORD] |= bit(id as usize);
            draw_row(self.rows.row_mut(id), id, self.draw, self.deviation);
        }
    }

    /// Draws those of these rows that are not drawn yet. Where all are, as in most steps, it takes
    /// about a nanosecond for each.
    pub fn touch_all_of(&mut self, ids: &[u32]) {
        for block in ids.chunks(WORD) {
            // Without a branch, so that the look-ups of a block are under way together.
            let all = block.iter().fold(true, |all, &id| all & self.is_drawn(id));
            if !all {
                block.iter().for_each(|&id| self.touch(id));
            }
        }
    }

    /// All rows cut into parts that end before these rows: multiples of 64, but for the last.
    ///
    /// # Panics
    /// If the ends fall, are no such numbers, or lie behind the last row.
    pub fn split(&mut self, ends: &[usize]) -> Vec<TablePart<'_, R>> {
        let n_rows = self.n_rows();
        let mut rest = self.drawn.as_mut_slice();
        let mut first_word = 0;
        let (draw, deviation) = (self.draw, self.deviation);
        let part = |(rows, &end): (_, &usize)| {
            assert!(
                end.is_multiple_of(WORD) || end == n_rows,
                "a part ends at row {end}"
            );
            let end_word = end.div_ceil(WORD);
            let (drawn, behind) = std::mem::take(&mut rest).split_at_mut(end_word - first_word);
            rest = behind;
            let part = TablePart {
                rows,
                first_word,
                drawn,
                draw,
                deviation,
            };
            first_word = end_word;
            part
        };
        self.rows
            .split(ends)
            .into_iter()
            .zip(ends)
            .map(part)
            .collect()
    }

    /// Number of drawn rows.
    pub fn n_drawn(&self) -> usize {
        self.drawn
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The numbers of the drawn rows, ascending.
    pub fn drawn_ids(&self) -> impl Iterator<Item = u32> {
        ones(&self.drawn)
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
            && rows.ids.iter().all(|&id| (id as usize) < n_rows);
        fits.then_some(())?;
        self.forget();
        let dim = self.dim();
        for (place, &id) in rows.ids.iter().enumerate() {
            self.drawn[id as usize / WORD] |= bit(id as usize);
            let start = place * dim;
            let values = &rows.values[start..start + dim];
            self.row_mut(id).copy_from_slice(values);
        }
        Some(())
    }

    /// Makes the rows whose bits are set the drawn rows, and no others; `values` are their numbers, row
    /// after row, ascending. `None` where they do not fit the table, whose rows then are any.
    #[must_use]
    pub fn restore_drawn(
        &mut self,
        drawn: &[u64],
        values: impl ExactSizeIterator<Item = R>,
    ) -> Option<()> {
        let last = ones(drawn.get(self.n_rows() / WORD..).unwrap_or_default()).last();
        let n_drawn: usize = drawn.iter().map(|word| word.count_ones() as usize).sum();
        let fits = drawn.len() == self.drawn.len()
            && last.is_none_or(|last| (last as usize) < self.n_rows() % WORD)
            && values.len() == n_drawn * self.dim();
        fits.then_some(())?;
        self.forget();
        self.drawn.copy_from_slice(drawn);
        let mut values = values;
        for id in ones(drawn) {
            let row = self.rows.row_mut(id).iter_mut();
            row.zip(&mut values).for_each(|(to, from)| *to = from);
        }
        Some(())
    }

    fn forget(&mut self) {
        self.rows = ZeroRows::new(self.n_rows(), self.dim());
        self.drawn.fill(0);
    }
}

impl<R: Real> TablePart<'_, R> {
    /// The vector of row `id` of the table, to be changed.
    ///
    /// # Panics
    /// If the row lies outside of this part.
    #[inline]
    pub fn row_mut(&mut self, id: u32) -> &mut [R] {
        self.rows.row_mut(id)
    }

    /// Asks for the vector of row `id`, which will soon be read.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        self.rows.prefetch(id);
    }

    /// Draws row `id` of the table unless it is drawn already.
    ///
    /// # Panics
    /// If the row lies outside of this part.
    #[inline]
    pub fn touch(&mut self, id: u32) {
        let place = id as usize - self.first_word * WORD;
        if !is_drawn(self.drawn, place) {
            self.drawn[place / WORD] |= bit(place);
            draw_row(self.rows.row_mut(id), id, self.draw, self.deviation);
        }
    }
}

#[inline]
fn is_drawn(drawn: &[u64], place: usize) -> bool {
    drawn[place / WORD] & bit(place) != 0
}

fn bit(place: usize) -> u64 {
    1 << (place % WORD)
}

#[cold]
fn draw_row<R: Real>(row: &mut [R], id: u32, draw: Draw, deviation: f64) {
    let first = u64::from(id) * row.len() as u64;
    for (value, position) in row.iter_mut().zip(first..) {
        *value = R::of(draw.normal(position) * deviation);
    }
}

/// The places of the bits that are set, ascending.
pub(crate) fn ones(words: &[u64]) -> impl Iterator<Item = u32> {
    words.iter().enumerate().flat_map(|(word, &bits)| {
        let next = |&bits: &u64| Some(bits & (bits - 1)).filter(|&bits| bits != 0);
        let rest = std::iter::successors(Some(bits).filter(|&bits| bits != 0), next);
        rest.map(move |bits| (word * WORD) as u32 + bits.trailing_zeros())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        other.touch_all_of(&[3, 7, 3]);
        assert_eq!(
            other.row(7),
            drawn,
            "a row does not depend on what was touched before"
        );
        assert_eq!((other.n_drawn(), other.is_drawn(8)), (2, false));
    }

    #[test]
    fn parts_draw_what_the_whole_would() {
        let mut whole = table();
        whole.touch_all_of(&[0, 63, 64, 99]);
        let mut table = table();
        let mut parts = table.split(&[0, 64, 100]);
        [0, 63].into_iter().for_each(|id| parts[1].touch(id));
        [64, 99, 64].into_iter().for_each(|id| parts[2].touch(id));
        assert_eq!(parts[2].row_mut(99), whole.row(99));
        assert_eq!(table.sparse_rows(), whole.sparse_rows());
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
    fn drawn_rows_come_back_from_their_bits() {
        let mut table = table();
        table.touch_all_of(&[99, 0, 64]);
        let rows = table.sparse_rows();
        let mut other = self::table();
        other.touch(5);
        let restore = |other: &mut Table<f32>, drawn: &[u64], values: &[f32]| {
            other.restore_drawn(drawn, values.iter().copied())
        };
        restore(&mut other, table.drawn(), &rows.values).unwrap();
        assert_eq!(other.sparse_rows(), rows);
        for (drawn, values) in [
            (&[1, 1 << 36][..], &[0.0; 6][..]),
            (&[1, 1], &[0.0; 5]),
            (&[1], &[0.0; 3]),
        ] {
            assert_eq!(restore(&mut other, drawn, values), None);
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
        let mut table: Table<f32> = Table::new(15_000_000, 16, Draw::new(1, "t"), 0.1);
        (0..1000u32).for_each(|i| table.touch(i * 14_999));
        assert_eq!(table.sparse_rows().ids.len(), 1000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes of 960 MB are resident");
    }
}
