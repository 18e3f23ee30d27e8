//! Products of tasks' predictions over all rows, and their metrics.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::auc::{self, funnel_labels, funnel_scores};
use crate::bootstrap::{Resampling, auc_interval_by_weight};
use crate::metrics::{FunnelMetrics, Predictions, TaskPredictions, count};

/// A product of tasks' predictions over all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProduct {
    /// Its name.
    pub name: String,
    /// Indices of its tasks, each about rows where the label of the one before is 1; two or more.
    pub tasks: Vec<usize>,
}

impl Predictions {
    pub(crate) fn funnel_metrics(&self, resampling: &Resampling) -> Option<FunnelMetrics> {
        let (click, conversion) = self.funnel?;
        self.product_metrics(&[click, conversion], resampling)
    }

    pub(crate) fn products_metrics(
        &self,
        resampling: &Resampling,
    ) -> IndexMap<String, FunnelMetrics> {
        let metrics = |product: &TaskProduct| {
            let metrics = self.product_metrics(&product.tasks, resampling)?;
            Some((product.name.clone(), metrics))
        };
        self.products.iter().filter_map(metrics).collect()
    }

    /// Returns the labels and scores of a product of tasks, row by row: whether all labels are 1, NaN where that or the
    /// score is unknown. `None` if a task is missing or its labels are not 0 or 1.
    pub fn product(&self, tasks: &[usize]) -> Option<(Vec<f64>, Vec<f64>)> {
        let tasks: Vec<&TaskPredictions> = tasks
            .iter()
            .map(|&task| self.tasks.get(task).filter(|task| task.is_binary()))
            .collect::<Option<_>>()?;
        let (first, rest) = tasks.split_first()?;
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (mut labels, mut scores) = (wide(&first.labels), wide(&first.scores));
        for task in rest {
            labels = funnel_labels(&labels, &wide(&task.labels));
            scores = funnel_scores(&scores, &wide(&task.scores));
        }
        let lost = labels.iter_mut().zip(&scores);
        lost.filter(|(_, score)| score.is_nan())
            .for_each(|(label, _)| *label = f64::NAN);
        Some((labels, scores))
    }

    fn product_metrics(&self, tasks: &[usize], resampling: &Resampling) -> Option<FunnelMetrics> {
        let (labels, scores) = self.product(tasks)?;
        // The product is about impressions, as the first task is.
        let weights = self.tasks[tasks[0]].row_weights();
        Some(FunnelMetrics {
            rows: count(&labels, |label| !label.is_nan()),
            positives: count(&labels, |label| label > 0.5),
            auc: auc::auc_by_weight(&labels, &scores, weights),
            auc_interval: auc_interval_by_weight(
                &labels,
                &scores,
                &self.groups,
                weights,
                resampling,
            ),
        })
    }
}
