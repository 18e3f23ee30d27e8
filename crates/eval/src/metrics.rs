//! A model's predictions for some rows, and the metrics computed from them, as printed by `ncs evaluate
//! --json`.

use std::borrow::Cow;

use indexmap::IndexMap;
use ncs_features::{LabelKind, NO_GROUP};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auc;
use crate::bootstrap::{Resampling, auc_interval_by_weight};
use crate::calibration::{self, Binning, CalibrationBin};
use crate::errors::{LabelRange, known_rows, log_loss_by_weight, squared_error_by_weight};
pub use crate::products::TaskProduct;
use crate::values;
use crate::weights::Weights;

/// Labels and scores of all tasks over the same rows.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Predictions of each task, in the order of the run file.
    pub tasks: Vec<TaskPredictions>,
    /// The group of each row, [`NO_GROUP`] where it has none; empty without a group column.
    pub groups: Vec<u64>,
    /// Indices of the click and the conversion task, if conversions follow clicks.
    pub funnel: Option<(usize, usize)>,
    /// Further products of tasks: of longer chains, and of other tasks about clicked rows.
    pub products: Vec<TaskProduct>,
}

/// Labels and scores of one task, one entry a row.
#[derive(Clone, Debug, Default)]
pub struct TaskPredictions {
    /// The task's name in the run file.
    pub name: String,
    /// Kind of the labels.
    pub kind: LabelKind,
    /// Labels; NaN: unknown, the row does not count for this task.
    pub labels: Vec<f32>,
    /// Predicted probabilities, ratios or values; NaN: no prediction, and no figure counts the row.
    pub scores: Vec<f32>,
    /// True probabilities of a synthetic log; empty otherwise.
    pub truths: Vec<f32>,
    /// Weights, above 0 where the label is known; empty: every row counts once.
    pub weights: Vec<f32>,
}

/// An error in the shape of the predictions.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PredictionError {
    /// A column is longer or shorter than the first task's scores.
    #[error(
        "task {task:?}: {found} {column} for {expected} rows; every column of the predictions \
         needs one entry a row"
    )]
    Length {
        /// Name of the task; for groups, the first task.
        task: String,
        /// `labels`, `scores`, `truths`, `weights` or `groups`.
        column: &'static str,
        /// Number of entries in the column.
        found: usize,
        /// Number of rows of the first task.
        expected: usize,
    },
    /// The funnel or a product refers to a missing task.
    #[error("the funnel names task number {index}, but there are {n_tasks} tasks (from 0)")]
    Funnel {
        /// The given task index.
        index: usize,
        /// Number of tasks.
        n_tasks: usize,
    },
}

/// Settings of the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricSettings {
    /// The bootstrap behind the intervals.
    pub resampling: Resampling,
    /// Bins of the calibration error and of its plot.
    pub binning: Binning,
}

impl Default for MetricSettings {
    /// 200 resamples; 20 bins of equal count.
    fn default() -> MetricSettings {
        MetricSettings {
            resampling: Resampling::default(),
            binning: Binning::EqualCount(20),
        }
    }
}

/// All figures of one model on one part of the data. Figures that do not apply are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Metrics by task name, in the order of the run file.
    pub tasks: IndexMap<String, TaskMetrics>,
    /// Clicked and converted, over all impressions; null without a funnel of two binary tasks.
    pub ctcvr: Option<FunnelMetrics>,
    /// Further products of binary tasks over all impressions, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub products: IndexMap<String, FunnelMetrics>,
}

/// The figures of one task over the rows whose label is known and that have a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Rows with a known label.
    pub rows: u64,
    /// Rows with label 1; for a ratio or a value, rows with a label above 0.
    pub positives: u64,
    /// Sum of the weights of the rows with a known label, if rows count by weight: in every figure but the counts and
    /// `auc_entire_space`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Binary tasks: area under the ROC curve.
    pub auc: Option<f64>,
    /// Bootstrap interval of `auc`, over groups if there are any.
    pub auc_interval: Option<[f64; 2]>,
    /// AUC within groups, weighted by impressions.
    pub gauc: Option<f64>,
    /// Number of groups with both classes, over which `gauc` is the mean.
    pub gauc_groups: Option<u64>,
    /// Binary tasks: mean cross-entropy, in nats.
    pub log_loss: Option<f64>,
    /// Ratio tasks: mean squared error over rows with a positive label, clipped to [0, 1]. Tasks of values: over all
    /// rows, in the square of the label's unit.
    pub squared_error: Option<f64>,
    /// Ratio tasks: mean squared error against the label as logged.
    pub squared_error_unclipped: Option<f64>,
    /// Tasks of values: squared error over the variance of the labels, 1 less the coefficient of determination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_squared_error: Option<f64>,
    /// Tasks of values: mean absolute error, in the label's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_error: Option<f64>,
    /// Tasks of values of at least 0: Gini coefficient of the labels ranked by prediction, over that of the labels
    /// ranked by themselves; 1 is a perfect order, 0 a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gini: Option<f64>,
    /// Sum of predictions over sum of labels. Ratio tasks: over rows with a positive label, clipped.
    pub pcoc: Option<f64>,
    /// Expected calibration error, over the same rows as `pcoc`.
    pub ece: Option<f64>,
    /// Binary tasks of a synthetic log: AUC against the true probabilities of all rows.
    pub auc_entire_space: Option<f64>,
    /// Rows with a known label whose score is NaN; no figure counts them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_without_score: u64,
    /// Rows with a known label and no group: left out of `gauc`, each resampled by itself for `auc_interval`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_without_group: u64,
    /// The common score of all rows, if all scores are equal: the network has learned nothing, or its units are
    /// dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant_score: Option<f64>,
}

