//! Network and training as TOML holds them.

use super::kind_or_table::KindOrTable;
use ncs_model::Gram;
use ncs_train::entire_space::Propensity;
use ncs_train::{
    AverageStart, Balance, Decay, IdDropoutPlan, Keep, OptimizerKind, Shrinkage, ShrinkageRule,
    StepPrecision, Steps, StorageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Network and its sizes.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Network {
    /// Way of sharing between the tasks.
    pub(crate) kind: NetworkKind,
    /// Length of a field vector.
    #[schemars(range(min = 1))]
    pub(crate) dim: usize,
    /// Widths of the hidden layers, input side first.
    #[schemars(length(min = 1, max = 100), inner(range(min = 1)))]
    pub(crate) hidden: Vec<usize>,
    /// `mmoe`: experts that all tasks share; `ple`: experts of each task at each level; `stem`: experts of each task; `home`: experts
    /// of each group of tasks on both levels, and of each task. Without it, 4.
    #[schemars(range(min = 1))]
    pub(crate) experts: Option<usize>,
    /// `ple` and `home`: shared experts at each level; `stem`: shared experts. Without it, 1.
    #[schemars(range(min = 1))]
    pub(crate) shared_experts: Option<usize>,
    /// `ple`: levels of extraction, one hidden layer each. Without it, 1.
    #[schemars(range(min = 1))]
    pub(crate) levels: Option<usize>,
    /// `home`: the groups of tasks, as lists of their names, such as [["click", "like"], ["long_view"]]. Without it, the tasks
    /// that count all rows are one group and those that count rows of another task are one; if all are alike, each is a group.
    pub(crate) task_groups: Option<Vec<Vec<String>>>,
    /// `sparse_sharing`: whether each value has, beside its vector for all tasks, one of as many numbers for each task, which
    /// only that task reads and changes (the tables of STEM). Products of vectors are of those for all tasks.
    pub(crate) task_tables: bool,
    /// The part of the Gram matrix of the field vectors that the network sees.
    pub(crate) gram: Gram,
    /// Probability that a hidden unit is dropped in a training step.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub(crate) dropout: f64,
    /// Standard deviation of a table's initial values; without it, Xavier-normal.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) table_deviation: Option<f64>,
}

impl Default for Network {
    /// The paper's.
    fn default() -> Network {
        Network {
            kind: NetworkKind::SparseSharing,
            dim: 16,
            hidden: vec![512, 256, 128],
            experts: None,
            shared_experts: None,
            levels: None,
            task_groups: None,
            task_tables: false,
            gram: Gram::Full,
            dropout: 0.0,
            table_deviation: None,
        }
    }
}

impl Network {
    pub(crate) fn experts(&self) -> usize {
        self.experts.unwrap_or(4)
    }

    pub(crate) fn shared_experts(&self) -> usize {
        self.shared_experts.unwrap_or(1)
    }

    pub(crate) fn levels(&self) -> usize {
        self.levels.unwrap_or(1)
    }
}

/// Way of sharing between the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkKind {
    /// One network, a mask over its connections for each task: the paper's method.
    SparseSharing,
    /// A network and tables for each task, trained apart.
    SingleTask,
    /// One network without masks, a head for each task.
    SharedBottom,
    /// A tower for each task, mixed behind every layer by learned weights.
    CrossStitch,
    /// Experts that all tasks share, mixed by a gate for each task. The last hidden layer is each
    /// task's own.
    Mmoe,
    /// Experts of each task and shared ones, level by level. Hidden layers behind the levels are each
    /// task's own.
    Ple,
    /// Shared embeddings and embeddings of each task, of length `dim` each, with experts; a task mixes all experts and learns its
    /// own and the shared ones only, so that no task moves the embeddings of another (STEM, Su et al. 2023). Without a Gram
    /// matrix. The last hidden layer is each task's own.
    Stem,
    /// Two levels of experts with normalisation and Swish: for groups of similar tasks, for each task, and shared ones; each
    /// scales its inputs by a gate of its own (HoME, Wang et al. 2024). The last hidden layer is each task's own, from three on.
    Home,
    /// A tower for each task; the representation of the previous task is transferred by attention.
    Aitm,
    /// A linear model for each task over common tables, without hidden layers: logistic regression with gram = "none", a
    /// factorisation machine with a weight for each pair of fields with gram = "triangle".
    Linear,
}

