//! Training settings of the run file, checked before the first row is read.

use crate::averages::Average;
use crate::entire_space::FunnelLoss;
use crate::evidence::ShrinkageRule;
use crate::id_dropout::IdDropoutPlan;
use crate::lifetimes::Lifetime;
use crate::optimizer::Optimizer;
use crate::product_loss::ProductLoss;
use crate::rank_tables::{ModelFiles, RankTables};
use crate::taken::KappaPlan;
use ncs_model::Masks;
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;
use std::sync::Arc;

fn is_zero(x: &f32) -> bool {
    *x == 0.0
}

fn is_nought(x: &f64) -> bool {
    *x == 0.0
}

/// Settings of training and mask search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainPlan {
    /// Seed of the initial weights, the order of rows, and dropout.
    pub seed: u64,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Batch size; `None`: chosen by the number of training rows, see [`TrainPlan::rows_per_step`].
    pub batch: Option<usize>,
    /// Maximum number of epochs.
    pub epochs: u32,
    /// Alternating or joint steps of the tasks.
    pub steps: Steps,
    /// Method that combines the losses of the tasks into one step.
    pub balance: Balance,
    /// Loss over the entire space; `None`: every task is trained on its own known labels.
    pub funnel: Option<FunnelLoss>,
    /// Losses of products over chains of tasks, in the place of `funnel`; `None`: no task is trained by a product of more
    /// than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductLoss>,
    /// Id dropout.
    pub id_dropout: IdDropoutPlan,
    /// Share of dropout of fields, in [0, 1): see [`ncs_model::Dropout::field_rate`].
    #[serde(skip_serializing_if = "is_nought")]
    pub field_dropout: f64,
    /// For each task the share of label smoothing, in [0, 1); empty: none. See [`crate::label_smoothing`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_smoothing: Vec<f64>,
    /// Moving average of layers and heads that is validated and kept; `None`: no averaging.
    pub average: Option<Average>,
    /// Shrinkage of table rows for a task that counts the rows of another; `None`: no shrinkage.
    pub evidence: Option<ShrinkageRule>,
    /// Tasks to which this shrinkage applies.
    pub shrinkage: Shrinkage,
    /// Logit transfer between two tasks with a learned coefficient; `None`: no transfer.
    pub kappa: Option<KappaPlan>,
    /// Precision of the layers' products.
    #[serde(skip_serializing_if = "StepPrecision::is_single")]
    pub precision: StepPrecision,
    /// The optimizer of the network.
    pub optimizer: Optimizer,
    /// The optimizer of the tables: row by row, only rows of the batch.
    pub table_optimizer: Optimizer,
    /// Learning rates over time, of network and tables alike.
    pub schedule: Schedule,
    /// Decoupled weight decay a step, of network weights (not biases): `w -= lr * decay * w`.
    pub weight_decay: f32,
    /// Decoupled weight decay a step, of the table rows that it moves.
    #[serde(skip_serializing_if = "is_zero")]
    pub table_weight_decay: f32,
    /// Maximum norm of the dense gradient; `None`: no clipping.
    pub clip_norm: Option<f32>,
    /// Validations per epoch, at least 1.
    pub evaluations_per_epoch: u32,
    /// Number of evaluations without improvement of any task after which training stops; `None`: run all epochs.
    pub patience: Option<u32>,
    /// Weights that the artifact holds.
    pub keep: Keep,
    /// If true, trains the model again on training and validation rows, from the same initial weights under the same
    /// masks, for as many passes as validation found best.
    pub refit: bool,
    /// Steps between checkpoints.
    pub checkpoint_steps: u64,
    /// Where the ranks of a training on several processes hold the tables. It changes nothing in the model but, with
    /// PCGrad, by rounding.
    #[serde(skip_serializing_if = "RankTables::are_replicated")]
    pub rank_tables: RankTables,
    /// Files of the table rows of the model of several ranks.
    #[serde(skip)]
    pub model_files: ModelFiles,
    /// Where tables lie. It changes nothing in the model.
    #[serde(skip)]
    pub table_storage: StorageKind,
    /// Folder for tables in files; `None`: that of the run.
    #[serde(skip)]
    pub table_folder: Option<PathBuf>,
    /// The mask search, for `sparse_sharing`.
    pub search: SearchPlan,
    /// Lifetimes of table rows. They act on the model that training goes on from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifetimes: Vec<Lifetime>,
    /// Day of the newest training rows, in days since 1970 or as the folders number days; `None`: not known.
    pub day: Option<i64>,
    /// If true, a step for a task may move weights outside its mask by stale momentum, as the paper's
    /// released code does. For parity only.
    pub parity_stale_momentum: bool,
}