impl TaskMetrics {
    /// Returns a number by which models of a task are chosen on validation rows, higher is better: the AUC; of a
    /// value, 1 less the relative squared error; of a ratio, 1 less the squared error.
    pub fn selection_score(&self) -> Option<f64> {
        let error = self.relative_squared_error.or(self.squared_error);
        self.auc.or(error.map(|error| 1.0 - error))
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Minimum number of rows for [`TaskMetrics::constant_score`]; fewer rows may have equal scores by coincidence.
const MIN_CONSTANT_ROWS: u64 = 10;

/// The figures of the product `p_ctr * p_cvr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunnelMetrics {
    /// Impressions for which "clicked and converted" is known.
    pub rows: u64,
    /// Impressions that were clicked and converted.
    pub positives: u64,
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Bootstrap interval of `auc`.
    pub auc_interval: Option<[f64; 2]>,
}

impl Metrics {
    /// Computes the metrics of `predictions`. No rows, no groups or no labels give nulls, not errors.
    ///
    /// Fails if columns differ in length, or the funnel refers to a missing task.
    pub fn of(
        predictions: &Predictions,
        settings: &MetricSettings,
    ) -> Result<Metrics, PredictionError> {
        predictions.check()?;
        let groups = &predictions.groups;
        let evaluated = |task: &TaskPredictions| {
            let rows_without_score = task.rows_without_score();
            let metrics = task.without_lost_rows().metrics(groups, settings);
            let metrics = TaskMetrics {
                rows_without_score,
                ..metrics
            };
            (task.name.clone(), metrics)
        };
        Ok(Metrics {
            tasks: predictions.tasks.iter().map(evaluated).collect(),
            ctcvr: predictions.funnel_metrics(&settings.resampling),
            products: predictions.products_metrics(&settings.resampling),
        })
    }
}

impl Predictions {
    fn check(&self) -> Result<(), PredictionError> {
        let Some(first) = self.tasks.first() else {
            return Ok(());
        };
        let n_rows = first.scores.len();
        for task in &self.tasks {
            check_length(task, "scores", task.scores.len(), n_rows)?;
            check_length(task, "labels", task.labels.len(), n_rows)?;
            check_optional_length(task, "truths", task.truths.len(), n_rows)?;
            check_optional_length(task, "weights", task.weights.len(), n_rows)?;
        }
        check_optional_length(first, "groups", self.groups.len(), n_rows)?;
        let (click, conversion) = self.funnel.unwrap_or((0, 0));
        let of_products = self.products.iter().flat_map(|product| &product.tasks);
        match of_products.copied().fold(click.max(conversion), usize::max) {
            index if index >= self.tasks.len() => Err(PredictionError::Funnel {
                index,
                n_tasks: self.tasks.len(),
            }),
            _ => Ok(()),
        }
    }
}

fn check_length(
    task: &TaskPredictions,
    column: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), PredictionError> {
    if found == expected {
        Ok(())
    } else {
        Err(PredictionError::Length {
            task: task.name.clone(),
            column,
            found,
            expected,
        })
    }
}

fn check_optional_length(
    task: &TaskPredictions,
    column: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), PredictionError> {
    if found == 0 {
        Ok(())
    } else {
        check_length(task, column, found, expected)
    }
}

impl TaskPredictions {
    /// Returns true if labels are 0 or 1.
    pub fn is_binary(&self) -> bool {
        self.kind == LabelKind::Binary
    }

    /// Returns the weights of the rows.
    pub fn row_weights(&self) -> Weights<'_> {
        Weights::of(&self.weights)
    }

    /// Returns the points of the calibration plot; for a ratio over rows with a positive label, clipped.
    pub fn calibration_bins(&self, binning: Binning) -> Vec<CalibrationBin> {
        let task = self.without_lost_rows();
        let labels = task.calibration_labels();
        if self.weights.is_empty() {
            return calibration::calibration_bins(&labels, &task.scores, binning);
        }
        let weights = self.row_weights();
        calibration::calibration_bins_by_weight(&labels, &task.scores, binning, weights)
    }

