//! Paired comparison of two models on the same rows: the difference of their figures and its standard
//! error.

use crate::weights::Weights;
use ncs_features::LabelKind;

/// Difference between two models on the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// Figure of the first model minus that of the second, signed so that positive means that the first is
    /// better.
    pub value: f64,
    /// Standard error of the difference over rows.
    pub error: f64,
}

/// Returns the difference in AUC between `first` and `second` against the same 0/1 labels, with the standard
/// error of DeLong, DeLong and Clarke-Pearson (1988), in O(n log n). Rows with a NaN label, or a NaN score of
/// either, do not count. `None` with fewer than two rows of a class.
///
/// # Panics
/// Panics if the numbers of scores and labels differ.
pub fn auc_difference(labels: &[f32], first: &[f32], second: &[f32]) -> Option<PairedDifference> {
    difference_by_weight(LabelKind::Binary, labels, first, second, Weights::NONE)
}

/// The difference in AUC over known rows, which count by their weights.
fn difference_in_auc(rows: &Known) -> Option<PairedDifference> {
    let n_positive = rows.labels.iter().filter(|&&label| label > 0.5).count();
    if n_positive < 2 || rows.labels.len() - n_positive < 2 {
        return None;
    }
    let placements = [&rows.first, &rows.second].map(|scores| placements(rows, scores));
    let of_class = |is_positive: bool| -> Mean {
        let own = rows.of_class(is_positive);
        let differences = own
            .iter()
            .map(|&row| placements[0][row] - placements[1][row]);
        let weights = own.iter().map(|&row| rows.weights[row]).collect();
        Mean::of(&differences.collect::<Vec<_>>(), weights)
    };
    let (positives, negatives) = (of_class(true), of_class(false));
    Some(PairedDifference {
        value: positives.value,
        error: (positives.variance + negatives.variance).sqrt(),
    })
}

/// Returns the mean squared error of `second` minus that of `first` against the same labels, clipped to [0, 1].
/// Rows with a NaN label or score do not count. `None` with fewer than two rows.
///
/// # Panics
/// Panics if the numbers of scores and labels differ.
pub fn squared_error_difference(
    labels: &[f32],
    first: &[f32],
    second: &[f32],
) -> Option<PairedDifference> {
    difference_by_weight(LabelKind::Ratio, labels, first, second, Weights::NONE)
}

fn difference_in_squared_error(rows: Known) -> Option<PairedDifference> {
    if rows.labels.len() < 2 {
        return None;
    }
    Some(of_gains(rows, |label| f64::from(label.clamp(0.0, 1.0))))
}

/// Returns the relative squared error ([`crate::values`]) of `second` minus that of `first`. Rows with a NaN label or
/// score do not count. `None` with fewer than two rows, or if all labels are alike.
///
/// # Panics
/// Panics if the numbers of scores and labels differ.
pub fn relative_squared_error_difference(
    labels: &[f32],
    first: &[f32],
    second: &[f32],
) -> Option<PairedDifference> {
    difference_by_weight(LabelKind::Value, labels, first, second, Weights::NONE)
}

fn difference_in_relative_error(rows: Known) -> Option<PairedDifference> {
    let numbers: Vec<f64> = rows.labels.iter().map(|&label| f64::from(label)).collect();
    if numbers.len() < 2 || numbers.iter().all(|number| *number == numbers[0]) {
        return None;
    }
    let centre = Mean::of(&numbers, rows.weights.clone()).value;
    let squares: Vec<f64> = numbers.iter().map(|y| (y - centre).powi(2)).collect();
    let spread = Mean::of(&squares, rows.weights.clone()).value;
    let found = of_gains(rows, f64::from);
    Some(PairedDifference {
        value: found.value / spread,
        error: found.error / spread,
    })
}

/// Returns the improvement of `first` over `second` by the metric of a kind of label: the AUC, the squared error of a
/// ratio, the relative squared error of a value.
///
/// # Panics
/// Panics if the numbers of scores and labels differ.
pub fn difference_of_kind(
    kind: LabelKind,
    labels: &[f32],
    first: &[f32],
    second: &[f32],
) -> Option<PairedDifference> {
    difference_by_weight(kind, labels, first, second, Weights::NONE)
}

