//! Test whether the exact values of a numeric column are more informative than their place on a scale:
//! statutory amounts, codes written as numbers, prices that end in .99.

use crate::column_auc::ColumnValues;

/// Minimum number of distinct values; with fewer, a scale has a knot for each of them (docs/decisions/0031).
const MIN_VALUES: usize = 18;

/// Maximum number of distinct values; with more, each has too few rows.
const MAX_VALUES: usize = 256;

/// Number of pieces of the scale that the exact values must beat.
const PIECES: usize = 16;

/// Number of prior rows at the rate of the scale, averaged with the rows of a value.
const PRIOR_ROWS: f64 = 20.0;

/// Minimum gain in at least one task, in standard errors.
const MIN_BEST_GAIN: f64 = 5.0;

/// Minimum gain in every task, in standard errors.
const MIN_WORST_GAIN: f64 = -3.0;

/// Maximum number of rows that are tested.
const MAX_ROWS: usize = 100_000;

/// Assignment of rows to fitting and evaluation.
#[derive(Clone, Copy)]
pub(crate) enum Folds<'a> {
    /// Rates of each half of the rows, chosen by a hash, are evaluated on the other half.
    Halves,
    /// Rates of earlier rows are evaluated on the later ones, marked here.
    Later(&'a [bool]),
}

/// Returns true if a numeric column should also be a category: the label rate of each exact value predicts
/// labels of other rows significantly better than interpolated rates along the scale. `labels` are those of the
/// rows, `[task][row]`, NaN where unknown; a label above 0 counts as 1.
pub(crate) fn are_informative<'l>(
    column: &impl ColumnValues,
    labels: impl Iterator<Item = &'l [f32]>,
    folds: Folds<'_>,
) -> bool {
    let gains = labels.filter_map(|labels| gain(column, labels, folds));
    let (mut worst, mut best) = (f64::INFINITY, f64::NEG_INFINITY);
    for gain in gains {
        (worst, best) = (worst.min(gain), best.max(gain));
    }
    best > MIN_BEST_GAIN && worst > MIN_WORST_GAIN
}

/// A row with a number and a known label.
#[derive(Clone, Copy)]
struct Row {
    number: f64,
    label: f64,
    is_second: bool,
}

/// Returns the mean gain of log-likelihood a row, in standard errors. `None` if the column has too few or too
/// many values, or a fold has no rows.
fn gain(column: &impl ColumnValues, labels: &[f32], folds: Folds<'_>) -> Option<f64> {
    if !(MIN_VALUES..=MAX_VALUES).contains(&column.n_values()) {
        return None;
    }
    let is_second = |row: usize| match folds {
        Folds::Halves => crate::column_auc::half_of(row) == 1,
        Folds::Later(later) => later.get(row) == Some(&true),
    };
    let known = labels.iter().enumerate().filter_map(|(row, &label)| {
        let number = column.number_of(row).filter(|_| !label.is_nan())?;
        let label = f64::from(u8::from(label > 0.0));
        let is_second = is_second(row);
        Some(Row {
            number,
            label,
            is_second,
        })
    });
    let mut rows: Vec<Row> = known.take(MAX_ROWS).collect();
    rows.sort_by(|a, b| a.number.total_cmp(&b.number));
    let mut gains = gains(&rows, false)?;
    if matches!(folds, Folds::Halves) {
        gains.extend(self::gains(&rows, true)?);
    }
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / n;
    (variance > 0.0).then(|| mean / (variance / n).sqrt())
}

/// Returns the gain of each row of one fold with rates of the other: of the second fold with rates of the
/// first, or the reverse. `rows` are ascending in their numbers.
fn gains(rows: &[Row], from_second: bool) -> Option<Vec<f64>> {
    let values = values(rows, from_second);
    let scale = scale(&values)?;
    let mut gains = Vec::new();
    for (value, rows) in values
        .iter()
        .zip(rows.chunk_by(|a, b| a.number == b.number))
    {
        let smooth = interpolated(&scale, value.number);
        let exact = (value.positives + PRIOR_ROWS * smooth) / (value.rows + PRIOR_ROWS);
        let others = rows.iter().filter(|row| row.is_second != from_second);
        gains.extend(others.map(|row| log_likelihood(exact, row) - log_likelihood(smooth, row)));
    }
    (!gains.is_empty()).then_some(gains)
}

fn log_likelihood(rate: f64, row: &Row) -> f64 {
    let rate = rate.clamp(1e-6, 1.0 - 1e-6);
    row.label * rate.ln() + (1.0 - row.label) * (1.0 - rate).ln()
}

/// Numbers of rows and positive rows of a value, in one fold.
#[derive(Clone, Copy, Default)]
struct Counts {
    number: f64,
    rows: f64,
    positives: f64,
}

fn values(rows: &[Row], from_second: bool) -> Vec<Counts> {
    let runs = rows.chunk_by(|a, b| a.number == b.number);
    let counts = runs.map(|run| {
        let own = run.iter().filter(|row| row.is_second == from_second);
        let (rows, positives) = own.fold((0.0, 0.0), |(n, p), row| (n + 1.0, p + row.label));
        Counts {
            number: run[0].number,
            rows,
            positives,
        }
    });
    counts.collect()
}

