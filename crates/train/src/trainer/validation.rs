//! Predictions for the validation rows, and what puts them in doubt.

use super::Trainer;
use crate::diagnosis::culprit;
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::predict::{self, Evaluator};
use ncs_eval::Predictions;
use ncs_features::Batch;
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;

impl Trainer<'_> {
    /// The model's predictions for a part of the data.
    ///
    /// # Errors
    /// The rows cannot be read, or a task that is trained has no score for any of them.
    pub(crate) fn predict(&mut self, part: &Cache) -> Result<Predictions, TrainError> {
        let mut predictions = predict::no_predictions(&self.setting.schema.tasks);
        let forecast = Evaluator::new(&self.model);
        let mut lost: Option<Batch> = None;
        for batch in part.batches(BatchPlan::default()) {
            let batch = batch?;
            let scores = forecast.scores(&batch, &mut self.pass);
            let is_lost = |&task: &usize| scores[task].iter().any(|score| score.is_nan());
            predict::append(&mut predictions, &batch, &scores);
            if lost.is_none() && self.phase.tasks.iter().any(is_lost) {
                lost = Some(batch);
            }
        }
        match lost {
            Some(batch) => self.check_lost(&batch, predictions),
            None => Ok(predictions),
        }
    }

    /// Returns the predictions unless all known rows of a task lack a score. `batch` holds a row without one.
    fn check_lost(
        &self,
        batch: &Batch,
        predictions: Predictions,
    ) -> Result<Predictions, TrainError> {
        for &task in &self.phase.tasks {
            let found = &predictions.tasks[task];
            let known = found.labels.iter().filter(|label| !label.is_nan()).count() as u64;
            if known > 0 && found.rows_without_score() == known {
                let network = self.model.network(self.model.tower_of(task));
                return Err(TrainError::NoScores {
                    phase: self.phase.name.clone(),
                    step: self.state.step,
                    task: found.name.clone(),
                    culprit: culprit(network, self.setting.schema, batch),
                });
            }
        }
        Ok(predictions)
    }

    /// Reports, once for each task, the reasons to doubt its validation metrics.
    pub(super) fn doubt(&mut self, predictions: &Predictions, listener: &mut dyn Listener) {
        for &task in &self.phase.tasks {
            if self.doubted.contains(&task) {
                continue;
            }
            let doubts = predict::doubts(&predictions.tasks[task]);
            if !doubts.is_empty() {
                self.doubted.push(task);
            }
            for doubt in doubts {
                let (phase, step) = (&self.phase.name, self.state.step);
                listener.on_event(&Event::Noted(&format!(
                    "warning: {phase}, step {step}: {doubt}"
                )));
            }
        }
    }
}