/// Returns the same where rows count by their weights, in the metric and in its standard error: a weight is a number
/// of the row's, not a number of rows, so a row of weight 2 is as uncertain as one row.
///
/// With weights the variance of a mean is `n / (n - 1) sum w^2 (x - mean)^2 / (sum w)^2`, which is that of `n` rows
/// where all weights are alike.
///
/// # Panics
/// Panics if the numbers of scores and labels differ.
pub fn difference_by_weight(
    kind: LabelKind,
    labels: &[f32],
    first: &[f32],
    second: &[f32],
    weights: Weights<'_>,
) -> Option<PairedDifference> {
    let rows = known(labels, first, second, weights);
    match kind {
        LabelKind::Binary => difference_in_auc(&rows),
        LabelKind::Ratio => difference_in_squared_error(rows),
        LabelKind::Value => difference_in_relative_error(rows),
    }
}

/// Returns the mean of the squared error of `second` minus that of `first`.
fn of_gains(rows: Known, label: impl Fn(f32) -> f64) -> PairedDifference {
    let gain = |row: usize| {
        let error = |scores: &[f32]| (label(rows.labels[row]) - f64::from(scores[row])).powi(2);
        error(&rows.second) - error(&rows.first)
    };
    let gains: Vec<f64> = (0..rows.labels.len()).map(gain).collect();
    let found = Mean::of(&gains, rows.weights);
    PairedDifference {
        value: found.value,
        error: found.variance.sqrt(),
    }
}

/// The rows that have a label and both scores.
struct Known {
    labels: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    weights: Vec<f64>,
}

impl Known {
    /// Returns the rows of a class.
    fn of_class(&self, is_positive: bool) -> Vec<usize> {
        let is_own = |row: &usize| (self.labels[*row] > 0.5) == is_positive;
        (0..self.labels.len()).filter(is_own).collect()
    }
}

fn known(labels: &[f32], first: &[f32], second: &[f32], weights: Weights<'_>) -> Known {
    assert_eq!(labels.len(), first.len(), "a score for each label");
    assert_eq!(labels.len(), second.len(), "a score for each label");
    let is_known = |&row: &usize| {
        ![labels[row], first[row], second[row]]
            .iter()
            .any(|x| x.is_nan())
    };
    let rows: Vec<usize> = (0..labels.len()).filter(is_known).collect();
    let pick = |values: &[f32]| rows.iter().map(|&row| values[row]).collect();
    Known {
        labels: pick(labels),
        first: pick(first),
        second: pick(second),
        weights: rows.iter().map(|&row| weights.get(row)).collect(),
    }
}

/// Returns, for each row, the share of the other class that it is ranked correctly against, ties one half.
fn placements(rows: &Known, scores: &[f32]) -> Vec<f64> {
    let all = midranks(scores, &rows.weights);
    let mut placements = vec![0.0; scores.len()];
    for is_positive in [false, true] {
        let (own, others) = (rows.of_class(is_positive), rows.of_class(!is_positive));
        let of_own = |row: &usize| scores[*row];
        let scores: Vec<f32> = own.iter().map(of_own).collect();
        let weights: Vec<f64> = own.iter().map(|&row| rows.weights[row]).collect();
        let of_others: f64 = others.iter().map(|&row| rows.weights[row]).sum();
        for (&row, rank) in own.iter().zip(midranks(&scores, &weights)) {
            let below = (all[row] - rank) / of_others;
            placements[row] = if is_positive { below } else { 1.0 - below };
        }
    }
    placements
}

/// Returns the weight of the scores below each score, and half of that of its equals.
fn midranks(scores: &[f32], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut before = 0.0;
    for equal in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let weight: f64 = equal.iter().map(|&row| weights[row]).sum();
        for &row in equal {
            ranks[row] = before + weight / 2.0;
        }
        before += weight;
    }
    ranks
}

/// A weighted mean, and its variance over rows.
struct Mean {
    value: f64,
    variance: f64,
}

