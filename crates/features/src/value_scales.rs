//! Units of labels that are numbers, learned from the training rows.

use crate::block::Block;
use crate::error::EncodeError;
use crate::labels;
use crate::objective::{Objective, ValueLoss, ValueObjective};
use crate::range::Moments;
use crate::schema::Task;

/// Returns true if a task's objective is fitted to rows.
pub(crate) fn is_fitted(task: &Task) -> bool {
    matches!(task.objective, Objective::Value(_))
}

/// Adds the known labels of a block, task by task.
///
/// # Errors
/// A label is not valid: see [`labels::labels`].
pub(crate) fn observe(
    tasks: &[Task],
    block: &Block,
    moments: &mut [Moments],
) -> Result<(), EncodeError> {
    if !tasks.iter().any(is_fitted) {
        return Ok(());
    }
    let labels = labels::labels(tasks, block)?;
    for ((task, moments), labels) in tasks.iter().zip(moments).zip(labels) {
        let known = labels.into_iter().filter(|label| !label.is_nan());
        let known = known.map(f64::from);
        if is_of_logarithms(task) {
            let above_0 = known.filter(|label| *label > 0.0);
            above_0.for_each(|label| moments.add(label.ln()));
        } else {
            known.for_each(|label| moments.add(label));
        }
    }
    Ok(())
}

/// Returns true if the units follow from the logarithms of labels above 0, so that the mean of these logarithms is 0.
fn is_of_logarithms(task: &Task) -> bool {
    matches!(task.objective, Objective::Value(value) if value.loss == ValueLoss::Ziln)
}

/// Sets the units of the tasks' labels. Labels that are all alike have units of 1.
pub(crate) fn fit(tasks: &mut [Task], moments: &[Moments]) {
    for (task, moments) in tasks.iter_mut().zip(moments) {
        let Objective::Value(ValueObjective { loss, .. }) = task.objective else {
            continue;
        };
        let (mean, deviation) = moments.finish().unwrap_or((0.0, 1.0));
        let (centre, scale) = if loss == ValueLoss::Ziln {
            (0.0, mean.exp())
        } else if loss.is_of_exponential() {
            (0.0, mean)
        } else {
            (mean, deviation)
        };
        let scale = if scale > 0.0 { scale } else { 1.0 };
        task.objective = Objective::Value(ValueObjective {
            loss,
            centre,
            scale,
        });
    }
}

/// Takes the units of a model's tasks, which its weights are about.
pub(crate) fn keep(tasks: &mut [Task], base: &[Task]) {
    for (task, base) in tasks.iter_mut().zip(base) {
        if is_fitted(task) && task.objective.unfitted() == base.objective.unfitted() {
            task.objective = base.objective;
        }
    }
}
