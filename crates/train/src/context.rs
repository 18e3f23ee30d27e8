//! Shared inputs of the trainings of a run: rows, settings, initial weights.

use crate::admission::Admission;
use crate::earlier::Earlier;
use crate::evidence::RowShrinkage;
use crate::id_dropout::IdDropout;
use crate::label_smoothing::LabelSmoothing;
use crate::moments::EarlierMoments;
use crate::phase::Phase;
use crate::plan::TrainPlan;
use crate::ranks::Ranks;
use crate::trainer::TrainerContext;
use ncs_features::{LabelCounts, Schema, Task, TaskCounts};
use ncs_model::{CounterRng, InitialRows, Model, Spec, TableStorage};
use ncs_readers::batches::{BatchPlan, Rows};
use ncs_readers::cache::Cache;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One training of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// Such as `search/ctr/level-1` or `train`.
    pub phase: String,
    /// Number of steps.
    pub steps: u64,
    /// Number of rows read.
    pub samples: u64,
}

/// Inputs and settings shared by the trainings of a search.
pub(crate) struct SearchContext<'a> {
    pub(crate) plan: &'a TrainPlan,
    pub(crate) schema: &'a Schema,
    pub(crate) spec: Spec,
    pub(crate) train: &'a Cache,
    pub(crate) valid: Option<&'a Cache>,
    pub(crate) folder: &'a Path,
    pub(crate) checkpoint: std::path::PathBuf,
    pub(crate) checkpoint_every: Duration,
    pub(crate) run: &'a str,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) evidence: Vec<Option<RowShrinkage>>,
    /// Rows that training reads.
    pub(crate) admission: Admission,
    pub(crate) id_dropout: IdDropout,
    /// Label smoothing of each task; empty: no task's labels are smoothed.
    pub(crate) smoothings: Vec<Option<LabelSmoothing>>,
    /// Label counts whose positive rates initialise the biases of the heads.
    pub(crate) bias_counts: &'a LabelCounts,
    /// For each table the vectors at which its rows begin; empty: at random ones.
    pub(crate) initial_rows: &'a [Option<Arc<InitialRows>>],
    /// The model that every training starts from.
    pub(crate) earlier: Option<&'a Earlier>,
    /// The optimizer moments that every training starts from.
    pub(crate) moments: Option<&'a EarlierMoments>,
    /// This process among those of the run.
    pub(crate) ranks: Ranks<'a>,
    /// Where tables lie.
    pub(crate) storage: TableStorage,
}

impl SearchContext<'_> {
    /// A model with the run's initial weights.
    pub(crate) fn model(&self) -> Model {
        self.initial(self.plan.seed)
    }

    /// A model with the initial weights of a seed, or those of the earlier model.
    pub(crate) fn initial(&self, seed: u64) -> Model {
        let mut model = Model::new(self.spec.clone(), CounterRng::new(seed, "initial weights"));
        if self.storage.is_in_files() {
            for t in 0..model.networks().len() {
                let tables = &mut model.network_mut(t).tables;
                tables
                    .iter_mut()
                    .for_each(|table| table.store_in(&self.storage));
            }
        }
        self.ranks.share_tables(&mut model);
        let rates = rates(&self.bias_counts.tasks, self.schema, &self.spec);
        for t in 0..model.networks().len() {
            let network = model.network_mut(t);
            let tables = network.tables.iter_mut().zip(self.initial_rows);
            for (table, rows) in tables {
                rows.iter().for_each(|rows| table.begin_at(rows.clone()));
            }
            for (place, task) in network.tasks.clone().into_iter().enumerate() {
                // Auxiliary heads have no labels of their own.
                if let Some(&Some(rate)) = rates.get(task) {
                    let bias = network.layout.heads[place].bias.start;
                    network.dense[bias] = (rate / (1.0 - rate)).ln() as f32;
                }
            }
        }
        if let Some(earlier) = self.earlier {
            earlier.restore(&mut model);
        }
        model
    }

    pub(crate) fn trainer_context(&self) -> TrainerContext<'_> {
        TrainerContext {
            plan: self.plan,
            schema: self.schema,
            train: self.train,
            valid: self.valid,
            checkpoint: &self.checkpoint,
            checkpoint_every: self.checkpoint_every,
            run: self.run,
            stop: self.stop,
            evidence: &self.evidence,
            admission: &self.admission,
            id_dropout: &self.id_dropout,
            smoothings: &self.smoothings,
            moments: self.moments,
            ranks: self.ranks,
            storage: &self.storage,
        }
    }

    /// Returns the training of `steps` steps of a phase.
    pub(crate) fn training(&self, phase: &Phase, steps: u64) -> Training {
        let per_epoch = phase.budget.batches_per_epoch;
        let counts = self.train.label_counts();
        let rows = match phase.rows {
            Rows::All => counts.rows,
            Rows::KnownLabel(task) => counts.tasks[task].known,
        };
        let rest = (steps % per_epoch) * phase.rows_per_batch as u64;
        Training {
            phase: phase.name.clone(),
            steps,
            samples: steps / per_epoch * rows + rest,
        }
    }

    /// Rows of a step of joint training.
    pub(crate) fn rows_per_step(&self) -> usize {
        self.plan.rows_per_step(self.train.label_counts().rows)
    }

    /// Batches of one pass over the training rows.
    pub(crate) fn batches(&self, rows: Rows, rows_per_batch: usize) -> u64 {
        self.train.n_batches(&BatchPlan {
            rows_per_batch,
            rows,
            ..BatchPlan::default()
        })
    }
}

/// Returns the initial prediction of each head for every row: its task's positive rate among the rows that it
/// covers; for a head that predicts a joint probability, the rate of both labels. `None` if labels are not classes
/// or all belong to one class.
fn rates(counts: &[TaskCounts], schema: &Schema, spec: &Spec) -> Vec<Option<f64>> {
    let rate = |(number, task): (usize, &Task)| {
        let rate = match spec.plan.heads.joint {
            Some([first, second]) if second == number => {
                counts[number].masses()[1] / counts[first].masses()[0]
            }
            _ => counts[number].weighted_rate(),
        };
        (task.objective.is_binary() && rate > 0.0 && rate < 1.0).then_some(rate)
    };
    schema.tasks.iter().enumerate().map(rate).collect()
}
