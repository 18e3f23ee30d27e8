//! Variance of a figure over test rows, with the figure written as a mean over rows.

use crate::auc::{Ranking, Real};
use crate::comparison::FigureKey;
use crate::errors::known_rows;
use crate::figures::{AUC, FUNNEL};
use crate::metrics::{Predictions, TaskPredictions};
use crate::statistics::VariancePart;
use crate::weights::Weights;
use ncs_features::LabelKind;

/// Per-row values of which a figure is the mean, so that the figure has a variance over rows, and so has the
/// difference of two figures over the same rows.
///
/// Rows are in strata that are sampled independently; the figure is the mean of each stratum, and its variance
/// the sum over strata of variance / rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowValues {
    /// One value a row, in the order of the rows, by stratum.
    pub strata: Vec<Vec<f32>>,
}

impl RowValues {
    /// Returns the structural components of the AUC (DeLong, DeLong and Clarke-Pearson 1988): for each positive
    /// row the share of negatives that it outranks, for each negative row the share of positives that outrank
    /// it; ties count one half. `None` if [`auc`](crate::auc()) is.
    pub fn of_auc<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<RowValues> {
        assert_eq!(labels.len(), scores.len(), "one label for each score");
        let ranking = Ranking::of(labels, scores)?;
        let is_positive = |row: u32| labels[row as usize].into() > 0.5;
        let totals = Classes::of(&ranking.rows, is_positive);
        if totals.positives == 0 || totals.negatives == 0 {
            return None;
        }
        let mut by_row = vec![f32::NAN; scores.len()];
        let mut below = Classes::default();
        for tied in ranking.rows.chunk_by(|a, b| a.0 == b.0) {
            let tied_classes = Classes::of(tied, is_positive);
            let outranked = totals.outranked(&below, &tied_classes);
            let outranking = totals.outranking(&below, &tied_classes);
            for &(_, row) in tied {
                by_row[row as usize] = if is_positive(row) {
                    outranked
                } else {
                    outranking
                };
            }
            below.positives += tied_classes.positives;
            below.negatives += tied_classes.negatives;
        }
        Some(RowValues::of_classes(labels, &by_row))
    }

    /// Splits the values of the known rows into positives and negatives.
    fn of_classes<L: Real>(labels: &[L], by_row: &[f32]) -> RowValues {
        let stratum = |positive: bool| {
            let rows = labels.iter().zip(by_row);
            let of_class = rows.filter(|(label, _)| {
                let label: f64 = (**label).into();
                !label.is_nan() && (label > 0.5) == positive
            });
            of_class.map(|(_, value)| *value).collect()
        };
        RowValues {
            strata: vec![stratum(true), stratum(false)],
        }
    }

    /// Returns the rows' errors behind [`squared_error`](crate::squared_error()) with labels clipped to [0, 1].
    /// `None` if that is.
    pub fn of_squared_error<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<RowValues> {
        assert_eq!(labels.len(), scores.len(), "one label for each score");
        let rows = known_rows(labels, scores, Weights::NONE);
        let rows = rows.filter(|row| row.label > 0.0);
        RowValues::of_errors(rows.map(|row| row.label.min(1.0) - row.score))
    }

    /// Returns the rows' errors behind [`squared_error`](crate::values::squared_error()). `None` if that is.
    pub fn of_value_error<L: Real, S: Real>(labels: &[L], scores: &[S]) -> Option<RowValues> {
        assert_eq!(labels.len(), scores.len(), "one label for each score");
        let rows = known_rows(labels, scores, Weights::NONE);
        RowValues::of_errors(rows.map(|row| row.label - row.score))
    }

    fn of_errors(errors: impl Iterator<Item = f64>) -> Option<RowValues> {
        let errors: Vec<f32> = errors.map(|error| error.powi(2) as f32).collect();
        let is_mean = !errors.is_empty() && errors.iter().all(|error| error.is_finite());
        is_mean.then(|| RowValues {
            strata: vec![errors],
        })
    }

    /// Returns the number of rows of each stratum.
    pub fn lengths(&self) -> Vec<usize> {
        self.strata.iter().map(Vec::len).collect()
    }

    /// Returns the figure's variance over rows by stratum; `None` if a stratum has a single row.
    pub fn variance_parts(&self) -> Option<Vec<VariancePart>> {
        let part =
            |stratum: &Vec<f32>| VariancePart::of_mean(stratum.iter().copied().map(f64::from));
        self.strata.iter().map(part).collect()
    }

    /// Returns the mean of several runs' values minus that of as many others', all over the same rows; `None`
    /// without runs or if strata differ in length.
    pub(super) fn mean_difference(ours: &[&RowValues], theirs: &[&RowValues]) -> Option<RowValues> {
        let lengths = ours.first()?.lengths();
        let all_alike = ours
            .iter()
            .chain(theirs)
            .all(|run| run.lengths() == lengths);
        if !all_alike || ours.len() != theirs.len() {
            return None;
        }
        let n_runs = ours.len() as f64;
        let stratum = |at: usize| {
            let mut sums = vec![0.0_f64; lengths[at]];
            for (ours, theirs) in ours.iter().zip(theirs) {
                let pairs = ours.strata[at].iter().zip(&theirs.strata[at]);
                for (sum, (ours, theirs)) in sums.iter_mut().zip(pairs) {
                    *sum += f64::from(*ours) - f64::from(*theirs);
                }
            }
            sums.iter().map(|sum| (sum / n_runs) as f32).collect()
        };
        Some(RowValues {
            strata: (0..lengths.len()).map(stratum).collect(),
        })
    }
}