/// Minimum and maximum batch size of the automatic choice.
const BATCHES: [u64; 2] = [512, 4096];

/// Approximate maximum number of steps per epoch, as long as the batch can grow.
const STEPS_PER_EPOCH: u64 = 2000;

impl TrainPlan {
    /// Returns the batch size for a training part of `rows` rows: as configured, or the power of two from 512 to 4096
    /// with which an epoch has at most about 2000 steps.
    pub fn rows_per_step(&self, rows: u64) -> usize {
        self.batch.unwrap_or_else(|| chosen_batch(rows))
    }

    /// Returns true if tasks are trained by a loss over the logits of several heads.
    pub fn couples_heads(&self) -> bool {
        self.funnel.is_some() || self.product.is_some()
    }

    /// Returns the names of the optimizers' rules.
    pub(crate) fn optimizer_kinds(&self) -> String {
        crate::optim::kinds(self.optimizer, self.table_optimizer)
    }
}

fn chosen_batch(rows: u64) -> usize {
    let [least, most] = BATCHES;
    let fitting = rows.div_ceil(STEPS_PER_EPOCH).min(most).next_power_of_two();
    fitting.clamp(least, most) as usize
}

/// Tasks whose embedding-row updates are shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shrinkage {
    /// Tasks with tasks.*.where.
    Conversions,
    /// All: for logs with many ids and few labels for each.
    All,
    /// Chosen on validation rows, task by task: the training runs twice, with each of the two, and a task's weights are those of
    /// "all" where these validate better by more than two standard errors. Takes twice the time.
    Validated,
}

/// Where a training keeps the rows of its tables, with their optimizer moments and the copies that validation chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StorageKind {
    /// In memory.
    #[default]
    Memory,
    /// In temporary files that are mapped into memory, of which the system keeps the most used pages there: tables may be
    /// larger than memory. The model is the same.
    File,
}

/// Precision of the products of the network's layers in training; weights, sums and all else are of single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepPrecision {
    /// Single precision.
    #[default]
    Single,
    /// Inputs, weights and gradients rounded to bfloat16: for wide layers on processors with AVX-512 BF16, where a step takes
    /// less time. Others compute the same, slowly.
    Half,
}

impl StepPrecision {
    fn is_single(&self) -> bool {
        *self == StepPrecision::Single
    }
}

/// Alternating or joint training steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// On each batch one step for each task in turn, as in the paper.
    Alternating,
    /// On each batch one step for the weighted sum of the losses.
    Joint,
}

/// Combination of the task losses into one joint step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Sum of the losses with fixed weights (tasks.*.weight).
    Fixed,
    /// Sum of the losses with learned weights (Kendall et al. 2018); tasks.*.weight has no effect.
    Uncertainty,
    /// Each task's gradient without the component that conflicts with the other's (PCGrad, Yu et al. 2020).
    #[serde(rename = "pcgrad")]
    PcGrad,
}

/// The learning rate over time, as a factor of the optimizer's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// Number of steps of a linear warm-up from 0.
    pub warmup_steps: u64,
    /// Decay after the warm-up.
    pub decay: Decay,
}

