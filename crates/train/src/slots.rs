//! The weights that a training keeps: those of the best validation of a task, or of all tasks together.

use crate::plan::Keep;
use ncs_model::{Model, Weights};
use std::sync::Arc;

/// A set of weights that is kept: those of some networks, at the best moment of some tasks.
#[derive(Clone, Debug)]
pub(crate) struct BestSlot {
    pub(crate) tasks: Vec<usize>,
    pub(crate) networks: Vec<usize>,
    pub(crate) best: Option<Best>,
}

/// Best step so far.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    pub(crate) selection_score: f64,
    pub(crate) step: u64,
    /// One for each network of the slot.
    pub(crate) weights: Vec<Arc<Weights>>,
}

/// Slots of a training of these tasks, nothing kept yet.
pub(crate) fn of(keep: Keep, tasks: &[usize], model: &Model) -> Vec<BestSlot> {
    let slot = |tasks: Vec<usize>| {
        let mut networks: Vec<usize> = tasks.iter().map(|&task| model.tower_of(task)).collect();
        networks.dedup();
        BestSlot {
            tasks,
            networks,
            best: None,
        }
    };
    match keep {
        Keep::BestPerTask => tasks.iter().map(|&task| slot(vec![task])).collect(),
        Keep::BestJoint | Keep::Last => vec![slot(tasks.to_vec())],
    }
}
