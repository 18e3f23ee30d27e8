//! The network, as the run file states it.

use serde::{Deserialize, Serialize};

/// Which network, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// How the tasks share.
    pub kind: NetworkKind,
    /// Length of a field vector.
    pub dim: usize,
    /// Widths of the hidden layers, input side first. The paper's: 512, 256, 128.
    pub hidden: Vec<usize>,
    /// The part of the Gram matrix that stands beside the flattened field vectors.
    pub gram: Gram,
    /// Probability that a hidden unit is dropped in a training step, in [0, 1).
    pub dropout: f32,
    /// Standard deviation of a table's initial values; `None`: Xavier-normal, `sqrt(2 / (rows + dim))`.
    pub table_deviation: Option<f32>,
    /// What the loss asks of the heads.
    #[serde(default)]
    pub heads: Heads,
}

/// What a loss over the entire space asks of the heads; the default is one head for each task, which
/// says that task's probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// Training needs one more head, under the mask of this task: the imputation of ESCM2-DR, the
    /// counterfactual head of DCMT. It answers for no task.
    pub helper_of: Option<usize>,
    /// The head of task `[1]` says the probability that the labels of `[0]` and of `[1]` are both 1;
    /// the task's own is the quotient by that of `[0]` (AITM).
    pub joint: Option<[usize; 2]>,
    /// Task `[1]` takes the logit of task `[0]` in, by as much as it learned ([`crate::TakenLogit`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<[usize; 2]>,
}

/// How the tasks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// One network, a mask over its connections for each task (NCS4CVR).
    SparseSharing,
    /// A network and tables for each task, trained apart.
    SingleTask,
    /// One network without masks, a head for each task.
    SharedBottom,
    /// A tower for each task, mixed behind every layer by learned weights (Misra et al. 2016).
    CrossStitch,
    /// Experts that all tasks share, mixed by a gate for each task (Ma et al. 2018).
    Mmoe {
        /// Number of experts.
        experts: usize,
    },
    /// Experts of each task and shared ones, level by level (Tang et al. 2020).
    Ple {
        /// Levels of extraction, each of one hidden layer.
        levels: usize,
        /// Experts of each task at each level.
        experts: usize,
        /// Shared experts at each level.
        shared: usize,
    },
    /// A tower for each task; what the task before knows is transferred by attention (Xi et al. 2021).
    Aitm,
}

/// The part of the Gram matrix of the field vectors that the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gram {
    /// All of it, both triangles and the diagonal: the paper's.
    Full,
    /// The upper triangle with the diagonal.
    Triangle,
    /// None: the flattened vectors alone.
    None,
}
