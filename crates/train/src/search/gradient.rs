//! Masks by gradients of a joint warm-up: each task keeps the inputs of units with the strongest gradient signal.
//!
//! The tasks are trained together from the common initial weights, with alternating steps, and their gradients of every connection are
//! summed batch by batch, before the step of that batch. Connections of the first layer are evaluated in
//! *blocks*, all those of one input group (a field's vector, or the product of two fields) into one unit:
//!
//! `S_t(B) = mean over c in B of (sum_b g_t,c^(b))^2`
//!
//! Gradients that agree between batches add up, noise does not; and a block's mean has less noise than one connection.
//! `S` gives a rank in [0, 1) to each block. A task with few labels borrows from the task with the most:
//! `r_t + b (r_lead - r_t)`, `b = 1 - n_t / n_lead` of their known labels. The best blocks are kept until they hold
//! the task's density of the layer's connections, at least half of that density from every field. Without a
//! stated density it is the share of connections with a gradient signal-to-noise above 2: the mean over the block of
//! `(sum_b g)^2 / sum_b g^2` exceeds 2. Deeper layers keep as many random connections for each task:
//! a choice by gradients was no better (docs/decisions/0015-masks-by-gradients.md).
//!
//! If units have owners ([`UnitOwners`]), all of this is within the units that a task may use: blocks are ranked
//! among its own and common ones, it keeps its density of their connections, and deeper layers are chosen among those
//! that lead from and into them. Several shares of common units can be tried, as densities can.
//!
//! In the warm-up each task learns from its own known labels, whatever the loss of the training after it.

mod ranks;

use super::common_units::{self, UnitChoice};
use super::levels::{self, SearchLevel};
use super::pick;
use super::{LevelResult, TaskSearch};
use crate::context::SearchContext;
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::phase::Phase;
use crate::plan::{CommonUnits, Keep, Pick};
use crate::predict::ValidationScore;
use crate::step_budget::StepBudget;
use crate::trainer::Trainer;
use ncs_eval::Predictions;
use ncs_model::{Masks, Model, TaskMask, UnitOwners, Weights, masks};
use ncs_readers::batches::Rows;
use ranks::Ranks;
use std::sync::Arc;

/// Result of the search of all tasks.
pub(super) struct Searched {
    /// One for each task.
    pub(super) tasks: Vec<(TaskMask, TaskSearch)>,
    pub(super) owners: Option<UnitOwners>,
    /// Choice of the share of common units, if the run file did not state it.
    pub(super) units: Option<UnitChoice>,
}

/// Candidate subnetworks, trained for a while and evaluated on validation rows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    /// Density of every task; `None`: as the plan states, or the share of connections with signal-to-noise above 2.
    density: Option<f64>,
    /// The share of a task's units that is common.
    common: f64,
}

/// Returns the candidates to try, in order.
fn candidates(context: &SearchContext<'_>) -> Vec<Candidate> {
    let search = &context.plan.search;
    match search.common_units {
        CommonUnits::Auto => {
            let tried = common_units::tried(context).into_iter();
            tried
                .map(|common| Candidate {
                    density: None,
                    common,
                })
                .collect()
        }
        CommonUnits::Share(common) => {
            let densities = search.candidates.iter();
            densities
                .map(|&density| Candidate {
                    density: Some(density),
                    common,
                })
                .collect()
        }
    }
}

