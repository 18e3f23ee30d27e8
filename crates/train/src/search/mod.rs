//! Finds each task's mask by driving trainers from outside.
//!
//! A search is a row of *levels* for each task: level 0 is the whole network, level `k` the
//! subnetwork after `k` prunings. Every finished level is kept in the run's folder, so a search that
//! was stopped goes on where it was: finished levels return at once.

mod levels;
mod magnitude;
mod pick;
mod rewind;

use crate::error::TrainError;
use crate::events::Listener;
use crate::plan::SearchKind;
use crate::run::Bench;
use ncs_model::{Draw, Masks, Weights, masks};
use serde::{Deserialize, Serialize};

/// How one task's mask was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSearch {
    /// The task's number.
    pub task: usize,
    /// `AUC` or `squared error`.
    pub metric: String,
    /// From the whole network to the sparsest; empty where masks were drawn.
    pub levels: Vec<LevelResult>,
    /// The level whose mask was taken; `None` where masks were drawn.
    pub picked: Option<usize>,
    /// Why, in words.
    pub why: String,
}

/// One level of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelResult {
    /// Share of connections that are kept.
    pub density: f64,
    /// Metric of the subnetwork, trained alone, on the validation rows.
    pub validation: Option<f64>,
}

/// What a search ends with.
pub(crate) struct Found {
    pub(crate) masks: Masks,
    /// What joint training starts from.
    pub(crate) start: Weights,
    pub(crate) searches: Vec<TaskSearch>,
}

/// Searches the masks of all tasks.
pub(crate) fn run(bench: &Bench<'_>, listener: &mut dyn Listener) -> Result<Found, TrainError> {
    let start = rewind::start(bench, listener)?;
    let tasks = 0..bench.schema.tasks.len();
    let found = match bench.plan.search.kind {
        SearchKind::Magnitude => tasks
            .map(|task| magnitude::search(bench, task, &start, listener))
            .collect::<Result<Vec<_>, _>>()?,
        SearchKind::Random => tasks.map(|task| random(bench, task)).collect(),
    };
    let (tasks, searches) = found.into_iter().unzip();
    Ok(Found {
        masks: Masks { tasks },
        start,
        searches,
    })
}

/// A mask drawn at random with the final density: the control that any search must beat.
fn random(bench: &Bench<'_>, task: usize) -> (ncs_model::TaskMask, TaskSearch) {
    let density = bench.plan.search.density[task];
    let draw = Draw::new(bench.plan.seed, "random masks").at(task as u64);
    let mask = masks::random(&bench.spec.layer_shapes(), density, draw);
    let search = TaskSearch {
        task,
        metric: String::new(),
        levels: Vec::new(),
        picked: None,
        why: "drawn at random: the control".to_owned(),
    };
    (mask, search)
}
