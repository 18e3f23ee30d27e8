//! One batch: forward, backward, and a step of the optimizer, for each task in turn or for all of them.

use super::kappa::Taken;
use super::{ActiveSubnets, Trainer, TrainerContext};
use crate::balance;
use crate::diagnosis::nan_source;
use crate::error::TrainError;
use crate::plan::{Balance, StepPrecision, Steps};
use crate::step_loss::{Coupling, StepInputs, StepLoss, TaskLoss};
use ncs_features::Batch;
use ncs_model::{CounterRng, Dropout, Gradient, Purpose, Subnet, Workspace};

impl<'a> Trainer<'a> {
    /// One batch: a step for each task in turn, or one for all tasks of a network.
    pub(super) fn step(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let plan = self.trainer_context.plan;
        let step = self.progress.step;
        let factor = plan.schedule.factor(step, self.phase.budget.total_steps);
        let together = plan.steps == Steps::Joint
            && self.gradients.is_empty()
            && self.model.spec().plan.kind.shares_tables()
            && self.phase.tasks.len() > 1;
        if together {
            self.joint_step(batch, factor)?;
        } else {
            for task in self.phase.tasks.clone() {
                self.task_step(batch, task, factor)?;
            }
        }
        self.progress.step += 1;
        Ok(())
    }

    /// A step for one task, on the rows whose label is known. Does nothing if there are none.
    fn task_step(&mut self, batch: &Batch, task: usize, factor: f64) -> Result<(), TrainError> {
        let known = known_rows(batch, task);
        if known.is_empty() && !self.trainer_context.plan.parity_stale_momentum {
            return Ok(());
        }
        let own;
        let batch = if known.len() == batch.n_rows {
            batch
        } else {
            own = batch.select(&known);
            &own
        };
        let network = self.model.network_of(task);
        let heads = self.with_heads_beside(&[task]);
        let mut running = self.take_subnets(network, &heads);
        let learned = self.learn(batch, network, &mut running, task as u64, factor);
        self.subnets.push(running);
        learned
    }

    /// One step for the weighted sum of the losses of all tasks, each on its known rows.
    fn joint_step(&mut self, batch: &Batch, factor: f64) -> Result<(), TrainError> {
        let tasks = self.phase.tasks.clone();
        let any = |&row: &usize| tasks.iter().any(|&task| !batch.labels[task][row].is_nan());
        let rows: Vec<usize> = (0..batch.n_rows).filter(any).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let own;
        let batch = if rows.len() == batch.n_rows {
            batch
        } else {
            own = batch.select(&rows);
            &own
        };
        let auxiliary = self.model.spec().auxiliary_heads();
        let is_coupled = !auxiliary.is_empty() || self.trainer_context.plan.couples_heads();
        let heads: Vec<usize> = tasks.iter().copied().chain(auxiliary).collect();
        let mut running = self.take_subnets(0, &heads);
        if running.subnets.len() == heads.len() && !is_coupled {
            for (subnet, &task) in running.subnets.iter_mut().zip(&tasks) {
                let known = known_rows(batch, task);
                let some = known.len() < batch.n_rows;
                let rows = || known.iter().map(|&row| row as u32).collect();
                subnet.run_on(some.then(rows));
            }
        }
        let learned = self.learn(batch, 0, &mut running, u64::MAX, factor);
        self.subnets.push(running);
        learned
    }

    /// Returns these tasks, and the heads that their losses read beside their own.
    fn with_heads_beside(&self, tasks: &[usize]) -> Vec<usize> {
        let spec = self.model.spec();
        let beside = tasks.iter().flat_map(|&task| spec.heads_beside(task));
        tasks.iter().copied().chain(beside).collect()
    }

    /// Returns the subnets of a network for some tasks, reused from an earlier step if possible.
    pub(super) fn take_subnets(&mut self, network: usize, tasks: &[usize]) -> ActiveSubnets {
        let known = |running: &ActiveSubnets| running.network == network && running.tasks == tasks;
        match self.subnets.iter().position(known) {
            Some(place) => self.subnets.swap_remove(place),
            None => {
                let mut subnets = self.model.subnets(network, tasks);
                if self.trainer_context.plan.precision == StepPrecision::Half {
                    subnets.iter_mut().for_each(Subnet::run_in_half);
                }
                ActiveSubnets {
                    network,
                    tasks: tasks.to_vec(),
                    subnets,
                }
            }
        }
    }