impl Mean {
    fn of(values: &[f64], weights: Vec<f64>) -> Mean {
        let (n, total) = (values.len() as f64, weights.iter().sum::<f64>());
        let pairs = || values.iter().zip(&weights);
        let value = pairs().map(|(value, weight)| weight * value).sum::<f64>() / total;
        let square = |(x, weight): (&f64, &f64)| (weight * (x - value)).powi(2);
        let squares: f64 = pairs().map(square).sum();
        Mean {
            value,
            variance: squares / (n - 1.0) / (total * total / n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc::auc;
    use proptest::prelude::*;

    /// Two positives (.8, .4 and .4, .6), two negatives (.6, .2 and .5, .5). Placements of the first: 1, .5 | .5, 1;
    /// of the second: 0, 1 | .5, .5. Differences 1, -.5 | 0, .5: variances 1.125 and .125, over two rows each.
    #[test]
    fn standard_errors_match_hand_computed_values() {
        let labels = [1.0, 1.0, 0.0, 0.0, f32::NAN];
        let first = [0.8, 0.4, 0.6, 0.2, 0.9];
        let second = [0.4, 0.6, 0.5, 0.5, 0.1];
        let actual = auc_difference(&labels, &first, &second).unwrap();
        assert!((actual.value - 0.25).abs() < 1e-12);
        assert!((actual.error - 0.625f64.sqrt()).abs() < 1e-12);
        let actual = squared_error_difference(&labels[..2], &first[..2], &second[..2]).unwrap();
        // .36 - .04 and .16 - .36.
        assert!((actual.value - 0.06).abs() < 1e-7);
        assert!((actual.error - 0.26).abs() < 1e-7);
    }

    /// A row of weight 2 has the metric of two rows, and the uncertainty of one.
    #[test]
    fn weights_count_in_the_difference_and_not_as_rows() {
        let labels = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let first = [0.9, 0.3, 0.6, 0.1, 0.5, 0.6];
        let second = [0.4, 0.6, 0.5, 0.2, 0.45, 0.8];
        let weights = [2.0, 1.0, 1.0, 1.0, 3.0, 1.0];
        let twice = |values: &[f32]| -> Vec<f32> {
            let rows = values.iter().zip(weights);
            rows.flat_map(|(value, weight)| vec![*value; weight as usize])
                .collect()
        };
        for kind in [LabelKind::Binary, LabelKind::Ratio, LabelKind::Value] {
            let of = |weights: &[f32]| {
                difference_by_weight(kind, &labels, &first, &second, Weights::of(weights)).unwrap()
            };
            let found = of(&weights);
            let rows = difference_of_kind(kind, &twice(&labels), &twice(&first), &twice(&second));
            let rows = rows.unwrap();
            assert!((found.value - rows.value).abs() < 1e-9, "{kind:?}");
            assert!(found.error > rows.error, "{kind:?}");
            let tenfold = of(&weights.map(|weight| 10.0 * weight));
            assert!(
                (tenfold.value - found.value).abs() < 1e-9
                    && (tenfold.error - found.error).abs() < 1e-9
            );
            let equal = of(&[1.0; 6]);
            assert_eq!(
                difference_of_kind(kind, &labels, &first, &second),
                Some(equal)
            );
        }
        // Gains of 1, 1 and 4 with weights 1, 1, 2: the mean 2.5, and 3/2 (1.5^2 + 1.5^2 + 3^2) / 16.
        let found = difference_by_weight(
            LabelKind::Ratio,
            &[0.0; 3],
            &[0.0; 3],
            &[1.0, 1.0, 2.0],
            Weights::of(&[1.0, 1.0, 2.0]),
        );
        let found = found.unwrap();
        assert!((found.value - 2.5).abs() < 1e-12);
        assert!((found.error - (1.5_f64 * 13.5 / 16.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn one_row_of_a_class_gives_no_difference() {
        assert_eq!(auc_difference(&[1.0, 0.0, 0.0], &[0.1; 3], &[0.2; 3]), None);
        assert_eq!(squared_error_difference(&[1.0], &[0.1], &[0.2]), None);
        assert_eq!(auc_difference(&[], &[], &[]), None);
    }

    proptest! {
        #[test]
        fn differences_equal_those_of_the_aucs(
            rows in prop::collection::vec((any::<bool>(), 0u8..6, 0u8..6), 4..60),
        ) {
            let labels: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(row.0))).collect();
            let first: Vec<f32> = rows.iter().map(|row| f32::from(row.1)).collect();
            let second: Vec<f32> = rows.iter().map(|row| f32::from(row.2)).collect();
            if let Some(actual) = auc_difference(&labels, &first, &second) {
                let expected = auc(&labels, &first).unwrap() - auc(&labels, &second).unwrap();
                prop_assert!((actual.value - expected).abs() < 1e-9);
                let other = auc_difference(&labels, &second, &first).unwrap();
                prop_assert!((actual.value + other.value).abs() < 1e-9);
                prop_assert!((actual.error - other.error).abs() < 1e-9);
                let same = auc_difference(&labels, &first, &first).unwrap();
                prop_assert_eq!((same.value, same.error), (0.0, 0.0));
            }
        }
    }
}
