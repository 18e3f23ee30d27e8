//! Logit transfer in a training step.

use super::Trainer;
use super::step::known_rows;
use crate::error::TrainError;
use crate::taken::{KappaGradient, KappaRow, permute};
use ncs_features::Batch;
use ncs_model::CounterRng;

/// Terms that a step adds to a task's logits from another task's logits, for each row of the batch.
pub(super) struct Taken {
    /// Receiving task.
    pub(super) to: usize,
    /// Source logit minus its mean.
    centred: Vec<f64>,
    /// Kappa times the centred logit.
    pub(super) added: Vec<f64>,
}

impl Trainer<'_> {
    /// Returns the current coefficient of another task's logit as text; `None` if no task uses one.
    pub(crate) fn kappa_text(&self) -> Option<String> {
        let plan = self.trainer_context.plan.kappa?;
        let taken = self.progress.kappa.taken();
        let [from, to] =
            [plan.from, plan.to].map(|task| &self.trainer_context.schema.tasks[task].name);
        let error = taken.error()?;
        let what = if plan.permuted {
            "times the permuted logit (control: not used in scoring)"
        } else {
            "times the logit"
        };
        Some(format!(
            "{to} adds {:.3} (standard error {error:.3}) {what} of {from}, after the last step",
            taken.kappa
        ))
    }

    /// Returns the terms that a step for these tasks adds; `None` if none of them uses another's logit. The network of
    /// the other task runs forward as in scoring, without dropout.
    pub(super) fn taken(
        &mut self,
        batch: &Batch,
        network: usize,
        tasks: &[usize],
    ) -> Result<Option<Taken>, TrainError> {
        let Some(plan) = self.trainer_context.plan.kappa else {
            return Ok(None);
        };
        let together = [plan.from, plan.to]
            .iter()
            .all(|task| self.phase.tasks.contains(task));
        // Gradient sums are collected for each task alone.
        let applies = together && tasks.contains(&plan.to) && self.gradients.is_empty();
        if !applies {
            return Ok(None);
        }
        let mut other = self.take_subnets(network, &[plan.from]);
        let weights = self.model.network(network);
        for subnet in &mut other.subnets {
            subnet.load(weights);
            subnet.run_on(None);
        }
        weights.forward(batch, &other.subnets, &mut self.pass);
        let logits = self.trainer_context.ranks.all_rows(self.pass.logits(0))?;
        self.subnets.push(other);
        let rows = known_rows(batch, plan.to);
        let mut centred = self.progress.kappa.centre(&logits, &rows);
        if plan.permuted {
            let rng = CounterRng::new(self.trainer_context.plan.seed, "permuted logits")
                .at(self.progress.step);
            permute(&mut centred, &rows, rng);
        }
        let kappa = self.progress.kappa.taken().kappa;
        Ok(Some(Taken {
            to: plan.to,
            added: centred.iter().map(|centred| kappa * centred).collect(),
            centred,
        }))
    }

    /// Updates kappa after a step with a logit transfer; the workspace still holds that step.
    pub(super) fn update_kappa(
        &mut self,
        batch: &Batch,
        network: usize,
        tasks: &[usize],
        taken: &Taken,
        factor: f64,
    ) -> Result<(), TrainError> {
        let Some(head) = tasks.iter().position(|&task| task == taken.to) else {
            return Ok(());
        };
        let own = self
            .trainer_context
            .ranks
            .all_rows(self.pass.logits(head))?;
        let rows: Vec<usize> = if own.len() == batch.n_rows {
            (0..batch.n_rows).collect()
        } else {
            known_rows(batch, taken.to)
        };
        let (labels, terms) = (&batch.labels[taken.to], batch.terms(taken.to));
        let rows = rows.iter().zip(own).map(|(&row, own)| KappaRow {
            own: own + terms.offset(row),
            centred: taken.centred[row],
            label: labels[row],
            weight: terms.weight(row),
        });
        let state = &mut self.progress.kappa;
        let objective = self.trainer_context.schema.tasks[taken.to].objective;
        let gradient = KappaGradient::of(objective, state.taken().kappa, rows);
        state.step(gradient, factor, self.phase.budget.batches_per_epoch);
        let found = state.taken();
        if self
            .trainer_context
            .plan
            .kappa
            .is_some_and(|plan| !plan.permuted)
        {
            self.model.network_mut(network).set_taken(found);
        }
        Ok(())
    }
}