    /// Runs forward and backward, then one optimizer step.
    fn learn(
        &mut self,
        batch: &Batch,
        network: usize,
        running: &mut ActiveSubnets,
        turn: u64,
        factor: f64,
    ) -> Result<(), TrainError> {
        let (ranks, spec) = (self.trainer_context.ranks, self.model.spec().clone());
        let of_step = (&*spec, self.model.network_mut(network));
        let rows = &mut self.rows;
        rows.look_up(ranks, network, of_step, batch, Purpose::Training)?;
        let taken = self.taken(batch, network, &running.tasks)?;
        let weights = self.model.network(network);
        running.subnets.iter_mut().for_each(|s| s.load(weights));
        let loss = self.loss(batch, &running.tasks, taken.as_ref());
        let (parts, losses) = self.compute_gradient(&loss, batch, running, turn)?;
        self.rows.put_back(network, self.model.network_mut(network));
        self.record_losses(&loss.means(&losses), batch, factor)?;
        let heads = &self.model.network(network).tasks;
        let place = |task: &usize| heads.iter().position(|own| own == task);
        let places: Vec<usize> = running.tasks.iter().filter_map(place).collect();
        self.accumulate_gradient(running.tasks[0], network);
        let weights = self.model.network_mut(network);
        let gradient = &mut self.gradient;
        self.optimizers
            .step_with_factors(network, weights, gradient, &places, factor, &parts);
        if let Some(taken) = taken {
            self.update_kappa(batch, network, &running.tasks, &taken, factor)?;
        }
        Ok(())
    }

    /// True if this training is of one task. A task's weight counts in joint training only.
    fn is_alone(&self) -> bool {
        self.phase.tasks.len() == 1
    }

    /// The loss of a step for these heads.
    fn loss<'b>(&self, batch: &'b Batch, heads: &[usize], taken: Option<&'b Taken>) -> StepLoss<'b>
    where
        'a: 'b,
    {
        let context: &'a TrainerContext<'a> = self.trainer_context;
        let (plan, specs) = (context.plan, &context.schema.tasks);
        let alone = self.is_alone();
        let weight = |task: usize| match plan.balance {
            _ if alone => 1.0,
            Balance::Uncertainty => self.progress.variances.weight(task),
            _ => specs[task].weight,
        };
        // A joint loss does not apply while each task's gradients are accumulated.
        let is_coupled = !alone && self.gradients.is_empty();
        let coupling = Coupling {
            funnel: plan.funnel.filter(|_| is_coupled),
            product: plan.product.as_ref().filter(|_| is_coupled),
        };
        let smoothings = self.trainer_context.smoothings;
        let spec = self.model.spec();
        let loss = StepLoss::new((specs, spec), batch, heads, weight, coupling);
        let mut loss = loss.smoothed(smoothings);
        if let Some(taken) = taken {
            loss.take(taken.to, &taken.added);
        }
        loss
    }

