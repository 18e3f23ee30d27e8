//! The network settings of a run file.

pub use crate::networks::NetworkKind;
use serde::{Deserialize, Serialize};

/// The kind of network, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// The sharing of parameters between tasks.
    pub kind: NetworkKind,
    /// Length of a field vector.
    pub dim: usize,
    /// Widths of the hidden layers, input side first. The paper's: 512, 256, 128.
    pub hidden: Vec<usize>,
    /// The part of the Gram matrix that is an input beside the flattened field vectors.
    pub gram: Gram,
    /// Probability that a hidden unit is dropped in a training step, in [0, 1).
    pub dropout: f32,
    /// Standard deviation of a table's initial values; `None`: Xavier-normal, `sqrt(2 / (rows + dim))`.
    pub table_deviation: Option<f32>,
    /// Requirements of the loss for the heads.
    #[serde(default)]
    pub heads: Heads,
}

/// Requirements of the losses for the heads. The default is one head for each task, which
/// predicts that task's probability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The task whose mask an auxiliary head uses, if training needs one: the imputation of ESCM2-DR, the
    /// counterfactual head of DCMT. It predicts no task.
    #[serde(rename = "helper_of")]
    pub auxiliary_head_of: Option<usize>,
    /// The head of task `[1]` predicts the probability that the labels of `[0]` and of `[1]` are both 1;
    /// the probability of task `[1]` is the quotient by that of `[0]` (AITM).
    pub joint: Option<[usize; 2]>,
    /// The logit of task `[0]` is added to that of task `[1]` with a learned coefficient ([`crate::TakenLogit`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<[usize; 2]>,
    /// The tasks whose masks the auxiliary heads of late labels use, one for each head: the delay rate of DFM, the
    /// importance weights of ES-DFM and DEFER. They follow the other heads and predict no task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<usize>,
    /// The tasks whose predictions need further outputs beside their own, one entry for each output, a task's together:
    /// [`ncs_features::Objective::n_further_outputs`]. These heads follow the others, use their tasks' masks, and run
    /// where their tasks are scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<usize>,
    /// The group of each task, without gaps from 0 on, for networks whose experts serve groups of tasks; empty: each task is a
    /// group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<usize>,
    /// Length of the part of each vector that only one task reads, so that no other moves it (the tables of STEM under masks):
    /// behind the part for all tasks there is one for each task. 0: there are none. Products of two vectors are of the part for
    /// all tasks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub task_vectors: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Heads {
    /// Returns the group of each of so many tasks.
    pub(crate) fn groups_of(&self, n_tasks: usize) -> Vec<usize> {
        match self.groups.len() == n_tasks {
            true => self.groups.clone(),
            false => (0..n_tasks).collect(),
        }
    }

    /// Returns the tasks whose masks the auxiliary heads and further outputs use, in the order of these heads.
    pub fn auxiliary(&self) -> impl Iterator<Item = usize> {
        let of_training = self
            .auxiliary_head_of
            .into_iter()
            .chain(self.late.iter().copied());
        of_training.chain(self.outputs.iter().copied())
    }
}

/// The part of the Gram matrix that stands beside the flattened field vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Gram {
    /// All of it: the paper's.
    Full,
    /// The upper triangle with the diagonal.
    Triangle,
    /// None: the flattened vectors alone.
    None,
}
