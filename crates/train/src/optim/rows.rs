//! Steps of tables: row by row, those of the batch only.

use super::rule::Rule;
use ncs_model::{Real, RowsPart, Table, TableGradient, TablePart, ZeroRows};
use rayon::prelude::*;

/// Fewer rows than this are not worth a thread.
const LEAST_ROWS: usize = 2048;
/// Rows that are asked for together, and moved while the next ones are on their way. First the weights
/// of all of them, then the moments: in turn they take 1.6 times as long, since each waits for its page.
const BLOCK: usize = 32;
/// Parts of a table end before multiples of this.
const ALIGNED: usize = 64;

/// The moments of a table's rows, first and second of a row side by side. Rows that no step touched
/// are zero and never written, so that the system need not hand out memory for them.
#[derive(Clone, Debug)]
pub struct RowMoments<R> {
    /// `[rows, 2, dim]`.
    rows: ZeroRows<R>,
}

impl<R: Real> RowMoments<R> {
    pub(super) fn new(table: &Table<R>) -> RowMoments<R> {
        RowMoments {
            rows: ZeroRows::new(table.n_rows(), 2 * table.dim()),
        }
    }

    /// Adam's first moment of row `id`, `[dim]`; zero with Adagrad.
    pub fn first(&self, id: u32) -> &[R] {
        self.rows.row(id).split_at(self.rows.width() / 2).0
    }

    /// Adam's second moment of row `id`, `[dim]`; Adagrad's sum of squares.
    pub fn second(&self, id: u32) -> &[R] {
        self.rows.row(id).split_at(self.rows.width() / 2).1
    }

    /// All of them, `[rows, 2, dim]`.
    pub(crate) fn rows(&self) -> &ZeroRows<R> {
        &self.rows
    }

    pub(crate) fn rows_mut(&mut self) -> &mut ZeroRows<R> {
        &mut self.rows
    }
}

/// A range of a table's rows, and what moves them.
struct Part<'a, R> {
    table: TablePart<'a, R>,
    moments: RowsPart<'a, R>,
    ids: &'a [u32],
    /// `[ids, dim]`
    slopes: &'a [R],
}

/// Moves the rows of each table that its gradient names. Every row is moved by one thread, by itself:
/// the result does not depend on how many there are.
pub(super) fn step<R: Real>(
    rule: Rule<R>,
    tables: &mut [Table<R>],
    gradients: &[TableGradient<R>],
    moments: &mut [RowMoments<R>],
) {
    let n_threads = rayon::current_num_threads();
    let all: usize = gradients.iter().map(|gradient| gradient.ids.len()).sum();
    let rows_a_part = all.div_ceil(n_threads).max(LEAST_ROWS);
    let mut parts = Vec::new();
    for ((table, gradient), moments) in tables.iter_mut().zip(gradients).zip(moments) {
        divide(table, gradient, moments, rows_a_part, &mut parts);
    }
    match parts.len() {
        0 | 1 => parts.into_iter().for_each(|part| part.step(rule)),
        _ if n_threads == 1 => parts.into_iter().for_each(|part| part.step(rule)),
        _ => parts.into_par_iter().for_each(|part| part.step(rule)),
    }
}

fn divide<'a, R: Real>(
    table: &'a mut Table<R>,
    gradient: &'a TableGradient<R>,
    moments: &'a mut RowMoments<R>,
    rows_a_part: usize,
    parts: &mut Vec<Part<'a, R>>,
) {
    let (dim, n_rows) = (table.dim(), table.n_rows());
    let (mut ids, mut slopes) = (gradient.ids.as_slice(), gradient.values.as_slice());
    // Ids ascend: each part but the last ends before the id that is one too many for it.
    let last_ids = ids.iter().skip(rows_a_part).step_by(rows_a_part);
    let mut ends: Vec<usize> = last_ids
        .map(|&id| id as usize / ALIGNED * ALIGNED)
        .collect();
    ends.push(n_rows);
    let tables = table.split(&ends);
    let moments = moments.rows.split(&ends);
    for ((table, moments), end) in tables.into_iter().zip(moments).zip(ends) {
        let n_ids = ids.partition_point(|&id| (id as usize) < end);
        let (own_ids, ids_behind) = ids.split_at(n_ids);
        let (own_slopes, slopes_behind) = slopes.split_at(n_ids * dim);
        (ids, slopes) = (ids_behind, slopes_behind);
        parts.push(Part {
            table,
            moments,
            ids: own_ids,
            slopes: own_slopes,
        });
    }
    assert!(
        ids.is_empty(),
        "the gradient of another table: it has row {}",
        ids[0]
    );
}

