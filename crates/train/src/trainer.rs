//! Training loop: steps, validation, weight selection and checkpoints.

mod kappa;
mod step;
mod validation;

use crate::admission::Admission;
use crate::averages::Averages;
use crate::best_weights::BestWeights;
use crate::checkpoint::{self, Checkpointed};
use crate::error::TrainError;
use crate::events::{Event, Listener, Resumed};
use crate::evidence::RowShrinkage;
use crate::gradient_sums::GradientSums;
use crate::id_dropout::IdDropout;
use crate::label_smoothing::LabelSmoothing;
use crate::moments::EarlierMoments;
use crate::optim::{OptimSettings, Optimizers, ParityDeviations};
use crate::phase::Phase;
use crate::plan::TrainPlan;
use crate::progress::Progress;
use crate::ranks::{Ranks, RowLookups};
use ncs_features::Schema;
use ncs_features::hash::seeded_hash;
use ncs_model::{CounterRng, Gradient, Model, StorageError, Subnet, TableStorage, Workspace};
use ncs_readers::batches::{BatchPlan, Order};
use ncs_readers::cache::Cache;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Inputs and settings shared by all trainings of a run.
pub(crate) struct TrainerContext<'a> {
    pub(crate) plan: &'a TrainPlan,
    pub(crate) schema: &'a Schema,
    pub(crate) train: &'a Cache,
    pub(crate) valid: Option<&'a Cache>,
    /// Path of the checkpoint.
    pub(crate) checkpoint: &'a Path,
    /// Maximum time between two checkpoints.
    pub(crate) checkpoint_every: Duration,
    /// Identifier of the run that owns the checkpoint.
    pub(crate) run: &'a str,
    pub(crate) stop: &'a AtomicBool,
    /// Row shrinkage of each task; `None`: no shrinkage.
    pub(crate) evidence: &'a [Option<RowShrinkage>],
    pub(crate) admission: &'a Admission,
    pub(crate) id_dropout: &'a IdDropout,
    /// Label smoothing of each task; empty: no task's labels are smoothed.
    pub(crate) smoothings: &'a [Option<LabelSmoothing>],
    /// Optimizer moments of an earlier training; `None`: they start at zero.
    pub(crate) moments: Option<&'a EarlierMoments>,
    /// This process among those of the run.
    pub(crate) ranks: Ranks<'a>,
    /// Where tables lie.
    pub(crate) storage: &'a TableStorage,
}

/// A model in training.
pub(crate) struct Trainer<'a> {
    trainer_context: &'a TrainerContext<'a>,
    pub(crate) phase: Phase,
    pub(crate) model: Model,
    optimizers: Optimizers,
    pub(crate) progress: Progress,
    pub(crate) best: BestWeights,
    pass: Workspace,
    /// Where tables are in shards: the rows of a batch.
    rows: RowLookups,
    gradient: Gradient,
    subnets: Vec<ActiveSubnets>,
    /// Tasks whose validation warning was already reported.
    doubted: Vec<usize>,
    /// Sums of the gradients of each task of the schema; empty if they are not needed. If present, tasks take
    /// turns.
    pub(crate) gradients: Vec<GradientSums>,
    /// Running averages of layers and heads, where they are kept.
    averages: Option<Averages>,
    clock: checkpoint::Clock,
}

/// Subnets that are reused from step to step.
struct ActiveSubnets {
    network: usize,
    tasks: Vec<usize>,
    subnets: Vec<Subnet>,
}

