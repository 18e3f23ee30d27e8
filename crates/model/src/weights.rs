//! The weights of a network as plain data.

use crate::number::Real;
use crate::tables::SparseRows;

/// The weights of a network, in the form in which they are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<R: Real = f32> {
    /// Parameters of layers and heads.
    pub dense: Vec<R>,
    /// The initialised rows of each table.
    pub tables: Vec<SparseRows<R>>,
}

impl<R: Real> Weights<R> {
    /// Returns the weights without the table rows for which `is_gone(table, row)`.
    #[must_use]
    pub fn without_rows(&self, is_gone: impl Fn(usize, u32) -> bool) -> Weights<R> {
        let table = |(table, rows): (usize, &SparseRows<R>)| {
            let width = rows.values.len() / rows.ids.len().max(1);
            let is_kept = |row: &usize| !is_gone(table, rows.ids[*row]);
            let kept: Vec<usize> = (0..rows.ids.len()).filter(is_kept).collect();
            if kept.len() == rows.ids.len() {
                // Values in a file stay there.
                return rows.clone();
            }
            let values = kept
                .iter()
                .flat_map(|&row| &rows.values[row * width..(row + 1) * width]);
            SparseRows {
                values: values.copied().collect(),
                ids: kept.iter().map(|&row| rows.ids[row]).collect(),
            }
        };
        Weights {
            dense: self.dense.clone(),
            tables: self.tables.iter().enumerate().map(table).collect(),
        }
    }
}
