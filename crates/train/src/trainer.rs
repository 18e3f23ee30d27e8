//! The loop: batches to steps, validations to the best weights, and checkpoints on the way.

mod gradients;
mod kappa;
mod keeping;
mod validation;

use crate::averages::Averages;
use crate::balance::{self, LogVariances};
use crate::checkpoint;
use crate::error::TrainError;
use crate::events::{Event, Listener, Resumed};
use crate::evidence::Evidence;
use crate::id_dropout::IdDropout;
use crate::optim::{Leaks, OptimSettings, Optimizers};
use crate::plan::{Balance, Keep, Steps, TrainPlan};
use crate::predict::ValidationScore;
use crate::slots::{self, BestSlot};
use crate::step::StepBudget;
use crate::step_loss::{StepInputs, StepLoss};
use crate::taken::KappaState;
use ncs_features::hash::seeded_hash;
use ncs_features::{Batch, Schema};
use ncs_model::{CounterRng, Dropout, Gradient, Model, NetworkKind, Subnet, Workspace};
use ncs_readers::batches::{BatchPlan, Order, Rows};
use ncs_readers::cache::Cache;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use gradients::GradientSums;

/// Inputs and settings shared by all trainings of a run.
pub(crate) struct TrainerContext<'a> {
    pub(crate) plan: &'a TrainPlan,
    pub(crate) schema: &'a Schema,
    pub(crate) train: &'a Cache,
    pub(crate) valid: Option<&'a Cache>,
    /// Path of the checkpoint.
    pub(crate) checkpoint: &'a Path,
    /// The most time between two of them.
    pub(crate) checkpoint_every: Duration,
    /// Identifier of the run that owns the checkpoint.
    pub(crate) run: &'a str,
    pub(crate) stop: &'a AtomicBool,
    /// One for each task of the schema that has to show some.
    pub(crate) evidence: &'a [Option<Evidence>],
    pub(crate) id_dropout: &'a IdDropout,
}

/// One training: what is trained, on which rows, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// Unique in its run, such as `search/ctr/round-1`.
    pub(crate) name: String,
    /// Seeds the order of rows and dropout: two trainings with the same one read the same batches.
    pub(crate) draws: String,
    /// The tasks that are trained and validated.
    pub(crate) tasks: Vec<usize>,
    /// The rows of a step.
    pub(crate) rows: Rows,
    pub(crate) rows_per_batch: usize,
    pub(crate) budget: StepBudget,
    pub(crate) keep: Keep,
    pub(crate) patience: Option<u32>,
    /// If true, validates at the end even if `keep` and `patience` do not require it.
    pub(crate) validates: bool,
    /// Decay of the running average of layers and heads, where it is validated and kept in their place.
    pub(crate) average: Option<f64>,
    /// For each slot, the step after which its weights are kept, regardless of validation; the training ends with the
    /// last. If empty, validation decides.
    pub(crate) keep_at: Vec<u64>,
}

impl Phase {
    /// The step that it ends with at the latest.
    pub(crate) fn last_step(&self) -> u64 {
        let last = self.keep_at.iter().copied().max();
        last.unwrap_or(self.budget.total_steps)
    }
}

/// A model in training.
pub(crate) struct Trainer<'a> {
    setting: &'a TrainerContext<'a>,
    pub(crate) phase: Phase,
    pub(crate) model: Model,
    pub(crate) optimizers: Optimizers,
    pub(crate) state: State,
    pub(crate) slots: Vec<BestSlot>,
    pass: Workspace,
    gradient: Gradient,
    subnets: Vec<ActiveSubnets>,
    /// Tasks whose validation was said to be in doubt.
    doubted: Vec<usize>,
    /// Sums of the gradients of each task of the schema; empty if they are not needed. If present, tasks take
    /// turns.
    pub(crate) gradients: Vec<GradientSums>,
    /// ActiveSubnets averages of layers and heads, where they are kept.
    pub(crate) averages: Option<Averages>,
    clock: checkpoint::Clock,
}

/// Subnets that one step after the other loads and runs.
struct ActiveSubnets {
    network: usize,
    tasks: Vec<usize>,
    subnets: Vec<Subnet>,
}

/// Progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) finished: bool,
    /// Validations since any slot improved.
    pub(crate) idle: u32,
    /// For each task of the schema: sum of losses and number of steps since the last validation.
    pub(crate) losses: Vec<(f64, u64)>,
    /// Learned loss weights.
    pub(crate) variances: LogVariances,
    /// Coefficient (kappa) of another task's logit.
    #[serde(default)]
    pub(crate) kappa: KappaState,
    pub(crate) history: Vec<ValidationRecord>,
}

