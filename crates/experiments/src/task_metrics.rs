//! Metrics of one task, without intervals.

use ncs_eval::{MetricSettings, Metrics, Predictions, Resampling, TaskMetrics, TaskPredictions};

/// Returns the metrics of a task; none of them are known if its predictions cannot be evaluated.
pub(crate) fn metrics_of(task: TaskPredictions) -> TaskMetrics {
    let settings = MetricSettings {
        resampling: Resampling {
            resamples: 0,
            ..Resampling::default()
        },
        ..MetricSettings::default()
    };
    let predictions = Predictions {
        tasks: vec![TaskPredictions {
            truths: Vec::new(),
            ..task
        }],
        ..Predictions::default()
    };
    let metrics = Metrics::of(&predictions, &settings).ok();
    let first = metrics.and_then(|metrics| metrics.tasks.into_values().next());
    first.unwrap_or_default()
}
