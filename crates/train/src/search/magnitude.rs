//! Iterative magnitude pruning (NCS4CVR, algorithm 1): train the task alone from the common start,
//! prune the smallest of the kept weights over all layers together, rewind, repeat.

use super::allowed::allowed;
use super::levels::{self, SearchLevel};
use super::pick;
use super::{LevelResult, TaskSearch};
use crate::context::SearchContext;
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::phase::Phase;
use crate::plan::{Keep, Pick};
use crate::predict::ValidationScore;
use crate::step_budget::StepBudget;
use crate::trainer::Trainer;
use ncs_model::{Masks, TaskMask, Weights, masks};
use ncs_readers::batches::Rows;
use std::sync::Arc;

/// Searches the mask of one task.
pub(super) fn search(
    context: &SearchContext<'_>,
    task: usize,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<(TaskMask, TaskSearch), TrainError> {
    let plan = &context.plan.search;
    let mut path = vec![allowed(context, None, task)];
    let mut results = Vec::new();
    for number in 0..n_levels(context) {
        let mask = path.last().expect("the path starts with a mask");
        let level = match levels::read(context, task, number)? {
            Some(level) => level,
            None => {
                let level = train(context, task, number, mask, start, listener)?;
                levels::write(context, task, number, &level)?;
                level
            }
        };
        results.push(level.result);
        path.extend(level.next);
    }
    if plan.pick == Pick::Last {
        let density = path.last().map_or(1.0, |mask| masks::density(mask));
        results.push(LevelResult {
            density,
            validation: None,
        });
    }
    let spec = &context.schema.tasks[task];
    let (picked, search) = pick::picked(plan.pick, task, spec, results);
    listener.on_event(&Event::Noted { text: &search.why });
    Ok((path.swap_remove(picked), search))
}

/// Returns the number of trained levels: the last is trained only if validation picks the level.
fn n_levels(context: &SearchContext<'_>) -> u32 {
    let plan = &context.plan.search;
    plan.rounds + u32::from(plan.pick != Pick::Last)
}

/// Returns the number of trainings that a search took: 0 if masks are random or given.
pub(super) fn n_trained(context: &SearchContext<'_>, search: &TaskSearch) -> u32 {
    if search.levels.is_empty() {
        0
    } else {
        n_levels(context)
    }
}

/// Trains level `number` and prunes for the next.
fn train(
    context: &SearchContext<'_>,
    task: usize,
    number: u32,
    mask: &TaskMask,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<SearchLevel, TrainError> {
    let trainer_context = context.trainer_context();
    let mut trainer = Trainer::new(
        &trainer_context,
        phase(context, task, number),
        model(context, task, mask, start),
    )?;
    trainer.run(listener)?;
    let validation = match context.valid {
        Some(valid) => {
            let predictions = trainer.predict(valid)?;
            ValidationScore::of(&context.schema.tasks[task], &predictions.tasks[task])
        }
        None => None,
    };
    let network = trainer.model.network(0);
    let weights: Vec<&[f32]> = network
        .layout
        .layers
        .iter()
        .map(|layer| &network.dense[layer.weights.clone()])
        .collect();
    let plan = &context.plan.search;
    let rate = masks::round_rate(plan.density[task], plan.rounds);
    let result = LevelResult {
        density: masks::density(mask),
        validation: validation.map(|evaluated| evaluated.value),
    };
    let score = result.validation.map_or(String::new(), |value| {
        format!(
            ", validation {} {value:.4}",
            crate::predict::metric_name(&context.schema.tasks[task])
        )
    });
    let name = &context.schema.tasks[task].name;
    let (density, rounds) = (100.0 * result.density, plan.rounds);
    listener.on_event(&Event::Noted {
        text: &format!("search {name}: level {number} of {rounds}, density {density:.1} %{score}"),
    });
    Ok(SearchLevel {
        result,
        scores: Vec::new(),
        next: (number < plan.rounds).then(|| masks::prune_smallest(mask, &weights, rate)),
    })
}

/// The common start under this task's mask; the other tasks are not trained.
fn model(
    context: &SearchContext<'_>,
    task: usize,
    mask: &TaskMask,
    start: &Weights,
) -> ncs_model::Model {
    let mut model = context.model();
    let restored = model.network_mut(0).restore(start);
    restored.expect("the start is of this network");
    let mut all = Masks::full(&context.spec.layer_shapes(), context.schema.tasks.len());
    all.tasks[task].clone_from(mask);
    model.set_masks(Some(Arc::new(all)));
    model
}

/// Returns a phase on batches of rows with a label of this task, as many per epoch as in joint training.
pub(super) fn phase(context: &SearchContext<'_>, task: usize, number: u32) -> Phase {
    let rows = Rows::KnownLabel(task);
    let counts = context.train.label_counts();
    let share = counts.tasks[task].known as f64 / counts.rows.max(1) as f64;
    let rows_per_batch = ((context.rows_per_step() as f64 * share).round() as usize).max(1);
    let batches = context.batches(rows, rows_per_batch);
    let name = format!("search/{}/level-{number}", context.schema.tasks[task].name);
    Phase {
        draws: name.clone(),
        name,
        tasks: vec![task],
        rows,
        rows_per_batch,
        budget: StepBudget::of_epochs(batches, context.plan.search.epochs_per_round, 0),
        keep: Keep::Last,
        patience: None,
        validates: false,
        average: None,
        keep_at: Vec::new(),
    }
}
