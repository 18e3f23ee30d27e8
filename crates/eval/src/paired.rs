//! Paired comparison of two models on the same rows: the difference of their figures and its standard
//! error.

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
    let (labels, first, second) = known(labels, first, second);
    let n_positive = labels.iter().filter(|&&label| label > 0.5).count();
    let n_negative = labels.len() - n_positive;
    if n_positive < 2 || n_negative < 2 {
        return None;
    }
    let placements = [first, second].map(|scores| placements(&labels, &scores));
    let of_class = |is_positive: bool| -> Vec<f64> {
        let pairs = placements[0].iter().zip(&placements[1]).zip(&labels);
        let own = pairs.filter(|(_, label)| (**label > 0.5) == is_positive);
        own.map(|((a, b), _)| a - b).collect()
    };
    let (positives, negatives) = (of_class(true), of_class(false));
    let variance =
        variance(&positives) / n_positive as f64 + variance(&negatives) / n_negative as f64;
    Some(PairedDifference {
        value: mean(&positives),
        error: variance.sqrt(),
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
    let (labels, first, second) = known(labels, first, second);
    if labels.len() < 2 {
        return None;
    }
    let label = |label: f32| f64::from(label.clamp(0.0, 1.0));
    Some(of_gains(&gains(&labels, &first, &second, label)))
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
    let (labels, first, second) = known(labels, first, second);
    let numbers: Vec<f64> = labels.iter().map(|&label| f64::from(label)).collect();
    if numbers.len() < 2 || variance(&numbers) == 0.0 {
        return None;
    }
    let found = of_gains(&gains(&labels, &first, &second, f64::from));
    let centre = mean(&numbers);
    let squares: f64 = numbers.iter().map(|y| (y - centre).powi(2)).sum();
    let spread = squares / numbers.len() as f64;
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
    match kind {
        LabelKind::Binary => auc_difference(labels, first, second),
        LabelKind::Ratio => squared_error_difference(labels, first, second),
        LabelKind::Value => relative_squared_error_difference(labels, first, second),
    }
}

/// Returns the squared error of `second` minus that of `first`, row by row.
fn gains(labels: &[f32], first: &[f32], second: &[f32], label: impl Fn(f32) -> f64) -> Vec<f64> {
    let gain = |((y, first), second): ((&f32, &f32), &f32)| {
        let error = |score: &f32| (label(*y) - f64::from(*score)).powi(2);
        error(second) - error(first)
    };
    labels.iter().zip(first).zip(second).map(gain).collect()
}

fn of_gains(gains: &[f64]) -> PairedDifference {
    PairedDifference {
        value: mean(gains),
        error: (variance(gains) / gains.len() as f64).sqrt(),
    }
}

/// Returns the labels and scores of the rows that have all of them.
fn known(labels: &[f32], first: &[f32], second: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    assert_eq!(labels.len(), first.len(), "a score for each label");
    assert_eq!(labels.len(), second.len(), "a score for each label");
    let is_known = |&row: &usize| {
        ![labels[row], first[row], second[row]]
            .iter()
            .any(|x| x.is_nan())
    };
    let rows: Vec<usize> = (0..labels.len()).filter(is_known).collect();
    let pick = |values: &[f32]| rows.iter().map(|&row| values[row]).collect();
    (pick(labels), pick(first), pick(second))
}

/// Returns, for each row, the share of the other class that it is ranked correctly against, ties one half.
fn placements(labels: &[f32], scores: &[f32]) -> Vec<f64> {
    let all = midranks(scores);
    let rows_of = |is_positive: bool| -> Vec<usize> {
        (0..labels.len())
            .filter(|&row| (labels[row] > 0.5) == is_positive)
            .collect()
    };
    let mut placements = vec![0.0; labels.len()];
    for is_positive in [false, true] {
        let rows = rows_of(is_positive);
        let own: Vec<f32> = rows.iter().map(|&row| scores[row]).collect();
        let n_others = (labels.len() - rows.len()) as f64;
        for (&row, rank) in rows.iter().zip(midranks(&own)) {
            let below = (all[row] - rank) / n_others;
            placements[row] = if is_positive { below } else { 1.0 - below };
        }
    }
    placements
}

/// Returns the rank of each score from 1; equal scores share their mean rank.
fn midranks(scores: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        for &row in equal {
            ranks[row] = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        }
        before += equal.len();
    }
    ranks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the sample variance (n - 1).
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares / (values.len() - 1) as f64
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
