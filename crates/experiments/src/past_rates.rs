//! Whether a past rate of a column would predict labels: what `ncs check` says of columns without one.

use ncs_eval::auc::auc;

use crate::column_auc::{ColumnValues, auc_of_values};
use crate::exact_values::Folds;

/// `features.rates = "auto"` looks at columns of more values: of fewer, each learns its rate from its own rows.
const MANY_VALUES: usize = 100;

/// Rows that are looked at, of which there may be millions.
const MOST_ROWS: usize = 100_000;

/// Required distance of the AUC from chance, in standard errors of chance.
const CLEARLY_MORE: f64 = 5.0;

/// An AUC that is worth a feature of its own.
const WORTH_IT: f64 = 0.6;

/// Returns how well the rate of a label by value alone ranks the labels of other rows, where that is clearly more than chance
/// and worth a feature; `labels` are those of the rows, NaN where unknown.
pub(crate) fn worth(column: &impl ColumnValues, labels: &[f32], folds: Folds<'_>) -> Option<f64> {
    if column.n_values() <= MANY_VALUES {
        return None;
    }
    let known = (0..labels.len()).filter(|&row| !labels[row].is_nan());
    let rows: Vec<usize> = known.take(MOST_ROWS).collect();
    let of_rows = |rows: &[usize]| -> Vec<f32> {
        let truth = |&row: &usize| f32::from(labels[row] > 0.0);
        rows.iter().map(truth).collect()
    };
    let (found, truths) = match folds {
        Folds::Halves => {
            let truths = of_rows(&rows);
            (auc_of_values(column, &rows, &truths), truths)
        }
        Folds::Later(later) => {
            let is_later = |row: &usize| later.get(*row) == Some(&true);
            let (after, before): (Vec<usize>, Vec<usize>) = rows.iter().partition(|r| is_later(r));
            let scores = rates(column, &before, &of_rows(&before), &after);
            let truths = of_rows(&after);
            (auc(&truths, &scores)?, truths)
        }
    };
    let positives = truths.iter().filter(|truth| **truth > 0.0).count();
    let fewer = positives.min(truths.len() - positives) as f64;
    // Of n labels of the rarer kind the AUC of chance has a standard error of 1 / sqrt(12 n) at most.
    let is_clear = found - 0.5 > CLEARLY_MORE / (12.0 * fewer.max(1.0)).sqrt();
    (is_clear && found >= WORTH_IT).then_some(found)
}

/// The rate of each value in the rows `before`, averaged with one row at the overall rate, for the rows `after`.
fn rates(
    column: &impl ColumnValues,
    before: &[usize],
    labels: &[f32],
    after: &[usize],
) -> Vec<f64> {
    let value = |row: usize| column.values_of(row).first().map(|&value| value as usize);
    let mut counts = vec![(0.0, 0.0); column.n_values()];
    for (&row, &label) in before.iter().zip(labels) {
        if let Some(value) = value(row) {
            counts[value].0 += 1.0;
            counts[value].1 += f64::from(label);
        }
    }
    let positives: f64 = labels.iter().map(|&label| f64::from(label)).sum();
    let overall = (positives + 0.5) / (labels.len() as f64 + 1.0);
    let rate = |&row: &usize| match value(row) {
        Some(value) => (counts[value].1 + overall) / (counts[value].0 + 1.0),
        None => overall,
    };
    after.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value a row.
    struct Ids {
        values: Vec<u32>,
        distinct: usize,
    }

    impl ColumnValues for Ids {
        fn n_values(&self) -> usize {
            self.distinct
        }

        fn values_of(&self, row: usize) -> &[u32] {
            &self.values[row..=row]
        }

        fn number_of(&self, _: usize) -> Option<f64> {
            None
        }
    }

    fn noise(number: u64) -> f64 {
        let hash = (number + 1).wrapping_mul(0x2545_F491_4F6C_DD1D);
        (hash >> 40) as f64 / (1u64 << 24) as f64
    }

    fn ids(distinct: usize) -> Ids {
        let value = |row: u64| (noise(3 * row + 1) * distinct as f64) as u32;
        Ids {
            values: (0..20_000).map(value).collect(),
            distinct,
        }
    }

    /// Labels by a rate for each row and value.
    fn labels(ids: &Ids, rate: impl Fn(usize, u64) -> f64) -> Vec<f32> {
        let rows = ids.values.iter().enumerate();
        rows.map(|(row, &value)| f32::from(noise(7 * row as u64) < rate(row, u64::from(value))))
            .collect()
    }

    #[test]
    fn values_with_rates_of_their_own_are_worth_a_feature() {
        let column = ids(500);
        let later: Vec<bool> = (0..20_000).map(|row| row >= 16_000).collect();
        let own = labels(&column, |_, value| 0.6 * noise(value + 9));
        for folds in [Folds::Halves, Folds::Later(&later)] {
            let found = worth(&column, &own, folds);
            assert!(found.is_some_and(|auc| auc > 0.65), "{found:?}");
        }
        let same = labels(&column, |_, _| 0.3);
        for folds in [Folds::Halves, Folds::Later(&later)] {
            assert_eq!(worth(&column, &same, folds), None);
        }
    }

    #[test]
    fn rates_that_do_not_last_and_few_values_are_passed_over() {
        let column = ids(500);
        let later: Vec<bool> = (0..20_000).map(|row| row >= 16_000).collect();
        let drift = |row: usize, value: u64| 0.6 * noise(value + 1000 * (row as u64 / 16_000));
        let drifting = labels(&column, drift);
        assert_eq!(worth(&column, &drifting, Folds::Later(&later)), None);
        let few = ids(100);
        let own = labels(&few, |_, value| 0.6 * noise(value + 9));
        assert_eq!(worth(&few, &own, Folds::Halves), None);
    }
}
