//! Errors and order of predicted numbers, such as seconds watched or money spent.

use crate::auc::Real;
use crate::errors::{KnownRow, known_rows, mean};
use crate::weights::Weights;

/// Mean squared error over the rows whose label is known. `None` without such rows or with a score that is not a
/// number.
pub fn squared_error<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    error_by(labels, scores, weights, |error| error * error)
}

/// Mean absolute error over the rows whose label is known. `None` without such rows or with a score that is not a
/// number.
pub fn absolute_error<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    error_by(labels, scores, weights, f64::abs)
}

fn error_by<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
    of: impl Fn(f64) -> f64,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let rows = known_rows(labels, scores, weights);
    mean(rows.map(|row| (of(row.label - row.score), row.weight)))
}

/// Squared error over the variance of the labels: 0 for perfect predictions, 1 for those of the mean. `None` if all
/// labels are alike.
pub fn relative_squared_error<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    let error = squared_error(labels, scores, weights)?;
    let of_labels = || known_rows(labels, labels, weights);
    let centre = mean(of_labels().map(|row| (row.label, row.weight)))?;
    let variance = mean(of_labels().map(|row| ((row.label - centre).powi(2), row.weight)))?;
    (variance > 0.0).then(|| error / variance)
}

/// Gini coefficient of the labels ranked by score, over that of the labels ranked by themselves. Rows of equal
/// score share the mean of their labels. `None` if all labels are alike, one is below 0, or a score is not a
/// number.
pub fn normalised_gini<L: Real, S: Real>(
    labels: &[L],
    scores: &[S],
    weights: Weights<'_>,
) -> Option<f64> {
    assert_eq!(labels.len(), scores.len(), "one label for each score");
    let rows: Vec<KnownRow> = known_rows(labels, scores, weights).collect();
    if rows.iter().any(|row| row.label < 0.0 || row.score.is_nan()) {
        return None;
    }
    let by_label = rows.iter().map(|row| KnownRow {
        score: row.label,
        ..*row
    });
    let best = gini(by_label.collect());
    let ratio = gini(rows) / best;
    (best > 1e-12 && ratio.is_finite()).then_some(ratio)
}

/// Returns 1 less twice the area below the Lorenz curve of the labels, by descending score.
fn gini(mut rows: Vec<KnownRow>) -> f64 {
    rows.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut area, mut mass, mut sum) = (0.0, 0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.score == b.score) {
        let own_mass: f64 = tied.iter().map(|row| row.weight).sum();
        let own_sum: f64 = tied.iter().map(|row| row.weight * row.label).sum();
        area += own_mass * (sum + own_sum / 2.0);
        mass += own_mass;
        sum += own_sum;
    }
    2.0 * area / (mass * sum) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_the_units_of_the_label() {
        let (labels, scores) = ([1.0, f64::NAN, 4.0, 7.0], [2.0, 9.0, 4.0, 5.0]);
        let of = |by: fn(&[f64], &[f64], Weights<'_>) -> Option<f64>| {
            by(&labels, &scores, Weights::NONE).unwrap()
        };
        assert_eq!(of(squared_error), 5.0 / 3.0);
        assert_eq!(of(absolute_error), 1.0);
        // The variance of 1, 4, 7 is 6.
        assert!((of(relative_squared_error) - 5.0 / 18.0).abs() < 1e-15);
        assert_eq!(
            relative_squared_error(&[2.0, 2.0], &[1.0, 2.0], Weights::NONE),
            None
        );
        assert_eq!(squared_error::<f64, f64>(&[], &[], Weights::NONE), None);
    }

    #[test]
    fn gini_is_about_the_order() {
        let gini = |labels: &[f64], scores: &[f64]| normalised_gini(labels, scores, Weights::NONE);
        let labels = [0.0, 10.0, 3.0, 0.0];
        assert_eq!(gini(&labels, &[0.1, 0.9, 0.8, 0.1]), Some(1.0));
        assert_eq!(gini(&labels, &[1.0, 90.0, 80.0, 2.0]), Some(1.0));
        assert_eq!(gini(&labels, &[0.9, 0.1, 0.2, 0.9]), Some(-1.0));
        assert_eq!(gini(&labels, &[0.5; 4]), Some(0.0));
        // Sums by score: 3, 13, 13, 13 of 13 against 10, 13, 13, 13: areas 35.5 and 42.5, of 26 at random.
        let found = gini(&labels, &[0.2, 0.8, 0.9, 0.1]).unwrap();
        assert!((found - 9.5 / 16.5).abs() < 1e-12, "{found}");
        assert_eq!(gini(&[2.0, 2.0], &[0.1, 0.2]), None);
        assert_eq!(gini(&[-1.0, 2.0], &[0.1, 0.2]), None);
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let (labels, scores) = ([0.0, 2.0, 5.0], [1.0, 0.5, 3.0]);
        let weights = [1.0, 2.0, 1.0];
        let twice = ([0.0, 2.0, 2.0, 5.0], [1.0, 0.5, 0.5, 3.0]);
        for of in [
            squared_error,
            absolute_error,
            relative_squared_error,
            normalised_gini,
        ] {
            let by_weight = of(&labels, &scores, Weights::of(&weights)).unwrap();
            let by_row = of(&twice.0, &twice.1, Weights::NONE).unwrap();
            assert!((by_weight - by_row).abs() < 1e-12, "{by_weight} {by_row}");
        }
    }
}