/// Returns mean number and label rate of each piece, ascending. A value with at least a piece's share of the
/// rows is a piece of its own, as in [`ncs_features::Piecewise`].
fn scale(values: &[Counts]) -> Option<Vec<(f64, f64)>> {
    let rows: f64 = values.iter().map(|value| value.rows).sum();
    let positives: f64 = values.iter().map(|value| value.positives).sum();
    if rows == 0.0 {
        return None;
    }
    let is_heavy = |value: &Counts| value.rows * PIECES as f64 >= rows;
    let heavy = values.iter().filter(|value| is_heavy(value)).count();
    let light: f64 = values
        .iter()
        .filter(|value| !is_heavy(value))
        .map(|value| value.rows)
        .sum();
    let rest = (PIECES + 1).saturating_sub(heavy).max(2) as f64 - 1.0;
    let base = (positives + 0.5) / (rows + 1.0);
    let (mut pieces, mut current, mut before, mut passed) =
        (Vec::new(), None, Counts::default(), 0.0);
    for (at, value) in values.iter().enumerate() {
        let key = if is_heavy(value) {
            at + PIECES
        } else {
            let place = (passed * rest / light.max(1.0)) as usize;
            passed += value.rows;
            place.min(rest as usize - 1)
        };
        if current != Some(key) {
            pieces.extend(current.map(|_| before));
            (current, before) = (Some(key), Counts::default());
        }
        // Sums; the means are computed below.
        before.number += value.number * value.rows;
        before.rows += value.rows;
        before.positives += value.positives;
    }
    pieces.push(before);
    let filled = pieces.into_iter().filter(|piece| piece.rows > 0.0);
    let points = filled.map(|piece| {
        let rate = (piece.positives + base) / (piece.rows + 1.0);
        (piece.number / piece.rows, rate)
    });
    Some(points.collect())
}

/// Interpolates the rate at a number between the pieces beside it; beyond the ends, it is that of the last
/// piece.
fn interpolated(scale: &[(f64, f64)], number: f64) -> f64 {
    let above = scale.partition_point(|(at, _)| *at <= number);
    let (low, high) = (scale[above.max(1) - 1], scale[above.min(scale.len() - 1)]);
    let width = high.0 - low.0;
    if above == 0 || width <= 0.0 {
        return low.1;
    }
    low.1 + (high.1 - low.1) * ((number - low.0) / width).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One number for each row; distinct values are not listed.
    struct Numbers {
        numbers: Vec<f64>,
        distinct: usize,
    }

    impl ColumnValues for Numbers {
        fn n_values(&self) -> usize {
            self.distinct
        }

        fn values_of(&self, _: usize) -> &[u32] {
            &[]
        }

        fn number_of(&self, row: usize) -> Option<f64> {
            self.numbers.get(row).copied()
        }
    }

    /// Returns 20,000 rows with numbers below `distinct` in pseudo-random order.
    fn column(distinct: usize) -> Numbers {
        let number = |row: usize| (row.wrapping_mul(7919) % distinct) as f64;
        Numbers {
            numbers: (0..20_000).map(number).collect(),
            distinct,
        }
    }

    /// Samples labels at a rate for each row, by a hash.
    fn labels(column: &Numbers, rate: impl Fn(usize, f64) -> f64) -> Vec<f32> {
        let uniform = |row: usize| {
            let hash = (row as u64 + 1).wrapping_mul(0x2545_F491_4F6C_DD1D);
            (hash >> 40) as f64 / (1u64 << 24) as f64
        };
        let rows = column.numbers.iter().enumerate();
        rows.map(|(row, &x)| f32::from(uniform(row) < rate(row, x)))
            .collect()
    }

    fn is_informative(column: &Numbers, labels: &[&[f32]], folds: Folds<'_>) -> bool {
        are_informative(column, labels.iter().copied(), folds)
    }

    #[test]
    fn values_with_jumps_are_more_informative_than_the_scale() {
        let column = column(100);
        let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
        assert!(is_informative(&column, &[&jumps], Folds::Halves));
    }

    #[test]
    fn a_smooth_rate_needs_no_exact_values() {
        let column = column(100);
        let smooth = labels(&column, |_, x| 0.05 + 0.004 * x);
        assert!(!is_informative(&column, &[&smooth], Folds::Halves));
        let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
        let other = column.numbers.iter().map(|_| 0.0);
        assert!(is_informative(
            &column,
            &[&jumps, &other.collect::<Vec<f32>>()],
            Folds::Halves
        ));
    }

    #[test]
    fn effects_that_later_rows_do_not_repeat_are_ignored() {
        let column = column(100);
        let later: Vec<bool> = (0..20_000).map(|row| row >= 15_000).collect();
        let jump = |row: usize, x: f64| x as usize % 7 == if row < 15_000 { 3 } else { 4 };
        let drifts = labels(&column, |row, x| if jump(row, x) { 0.4 } else { 0.1 });
        assert!(!is_informative(&column, &[&drifts], Folds::Later(&later)));
        let stays = labels(&column, |_, x| if jump(0, x) { 0.4 } else { 0.1 });
        assert!(is_informative(&column, &[&stays], Folds::Later(&later)));
    }

    #[test]
    fn few_and_many_values_are_skipped() {
        for distinct in [10, 17, 257, 1000] {
            let column = column(distinct);
            let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
            assert!(
                !is_informative(&column, &[&jumps], Folds::Halves),
                "{distinct}"
            );
        }
    }
}
