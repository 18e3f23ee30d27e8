//! AUC of a single column against a label.

use ncs_eval::auc::auc;

/// The values of a column, by row.
pub(crate) trait ColumnValues {
    /// Returns the number of distinct values.
    fn n_values(&self) -> usize;

    /// Returns the values of a row as indices of distinct values; empty if the row has none.
    fn values_of(&self, row: usize) -> &[u32];

    /// Returns the number of a row, if the column has numbers.
    fn number_of(&self, row: usize) -> Option<f64>;
}

/// Returns the AUC of label rates by value: every row is scored by the rows of the other half, so that a value
/// that occurs once carries no information about its own label.
pub(crate) fn auc_of_values(column: &impl ColumnValues, rows: &[usize], labels: &[f32]) -> f64 {
    auc(labels, &held_out_rates(column, rows, labels)).unwrap_or(0.5)
}

/// Returns the AUC of the number itself, in the better direction, with rows without a number placed first or
/// last.
pub(crate) fn auc_of_number(column: &impl ColumnValues, rows: &[usize], labels: &[f32]) -> f64 {
    let with = |null: f64| {
        let score = |row: &usize| column.number_of(*row).unwrap_or(null);
        let scores: Vec<f64> = rows.iter().map(score).collect();
        auc(labels, &scores).map_or(0.5, |auc| auc.max(1.0 - auc))
    };
    with(f64::NEG_INFINITY).max(with(f64::INFINITY))
}

fn held_out_rates(column: &impl ColumnValues, rows: &[usize], labels: &[f32]) -> Vec<f64> {
    // One more entry, for rows without a value.
    let n_values = column.n_values();
    let values = |row: usize| match column.values_of(row) {
        [] => vec![n_values],
        values => values.iter().map(|&value| value as usize).collect(),
    };
    let mut halves = [Half::new(n_values + 1), Half::new(n_values + 1)];
    for (at, (&row, &label)) in rows.iter().zip(labels).enumerate() {
        halves[half_of(at)].add(&values(row), f64::from(label));
    }
    let score = |(at, &row): (usize, &usize)| halves[1 - half_of(at)].rate(&values(row));
    rows.iter().enumerate().map(score).collect()
}

/// Returns the half of a row by a hash of its position, independent of the order of the rows.
pub(crate) fn half_of(position: usize) -> usize {
    ((position as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63) as usize
}

/// Label counts of half of the rows.
struct Half {
    /// Rows and positive rows, by value.
    counts: Vec<(f64, f64)>,
    rows: f64,
    positives: f64,
}

impl Half {
    fn new(n_values: usize) -> Half {
        Half {
            counts: vec![(0.0, 0.0); n_values],
            rows: 0.0,
            positives: 0.0,
        }
    }

    fn add(&mut self, values: &[usize], label: f64) {
        self.rows += 1.0;
        self.positives += label;
        for &value in values {
            self.counts[value].0 += 1.0;
            self.counts[value].1 += label;
        }
    }

    /// Returns the mean label rate of the values, each smoothed by one row at the overall rate.
    fn rate(&self, values: &[usize]) -> f64 {
        let prior = (self.positives + 0.5) / (self.rows + 1.0);
        let rates = values.iter().map(|&value| {
            let (rows, positives) = self.counts[value];
            (positives + prior) / (rows + 1.0)
        });
        rates.sum::<f64>() / values.len() as f64
    }
}