/// Learning-rate schedule, by name or with settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "settings", schemars(rename = "DecaySettings"))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// No decay.
    None {},
    /// Linear decay.
    Linear {
        /// Final learning rate, as a fraction of the full rate.
        #[serde(default)]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0, max = 1.0)))]
        floor: f64,
    },
    /// Cosine decay.
    Cosine {
        /// Final learning rate, as a fraction of the full rate.
        #[serde(default)]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0, max = 1.0)))]
        floor: f64,
    },
}

/// Weights that the final model holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// For each task, the weights of its own best validation.
    BestPerTask,
    /// One set of weights: the best validation averaged over the tasks.
    BestJoint,
    /// The final weights.
    Last,
}

/// The mask search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchPlan {
    /// Method that finds the masks.
    pub kind: SearchKind,
    /// Rounds of training and pruning, at least 1. The paper's: 4.
    pub rounds: u32,
    /// Final density of each task's mask, in (0, 1], in the order of the tasks.
    pub density: Vec<f64>,
    /// If true, [`SearchKind::Gradient`] keeps as many connections as have a gradient signal-to-noise above 2, and
    /// `density` is 1.
    pub density_by_snr: bool,
    /// Densities that [`SearchKind::Gradient`] tries for every task, descending, instead of `density`;
    /// empty: none.
    pub candidates: Vec<f64>,
    /// Share of the hidden units that is common to the tasks; [`SearchKind::Magnitude`] has common ones only.
    pub common_units: CommonUnits,
    /// Tasks that may read past counts and rates, where the schema has some.
    pub rate_readers: RateReaders,
    /// If true, measures the agreement of the tasks: one more pass, with a copy of the network for each task.
    pub measure_rho: bool,
    /// Passes over the task's rows in each round; may be a fraction.
    pub epochs_per_round: f64,
    /// Values to which kept weights are reset after a round.
    pub rewind: Rewind,
    /// Round whose mask a task gets.
    pub pick: Pick,
    /// Seed of the initial weights that the search trains, where they are not those of joint training:
    /// a control.
    pub seed: Option<u64>,
    /// Control masks that replace the found ones.
    pub control: Control,
}

/// A share of common units, by name or stated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommonUnits {
    /// By validation, or the size of the data.
    Auto,
    /// Fixed share.
    #[serde(untagged)]
    Share(#[cfg_attr(feature = "settings", schemars(range(min = 0.0, max = 1.0)))] f64),
}

/// Tasks that read past counts and rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RateReaders {
    /// Tasks that count all rows (without `where`): the default for networks with masks.
    Clicks,
    /// All tasks.
    All,
}

/// Control masks in place of the searched ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Nothing.
    None,
    /// Random masks of the same densities and overlap.
    Random,
    /// The same masks shuffled within each layer.
    Shuffled,
    /// Every task runs the first task's mask.
    OneMask,
}

/// Method that finds the masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    /// Iterative magnitude pruning: the paper's.
    Magnitude,
    /// Blocks of first-layer connections by the gradients of a joint warm-up; deeper layers at random.
    Gradient,
    /// Random masks with the final densities: the control that any search must beat.
    Random,
    /// No search: the masks of a trained model.
    Given(#[serde(serialize_with = "by_value")] Arc<Masks>),
}

fn by_value<S: Serializer>(masks: &Arc<Masks>, serializer: S) -> Result<S::Ok, S::Error> {
    Masks::serialize(masks, serializer)
}

/// Values that kept weights are reset to after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rewind {
    /// The common initial weights.
    Initial,
    /// The weights after some steps of joint training.
    #[serde(untagged)]
    After {
        /// Number of steps.
        #[cfg_attr(feature = "settings", schemars(range(min = 1)))]
        steps: u64,
    },
}

/// Round whose mask a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The round whose subnetwork validates best.
    Best,
    /// The last: the final density.
    Last,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_grows_with_the_rows() {
        let rows = [0, 1_000_000, 1_500_000, 3_000_000, 8_000_000, u64::MAX];
        assert_eq!(rows.map(chosen_batch), [512, 512, 1024, 2048, 4096, 4096]);
    }
}
