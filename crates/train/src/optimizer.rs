//! Settings of optimizers: of layers, and of table rows.

use serde::{Deserialize, Serialize};

/// An optimizer and its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Optimizer {
    /// Learning rate, before the schedule.
    pub learning_rate: f64,
    /// The update rule and its settings.
    pub kind: OptimizerKind,
}

/// An optimizer, by name or with settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "settings", schemars(rename = "OptimizerSettings"))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerKind {
    /// Adam.
    Adam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0)))]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0)))]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0)))]
        epsilon: f64,
    },
    /// Adagrad.
    Adagrad {
        /// Added to the root of the accumulated squares.
        #[serde(default = "epsilon")]
        #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0)))]
        epsilon: f64,
    },
    /// For tables: Adam with one second moment for each row, of the mean of its squared gradients. Two thirds of the memory of
    /// Adam.
    RowwiseAdam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0)))]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        #[cfg_attr(feature = "settings", schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0)))]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0)))]
        epsilon: f64,
    },
    /// For tables: Adagrad with one sum for each row, of the means of its squared gradients. A third of the memory of Adam.
    RowwiseAdagrad {
        /// Added to the root of the accumulated squares.
        #[serde(default = "epsilon")]
        #[cfg_attr(feature = "settings", schemars(extend("exclusiveMinimum" = 0.0)))]
        epsilon: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

impl OptimizerKind {
    /// Adam with its usual settings.
    pub fn adam() -> OptimizerKind {
        OptimizerKind::Adam {
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
        }
    }

    /// Returns true if it keeps one second moment for each table row: there are no rows in layers.
    pub fn is_rowwise(self) -> bool {
        match self {
            OptimizerKind::Adam { .. } | OptimizerKind::Adagrad { .. } => false,
            OptimizerKind::RowwiseAdam { .. } | OptimizerKind::RowwiseAdagrad { .. } => true,
        }
    }

    /// Returns the numbers of first and of second moments of a table row of `dim` weights.
    pub fn moments_per_row(self, dim: usize) -> [usize; 2] {
        match self {
            OptimizerKind::Adam { .. } => [dim, dim],
            OptimizerKind::Adagrad { .. } => [0, dim],
            OptimizerKind::RowwiseAdam { .. } => [dim, 1],
            OptimizerKind::RowwiseAdagrad { .. } => [0, 1],
        }
    }

    /// Returns the number of values that training stores for a table row of `dim` weights: the weights and their moments.
    pub fn values_per_row(self, dim: usize) -> usize {
        let [first, second] = self.moments_per_row(dim);
        dim + first + second
    }

    /// Returns its name in a run file.
    pub fn name(self) -> &'static str {
        match self {
            OptimizerKind::Adam { .. } => "adam",
            OptimizerKind::Adagrad { .. } => "adagrad",
            OptimizerKind::RowwiseAdam { .. } => "rowwise_adam",
            OptimizerKind::RowwiseAdagrad { .. } => "rowwise_adagrad",
        }
    }
}