    /// Returns the predictions with labels and true probabilities set to unknown where the score is NaN.
    pub fn without_lost_rows(&self) -> Cow<'_, TaskPredictions> {
        if !self.scores.iter().any(|score| score.is_nan()) {
            return Cow::Borrowed(self);
        }
        let mut task = self.clone();
        for (row, score) in self.scores.iter().enumerate() {
            if score.is_nan() {
                task.labels[row] = f32::NAN;
                if let Some(probability) = task.truths.get_mut(row) {
                    *probability = f32::NAN;
                }
            }
        }
        Cow::Owned(task)
    }

    /// Returns the number of rows whose label is known and whose score is NaN.
    pub fn rows_without_score(&self) -> u64 {
        let is_lost = |(label, score): (&f32, &f32)| score.is_nan() && !label.is_nan();
        let rows = self.labels.iter().zip(&self.scores);
        rows.filter(|row| is_lost(*row)).count() as u64
    }

    /// Returns the common score of all rows whose label is known, if there are enough rows and all scores are
    /// equal.
    pub fn constant_score(&self) -> Option<f64> {
        let rows = known_rows(&self.labels, &self.scores, Weights::NONE);
        let mut scores = rows.map(|row| row.score);
        let first = scores.next()?;
        let (n, is_constant) = scores.fold((1, true), |(n, is_constant), score| {
            (n + 1, is_constant && score == first)
        });
        (is_constant && n >= MIN_CONSTANT_ROWS).then_some(first)
    }

    fn rows_without_group(&self, groups: &[u64]) -> u64 {
        let rows = self.labels.iter().zip(groups);
        let is_without = |(label, group): &(&f32, &u64)| !label.is_nan() && **group == NO_GROUP;
        rows.filter(is_without).count() as u64
    }

    fn metrics(&self, groups: &[u64], settings: &MetricSettings) -> TaskMetrics {
        let counts = TaskMetrics {
            rows_without_group: self.rows_without_group(groups),
            constant_score: self.constant_score(),
            rows: count(&self.labels, |label| !label.is_nan()),
            positives: count(&self.labels, |label| {
                label > if self.is_binary() { 0.5 } else { 0.0 }
            }),
            weight: (!self.weights.is_empty()).then(|| {
                let rows = known_rows(&self.labels, &self.scores, self.row_weights());
                rows.map(|row| row.weight).sum()
            }),
            pcoc: calibration::predicted_over_observed_by_weight(
                &self.calibration_labels(),
                &self.scores,
                self.row_weights(),
            ),
            ece: calibration::expected_calibration_error(&self.calibration_bins(settings.binning)),
            ..TaskMetrics::default()
        };
        match self.kind {
            LabelKind::Binary => self.binary_metrics(counts, groups, &settings.resampling),
            LabelKind::Ratio => self.ratio_metrics(counts),
            LabelKind::Value => self.value_metrics(counts),
        }
    }

    fn binary_metrics(
        &self,
        counts: TaskMetrics,
        groups: &[u64],
        resampling: &Resampling,
    ) -> TaskMetrics {
        let (labels, scores, weights) = (&self.labels, &self.scores, self.row_weights());
        let grouped = (!groups.is_empty())
            .then(|| auc::grouped_auc_by_weight(labels, scores, groups, weights));
        let has_probabilities = !self.truths.is_empty();
        TaskMetrics {
            auc: auc::auc_by_weight(labels, scores, weights),
            auc_interval: auc_interval_by_weight(labels, scores, groups, weights, resampling),
            gauc: grouped.and_then(|grouped| grouped.auc),
            gauc_groups: grouped.map(|grouped| grouped.groups as u64),
            log_loss: log_loss_by_weight(labels, scores, weights),
            auc_entire_space: has_probabilities
                .then(|| auc::soft_auc(&self.truths, &self.scores))
                .flatten(),
            ..counts
        }
    }

    fn ratio_metrics(&self, counts: TaskMetrics) -> TaskMetrics {
        let error =
            |range| squared_error_by_weight(&self.labels, &self.scores, range, self.row_weights());
        TaskMetrics {
            squared_error: error(LabelRange::Clipped),
            squared_error_unclipped: error(LabelRange::Unclipped),
            ..counts
        }
    }

    fn value_metrics(&self, counts: TaskMetrics) -> TaskMetrics {
        let (labels, scores, weights) = (&self.labels, &self.scores, self.row_weights());
        TaskMetrics {
            squared_error: values::squared_error(labels, scores, weights),
            relative_squared_error: values::relative_squared_error(labels, scores, weights),
            absolute_error: values::absolute_error(labels, scores, weights),
            gini: values::normalised_gini(labels, scores, weights),
            ..counts
        }
    }

    /// Returns the labels that predictions should match on average: those of the training loss.
    fn calibration_labels(&self) -> Vec<f32> {
        let trained_on = |label: &f32| match *label {
            label if self.kind != LabelKind::Ratio => label,
            label if label > 0.0 => label.min(1.0),
            _ => f32::NAN,
        };
        self.labels.iter().map(trained_on).collect()
    }
}

pub(crate) fn count<T: Copy + Into<f64>>(labels: &[T], counts: impl Fn(f64) -> bool) -> u64 {
    labels
        .iter()
        .filter(|label| counts((**label).into()))
        .count() as u64
}
