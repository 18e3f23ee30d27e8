//! The kinds of network, and their properties. Other modules ask for a property; only the run file, the sizes and the scorer
//! distinguish kinds.

use serde::{Deserialize, Serialize};

/// The sharing of parameters between tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// One network, with a mask over its connections for each task (NCS4CVR).
    SparseSharing,
    /// A network and tables for each task, trained separately.
    SingleTask,
    /// One network without masks, a head for each task.
    SharedBottom,
    /// A tower for each task, mixed after every layer by learned weights (Misra et al. 2016).
    CrossStitch,
    /// Experts shared by all tasks, mixed by a gate for each task (Ma et al. 2018).
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
    /// Shared embeddings and embeddings of each task, each with experts; a gate for each task mixes all of them, and no
    /// gradient flows to the experts of other tasks (STEM, Su et al. 2023). Vectors have a part for each task and a shared
    /// one: [`crate::NetworkPlan::dim`] is the length of all parts together.
    Stem {
        /// Experts of each task.
        experts: usize,
        /// Shared experts.
        shared: usize,
    },
    /// Two levels of normalised experts, for groups of tasks, for each task and for all (HoME, Wang et al. 2024); the groups
    /// are [`crate::Heads::groups`].
    Home {
        /// Experts of each group, on both levels, and of each task.
        experts: usize,
        /// Shared experts on each level.
        shared: usize,
    },
    /// A tower for each task; the state of the previous task is transferred by attention (Xi et al. 2021).
    Aitm,
    /// No hidden layers: each task is linear in the input. Logistic regression without Gram matrix, with it a factorisation
    /// machine (Rendle 2010) whose products have a weight for each pair of fields (Pan et al. 2018).
    Linear,
}

impl NetworkKind {
    /// Returns the name in the run file.
    pub fn name(self) -> &'static str {
        match self {
            NetworkKind::SparseSharing => "sparse_sharing",
            NetworkKind::SingleTask => "single_task",
            NetworkKind::SharedBottom => "shared_bottom",
            NetworkKind::CrossStitch => "cross_stitch",
            NetworkKind::Mmoe { .. } => "mmoe",
            NetworkKind::Ple { .. } => "ple",
            NetworkKind::Stem { .. } => "stem",
            NetworkKind::Home { .. } => "home",
            NetworkKind::Aitm => "aitm",
            NetworkKind::Linear => "linear",
        }
    }

    /// Returns true if each task has a mask over the connections, which a search finds, and a subnet of its own.
    pub fn has_masks(self) -> bool {
        self == NetworkKind::SparseSharing
    }

    /// Returns true if all tasks share one network and its tables; otherwise each has its own.
    pub fn shares_tables(self) -> bool {
        self != NetworkKind::SingleTask
    }

    /// Returns true if a subnet is one stack of layers: the input of the first layer is only read there.
    pub(crate) fn is_stack(self) -> bool {
        matches!(
            self,
            NetworkKind::SparseSharing | NetworkKind::SharedBottom | NetworkKind::SingleTask
        )
    }

    /// Returns true if the network has hidden layers.
    pub fn has_hidden_layers(self) -> bool {
        self != NetworkKind::Linear
    }

    /// Returns the sizes that only this kind has, by their keys in the run file.
    pub fn sizes(self) -> Vec<(&'static str, usize)> {
        match self {
            NetworkKind::Mmoe { experts } => vec![("experts", experts)],
            NetworkKind::Stem { experts, shared } | NetworkKind::Home { experts, shared } => {
                vec![("experts", experts), ("shared_experts", shared)]
            }
            NetworkKind::Ple {
                levels,
                experts,
                shared,
            } => vec![
                ("levels", levels),
                ("experts", experts),
                ("shared_experts", shared),
            ],
            _ => Vec::new(),
        }
    }

    /// Returns true if a network of so many hidden layers can have these sizes.
    pub(crate) fn fits(self, n_hidden: usize) -> bool {
        match self {
            NetworkKind::Mmoe { experts } => n_hidden > 0 && experts > 0,
            NetworkKind::Stem { experts, shared } => n_hidden > 0 && experts.max(shared) > 0,
            NetworkKind::Home { experts, shared } => n_hidden > 1 && experts.max(shared) > 0,
            NetworkKind::Ple {
                levels,
                experts,
                shared,
            } => (1..=n_hidden).contains(&levels) && experts.max(shared) > 0,
            NetworkKind::Linear => n_hidden == 0,
            _ => n_hidden > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_and_levels_are_among_the_settings() {
        let ple = NetworkKind::Ple {
            levels: 2,
            experts: 3,
            shared: 1,
        };
        let expected = [("levels", 2), ("experts", 3), ("shared_experts", 1)];
        assert_eq!(ple.sizes(), expected);
        assert_eq!(NetworkKind::Aitm.sizes(), []);
    }
}
