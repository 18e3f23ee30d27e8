//! Validation: predictions for the validation rows, warnings, weight selection and early stopping.

use super::Trainer;
use crate::diagnosis::nan_source;
use crate::error::TrainError;
use crate::events::{Event, Listener, Validated};
use crate::plan::Keep;
use crate::predict::{self, Evaluator, ValidationScore};
use crate::progress::ValidationRecord;
use ncs_eval::Predictions;
use ncs_features::Batch;
use ncs_model::Purpose;
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;

impl Trainer<'_> {
    /// Evaluates the tasks on the validation rows and keeps the best weights so far.
    pub(super) fn validate(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let phase = &self.phase;
        let wanted = phase.validates || phase.patience.is_some() || phase.keep != Keep::Last;
        let Some(valid) = self.trainer_context.valid.filter(|_| wanted) else {
            return Ok(());
        };
        self.swap_averages();
        let predictions = self.predict(valid)?;
        self.doubt(&predictions, listener);
        let mut scores = vec![None; self.trainer_context.schema.tasks.len()];
        for &task in &self.phase.tasks {
            let spec = &self.trainer_context.schema.tasks[task];
            scores[task] = ValidationScore::of(spec, &predictions.tasks[task]);
        }
        let step = self.progress.step;
        let improved = self.best.keep_best(&scores, step, &self.model);
        self.swap_averages();
        let improved = self.all_stored(improved)?;
        let any = improved.iter().any(|&improved| improved);
        self.progress.stop_early(any, self.phase.patience);
        for task in self.phase.tasks.clone() {
            if let Some(score) = scores[task] {
                self.note(task, score, improved[task], listener);
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        task: usize,
        score: ValidationScore,
        best: bool,
        listener: &mut dyn Listener,
    ) {
        let step = self.progress.step;
        let record = ValidationRecord {
            task,
            step,
            epoch: self.phase.budget.epochs(step),
            train_loss: self.progress.take_mean_loss(task),
            validation_loss: score.loss,
            validation_metric: score.value,
            best,
        };
        listener.on_event(&Event::Validated(Validated {
            phase: &self.phase.name,
            step,
            epoch: record.epoch,
            task: &self.trainer_context.schema.tasks[task].name,
            train_loss: record.train_loss,
            validation_loss: score.loss,
            metric: score.metric,
            value: score.value,
            best,
        }));
        self.progress.history.push(record);
    }

    /// The model's predictions for a part of the data.
    ///
    /// # Errors
    /// The rows cannot be read, or a task that is trained has no score for any of them.
    pub(crate) fn predict(&mut self, part: &Cache) -> Result<Predictions, TrainError> {
        let mut predictions = predict::empty_predictions(&self.trainer_context.schema.tasks);
        let evaluator = Evaluator::new(&self.model);
        let mut lost: Option<Batch> = None;
        for batch in part.batches(BatchPlan::default()) {
            let batch = batch?;
            self.look_up_all(&batch)?;
            let own = evaluator.scores(&self.model, &batch, &mut self.pass);
            self.put_all_back();
            let scores = self.trainer_context.ranks.all_rows_of(own)?;
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

    /// Makes all networks ready to score a batch.
    fn look_up_all(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let ranks = self.trainer_context.ranks;
        for number in 0..self.model.networks().len() {
            let spec = self.model.spec().clone();
            let network = (&*spec, self.model.network_mut(number));
            let rows = &mut self.rows;
            rows.look_up(ranks, number, network, batch, Purpose::Scoring)?;
        }
        Ok(())
    }

    fn put_all_back(&mut self) {
        for number in 0..self.model.networks().len() {
            self.rows.put_back(number, self.model.network_mut(number));
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
                let network = self.model.network(self.model.network_of(task));
                return Err(TrainError::NoScores {
                    phase: self.phase.name.clone(),
                    step: self.progress.step,
                    task: found.name.clone(),
                    nan_source: nan_source(
                        network,
                        self.trainer_context.schema,
                        batch,
                        self.trainer_context.ranks,
                    )?,
                });
            }
        }
        Ok(predictions)
    }

    /// Reports, once for each task, warnings about its validation metrics.
    fn doubt(&mut self, predictions: &Predictions, listener: &mut dyn Listener) {
        for &task in &self.phase.tasks {
            if self.doubted.contains(&task) {
                continue;
            }
            let doubts = predict::doubts(&predictions.tasks[task]);
            if !doubts.is_empty() {
                self.doubted.push(task);
            }
            for doubt in doubts {
                let (phase, step) = (&self.phase.name, self.progress.step);
                listener.on_event(&Event::Noted {
                    text: &format!("warning: {phase}, step {step}: {doubt}"),
                });
            }
        }
    }
}
