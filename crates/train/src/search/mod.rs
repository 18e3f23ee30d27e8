//! Finds each task's mask by driving trainers from outside.
//!
//! A search is a row of *levels* for each task: level 0 is the whole network, level `k` the
//! subnetwork after `k` prunings. Every finished level is kept in the run's folder, so a search that
//! was stopped goes on where it was: finished levels return at once.

mod control;
mod gradient;
mod levels;
mod magnitude;
mod pick;
mod rewind;

use crate::error::TrainError;
use crate::events::Listener;
use crate::plan::SearchKind;
use crate::run::{Bench, Training};
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
    let plan = &bench.plan.search;
    let tasks = 0..bench.schema.tasks.len();
    let found = match &plan.kind {
        SearchKind::Magnitude => {
            let other = plan.seed.map(|seed| bench.initial(seed).tower(0).weights());
            let from = other.as_ref().unwrap_or(&start);
            tasks
                .map(|task| magnitude::search(bench, task, from, listener))
                .collect::<Result<Vec<_>, _>>()?
        }
        SearchKind::Gradient => gradient::search(bench, &start, listener)?,
        SearchKind::Random => tasks.map(|task| random(bench, task)).collect(),
        SearchKind::Given(masks) => {
            let masks = masks.tasks.iter().cloned();
            let why = "taken from another model";
            masks
                .zip(tasks)
                .map(|(mask, task)| (mask, unsearched(task, why)))
                .collect()
        }
    };
    let (tasks, searches) = found.into_iter().unzip();
    Ok(Found {
        masks: control::apply(plan.control, Masks { tasks }, bench.plan.seed),
        start,
        searches,
    })
}

/// The trainings that a search took: a joint warm-up, and the levels of each task.
pub(crate) fn trainings(bench: &Bench<'_>, searches: &[TaskSearch]) -> Vec<Training> {
    let mut trainings = Vec::new();
    if let (false, Some(phase)) = (searches.is_empty(), rewind::phase(bench)) {
        trainings.push(bench.training(&phase, phase.course.total_steps));
    }
    if bench.plan.search.kind == SearchKind::Gradient && !searches.is_empty() {
        for phase in gradient::phases(bench) {
            trainings.push(bench.training(&phase, phase.course.total_steps));
        }
        return trainings;
    }
    for search in searches {
        for number in 0..magnitude::n_trained(bench, search) {
            let phase = magnitude::phase(bench, search.task, number);
            trainings.push(bench.training(&phase, phase.course.total_steps));
        }
    }
    trainings
}

/// A mask drawn at random with the final density: the control that any search must beat.
fn random(bench: &Bench<'_>, task: usize) -> (ncs_model::TaskMask, TaskSearch) {
    let density = bench.plan.search.density[task];
    let draw = Draw::new(bench.plan.seed, "random masks").at(task as u64);
    let mask = masks::random(&bench.spec.layer_shapes(), density, draw);
    (mask, unsearched(task, "drawn at random: the control"))
}

fn unsearched(task: usize, why: &str) -> TaskSearch {
    TaskSearch {
        task,
        metric: String::new(),
        levels: Vec::new(),
        picked: None,
        why: why.to_owned(),
    }
}