    /// Computes the gradient of the step into `self.gradient`. Returns the factor of each table row's update,
    /// `[table][id of the gradient]` (empty: no scaling), and the sum of the rows' losses for each head.
    fn compute_gradient(
        &mut self,
        loss: &StepLoss<'_>,
        batch: &Batch,
        running: &ActiveSubnets,
        turn: u64,
    ) -> Result<(Vec<Vec<f32>>, Vec<f64>), TrainError> {
        let (plan, heads) = (self.trainer_context.plan, &running.tasks);
        let inputs = StepInputs {
            network: self.model.network(running.network),
            batch,
            subnets: &running.subnets,
            dropout: self.dropout(turn),
        };
        let (tables, ranks) = (
            self.rows.held(running.network, inputs.network),
            self.trainer_context.ranks,
        );
        let evidence = self.trainer_context.evidence;
        let groups = loss.groups();
        let evidence = groups
            .iter()
            .map(|group| evidence.get(heads[group[0]])?.as_ref());
        let evidence: Vec<_> = evidence.collect();
        let is_shrunk = evidence.iter().any(Option::is_some);
        if groups.len() == 1 || (plan.balance != Balance::PcGrad && !is_shrunk) {
            loss.learn(inputs, None, &mut self.pass, &mut self.gradient);
            let mut losses = losses(&self.pass, heads.len());
            let gradient = std::slice::from_mut(&mut self.gradient);
            ranks.sum_step(tables, gradient, &mut losses)?;
            let parts = evidence[0].map_or(Vec::new(), |evidence| evidence.parts(&self.gradient));
            return Ok((parts, losses));
        }
        let mut gradients = vec![Gradient::default(); groups.len()];
        for (group, gradient) in groups.iter().zip(&mut gradients) {
            loss.learn(inputs, Some(group), &mut self.pass, gradient);
        }
        let mut losses = losses(&self.pass, heads.len());
        ranks.sum_step(tables, &mut gradients, &mut losses)?;
        let (gradient, parts) = balance::combine(plan.balance, gradients, &evidence, ranks)?;
        self.gradient = gradient;
        Ok((parts, losses))
    }

    fn dropout(&self, turn: u64) -> Option<Dropout> {
        let rate = f64::from(self.model.spec().plan.dropout);
        let field_rate = self.trainer_context.plan.field_dropout;
        let rng = || CounterRng::new(self.trainer_context.plan.seed, &self.phase.draws);
        (rate > 0.0 || field_rate > 0.0).then(|| Dropout {
            rate,
            field_rate,
            rng: rng().at(self.progress.step).at(turn),
        })
    }

    /// Records the step's mean losses and updates the learned loss weights.
    fn record_losses(
        &mut self,
        means: &[TaskLoss],
        batch: &Batch,
        factor: f64,
    ) -> Result<(), TrainError> {
        let plan = self.trainer_context.plan;
        let learns_weights = plan.balance == Balance::Uncertainty && !self.is_alone();
        for found in means {
            let (task, mean) = (found.task, found.mean);
            if !mean.is_finite() {
                return Err(self.not_finite(batch, task, mean)?);
            }
            if found.mass > 0.0 {
                self.progress.add_loss(task, mean);
                if learns_weights {
                    // In single precision, so that results of earlier versions are reproduced.
                    let rate = factor * f64::from(plan.optimizer.learning_rate as f32);
                    self.progress.variances.step(task, mean, rate);
                }
            }
        }
        Ok(())
    }

    fn not_finite(&self, batch: &Batch, task: usize, loss: f64) -> Result<TrainError, TrainError> {
        let (budget, step) = (self.phase.budget, self.progress.step);
        let network = self.model.network(self.model.network_of(task));
        Ok(TrainError::NotFinite {
            phase: self.phase.name.clone(),
            step: step + 1,
            epoch: budget.epoch(step) + 1,
            batch: budget.batch(step) + 1,
            task: self.trainer_context.schema.tasks[task].name.clone(),
            loss,
            nan_source: nan_source(
                network,
                self.trainer_context.schema,
                batch,
                self.trainer_context.ranks,
            )?,
        })
    }

    /// Adds the step's gradient to the task's sum, if sums are asked for.
    fn accumulate_gradient(&mut self, task: usize, network: usize) {
        let n_tasks = self.trainer_context.schema.tasks.len();
        let half = if self.gradients.len() > n_tasks {
            (self.progress.step % 2) as usize * n_tasks
        } else {
            0
        };
        if let Some(found) = self.gradients.get_mut(half + task) {
            found.add(&self.gradient.dense, self.model.connections(network));
        }
    }
}

/// Returns the sum of the rows' losses for each head in the last pass.
fn losses(pass: &Workspace, n_heads: usize) -> Vec<f64> {
    (0..n_heads).map(|head| pass.loss(head)).collect()
}

/// The rows of a batch whose label of a task is known.
pub(super) fn known_rows(batch: &Batch, task: usize) -> Vec<usize> {
    let labels = &batch.labels[task];
    (0..batch.n_rows)
        .filter(|&row| !labels[row].is_nan())
        .collect()
}