/// Training: losses, optimizers, stopping.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Training {
    /// Most passes over the training rows, or "auto": until validation no longer improves, 30 at most, with several
    /// validations in each pass, so that a log whose ids are overfitted after one pass is read about once. Default: "auto", and 3
    /// with keep = "last".
    pub(crate) epochs: Option<Epochs>,
    /// Rows a step (default: 512, more from a million training rows on, 4096 at most).
    #[schemars(range(min = 1))]
    pub(crate) batch: Option<usize>,
    /// Whether tasks take turns or step together. Without it they take turns, but for a loss or a
    /// balance that needs them together.
    pub(crate) steps: Option<Steps>,
    /// Loss over click and conversion.
    pub(crate) loss: KindOrTable<FunnelLoss>,
    /// Combination of the task losses into one joint step.
    pub(crate) balance: Balance,
    /// Shrinkage (empirical Bayes) of the steps of a table row for a task that counts the rows of another (tasks.*.where):
    /// less evidence in its labels for the row, smaller steps. Default: "auto" where the other settings allow it.
    pub(crate) embedding_evidence: Option<EmbeddingEvidence>,
    /// Tasks whose steps of table rows shrink so.
    pub(crate) shrinkage: Shrinkage,
    /// Transfer of a logit: a task that counts the rows of another (tasks.*.where) adds that task's logit, less its mean, to
    /// its own, times a learned number (kappa, from 0), reported with its standard error.
    pub(crate) click_logit: ClickLogit,
    /// Share of ids that become unknown in a training step, so that the model learns to score ids that it has never
    /// seen: "auto", column by column as many as are unknown in the validation rows; or a share of all.
    pub(crate) id_dropout: IdDropoutPlan,
    /// Probability that a field is dropped from a row in a training step: its whole vector, or all its numbers, are 0, and
    /// those of the other fields are scaled by 1 / (1 - field_dropout).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub(crate) field_dropout: f64,
    /// Running average over steps of layers and heads, that is validated and kept in the place of the last weights: its
    /// decay a step, or "ema" for 0.99, or a table; 0: none.
    pub(crate) average: Average,
    /// The optimizer of the network.
    pub(crate) optimizer: KindOrTable<OptimizerKind>,
    /// The optimizer of the tables; without it, the network's.
    pub(crate) table_optimizer: Option<KindOrTable<OptimizerKind>>,
    /// Precision of the products of the network's layers.
    pub(crate) precision: StepPrecision,
    /// Learning rate of the network.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) learning_rate: f64,
    /// Learning rate of the tables; without it, the network's.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) table_learning_rate: Option<f64>,
    /// Steps over which the learning rate rises from 0.
    pub(crate) warmup_steps: u64,
    /// Learning-rate schedule until the last step.
    pub(crate) decay: KindOrTable<Decay>,
    /// Decoupled weight decay of network weights.
    #[schemars(range(min = 0.0))]
    pub(crate) weight_decay: f64,
    /// Decoupled weight decay of the vectors of tables: in each step of the rows that it moves, so that ids which training
    /// sees often are drawn towards 0 as often. Frozen vectors are not.
    #[schemars(range(min = 0.0))]
    pub(crate) table_weight_decay: f64,
    /// Largest norm of the network's gradient; without it, not clipped.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub(crate) clip_norm: Option<f64>,
    /// Validations an epoch.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) evaluations_per_epoch: u32,
    /// Stop once no task has improved for so many validations (default: 4 where epochs is not stated; otherwise all
    /// epochs are run).
    #[schemars(range(min = 1))]
    pub(crate) patience: Option<u32>,
    /// Weights that the final model holds.
    pub(crate) keep: Keep,
    /// Train the model again on training and validation rows, once validation has chosen: from the same initial weights,
    /// under the same masks, for as many passes as were best. Validation figures and calibrators stay those of the
    /// first training.
    pub(crate) refit: bool,
    /// Steps between checkpoints at most; one is written every minute in any case, or, where that takes long,
    /// in a tenth of the time.
    #[schemars(range(min = 1))]
    pub(crate) checkpoint_steps: u64,
    /// Where the vectors of tables lie, with their optimizer moments and the copies that validation chooses. The model is the
    /// same, and an interrupted run goes on with either.
    pub(crate) table_storage: StorageKind,
    /// Folder of table_storage = "file", on a local disk; default: the run's folder. Its files have no names and end with the
    /// process.
    pub(crate) table_folder: Option<PathBuf>,
    /// Faults of the paper's released code, for comparison with it.
    pub(crate) parity: Parity,
}

impl Default for Training {
    fn default() -> Training {
        Training {
            epochs: None,
            batch: None,
            steps: None,
            loss: KindOrTable(FunnelLoss::Clicked {}),
            balance: Balance::Fixed,
            embedding_evidence: None,
            shrinkage: Shrinkage::Conversions,
            precision: StepPrecision::Single,
            click_logit: ClickLogit::None,
            id_dropout: IdDropoutPlan::Auto,
            field_dropout: 0.0,
            average: Average::Ema,
            optimizer: KindOrTable(OptimizerKind::adam()),
            table_optimizer: None,
            learning_rate: 0.001,
            table_learning_rate: None,
            warmup_steps: 0,
            decay: KindOrTable(Decay::None {}),
            weight_decay: 0.0,
            table_weight_decay: 0.0,
            clip_norm: None,
            evaluations_per_epoch: 4,
            patience: None,
            keep: Keep::BestPerTask,
            refit: false,
            checkpoint_steps: 1000,
            table_storage: StorageKind::Memory,
            table_folder: None,
            parity: Parity::default(),
        }
    }
}

