//! Steps of tables: row by row, those of the batch only.

use super::rule::Rule;
use ncs_model::{Real, RowsPart, Table, TableGradient, TablePart, ZeroRows};
use rayon::prelude::*;

/// Fewer rows than this are not worth a thread.
const LEAST_ROWS: usize = 2048;
/// So many rows ahead, weights and moments are asked for.
const AHEAD: usize = 16;
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
        for (i, &id) in self.ids.iter().enumerate() {
            if let Some(&ahead) = self.ids.get(i + AHEAD) {
                self.table.prefetch(ahead);
                self.moments.prefetch(ahead);
            }
            self.table.touch(id);
            let (first, second) = self.moments.row_mut(id).split_at_mut(dim);
            let slopes = &self.slopes[i * dim..(i + 1) * dim];
            rule.apply(self.table.row_mut(id), slopes, first, second);
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