impl<R: Real> Part<'_, R> {
    fn step(mut self, rule: Rule<R>) {
        let dim = self.slopes.len() / self.ids.len().max(1);
        let mut blocks = self
            .ids
            .chunks(BLOCK)
            .zip(self.slopes.chunks(BLOCK * dim.max(1)));
        let mut next = blocks.next();
        while let Some((ids, slopes)) = next {
            next = blocks.next();
            let (ahead, _) = next.unwrap_or_default();
            ahead.iter().for_each(|&id| self.table.prefetch(id));
            ahead.iter().for_each(|&id| self.moments.prefetch(id));
            for (&id, slopes) in ids.iter().zip(slopes.chunks_exact(dim)) {
                self.table.touch(id);
                let (first, second) = self.moments.row_mut(id).split_at_mut(dim);
                rule.apply(self.table.row_mut(id), slopes, first, second);
            }
        }
    }
}

/// Moves every row of the table, those outside the batch with a slope of zero.
pub(super) fn step_all<R: Real>(
    rule: Rule<R>,
    table: &mut Table<R>,
    gradient: &TableGradient<R>,
    moments: &mut RowMoments<R>,
) {
    let dim = table.dim();
    let zeros = vec![R::ZERO; dim];
    let mut next = gradient
        .ids
        .iter()
        .zip(gradient.values.chunks_exact(dim))
        .peekable();
    for id in 0..table.n_rows() as u32 {
        let slopes = next
            .next_if(|&(&row, _)| row == id)
            .map_or(&*zeros, |(_, slopes)| slopes);
        table.touch(id);
        let (first, second) = moments.rows.row_mut(id).split_at_mut(dim);
        rule.apply(table.row_mut(id), slopes, first, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Optimizer;
    use ncs_model::Draw;

    const N_ROWS: usize = 100_000;
    const DIM: usize = 16;

    fn table() -> Table<f32> {
        Table::new(N_ROWS, DIM, Draw::new(1, "t"), 0.1)
    }

    fn gradient(ids: Vec<u32>) -> TableGradient<f32> {
        let slopes = (0..ids.len() * DIM).map(|i| Draw::new(2, "g").normal(i as u64) as f32);
        let slopes = slopes.collect();
        TableGradient::new(ids, slopes)
    }

    fn rule() -> Rule<f32> {
        let adam = Optimizer::Adam {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        Rule::new(adam, 1, 1.0, 0.0)
    }

    #[test]
    fn rows_move_alike_on_any_number_of_threads() {
        let crowded = (0..6000).chain((6000..100_000).step_by(17));
        let first = gradient(crowded.collect());
        let second = gradient((1..99_999).step_by(7).collect());
        let stepped = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            let mut tables = vec![table(), table()];
            let mut moments: Vec<_> = tables.iter().map(RowMoments::new).collect();
            pool.build().unwrap().install(|| {
                let gradients = [first.clone(), second.clone()];
                step(rule(), &mut tables, &gradients, &mut moments);
                let gradients = [second.clone(), first.clone()];
                step(rule(), &mut tables, &gradients, &mut moments);
            });
            let moments_of = |(table, moments): (&Table<f32>, &RowMoments<f32>)| {
                let ids = table.drawn_ids();
                ids.flat_map(|id| moments.rows().row(id).to_vec())
                    .collect::<Vec<f32>>()
            };
            let all: Vec<_> = tables.iter().zip(&moments).map(moments_of).collect();
            (
                tables.iter().map(Table::sparse_rows).collect::<Vec<_>>(),
                all,
            )
        };
        let one = stepped(1);
        assert!(
            one.0[0].ids.len() > 4 * LEAST_ROWS,
            "enough for several parts"
        );
        assert!(one == stepped(2));
        assert!(one == stepped(3));
    }

    #[test]
    #[should_panic(expected = "the gradient of another table: it has row 100000")]
    fn a_row_that_is_not_there_is_told() {
        let mut tables = [table()];
        let mut moments = [RowMoments::new(&tables[0])];
        step(
            rule(),
            &mut tables,
            &[gradient(vec![5, 100_000])],
            &mut moments,
        );
    }

    /// Fifteen million rows of which a thousand move: what is written is seen in the resident memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn rows_outside_of_the_batch_are_never_written() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut tables = [Table::new(15_000_000, DIM, Draw::new(1, "t"), 0.1)];
        let mut moments = [RowMoments::new(&tables[0])];
        let ids = (0..1000).map(|i| i * 14_999).collect();
        step(rule(), &mut tables, &[gradient(ids)], &mut moments);
        assert_eq!(tables[0].n_drawn(), 1000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 500 << 20, "{grown} bytes of 2880 MB are resident");
    }
}
