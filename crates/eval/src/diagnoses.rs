//! Diagnoses of a trained model in the report: gains and lift, figures by slice and day, the cost of tables, and
//! permutation importance. Plain data, and the gains computed from predictions.

use serde::{Deserialize, Serialize};

use crate::metrics::TaskPredictions;

/// Shares of the rows, those of the highest predictions first, at which gains are given.
const SHARES: [f64; 13] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
];

/// Gains of a task: the share of its labels that rows of high predictions hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GainCurve {
    /// The task's name.
    pub task: String,
    /// The network's name.
    pub network: String,
    /// Points in ascending order of rows; empty where there is nothing to gain.
    pub points: Vec<GainPoint>,
}

/// A point of [`GainCurve`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GainPoint {
    /// Share of the rows, those of the highest predictions.
    pub rows: f64,
    /// Share of the positives among them, or of the sum of the labels.
    pub labels: f64,
}

impl GainPoint {
    /// Returns by how much more frequent positives are among these rows than among all.
    pub fn lift(&self) -> f64 {
        self.labels / self.rows
    }
}

/// Figures of the rows with each value of a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceTable {
    /// The column.
    pub column: String,
    /// The part of the data, such as `test`.
    pub part: String,
    /// True if the values are days, in ascending order; values with the most rows come first otherwise.
    pub is_days: bool,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// One for each value.
    pub rows: Vec<SliceRow>,
}

/// Figures of the rows with one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceRow {
    /// The value.
    pub value: String,
    /// Number of rows.
    pub rows: u64,
    /// Figures of each task.
    pub figures: Vec<SliceFigures>,
}

/// Figures of a task in a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceFigures {
    /// Rows with a known label.
    pub rows: u64,
    /// Area under the ROC curve, if both classes occur.
    pub auc: Option<f64>,
    /// Sum of predictions over sum of labels.
    pub pcoc: Option<f64>,
}

/// Parameters of an embedding table, or of layers and heads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableCost {
    /// Name of the table.
    pub name: String,
    /// The features that read it.
    pub features: Vec<String>,
    /// Initialised rows, those that take memory; `None` for layers and heads.
    pub rows: Option<u64>,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes in the model: parameters in 32 bits, and an id for each row.
    pub bytes: u64,
}

/// Permutation importance of columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportanceBars {
    /// Rows on which it was measured.
    pub rows: u64,
    /// Permutations of each column.
    pub repeats: u64,
    /// One for each task.
    pub tasks: Vec<TaskBars>,
}

/// Permutation importance of columns for a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskBars {
    /// The task's name.
    pub task: String,
    /// The metric that is lost, such as `AUC`.
    pub metric: String,
    /// Columns, those of the largest loss first.
    pub bars: Vec<ImportanceBar>,
}

/// What a task loses if a column is permuted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportanceBar {
    /// The column.
    pub column: String,
    /// The loss.
    pub loss: f64,
    /// Its standard error over rows.
    pub error: Option<f64>,
}

/// Returns the gains of a task; empty if no label is above 0, one is below 0, or no row has a score.
///
/// Rows of equal predictions are taken in no particular order: between them the curve is straight.
pub fn gain_points(task: &TaskPredictions) -> Vec<GainPoint> {
    let weights = task.row_weights();
    let known = task.labels.iter().zip(&task.scores).enumerate();
    let known = known.filter(|(_, (label, score))| !label.is_nan() && !score.is_nan());
    let mut rows: Vec<(f32, f64, f64)> = known
        .map(|(row, (&label, &score))| {
            let weight = weights.get(row);
            (score, weight, weight * f64::from(label))
        })
        .collect();
    if rows.iter().any(|row| row.2 < 0.0) {
        return Vec::new();
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: f64 = rows.iter().map(|row| row.1).sum();
    let labels: f64 = rows.iter().map(|row| row.2).sum();
    if labels <= 0.0 {
        return Vec::new();
    }
    let mut corners = vec![(0.0, 0.0)];
    let (mut weight, mut gained) = (0.0, 0.0);
    for (at, row) in rows.iter().enumerate() {
        weight += row.1;
        gained += row.2;
        if rows.get(at + 1).is_none_or(|next| next.0 != row.0) {
            corners.push((weight / all, gained / labels));
        }
    }
    let point = |share: f64| GainPoint {
        rows: share,
        labels: between(&corners, share),
    };
    SHARES.map(point).into()
}

/// Returns the height of a line through these corners, of ascending positions, at a position.
fn between(corners: &[(f64, f64)], at: f64) -> f64 {
    let after = corners.partition_point(|corner| corner.0 < at);
    let (Some(&(x1, y1)), Some(&(x0, y0))) = (corners.get(after), corners.get(after.max(1) - 1))
    else {
        return 1.0;
    };
    if x1 > x0 {
        y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    } else {
        y1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(labels: &[f32], scores: &[f32]) -> TaskPredictions {
        TaskPredictions {
            labels: labels.to_vec(),
            scores: scores.to_vec(),
            ..TaskPredictions::default()
        }
    }

    fn at(points: &[GainPoint], share: f64) -> f64 {
        points
            .iter()
            .find(|point| point.rows == share)
            .unwrap()
            .labels
    }

    #[test]
    fn the_best_order_gains_all_positives_first() {
        let labels: Vec<f32> = (0..100).map(|row| f32::from(u8::from(row < 10))).collect();
        let scores: Vec<f32> = (0..100).map(|row| 1.0 - row as f32 / 100.0).collect();
        let points = gain_points(&task(&labels, &scores));
        assert!((at(&points, 0.05) - 0.5).abs() < 1e-12);
        assert!((at(&points, 0.1) - 1.0).abs() < 1e-12);
        assert_eq!(at(&points, 1.0), 1.0);
        assert!((points[2].lift() - 10.0).abs() < 1e-9);
        let reversed: Vec<f32> = scores.iter().map(|score| 1.0 - score).collect();
        let points = gain_points(&task(&labels, &reversed));
        assert!((at(&points, 0.9) - 0.0).abs() < 1e-12);
    }

    #[test]
    fn equal_predictions_gain_nothing_in_whatever_order() {
        let labels = [1.0, 0.0, 0.0, 1.0, f32::NAN];
        let points = gain_points(&task(&labels, &[0.5; 5]));
        assert!(
            points
                .iter()
                .all(|point| (point.labels - point.rows).abs() < 1e-12)
        );
        assert!((points[0].lift() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn weights_count_and_rows_without_a_score_do_not() {
        let mut weighted = task(&[1.0, 0.0, 1.0], &[0.9, 0.5, f32::NAN]);
        weighted.weights = vec![1.0, 3.0, 5.0];
        let points = gain_points(&weighted);
        // A quarter of the weight holds all positives.
        assert!((at(&points, 0.1) - 0.4).abs() < 1e-12);
        assert!((at(&points, 0.3) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn amounts_are_gained_by_their_sum_and_there_may_be_nothing_to_gain() {
        let points = gain_points(&task(
            &[30.0, 10.0, 0.0, 0.0, 0.0],
            &[5.0, 4.0, 3.0, 2.0, 1.0],
        ));
        assert!((at(&points, 0.2) - 0.75).abs() < 1e-12);
        assert!(gain_points(&task(&[0.0, 0.0], &[0.1, 0.2])).is_empty());
        assert!(gain_points(&task(&[-1.0, 2.0], &[0.1, 0.2])).is_empty());
        assert!(gain_points(&task(&[], &[])).is_empty());
    }
}
