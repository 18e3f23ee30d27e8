//! How a model learns: losses, optimizers, the loop, checkpoints, and the mask search.

pub mod loss;
pub mod plan;
pub mod schedule;

pub use plan::{
    Decay, Keep, Optimizer, Pick, Rewind, Schedule, SearchKind, SearchPlan, Steps, TrainPlan,
};