/// Searches the masks of all tasks.
pub(super) fn search(
    context: &SearchContext<'_>,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Searched, TrainError> {
    let tasks = 0..context.schema.tasks.len();
    let candidates = candidates(context);
    // A level's file of a task holds its validation, and the mask of the next level.
    let mut levels: Vec<Vec<SearchLevel>> = Vec::new();
    for number in 0..=candidates.len() as u32 {
        let known: Result<Vec<_>, _> = tasks
            .clone()
            .map(|task| levels::read(context, task, number))
            .collect();
        let found = match known?.into_iter().collect::<Option<Vec<SearchLevel>>>() {
            Some(level) => level,
            None => {
                let level = match levels.last() {
                    None => warm_up(context, &candidates, start, listener)?,
                    Some(before) => {
                        candidate(context, &candidates, number, before, start, listener)?
                    }
                };
                for (task, level) in level.iter().enumerate() {
                    levels::write(context, task, number, level)?;
                }
                level
            }
        };
        levels.push(found);
    }
    let units = match context.plan.search.common_units {
        CommonUnits::Auto => Some(common_units::choose(context, &levels)?),
        CommonUnits::Share(_) => None,
    };
    let searched = picked(context, &levels, &candidates, units);
    if let Some(units) = &searched.units {
        listener.on_event(&Event::Noted { text: &units.why });
    }
    for (_, search) in &searched.tasks {
        listener.on_event(&Event::Noted { text: &search.why });
    }
    Ok(searched)
}

/// The mask of each task among those of the levels.
fn picked(
    context: &SearchContext<'_>,
    levels: &[Vec<SearchLevel>],
    candidates: &[Candidate],
    units: Option<UnitChoice>,
) -> Searched {
    let plan = &context.plan.search;
    let common = match (&units, plan.common_units) {
        (Some(units), _) => units.common,
        (None, CommonUnits::Share(common)) => common,
        (None, CommonUnits::Auto) => 1.0,
    };
    let of_task = |task: usize| {
        let spec = &context.schema.tasks[task];
        let results: Vec<LevelResult> = levels.iter().map(|level| level[task].result).collect();
        let mask = |number: usize| {
            let next = levels[number - 1][task].next.clone();
            next.expect("every level but the last has a next mask")
        };
        if units.is_none() && !candidates.is_empty() {
            let (picked, search) = pick::picked(Pick::Best, task, spec, results);
            return (mask(picked), search);
        }
        let chosen = candidates.iter().position(|tried| tried.common == common);
        let mask = mask(1 + chosen.unwrap_or(0));
        let density = 100.0 * masks::density(&mask);
        let name = &spec.name;
        let reason = if plan.density_by_snr {
            "as many as have a gradient signal-to-noise ratio above 2"
        } else {
            "as stated"
        };
        let why = format!(
            "{name} keeps {density:.1} % of the connections, {reason}: the blocks with the strongest gradient signal"
        );
        (mask, super::unsearched(task, &why))
    };
    let tasks = 0..context.schema.tasks.len();
    Searched {
        owners: UnitOwners::new(common, tasks.len()),
        tasks: tasks.map(of_task).collect(),
        units,
    }
}

/// The trainings of the search, in their order.
pub(super) fn phases(context: &SearchContext<'_>) -> Vec<Phase> {
    let candidates = candidates(context);
    (0..=candidates.len() as u32)
        .map(|number| phase(context, &candidates, number))
        .collect()
}

/// Returns the phase of a level: level 0 is the warm-up of the whole network, the others train subnetworks.
fn phase(context: &SearchContext<'_>, candidates: &[Candidate], number: u32) -> Phase {
    let batches = context.batches(Rows::All, context.rows_per_step());
    let tried = (number as usize).checked_sub(1).map(|at| candidates[at]);
    let name = match tried {
        None => "search/warm-up of masks".to_owned(),
        Some(Candidate {
            density: Some(_), ..
        }) => format!("search/density-{number}"),
        Some(Candidate { common, .. }) => format!("search/common-units-{common}"),
    };
    Phase {
        draws: name.clone(),
        name,
        tasks: (0..context.schema.tasks.len()).collect(),
        rows: Rows::All,
        rows_per_batch: context.rows_per_step(),
        budget: StepBudget::of_epochs(batches, context.plan.search.epochs_per_round, 0),
        keep: Keep::Last,
        patience: None,
        validates: false,
        average: None,
        keep_at: Vec::new(),
    }
}

