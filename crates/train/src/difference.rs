//! Comparison of two models on the validation rows: the paired difference of their tasks, and its standard error.
//!
//! For several tasks it is the mean of the differences (AUC, squared error, or relative squared error), each weighted
//! by the root of the number of labels, as in the choice of the best step of a training; the errors of the tasks are
//! assumed to be independent.

use crate::error::TrainError;
use crate::predict;
use ncs_eval::{PairedDifference, TaskPredictions, difference_by_weight};
use ncs_features::{LabelKind, Objective, Task};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;

/// Number of standard errors above which a difference is significant.
pub(crate) const MIN_STANDARD_ERRORS: f64 = 2.0;

/// Labels and weights of some rows, without scores, task by task.
pub(crate) fn labels(rows: &Cache, tasks: &[Task]) -> Result<Vec<TaskPredictions>, TrainError> {
    let mut found = predict::empty_predictions(tasks);
    for batch in rows.batches(BatchPlan::default()) {
        predict::append(&mut found, &batch?, &vec![Vec::new(); tasks.len()]);
    }
    Ok(found.tasks)
}

/// Returns the improvement of a task's `first` scores over its `second` on rows with these labels and weights, and
/// the number of labels used.
/// `None` if the labels do not allow a comparison.
pub(crate) fn of_task(
    objective: Objective,
    rows: &TaskPredictions,
    first: &[f32],
    second: &[f32],
) -> Option<(PairedDifference, usize)> {
    let labels = &rows.labels;
    let known = labels.iter().filter(|label| !label.is_nan());
    let n_positive = known.clone().filter(|&&label| label > 0.5).count();
    let n_known = known.count();
    let kind = objective.label_kind();
    let difference = difference_by_weight(kind, labels, first, second, rows.row_weights())?;
    let n_labels = match kind {
        LabelKind::Binary => n_positive.min(n_known - n_positive),
        _ => n_known,
    };
    Some((difference, n_labels))
}

/// The mean of the tasks' differences.
pub(crate) fn joint(tasks: &[(PairedDifference, usize)]) -> Option<PairedDifference> {
    let weight = |n: usize| (n as f64).sqrt();
    let weights: f64 = tasks.iter().map(|(_, n)| weight(*n)).sum();
    let value = tasks.iter().map(|(found, n)| weight(*n) * found.value);
    let squares = tasks
        .iter()
        .map(|(found, n)| (weight(*n) * found.error).powi(2));
    (weights > 0.0).then(|| PairedDifference {
        value: value.sum::<f64>() / weights,
        error: squares.sum::<f64>().sqrt() / weights,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_weigh_by_the_root_of_their_labels() {
        let found = |value, error| PairedDifference { value, error };
        let joint = joint(&[(found(0.01, 0.003), 900), (found(-0.02, 0.02), 100)]).unwrap();
        assert!((joint.value - 0.0025).abs() < 1e-12);
        let error = (0.75 * 0.003f64).hypot(0.25 * 0.02);
        assert!((joint.error - error).abs() < 1e-12);
    }
}
