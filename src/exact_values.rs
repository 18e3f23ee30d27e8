//! Whether the exact values of a numeric column tell more than its place on a scale: statutory amounts, codes
//! that are written as numbers, prices that end in .99.

use crate::column_auc::ColumnValues;

/// With at most so many distinct values, a scale has a knot for each of them already (docs/decisions/0031).
const FEWEST: usize = 18;

/// With more distinct values, the column is not looked at: each has too few rows.
const MOST: usize = 256;

/// Pieces of the scale that the exact values have to beat.
const PIECES: usize = 16;

/// Rows at the rate of the scale that the rows of a value are averaged with.
const PRIOR_ROWS: f64 = 20.0;

/// How far above zero the gain must be in one task, in standard errors.
const CLEARLY_MORE: f64 = 5.0;

/// No task may lose more than so many standard errors.
const CLEARLY_LESS: f64 = -3.0;

/// Rows that are looked at, of which there may be millions.
const MOST_ROWS: usize = 100_000;

/// Which rows judge the rates that others give.
#[derive(Clone, Copy)]
pub(crate) enum Folds<'a> {
    /// Each half of the rows, picked by a hash, judges the rates of the other.
    Halves,
    /// Rows of a later time, marked here, judge the rates of the earlier ones.
    Later(&'a [bool]),
}

/// Whether a numeric column should also be a category: the label rate of each exact value predicts labels of
/// other rows clearly better than the rates along the scale, interpolated, do. `labels` are those of the rows,
/// `[task][row]`, NaN where unknown; a label above 0 counts as 1.
pub(crate) fn tell_more<'l>(
    column: &impl ColumnValues,
    labels: impl Iterator<Item = &'l [f32]>,
    folds: Folds<'_>,
) -> bool {
    let gains = labels.filter_map(|labels| gain(column, labels, folds));
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for gain in gains {
        (least, most) = (least.min(gain), most.max(gain));
    }
    most > CLEARLY_MORE && least > CLEARLY_LESS
}

/// A row with a number and a known label.
#[derive(Clone, Copy)]
struct Row {
    number: f64,
    label: f64,
    is_second: bool,
}

/// The mean gain of log-likelihood a row, in standard errors. `None` where the column has too few or too many
/// values, or a fold has no rows.
fn gain(column: &impl ColumnValues, labels: &[f32], folds: Folds<'_>) -> Option<f64> {
    if !(FEWEST..=MOST).contains(&column.n_values()) {
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
    let mut rows: Vec<Row> = known.take(MOST_ROWS).collect();
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

/// The gain of each row of one fold by the rates of the other: of the second by the first, or the other way
/// round. `rows` are ascending in their numbers.
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

/// Rows and positive rows of a number, in one fold.
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

/// Mean number and label rate of each piece, ascending. A value that holds a piece's share of the rows is a
/// piece of its own, as in [`ncs_features::Piecewise`].
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
        // Sums here; the mean is taken below.
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

/// The rate at a number, between those of the pieces beside it; beyond the ends that of the last piece.
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

    /// A number a row; its distinct values are not listed.
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

    /// Row `i` of 20,000 has a number below `distinct`, the same in no order.
    fn column(distinct: usize) -> Numbers {
        let number = |row: usize| (row.wrapping_mul(7919) % distinct) as f64;
        Numbers {
            numbers: (0..20_000).map(number).collect(),
            distinct,
        }
    }

    /// Labels by a rate for each row, decided by a hash.
    fn labels(column: &Numbers, rate: impl Fn(usize, f64) -> f64) -> Vec<f32> {
        let draw = |row: usize| {
            let hash = (row as u64 + 1).wrapping_mul(0x2545_F491_4F6C_DD1D);
            (hash >> 40) as f64 / (1u64 << 24) as f64
        };
        let rows = column.numbers.iter().enumerate();
        rows.map(|(row, &x)| f32::from(draw(row) < rate(row, x)))
            .collect()
    }

    fn told(column: &Numbers, labels: &[&[f32]], folds: Folds<'_>) -> bool {
        tell_more(column, labels.iter().copied(), folds)
    }

    #[test]
    fn values_that_jump_tell_more_than_the_scale() {
        let column = column(100);
        let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
        assert!(told(&column, &[&jumps], Folds::Halves));
    }

    #[test]
    fn a_smooth_rate_needs_no_exact_values() {
        let column = column(100);
        let smooth = labels(&column, |_, x| 0.05 + 0.004 * x);
        assert!(!told(&column, &[&smooth], Folds::Halves));
        let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
        let other = column.numbers.iter().map(|_| 0.0);
        assert!(told(
            &column,
            &[&jumps, &other.collect::<Vec<f32>>()],
            Folds::Halves
        ));
    }

    #[test]
    fn what_later_rows_do_not_repeat_is_left() {
        let column = column(100);
        let later: Vec<bool> = (0..20_000).map(|row| row >= 15_000).collect();
        let jump = |row: usize, x: f64| x as usize % 7 == if row < 15_000 { 3 } else { 4 };
        let drifts = labels(&column, |row, x| if jump(row, x) { 0.4 } else { 0.1 });
        assert!(!told(&column, &[&drifts], Folds::Later(&later)));
        let stays = labels(&column, |_, x| if jump(0, x) { 0.4 } else { 0.1 });
        assert!(told(&column, &[&stays], Folds::Later(&later)));
    }

    #[test]
    fn few_and_many_values_are_passed_over() {
        for distinct in [10, 17, 257, 1000] {
            let column = column(distinct);
            let jumps = labels(&column, |_, x| if x as usize % 7 == 3 { 0.4 } else { 0.1 });
            assert!(!told(&column, &[&jumps], Folds::Halves), "{distinct}");
        }
    }
}