/// One validation of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// The task's number.
    pub task: usize,
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// Mean training loss since the last validation, over the steps that had rows.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows.
    pub validation_loss: f64,
    /// `AUC` or `squared error` on the validation rows.
    pub validation_metric: f64,
    /// True if the weights of this step were, or are, kept for this task.
    pub best: bool,
}

impl<'a> Trainer<'a> {
    /// A trainer at its first step.
    pub(crate) fn new(setting: &'a TrainerContext<'a>, phase: Phase, model: Model) -> Trainer<'a> {
        let plan = setting.plan;
        let settings = OptimSettings {
            network: plan.optimizer,
            tables: plan.table_optimizer,
            weight_decay: plan.weight_decay,
            clip_norm: plan.clip_norm,
            leaks: if plan.parity_stale_momentum {
                Leaks::ALL
            } else {
                Leaks::default()
            },
        };
        Trainer {
            optimizers: Optimizers::new(&model, settings),
            slots: slots::of(phase.keep, &phase.tasks, &model),
            state: State {
                losses: vec![(0.0, 0); setting.schema.tasks.len()],
                variances: LogVariances::new(setting.schema.tasks.len()),
                ..State::default()
            },
            pass: Workspace::new(plan.threads),
            gradient: Gradient::default(),
            subnets: Vec::new(),
            doubted: Vec::new(),
            gradients: Vec::new(),
            averages: phase.average.map(|decay| Averages::new(decay, &model)),
            clock: checkpoint::Clock::start(setting.checkpoint_every),
            setting,
            phase,
            model,
        }
    }

    /// Runs to the end, from the checkpoint of this phase if there is one.
    pub(crate) fn run(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let resumed = self.resume()?;
        let total = self.phase.last_step();
        let (name, done) = (self.phase.name.clone(), self.state.step);
        listener.on_event(&Event::Began {
            phase: &name,
            total_steps: total,
            done,
            resumed,
            finished: self.state.finished,
        });
        if self.setting.plan.parity_stale_momentum {
            (0..self.model.networks().len()).for_each(|t| self.model.network_mut(t).touch_all());
        }
        while !self.state.finished {
            self.epoch(listener)?;
        }
        let reason = match self.state.step < total {
            true => "no task improved for as long as `patience` allows",
            false => "all steps are done",
        };
        listener.on_event(&Event::Ended {
            phase: &name,
            steps: self.state.step,
            reason,
        });
        // What was trained is the average.
        self.swap_averages();
        Ok(())
    }

    /// Steps until the epoch or the training ends.
    fn epoch(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let budget = self.phase.budget;
        let epoch = budget.epoch(self.state.step);
        let batches = self.setting.train.batches(BatchPlan {
            rows_per_batch: self.phase.rows_per_batch,
            order: Order::Shuffled {
                seed: seeded_hash(self.phase.draws.as_bytes(), self.setting.plan.seed),
                epoch,
            },
            rows: self.phase.rows,
            prefetch: true,
            skip: budget.batch(self.state.step),
        });
        for batch in batches {
            let mut batch = batch?;
            let rng = CounterRng::new(self.setting.plan.seed, "unknown ids").at(self.state.step);
            self.setting.id_dropout.apply(&mut batch, rng);
            self.step(&batch)?;
            if let Some(averages) = &mut self.averages {
                averages.follow(self.state.step, self.model.networks());
            }
            let done = self.state.step;
            listener.on_event(&Event::Stepped { done });
            self.keep_now();
            if budget.validates_after(done) {
                self.validate(listener)?;
            }
            self.state.finished |= done >= self.phase.last_step();
            let asked = self.setting.stop.load(Ordering::Relaxed);
            if asked
                || self.state.finished
                || done.is_multiple_of(self.setting.plan.checkpoint_steps)
                || self.clock.is_due()
            {
                self.save()?;
            }
            if asked && !self.state.finished {
                return Err(TrainError::Stopped {
                    phase: self.phase.name.clone(),
                    step: done,
                });
            }
            if self.state.finished || budget.epoch(done) != epoch {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One batch: a step for each task in turn, or one for all tasks of a network.
    fn step(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let plan = self.setting.plan;
        let factor = plan
            .schedule
            .factor(self.state.step, self.phase.budget.total_steps);
        let together = plan.steps == Steps::Joint
            && self.gradients.is_empty()
            && self.model.spec().plan.kind != NetworkKind::SingleTask
            && self.phase.tasks.len() > 1;
        if together {
            self.joint_step(batch, factor)?;
        } else {
            for task in self.phase.tasks.clone() {
                self.task_step(batch, task, factor)?;
            }
        }
        self.state.step += 1;
        Ok(())
    }

    fn swap_averages(&mut self) {
        if let Some(averages) = &mut self.averages {
            averages.swap(&mut self.model);
        }
    }

    /// A step for one task, on the rows whose label is known. Without any there is nothing to do.
    fn task_step(&mut self, batch: &Batch, task: usize, factor: f64) -> Result<(), TrainError> {
        let known = known_rows(batch, task);
        if known.is_empty() && !self.setting.plan.parity_stale_momentum {
            return Ok(());
        }
        let own;
        let batch = if known.len() == batch.n_rows {
            batch
        } else {
            own = batch.select(&known);
            &own
        };
        let network = self.model.tower_of(task);
        let mut running = self.take_subnets(network, &[task]);
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
        let helper = self.model.spec().helper();
        let heads: Vec<usize> = tasks.iter().copied().chain(helper).collect();
        let mut running = self.take_subnets(0, &heads);
        if running.subnets.len() == heads.len() && self.setting.plan.funnel.is_none() {
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

    /// The subnets of a network for some tasks: those of an earlier step, if there are any.
    fn take_subnets(&mut self, network: usize, tasks: &[usize]) -> ActiveSubnets {
        let known = |running: &ActiveSubnets| running.network == network && running.tasks == tasks;
        match self.subnets.iter().position(known) {
            Some(place) => self.subnets.swap_remove(place),
            None => ActiveSubnets {
                network,
                tasks: tasks.to_vec(),
                subnets: self.model.subnets(network, tasks),
            },
        }
    }

    /// Forward, back, and a step of the optimizer. A task's weight counts in joint training only.
    fn learn(
        &mut self,
        batch: &Batch,
        network: usize,
        running: &mut ActiveSubnets,
        turn: u64,
        factor: f64,
    ) -> Result<(), TrainError> {
        let (plan, specs) = (self.setting.plan, &self.setting.schema.tasks);
        let alone = self.phase.tasks.len() == 1;
        self.model.network_mut(network).touch(batch);
        let taken = self.taken(batch, network, &running.tasks);
        let weights = self.model.network(network);
        running.subnets.iter_mut().for_each(|s| s.load(weights));
        let weight = |task: usize| match plan.balance {
            _ if alone => 1.0,
            Balance::Uncertainty => self.state.variances.weight(task),
            _ => specs[task].weight,
        };
        // Tasks that take turns for their gradients have nothing to join.
        let funnel = plan.funnel.filter(|_| !alone && self.gradients.is_empty());
        let mut loss = StepLoss::new(specs, batch, &running.tasks, weight, funnel);
        if let Some(taken) = &taken {
            loss.take(taken.to, &taken.added);
        }
        let rate = f64::from(self.model.spec().plan.dropout);
        let dropout = (rate > 0.0).then(|| Dropout {
            rate,
            rng: CounterRng::new(plan.seed, &self.phase.draws)
                .at(self.state.step)
                .at(turn),
        });
        let ground = StepInputs {
            network: weights,
            batch,
            subnets: &running.subnets,
            dropout,
        };
        let (pass, gradient) = (&mut self.pass, &mut self.gradient);
        let mut learn = |only, gradient: &mut Gradient| loss.learn(ground, only, pass, gradient);
        let evidence = |task: &usize| self.setting.evidence.get(*task).and_then(Option::as_ref);
        let has_evidence = running.tasks.iter().any(|task| evidence(task).is_some());
        let parts_of = |task: &usize, gradient: &Gradient| -> Vec<Vec<f32>> {
            let tables = gradient.tables.iter().enumerate();
            evidence(task).map_or(Vec::new(), |evidence| {
                tables
                    .map(|(t, table)| evidence.parts_of(t, table))
                    .collect()
            })
        };
        let mut parts = Vec::new();
        if running.tasks.len() > 1 && (plan.balance == Balance::PcGrad || has_evidence) {
            let mut gradients = vec![Gradient::default(); running.tasks.len()];
            let of_heads = gradients.iter_mut().enumerate();
            of_heads.for_each(|(head, gradient)| learn(Some(head), gradient));
            let pairs = running.tasks.iter().zip(&gradients);
            let mut shares: Vec<_> = pairs.map(|(task, found)| parts_of(task, found)).collect();
            if running.tasks.iter().all(|task| evidence(task).is_some()) {
                parts = balance::relative_to_the_largest(&mut shares);
            }
            *gradient = match plan.balance {
                Balance::PcGrad => balance::without_conflict(&gradients),
                _ => balance::sum_in_part(gradients, &shares),
            };
        } else {
            learn(None, gradient);
            parts = parts_of(&running.tasks[0], gradient);
        }
        for found in loss.means(&self.pass) {
            let (task, mean) = (found.task, found.mean);
            if !mean.is_finite() {
                return Err(self.not_finite(batch, task, mean));
            }
            if found.n_rows > 0 {
                self.state.losses[task].0 += mean;
                self.state.losses[task].1 += 1;
                if plan.balance == Balance::Uncertainty && !alone {
                    let rate = factor * plan.optimizer.learning_rate;
                    self.state.variances.step(task, mean, rate);
                }
            }
        }
        let place = |task: &usize| weights.tasks.iter().position(|own| own == task);
        let places: Vec<usize> = running.tasks.iter().filter_map(place).collect();
        self.add_gradient(running.tasks[0], network);
        let weights = self.model.network_mut(network);
        let gradient = &mut self.gradient;
        self.optimizers
            .step_in_part(network, weights, gradient, &places, factor, &parts);
        if let Some(taken) = taken {
            self.move_kappa(batch, network, &running.tasks, &taken, factor);
        }
        Ok(())
    }

    fn not_finite(&self, batch: &Batch, task: usize, loss: f64) -> TrainError {
        let budget = self.phase.budget;
        let network = self.model.network(self.model.tower_of(task));
        TrainError::NotFinite {
            phase: self.phase.name.clone(),
            step: self.state.step + 1,
            epoch: budget.epoch(self.state.step) + 1,
            batch: budget.batch(self.state.step) + 1,
            task: self.setting.schema.tasks[task].name.clone(),
            loss,
            culprit: crate::diagnosis::culprit(network, self.setting.schema, batch),
        }
    }

    /// Evaluates the tasks on the validation rows and keeps the best weights so far.
    fn validate(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let wanted =
            self.phase.validates || self.phase.patience.is_some() || self.phase.keep != Keep::Last;
        let Some(valid) = self.setting.valid.filter(|_| wanted) else {
            return Ok(());
        };
        self.swap_averages();
        let predictions = self.predict(valid)?;
        self.doubt(&predictions, listener);
        let mut evaluated = vec![None; self.setting.schema.tasks.len()];
        for &task in &self.phase.tasks {
            let spec = &self.setting.schema.tasks[task];
            evaluated[task] = ValidationScore::of(spec, &predictions.tasks[task]);
        }
        let improved = self.keep_best(&evaluated);
        self.swap_averages();
        let any = improved.iter().any(|&improved| improved);
        self.state.idle = if any { 0 } else { self.state.idle + 1 };
        self.state.finished |= self
            .phase
            .patience
            .is_some_and(|most| self.state.idle >= most);
        for task in self.phase.tasks.clone() {
            if let Some(evaluated) = evaluated[task] {
                self.note(task, evaluated, improved[task], listener);
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        task: usize,
        evaluated: ValidationScore,
        best: bool,
        listener: &mut dyn Listener,
    ) {
        let (sum, n) = std::mem::take(&mut self.state.losses[task]);
        let point = ValidationRecord {
            task,
            step: self.state.step,
            epoch: self.phase.budget.epochs(self.state.step),
            train_loss: (n > 0).then(|| sum / n as f64),
            validation_loss: evaluated.loss,
            validation_metric: evaluated.value,
            best,
        };
        listener.on_event(&Event::Validated {
            phase: &self.phase.name,
            step: point.step,
            epoch: point.epoch,
            task: &self.setting.schema.tasks[task].name,
            train_loss: point.train_loss,
            validation_loss: point.validation_loss,
            metric: evaluated.metric,
            value: evaluated.value,
            best,
        });
        self.state.history.push(point);
    }

    /// Takes up the checkpoint of this phase, if there is one.
    fn resume(&mut self) -> Result<Option<Resumed>, TrainError> {
        let setting = self.setting;
        let Some(saved) = checkpoint::open(setting.checkpoint, setting.run, &self.phase.name)?
        else {
            return Ok(None);
        };
        checkpoint::restore(self, &saved)?;
        Ok(Some(Resumed {
            epoch: self.phase.budget.epochs(self.state.step),
            saved: saved.time,
        }))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let (setting, name, begun) = (self.setting, self.phase.name.clone(), Instant::now());
        checkpoint::save(self, setting.checkpoint, setting.run, &name)?;
        self.clock.note(begun);
        Ok(())
    }
}

fn known_rows(batch: &Batch, task: usize) -> Vec<usize> {
    let labels = &batch.labels[task];
    (0..batch.n_rows)
        .filter(|&row| !labels[row].is_nan())
        .collect()
}
