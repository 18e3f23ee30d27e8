//! Masks by gradients of a joint warm-up: which inputs of which units each task pulls at.
//!
//! The tasks learn together from the common start, taking turns, and their gradients of every connection are
//! added up batch by batch, before the step that a batch leads to. Connections of the first layer are judged in
//! *blocks*, all those of one input group (a field's vector, or the product of two fields) into one unit:
//!
//! `S_t(B) = mean over c in B of (sum_b g_t,c^(b))^2`
//!
//! Slopes that batches agree on add up, noise does not; and a block's mean is surer than each connection. `S` gives
//! a rank in [0, 1) to each block. A task with few labels borrows from the task with the most:
//! `r_t + b (r_lead - r_t)`, `b = 1 - n_t / n_lead` of their known labels. The best blocks are kept until they hold
//! the task's density of the layer's connections, at least half of that density from every field. Without a
//! stated density it is the share of connections that are pulled at beyond noise: the mean over whose block of
//! `(sum_b g)^2 / sum_b g^2` is over 2. Deeper layers keep connections drawn at random for each task, as many: what
//! gradients say of them was no better (docs/decisions/0015-masks-by-gradients.md).
//!
//! In the warm-up each task learns from its own known labels, whatever the loss of the training after it.

use super::levels::{self, Level};
use super::pick;
use super::{LevelResult, TaskSearch};
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::plan::{Keep, Pick};
use crate::predict::Judgement;
use crate::run::Bench;
use crate::step::Course;
use crate::trainer::{GradientSums, Phase, Trainer};
use ncs_model::{Draw, Mask, Masks, Model, TaskMask, Weights, masks};
use ncs_readers::batches::Rows;
use std::sync::Arc;

/// A block is pulled at beyond noise where `sum_b g` squared is so many times the sum of squares, which it would be
/// once, on average, if batches pulled at random.
const EVIDENT: f64 = 2.0;

/// The part of a task's density that it keeps of every field, whatever the gradients: what is learned late, such
/// as the vectors of many rare ids, shows little in a warm-up.
const LEAST_OF_FIELD: f64 = 0.5;

/// The smallest density that is derived.
const LEAST: f64 = 0.05;

/// Searches the masks of all tasks.
pub(super) fn search(
    bench: &Bench<'_>,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<(TaskMask, TaskSearch)>, TrainError> {
    let plan = &bench.plan.search;
    let tasks = 0..bench.schema.tasks.len();
    let candidates = plan.candidates.len();
    // A level's file of a task holds its validation, and the mask of the next level.
    let mut levels: Vec<Vec<Level>> = Vec::new();
    for number in 0..=candidates as u32 {
        let known: Result<Vec<_>, _> = tasks
            .clone()
            .map(|task| levels::read(bench, task, number))
            .collect();
        let found = match known?.into_iter().collect::<Option<Vec<Level>>>() {
            Some(level) => level,
            None => {
                let level = match levels.last() {
                    None => warm_up(bench, start, listener)?,
                    Some(before) => candidate(bench, number, before, start, listener)?,
                };
                for (task, level) in level.iter().enumerate() {
                    levels::write(bench, task, number, level)?;
                }
                level
            }
        };
        levels.push(found);
    }
    let of_task = |task: usize| {
        let spec = &bench.schema.tasks[task];
        let results: Vec<LevelResult> = levels.iter().map(|level| level[task].result).collect();
        let mask = |number: usize| {
            let next = levels[number - 1][task].next.clone();
            next.expect("every level but the last has a next mask")
        };
        match candidates {
            0 => {
                let mask = mask(1);
                let density = 100.0 * masks::density(&mask);
                let name = &spec.name;
                let reason = match plan.by_evidence {
                    true => "as many as are pulled at beyond noise",
                    false => "as stated",
                };
                let why = format!(
                    "{name} keeps {density:.1} % of the connections, {reason}: the blocks that gradients pull at most"
                );
                (mask, super::unsearched(task, &why))
            }
            _ => {
                let (picked, search) = pick::picked(Pick::BestValidation, task, spec, results);
                (mask(picked), search)
            }
        }
    };
    let found: Vec<(TaskMask, TaskSearch)> = tasks.map(of_task).collect();
    for (_, search) in &found {
        listener.hear(&Event::Noted(&search.why));
    }
    Ok(found)
}