/// Trains the whole network jointly, and makes the masks of the first candidate, or the only ones.
fn warm_up(
    context: &SearchContext<'_>,
    candidates: &[Candidate],
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<SearchLevel>, TrainError> {
    let trainer_context = context.trainer_context();
    let model = model(context, start, None);
    let mut trainer = Trainer::new(&trainer_context, phase(context, candidates, 0), model)?;
    trainer.accumulate_gradients();
    trainer.run(listener)?;
    let tasks = 0..context.schema.tasks.len();
    let ranks = Ranks::new(context, &trainer.gradients);
    let search = &context.plan.search;
    let mask = |task: usize, tried: Candidate| {
        let density = tried.density.unwrap_or(if search.density_by_snr {
            ranks.share_above_snr
        } else {
            search.density[task]
        });
        let owners = UnitOwners::new(tried.common, tasks.len());
        ranks.mask(context, task, density, owners)
    };
    // The other candidates need the ranks too: their masks are saved in separate files.
    for (number, &tried) in candidates.iter().enumerate().skip(1) {
        for task in tasks.clone() {
            levels::write_mask(context, task, number as u32, &mask(task, tried))?;
        }
    }
    let only = Candidate {
        density: None,
        common: match search.common_units {
            CommonUnits::Share(common) => common,
            CommonUnits::Auto => common_units::by_size(context).0,
        },
    };
    let first = candidates.first().copied().unwrap_or(only);
    let (evaluated, _) = if candidates.is_empty() {
        (vec![None; tasks.len()], None)
    } else {
        evaluate(context, &mut trainer)?
    };
    let level = |task: usize| SearchLevel {
        result: LevelResult {
            density: 1.0,
            validation: evaluated[task],
        },
        next: Some(mask(task, first)),
        scores: Vec::new(),
    };
    Ok(tasks.clone().map(level).collect())
}

/// Trains the subnetworks of one candidate for as many steps as the warm-up.
fn candidate(
    context: &SearchContext<'_>,
    candidates: &[Candidate],
    number: u32,
    before: &[SearchLevel],
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<SearchLevel>, TrainError> {
    let trainer_context = context.trainer_context();
    let tasks: Vec<TaskMask> = before
        .iter()
        .filter_map(|level| level.next.clone())
        .collect();
    let results: Vec<f64> = tasks.iter().map(|mask| masks::density(mask)).collect();
    let tried = candidates[number as usize - 1];
    let masks = Masks {
        owners: UnitOwners::new(tried.common, tasks.len()),
        tasks,
    };
    let model = model(context, start, Some(masks));
    let mut trainer = Trainer::new(&trainer_context, phase(context, candidates, number), model)?;
    trainer.run(listener)?;
    let (evaluated, predictions) = evaluate(context, &mut trainer)?;
    // Shares of common units are compared row by row.
    let scores = |task: usize| match (&predictions, tried.density) {
        (Some(predictions), None) => predictions.tasks[task].scores.clone(),
        _ => Vec::new(),
    };
    let level = |(task, density): (usize, f64)| {
        Ok(SearchLevel {
            result: LevelResult {
                density,
                validation: evaluated[task],
            },
            next: if (number as usize) < candidates.len() {
                Some(levels::read_mask(context, task, number)?)
            } else {
                None
            },
            scores: scores(task),
        })
    };
    results.into_iter().enumerate().map(level).collect()
}

/// Returns the metrics and the scores of each task on the validation rows.
fn evaluate(
    context: &SearchContext<'_>,
    trainer: &mut Trainer<'_>,
) -> Result<(Vec<Option<f64>>, Option<Predictions>), TrainError> {
    let Some(valid) = context.valid else {
        return Ok((vec![None; context.schema.tasks.len()], None));
    };
    let predictions = trainer.predict(valid)?;
    let tasks = context.schema.tasks.iter().zip(&predictions.tasks);
    let evaluated = tasks.map(|(task, predictions)| ValidationScore::of(task, predictions));
    let evaluated = evaluated
        .map(|evaluated| evaluated.map(|j| j.value))
        .collect();
    Ok((evaluated, Some(predictions)))
}

fn model(context: &SearchContext<'_>, start: &Weights, masks: Option<Masks>) -> Model {
    let mut model = context.model();
    let restored = model.network_mut(0).restore(start);
    restored.expect("the start is of this network");
    model.set_masks(masks.map(Arc::new));
    model
}