impl<'a> Trainer<'a> {
    /// Creates a trainer before its first step.
    ///
    /// # Errors
    /// The moments of an earlier training cannot be read, or the storage of the tables is full.
    pub(crate) fn new(
        trainer_context: &'a TrainerContext<'a>,
        phase: Phase,
        model: Model,
    ) -> Result<Trainer<'a>, TrainError> {
        let plan = trainer_context.plan;
        let settings = OptimSettings {
            network: plan.optimizer,
            tables: plan.table_optimizer,
            weight_decay: plan.weight_decay,
            table_weight_decay: plan.table_weight_decay,
            clip_norm: plan.clip_norm,
            leaks: if plan.parity_stale_momentum {
                ParityDeviations::ALL
            } else {
                ParityDeviations::default()
            },
        };
        let mut optimizers = Optimizers::new(&model, settings);
        if let Some(moments) = trainer_context.moments {
            moments.restore(&model, &mut optimizers)?;
        }
        trainer_context.storage.check()?;
        Ok(Trainer {
            optimizers,
            best: BestWeights::new(&phase, &model),
            progress: Progress::new(trainer_context.schema.tasks.len()),
            pass: Workspace::of_share(plan.threads, trainer_context.ranks.share()),
            rows: RowLookups::default(),
            gradient: Gradient::default(),
            subnets: Vec::new(),
            doubted: Vec::new(),
            gradients: Vec::new(),
            averages: phase.average.map(|average| Averages::new(average, &model)),
            clock: checkpoint::Clock::start(trainer_context.checkpoint_every),
            trainer_context,
            phase,
            model,
        })
    }

    /// Runs to the end, from the checkpoint of this phase if there is one.
    pub(crate) fn run(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let resumed = self.resume()?;
        let total = self.phase.last_step();
        let (name, done) = (self.phase.name.clone(), self.progress.step);
        let ranks = self.trainer_context.ranks;
        ranks.check_same("the step to go on from", &done.to_string())?;
        listener.on_event(&Event::Began {
            phase: &name,
            total_steps: total,
            done,
            resumed,
            finished: self.progress.finished,
        });
        if self.trainer_context.plan.parity_stale_momentum {
            (0..self.model.networks().len())
                .for_each(|t| self.model.network_mut(t).init_all_rows());
        }
        while !self.progress.finished {
            self.epoch(listener)?;
        }
        let reason = if self.progress.step < total {
            "early stopping: no task improved within `patience` validations"
        } else {
            "maximum number of steps reached"
        };
        listener.on_event(&Event::Ended {
            phase: &name,
            steps: self.progress.step,
            reason,
        });
        if let Some(text) = ranks.rows_held(&self.model)? {
            listener.on_event(&Event::Noted { text: &text });
        }
        // The result of the training is the average.
        self.swap_averages();
        Ok(())
    }

    /// Steps until the epoch or the training ends.
    fn epoch(&mut self, listener: &mut dyn Listener) -> Result<(), TrainError> {
        let budget = self.phase.budget;
        let epoch = budget.epoch(self.progress.step);
        let batches = self.trainer_context.train.batches(BatchPlan {
            rows_per_batch: self.phase.rows_per_batch,
            order: Order::Shuffled {
                seed: seeded_hash(self.phase.draws.as_bytes(), self.trainer_context.plan.seed),
                epoch,
            },
            rows: self.phase.rows,
            prefetch: true,
            skip: budget.batch(self.progress.step),
        });
        for batch in batches {
            let mut batch = batch?;
            let rng = CounterRng::new(self.trainer_context.plan.seed, "unknown ids")
                .at(self.progress.step);
            self.trainer_context.admission.apply(&mut batch);
            self.trainer_context.id_dropout.apply(&mut batch, rng);
            self.step(&batch)?;
            if let Some(averages) = &mut self.averages {
                averages.follow(self.progress.step, self.model.networks());
            }
            let done = self.progress.step;
            listener.on_event(&Event::Stepped { done });
            self.keep_due()?;
            if budget.validates_after(done) {
                self.validate(listener)?;
            }
            self.progress.finished |= done >= self.phase.last_step();
            let stop_requested = self.trainer_context.stop.load(Ordering::Relaxed);
            let stored = self.trainer_context.storage.check();
            let now = [stop_requested, self.clock.is_due(), stored.is_err()];
            let ranks = self.trainer_context.ranks;
            let [stop_requested, is_due, is_full] = ranks.any(now)?;
            if is_full {
                ranks.all_done(stored.map_err(TrainError::from))?;
            }
            if stop_requested
                || self.progress.finished
                || done.is_multiple_of(self.trainer_context.plan.checkpoint_steps)
                || is_due
            {
                self.save()?;
            }
            if stop_requested && !self.progress.finished {
                return Err(TrainError::Stopped {
                    phase: self.phase.name.clone(),
                    step: done,
                });
            }
            if self.progress.finished || budget.epoch(done) != epoch {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Starts to accumulate each task's gradients.
    pub(crate) fn accumulate_gradients(&mut self) {
        let len = self.model.network(0).dense.len();
        self.gradients = vec![GradientSums::new(len); self.trainer_context.schema.tasks.len()];
    }

    /// Starts to accumulate each task's gradients: those of one half of the batches, of all tasks, and then those of
    /// the other half.
    pub(crate) fn accumulate_gradients_by_halves(&mut self) {
        self.accumulate_gradients();
        let other = self.gradients.clone();
        self.gradients.extend(other);
    }

    /// Keeps the weights of the slots that are due after this step.
    fn keep_due(&mut self) -> Result<(), TrainError> {
        let step = self.progress.step;
        if self.phase.keep_at.contains(&step) {
            self.swap_averages();
            let kept = self.best.keep_due(&self.phase.keep_at, step, &self.model);
            self.swap_averages();
            self.all_stored(kept)?;
        }
        Ok(())
    }

    /// Returns what a rank has stored, once all have.
    fn all_stored<T>(&self, stored: Result<T, StorageError>) -> Result<T, TrainError> {
        if self.trainer_context.storage.is_in_files() {
            let own = stored
                .as_ref()
                .map(|_| ())
                .map_err(|error| error.clone().into());
            self.trainer_context.ranks.all_done(own)?;
        }
        Ok(stored?)
    }

    fn swap_averages(&mut self) {
        if let Some(averages) = &mut self.averages {
            averages.swap(&mut self.model);
        }
    }

    fn checkpointed(&mut self) -> Checkpointed<'_> {
        Checkpointed {
            model: &mut self.model,
            optimizers: &mut self.optimizers,
            progress: &mut self.progress,
            best: &mut self.best,
            gradients: &mut self.gradients,
            averages: self.averages.as_mut(),
        }
    }

    /// Resumes from the checkpoint of this phase, if there is one.
    fn resume(&mut self) -> Result<Option<Resumed>, TrainError> {
        let trainer_context = self.trainer_context;
        let Some(saved) = checkpoint::open(
            trainer_context.checkpoint,
            (trainer_context.run, &self.phase.name),
            trainer_context.storage,
        )?
        else {
            return Ok(None);
        };
        checkpoint::restore(self.checkpointed(), &saved, trainer_context.ranks)?;
        Ok(Some(Resumed {
            epoch: self.phase.budget.epochs(self.progress.step),
            saved: saved.time,
        }))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let (trainer_context, name, begun) = (
            self.trainer_context,
            self.phase.name.clone(),
            Instant::now(),
        );
        checkpoint::save(
            self.checkpointed(),
            trainer_context.checkpoint,
            (trainer_context.run, &name),
            trainer_context.ranks,
        )?;
        self.clock.note(begun);
        Ok(())
    }
}