/// The trainings of the search, in their order.
pub(super) fn phases(bench: &Bench<'_>) -> Vec<Phase> {
    let candidates = 1..=bench.plan.search.candidates.len() as u32;
    std::iter::once(0)
        .chain(candidates)
        .map(|number| phase(bench, number))
        .collect()
}

/// Level 0 is the warm-up of the whole network, the others are subnetworks.
fn phase(bench: &Bench<'_>, number: u32) -> Phase {
    let batches = bench.batches(Rows::All, bench.rows_per_step());
    Phase {
        name: match number {
            0 => "search/warm-up of masks".to_owned(),
            _ => format!("search/density-{number}"),
        },
        tasks: (0..bench.schema.tasks.len()).collect(),
        rows: Rows::All,
        rows_per_batch: bench.rows_per_step(),
        course: Course::of_epochs(batches, bench.plan.search.epochs_per_round, 0),
        keep: Keep::Last,
        patience: None,
        validates: false,
        average: None,
        keep_at: Vec::new(),
    }
}

/// Trains the whole network jointly, and makes the masks of the first density.
fn warm_up(
    bench: &Bench<'_>,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<Level>, TrainError> {
    let setting = bench.setting();
    let model = model(bench, start, None);
    let mut trainer = Trainer::new(&setting, phase(bench, 0), model);
    trainer.sum_gradients();
    trainer.run(listener)?;
    let tasks = 0..bench.schema.tasks.len();
    let n_candidates = bench.plan.search.candidates.len() as u32;
    let ranks = Ranks::new(bench, &trainer.gradients);
    // The other candidates need the ranks too: their masks are kept beside.
    for number in 1..n_candidates {
        for task in tasks.clone() {
            let density = bench.plan.search.candidates[number as usize];
            levels::write_mask(bench, task, number, &ranks.mask(bench, task, density))?;
        }
    }
    let density = |task: usize| match bench.plan.search.candidates.first() {
        Some(&first) => first,
        None if bench.plan.search.by_evidence => ranks.evident,
        None => bench.plan.search.density[task],
    };
    let judged = match n_candidates {
        0 => vec![None; tasks.len()],
        _ => judge(bench, &mut trainer)?,
    };
    let level = |task: usize| Level {
        result: LevelResult {
            density: 1.0,
            validation: judged[task],
        },
        next: Some(ranks.mask(bench, task, density(task))),
    };
    Ok(tasks.map(level).collect())
}