/// Passes over the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Epochs {
    /// Until no task has improved for `patience` validations (default: 4), 30 at most.
    Auto,
    /// So many at most.
    #[serde(untagged)]
    Most(#[schemars(range(min = 1, max = 1_000_000))] u32),
}

impl Epochs {
    /// Returns the number of passes, if it is stated.
    pub(crate) fn stated(self) -> Option<u32> {
        match self {
            Epochs::Auto => None,
            Epochs::Most(most) => Some(most),
        }
    }
}

/// Running average of layers and heads.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Average {
    /// An exponential moving average with decay 0.99.
    Ema,
    /// One with this decay a step; 0: none.
    #[serde(untagged)]
    Decay(#[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))] f64),
    /// With settings.
    #[serde(untagged)]
    With(AverageSettings),
}

/// An exponential moving average.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AverageSettings {
    /// Decay a step.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub(crate) decay: f64,
    /// The first steps.
    pub(crate) start: AverageStart,
}

impl Default for AverageSettings {
    fn default() -> AverageSettings {
        AverageSettings {
            decay: 0.99,
            start: AverageStart::Growing,
        }
    }
}

impl Average {
    /// Returns the average as a training keeps it; `None`: none.
    pub(crate) fn plan(self) -> Option<ncs_train::Average> {
        let settings = match self {
            Average::Ema => AverageSettings::default(),
            Average::Decay(0.0) => return None,
            Average::Decay(decay) => AverageSettings {
                decay,
                ..AverageSettings::default()
            },
            Average::With(settings) => settings,
        };
        Some(ncs_train::Average {
            decay: settings.decay,
            start: settings.start,
        })
    }
}

/// Whether a task takes in the logit of the one whose rows it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClickLogit {
    /// It does not.
    None,
    /// By as much as it learns.
    Learned,
    /// Control: in training it takes the logit of another row of its batch, in scoring none.
    Permuted,
}

/// Shrinkage of the steps of table rows, by name or with settings.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EmbeddingEvidence {
    /// By the evidence, with k derived for each table.
    Auto,
    /// The same, measured against the evidence of the task whose rows are counted: s / s_click where that task's
    /// part s_click is the larger.
    Guarded,
    /// No shrinkage.
    None,
    /// With settings.
    #[serde(untagged)]
    With(ShrinkageRule),
}

/// Loss over click and conversion, by name or with settings.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "FunnelLossSettings")]
pub(crate) enum FunnelLoss {
    /// Each task from its own known labels: conversion from clicked rows.
    Clicked {},
    /// The product of both probabilities against click and conversion, over all rows (Ma et al. 2018). Where several tasks
    /// state `where`, each is trained by the product of its chain, such as click, cart and purchase.
    Esmm {},
    /// Clicked rows by inverse propensity, and the product (Wang et al. 2022).
    Escm2Ips(Propensity),
    /// Doubly robust with an imputed loss, and the product (Wang et al. 2022).
    Escm2Dr(Propensity),
    /// Clicked rows by inverse propensity, a counterfactual head for the others, and the product (Zhu
    /// et al. 2023).
    Dcmt {
        /// Smallest propensity that a row is divided by.
        #[serde(default = "propensity_floor")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
        floor: f64,
        /// Weight of the product's loss.
        #[serde(default = "ctcvr_weight")]
        #[schemars(range(min = 0.0))]
        ctcvr_weight: f64,
        /// Weight of |1 - p_cvr - p_counterfactual|.
        #[serde(default = "dcmt_regularizer")]
        #[schemars(range(min = 0.0))]
        regularizer: f64,
    },
    /// The conversion's head gives the product itself, kept below the click's (Xi et al. 2021).
    Aitm {
        /// Weight of what it exceeds the click's probability by.
        #[serde(default = "aitm_constraint")]
        #[schemars(range(min = 0.0))]
        constraint: f64,
    },
}

fn propensity_floor() -> f64 {
    Propensity::default().floor
}

fn ctcvr_weight() -> f64 {
    Propensity::default().ctcvr_weight
}

fn dcmt_regularizer() -> f64 {
    0.001
}

/// The authors'.
fn aitm_constraint() -> f64 {
    0.6
}

/// Faults of the paper's released code, for comparison with it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Parity {
    /// A step for a task moves weights outside its mask by stale momentum.
    pub(crate) stale_momentum: bool,
}
