//! Training: losses, optimizers, the training loop, checkpoints, and the mask search.
//!
//! A [`Run`] owns only settings: it drives a trainer through the phases of the mask search and
//! the final training, reports events to a [`Listener`], and returns an artifact.

mod admission;
mod averages;
pub mod balance;
mod best_weights;
pub mod calibrate;
mod checkpoint;
mod context;
mod diagnosis;
mod difference;
mod earlier;
pub mod entire_space;
mod error;
pub mod events;
mod evidence;
mod gradient_sums;
pub mod id_dropout;
pub mod label_smoothing;
mod late;
pub mod lifetimes;
pub mod loss;
mod moments;
pub mod optim;
mod optimizer;
mod outcome;
mod phase;
pub mod plan;
pub mod predict;
pub mod product_loss;
mod progress;
mod rank_tables;
mod ranks;
mod refit;
mod run;
mod schedule;
mod search;
mod shrinkage;
pub mod step_budget;
mod step_loss;
mod taken;
mod tensors;
mod trainer;

pub use averages::{Average, AverageStart};
pub use context::Training;
pub use earlier::{Earlier, merged_tasks};
pub use error::TrainError;
pub use events::{Event, Listener, NoopListener, Resumed, Validated};
pub use evidence::ShrinkageRule;
pub use id_dropout::{IdDropout, IdDropoutPlan};
pub use lifetimes::{Age, Evicted, Eviction, Lifetime};
pub use optimizer::{Optimizer, OptimizerKind};
pub use plan::{
    Balance, CommonUnits, Control, Decay, Keep, Pick, RateReaders, Rewind, Schedule, SearchKind,
    SearchPlan, Shrinkage, StepPrecision, Steps, StorageKind, TrainPlan,
};
pub use progress::ValidationRecord;
pub use rank_tables::{ModelFiles, RankTables};
pub use refit::RefitRows;
pub use run::{Run, Trained, check_labels, label_problems};
pub use search::{LevelResult, TaskSearch, TriedUnits, UnitChoice};
pub use taken::KappaPlan;