/// Numbers of positive and negative rows.
#[derive(Default)]
struct Classes {
    positives: usize,
    negatives: usize,
}

impl Classes {
    fn of(ranked: &[(u64, u32)], is_positive: impl Fn(u32) -> bool) -> Classes {
        let positives = ranked.iter().filter(|(_, row)| is_positive(*row)).count();
        Classes {
            positives,
            negatives: ranked.len() - positives,
        }
    }

    /// Returns the share of all negatives that a row outranks.
    fn outranked(&self, below: &Classes, tied_classes: &Classes) -> f32 {
        let won = below.negatives as f64 + 0.5 * tied_classes.negatives as f64;
        (won / self.negatives as f64) as f32
    }

    /// Returns the share of all positives that outrank a row.
    fn outranking(&self, below: &Classes, tied_classes: &Classes) -> f32 {
        let won = (self.positives - below.positives) as f64 - 0.5 * tied_classes.positives as f64;
        (won / self.positives as f64) as f32
    }
}

/// Returns the row values of every decisive figure that is a mean over labelled rows: each binary task's AUC,
/// each ratio's and value's squared error, and the AUC of products of tasks.
pub fn row_values(predictions: &Predictions) -> Vec<(FigureKey, RowValues)> {
    let tasks = predictions.tasks.iter().filter_map(of_task);
    tasks.chain(of_products(predictions)).collect()
}

fn of_task(task: &TaskPredictions) -> Option<(FigureKey, RowValues)> {
    let (labels, scores) = (&task.labels, &task.scores);
    let (figure, values) = match task.kind {
        LabelKind::Binary => (AUC, RowValues::of_auc(labels, scores)),
        LabelKind::Ratio => ("squared error", RowValues::of_squared_error(labels, scores)),
        LabelKind::Value => ("squared error", RowValues::of_value_error(labels, scores)),
    };
    Some((FigureKey::of(&task.name, figure), values?))
}

fn of_products(predictions: &Predictions) -> Vec<(FigureKey, RowValues)> {
    let funnel = predictions
        .funnel
        .map(|(click, conversion)| (FUNNEL, vec![click, conversion]));
    let further = predictions.products.iter();
    let further = further.map(|product| (product.name.as_str(), product.tasks.clone()));
    let values = |(name, tasks): (&str, Vec<usize>)| {
        let (labels, scores) = predictions.product(&tasks)?;
        let values = RowValues::of_auc(&labels, &scores)?;
        Some((FigureKey::of(name, AUC), values))
    };
    funnel
        .into_iter()
        .chain(further)
        .filter_map(values)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LabelRange, auc, squared_error};

    #[test]
    fn auc_components_are_shares_of_the_other_class_in_row_order() {
        let labels = [1.0_f32, 0.0, f32::NAN, 1.0, 0.0];
        let scores = [0.9_f32, 0.5, 0.7, 0.5, 0.1];
        let values = RowValues::of_auc(&labels, &scores).unwrap();
        assert_eq!(values.strata, [[1.0, 0.75], [0.75, 1.0]]);
        assert_eq!(auc(&labels, &scores), Some(0.875));
        assert_eq!(RowValues::of_auc(&[1.0, 1.0], &[0.1, 0.2]), None);
        assert_eq!(RowValues::of_auc(&[1.0, 0.0], &[0.1, f64::NAN]), None);
    }

    #[test]
    fn mean_row_error_equals_the_squared_error_metric() {
        let (labels, scores) = ([0.5_f32, 0.0, 2.0, f32::NAN], [0.4_f32, 0.9, 0.7, 0.1]);
        let values = RowValues::of_squared_error(&labels, &scores).unwrap();
        let mean = values.strata[0].iter().copied().map(f64::from).sum::<f64>() / 2.0;
        let error = squared_error(&labels, &scores, LabelRange::Clipped).unwrap();
        assert!((mean - error).abs() < 1e-7);
        assert_eq!(values.lengths(), [2]);
        assert_eq!(RowValues::of_squared_error(&[0.0], &[0.5]), None);
    }

    #[test]
    fn different_rows_have_no_mean_difference() {
        let short = RowValues {
            strata: vec![vec![0.1, 0.2]],
        };
        let long = RowValues {
            strata: vec![vec![0.1, 0.2, 0.3]],
        };
        assert_eq!(RowValues::mean_difference(&[&short], &[&long]), None);
        assert_eq!(RowValues::mean_difference(&[], &[]), None);
        let zero = RowValues::mean_difference(&[&short], &[&short]).unwrap();
        assert_eq!(zero.strata, [[0.0, 0.0]]);
    }
}