/// Trains the subnetworks of one density as long as the warm-up took.
fn candidate(
    bench: &Bench<'_>,
    number: u32,
    before: &[Level],
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<Level>, TrainError> {
    let setting = bench.setting();
    let tasks: Vec<TaskMask> = before
        .iter()
        .filter_map(|level| level.next.clone())
        .collect();
    let results: Vec<f64> = tasks.iter().map(|mask| masks::density(mask)).collect();
    let model = model(bench, start, Some(Masks { tasks }));
    let mut trainer = Trainer::new(&setting, phase(bench, number), model);
    trainer.run(listener)?;
    let judged = judge(bench, &mut trainer)?;
    let level = |(task, density): (usize, f64)| {
        Ok(Level {
            result: LevelResult {
                density,
                validation: judged[task],
            },
            next: match (number as usize) < bench.plan.search.candidates.len() {
                true => Some(levels::read_mask(bench, task, number)?),
                false => None,
            },
        })
    };
    results.into_iter().enumerate().map(level).collect()
}

/// How good each task is on the validation rows.
fn judge(bench: &Bench<'_>, trainer: &mut Trainer<'_>) -> Result<Vec<Option<f64>>, TrainError> {
    let Some(valid) = bench.valid else {
        return Ok(vec![None; bench.schema.tasks.len()]);
    };
    let predictions = trainer.predict(valid)?;
    let tasks = bench.schema.tasks.iter().zip(&predictions.tasks);
    let judged = tasks.map(|(task, predictions)| Judgement::of(task, predictions));
    Ok(judged.map(|judged| judged.map(|j| j.value)).collect())
}

fn model(bench: &Bench<'_>, start: &Weights, masks: Option<Masks>) -> Model {
    let mut model = bench.model();
    let restored = model.tower_mut(0).restore(start);
    restored.expect("the start is of this network");
    model.set_masks(masks.map(Arc::new));
    model
}

/// The rank of each block of first-layer connections for each task, in [0, 1), the best last.
struct Ranks {
    /// The group of each input.
    groups: Vec<usize>,
    /// Inputs of each group.
    sizes: Vec<usize>,
    /// The first groups are fields, the others products of two.
    n_fields: usize,
    /// Units of the first layer.
    units: usize,
    /// By task: `[group, unit]`.
    ranks: Vec<Vec<f64>>,
    /// The share of first-layer connections whose blocks are pulled at beyond noise, by the task that pulls
    /// at most.
    evident: f64,
}

impl Ranks {
    fn new(bench: &Bench<'_>, gradients: &[GradientSums]) -> Ranks {
        let groups = bench.spec.input_groups();
        let units = bench.spec.layer_shapes()[0].1;
        let counts = &bench.train.label_counts().tasks;
        let known: Vec<u64> = counts.iter().map(|counts| counts.known).collect();
        // First-layer weights lie first in a tower, input by input.
        let first_layer = |found: &GradientSums| GradientSums {
            sums: found.sums[..groups.len() * units].to_vec(),
            squares: found.squares[..groups.len() * units].to_vec(),
        };
        let gradients: Vec<GradientSums> = gradients.iter().map(first_layer).collect();
        Ranks::of(groups, bench.spec.fields.len(), units, &gradients, &known)
    }

    /// From each task's gradients, `[input, unit]`, and its number of known labels.
    fn of(
        groups: Vec<usize>,
        n_fields: usize,
        units: usize,
        gradients: &[GradientSums],
        known: &[u64],
    ) -> Ranks {
        let n_groups = groups.iter().max().map_or(0, |last| last + 1);
        let mut sizes = vec![0; n_groups];
        groups.iter().for_each(|&group| sizes[group] += 1);
        // The mean over a block of a number of each connection.
        let means = |of: &dyn Fn(usize) -> f64| {
            let mut means = vec![0.0; n_groups * units];
            for (input, &group) in groups.iter().enumerate() {
                let means = &mut means[group * units..][..units];
                for (unit, mean) in means.iter_mut().enumerate() {
                    *mean += of(input * units + unit) / sizes[group] as f64;
                }
            }
            means
        };
        let own = |found: &GradientSums| {
            ranks(&means(&|position| f64::from(found.sums[position]).powi(2)))
        };
        let own: Vec<Vec<f64>> = gradients.iter().map(own).collect();
        let evident = |found: &GradientSums| {
            let ratios = means(&|position| {
                let square = f64::from(found.squares[position]);
                f64::from(found.sums[position]).powi(2) / square.max(f64::MIN_POSITIVE)
            });
            let blocks = ratios.iter().enumerate();
            let evident = blocks.filter(|&(_, &ratio)| ratio > EVIDENT);
            let n: usize = evident.map(|(block, _)| sizes[block / units]).sum();
            n as f64 / (groups.len() * units) as f64
        };
        let evident = gradients.iter().map(evident).fold(LEAST, f64::max);
        let most = known.iter().copied().max().unwrap_or(0).max(1);
        let lead = known.iter().position(|&n| n == most).unwrap_or(0);
        let borrowed = |(ranks, &n): (&Vec<f64>, &u64)| {
            let share = 1.0 - n as f64 / most as f64;
            let pairs = ranks.iter().zip(&own[lead]);
            pairs
                .map(|(own, lead)| own + share * (lead - own))
                .collect()
        };
        Ranks {
            ranks: own.iter().zip(known).map(borrowed).collect(),
            evident,
            n_fields,
            groups,
            sizes,
            units,
        }
    }

    fn mask(&self, bench: &Bench<'_>, task: usize, density: f64) -> TaskMask {
        let draw = Draw::new(bench.plan.seed, "deeper layers").at(task as u64);
        self.mask_of(&bench.spec.layer_shapes(), task, density, draw)
    }

    fn mask_of(
        &self,
        shapes: &[(usize, usize)],
        task: usize,
        density: f64,
        draw: Draw,
    ) -> TaskMask {
        let ranks = &self.ranks[task];
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_by(|&a, &b| ranks[b].total_cmp(&ranks[a]).then(a.cmp(&b)));
        let wanted = density * (self.groups.len() * self.units) as f64;
        // Of every field a task keeps its best units at least.
        let floor = (LEAST_OF_FIELD * density * self.units as f64).ceil() as usize;
        let mut of_group = vec![0; self.sizes.len()];
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for block in order {
            let group = block / self.units;
            let is_first = group < self.n_fields && of_group[group] < floor;
            of_group[group] += 1;
            if is_first { &mut first } else { &mut rest }.push(block);
        }
        let (mut kept, mut n) = (vec![false; ranks.len()], 0);
        for block in first.into_iter().chain(rest) {
            if n as f64 >= wanted {
                break;
            }
            kept[block] = true;
            n += self.sizes[block / self.units];
        }
        let keeps = |position: usize| {
            let (input, unit) = (position / self.units, position % self.units);
            kept[self.groups[input] * self.units + unit]
        };
        let layer = |(number, &(inputs, outputs)): (usize, &(usize, usize))| match number {
            0 => Mask::from_fn(inputs, outputs, keeps),
            _ => {
                let shape = [(inputs, outputs)];
                masks::random(&shape, density, draw.at(number as u64)).swap_remove(0)
            }
        };
        shapes.iter().enumerate().map(layer).collect()
    }
}

/// The share of scores that are lower; equal ones in their order.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; scores.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank as f64 / scores.len() as f64;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two fields of two inputs and their product, ten units: blocks are (group, unit).
    fn found(known: [u64; 2]) -> Ranks {
        let groups = vec![2, 0, 0, 1, 1];
        // Task 0 pulls at field 0 of every unit, task 1 at field 1.
        let pulls = |field: usize| {
            let weight = |input: usize| if groups[input] == field { 1.0 } else { 0.1 };
            let unit = |input: usize| (0..10).map(move |u| weight(input) * (1.0 + 0.01 * u as f32));
            GradientSums {
                sums: (0..5).flat_map(unit).collect(),
                squares: vec![0.2; 50],
            }
        };
        let gradients = [pulls(0), pulls(1)];
        Ranks::of(groups.clone(), 2, 10, &gradients, &known)
    }

    /// Units that read field 0, field 1 and their product.
    fn units(ranks: &Ranks, task: usize, density: f64) -> [usize; 3] {
        let mask = ranks.mask_of(&[(5, 10), (10, 2)], task, density, Draw::new(1, "t"));
        // The inputs of a group are kept together.
        for (a, b) in [(1, 2), (3, 4)] {
            assert!((0..10).all(|u| mask[0].keeps(a * 10 + u) == mask[0].keeps(b * 10 + u)));
        }
        [1, 3, 0].map(|input| (0..10).filter(|u| mask[0].keeps(input * 10 + u)).count())
    }

    #[test]
    fn each_task_keeps_the_blocks_that_it_pulls_at_and_some_of_every_field() {
        let ranks = found([100, 100]);
        // 20 of 50 connections: two units of each field are the floor.
        assert_eq!(units(&ranks, 0, 0.4), [8, 2, 0]);
        assert_eq!(units(&ranks, 1, 0.4), [2, 8, 0]);
        assert_eq!(units(&ranks, 0, 1.0), [10, 10, 10]);
    }

    #[test]
    fn what_is_pulled_at_beyond_noise_is_counted() {
        // One over 0.2 for the two inputs of a field, a twentieth for the rest.
        assert_eq!(found([100, 100]).evident, 0.4);
    }

    #[test]
    fn a_task_with_hardly_any_labels_keeps_what_the_other_keeps() {
        let ranks = found([100_000, 1]);
        assert_eq!(units(&ranks, 0, 0.4), [8, 2, 0]);
        assert_eq!(units(&ranks, 1, 0.4), [8, 2, 0]);
    }

    #[test]
    fn deeper_layers_are_drawn_for_each_task_with_the_same_density() {
        let ranks = found([100, 100]);
        let shapes = [(5, 10), (60, 50)];
        let mask = |task: u64| {
            let draw = Draw::new(1, "t").at(task);
            ranks.mask_of(&shapes, task as usize, 0.3, draw)[1].clone()
        };
        assert_eq!(mask(0).n_kept(), 900);
        assert_ne!(mask(0), mask(1));
    }
}
