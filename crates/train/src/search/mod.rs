//! Mask search: finds each task's mask with a sequence of trainings.
//!
//! A search is a sequence of *levels* for each task: level 0 is the whole network, level `k` the
//! subnetwork after `k` prunings. Every finished level is kept in the run's folder, so a search that
//! was stopped resumes: finished levels return at once.

mod agreement;
mod allowed;
mod common_units;
mod control;
mod gradient;
mod levels;
mod magnitude;
mod pick;
mod rewind;

use crate::context::{SearchContext, Training};
use crate::error::TrainError;
use crate::events::Listener;
use crate::plan::{CommonUnits, SearchKind};
use ncs_model::{Agreement, CounterRng, Masks, UnitOwners, Weights, masks};
use serde::{Deserialize, Serialize};

pub use common_units::{TriedUnits, UnitChoice};

/// Record of the search for one task's mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSearch {
    /// The task's number.
    pub task: usize,
    /// `AUC` or `squared error`.
    pub metric: String,
    /// Levels from the whole network to the sparsest; empty if masks are random.
    pub levels: Vec<LevelResult>,
    /// Level whose mask was chosen; `None` if masks are random.
    pub picked: Option<usize>,
    /// Reason, as text.
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

/// Result of a search for masks.
pub(crate) struct Found {
    pub(crate) masks: Masks,
    /// Initial weights of joint training.
    pub(crate) start: Weights,
    pub(crate) searches: Vec<TaskSearch>,
    /// Choice of the share of common units, if the run file did not state it.
    pub(crate) units: Option<UnitChoice>,
    /// Agreement of the tasks (rho), if it is to be measured.
    pub(crate) agreements: Vec<Agreement>,
}

/// Searches the masks of all tasks.
pub(crate) fn run(
    context: &SearchContext<'_>,
    listener: &mut dyn Listener,
) -> Result<Found, TrainError> {
    let start = rewind::start(context, listener)?;
    let plan = &context.plan.search;
    let tasks = 0..context.schema.tasks.len();
    let stated = owners(context);
    let (found, owners, units) = match &plan.kind {
        SearchKind::Magnitude => {
            let other = plan
                .seed
                .map(|seed| context.initial(seed).network(0).stored_weights())
                .transpose()?;
            let from = other.as_ref().unwrap_or(&start);
            let found = tasks
                .map(|task| magnitude::search(context, task, from, listener))
                .collect::<Result<Vec<_>, _>>()?;
            (found, None, None)
        }
        SearchKind::Gradient => {
            let found = gradient::search(context, &start, listener)?;
            (found.tasks, found.owners, found.units)
        }
        SearchKind::Random => (
            tasks.map(|task| random(context, task)).collect(),
            stated,
            None,
        ),
        SearchKind::Given(masks) => {
            let tasks = masks.tasks.iter().cloned().zip(tasks);
            let why = "taken from another model";
            let found = tasks.map(|(mask, task)| (mask, unsearched(task, why)));
            (found.collect(), masks.owners, None)
        }
    };
    let agreements = if plan.measure_rho {
        agreement::measure(context, &start, listener)?
    } else {
        Vec::new()
    };
    let (tasks, searches): (Vec<_>, _) = found.into_iter().unzip();
    let may_keep: Vec<_> = (0..tasks.len())
        .map(|task| allowed::allowed(context, owners, task))
        .collect();
    Ok(Found {
        masks: control::apply(
            plan.control,
            Masks { tasks, owners },
            &may_keep,
            context.plan.seed,
        ),
        start,
        searches,
        units,
        agreements,
    })
}

/// Returns the owners of the units, if the run file states the share of common units.
fn owners(context: &SearchContext<'_>) -> Option<UnitOwners> {
    match context.plan.search.common_units {
        CommonUnits::Share(common) => UnitOwners::new(common, context.schema.tasks.len()),
        CommonUnits::Auto => None,
    }
}

/// The trainings that a search took: a joint warm-up, and the levels of each task.
pub(crate) fn trainings(context: &SearchContext<'_>, searches: &[TaskSearch]) -> Vec<Training> {
    let mut trainings = Vec::new();
    if let (false, Some(phase)) = (searches.is_empty(), rewind::phase(context)) {
        trainings.push(context.training(&phase, phase.budget.total_steps));
    }
    if let (false, true) = (searches.is_empty(), context.plan.search.measure_rho) {
        let phase = agreement::phase(context);
        trainings.push(context.training(&phase, phase.budget.total_steps));
    }
    if context.plan.search.kind == SearchKind::Gradient && !searches.is_empty() {
        for phase in gradient::phases(context) {
            trainings.push(context.training(&phase, phase.budget.total_steps));
        }
        return trainings;
    }
    for search in searches {
        for number in 0..magnitude::n_trained(context, search) {
            let phase = magnitude::phase(context, search.task, number);
            trainings.push(context.training(&phase, phase.budget.total_steps));
        }
    }
    trainings
}

/// Returns a random mask with the final density: the control that any search must beat.
fn random(context: &SearchContext<'_>, task: usize) -> (ncs_model::TaskMask, TaskSearch) {
    let density = context.plan.search.density[task];
    let rng = CounterRng::new(context.plan.seed, "random masks").at(task as u64);
    let mask = masks::random_within(
        &allowed::allowed(context, owners(context), task),
        density,
        rng,
    );
    (mask, unsearched(task, "random mask (control)"))
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
