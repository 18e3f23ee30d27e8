//! Labels of rows, the scores of two models, and the slices that the rows are in.

use crate::error::Error;
use std::sync::Arc;

use indexmap::IndexMap;
use ncs_eval::{Predictions, TaskPredictions};
use ncs_features::{LabelKind, Schema};

use crate::slices::{SliceColumns, SliceRows};

/// One task of both models on the same rows.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The candidate's; `None`: it has no such task.
    pub(super) candidate: Option<TaskPredictions>,
    /// The live model's; `None`: there is no live model, or it has no such task.
    pub(super) live: Option<TaskPredictions>,
}

impl Pair {
    pub(super) fn name(&self) -> &str {
        let task = self.candidate.as_ref().or(self.live.as_ref());
        task.map_or("", |task| &task.name)
    }
}

/// The tasks of two models and the slices of their rows.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// The tasks, in the order of the live model, then further ones of the candidate.
    pub(super) tasks: Vec<Pair>,
    /// The rows of each value, by column.
    pub(super) slices: Vec<SliceRows>,
    /// Values of slice columns beyond those that are compared.
    pub(super) beyond: usize,
}

impl Pairs {
    /// Pairs the tasks of both models by name.
    ///
    /// # Errors
    /// A task has other labels in one of the models, so that they cannot be compared.
    pub(super) fn new(
        candidate: Predictions,
        live: Option<Predictions>,
        slices: SliceColumns,
    ) -> Result<Pairs, Error> {
        let mut candidates: IndexMap<String, TaskPredictions> = by_name(candidate);
        let live = live.map(by_name).unwrap_or_default();
        let mut tasks = Vec::new();
        for (name, live) in live {
            let candidate = candidates.shift_remove(&name);
            if candidate
                .as_ref()
                .is_some_and(|candidate| !same_labels(candidate, &live))
            {
                return Err(format!(
                    "task {name:?} has other labels in the candidate than in the live model (another label column or \
                     another `where`), so the two cannot be compared; give the task another name in the candidate"
                )
                .into());
            }
            tasks.push(Pair {
                candidate,
                live: Some(live),
            });
        }
        let further = candidates.into_values().map(|candidate| Pair {
            candidate: Some(candidate),
            live: None,
        });
        tasks.extend(further);
        let (slices, beyond) = slices.finish();
        Ok(Pairs {
            tasks,
            slices,
            beyond,
        })
    }
}

fn by_name(predictions: Predictions) -> IndexMap<String, TaskPredictions> {
    let tasks = predictions.tasks.into_iter();
    tasks.map(|task| (task.name.clone(), task)).collect()
}

fn same_labels(one: &TaskPredictions, other: &TaskPredictions) -> bool {
    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    one.kind == other.kind
        && one.labels.len() == other.labels.len()
        && one.labels.iter().zip(&other.labels).all(same)
}

/// Adds the products of chains of tasks as further tasks, as the model predicts them.
pub(super) fn with_product(mut predictions: Predictions, schema: &Arc<Schema>) -> Predictions {
    for product in schema.products() {
        let Some((labels, scores)) = predictions.product(&product.tasks) else {
            continue;
        };
        let task = TaskPredictions {
            name: product.name,
            kind: LabelKind::Binary,
            labels: labels.into_iter().map(|label| label as f32).collect(),
            scores: scores.into_iter().map(|score| score as f32).collect(),
            truths: Vec::new(),
            weights: predictions.tasks[product.tasks[0]].weights.clone(),
        };
        predictions.tasks.push(task);
    }
    predictions
}
