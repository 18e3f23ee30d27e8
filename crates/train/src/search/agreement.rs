//! Agreement of tasks on the inputs that they use: rho.
//!
//! Gradients of a joint network do not show it: heads with different initial weights give each unit a random sign for each task,
//! and the common part of the tasks gets opposite gradients. So each task trains a copy of the network for one pass
//! over the rows, from the same weights and head, over common tables. Gradients of the first layer are summed over
//! every other batch, `G_0`, and over the others, `G_1`. For tasks `c` and `v`
//!
//! `rho = (G_c0 . G_v1 + G_c1 . G_v0) / 2 / sqrt((G_c0 . G_c1) (G_v0 . G_v1))`
//!
//! Batch noise cancels in expectation, since no product pairs a half with itself. Rho is about 1 if the gradients of
//! the tasks agree, 0 if they are unrelated, negative if they are opposed. It is undefined if the gradients of a task
//! do not agree between the two halves.
//!
//! The copies are one network of `T` times the units, all of them owned ([`UnitOwners`]): unit `k T + t` is unit `k` of
//! task `t`'s copy.

use crate::context::SearchContext;
use crate::error::TrainError;
use crate::error::unfit;
use crate::events::{Event, Listener};
use crate::gradient_sums::GradientSums;
use crate::phase::Phase;
use crate::plan::Keep;
use crate::step_budget::StepBudget;
use crate::tensors::create_parent_folder;
use crate::trainer::Trainer;
use ncs_model::{
    Agreement, CounterRng, Heads, Masks, Model, Network, NetworkKind, Spec, UnitOwners, Weights,
    tensor_file,
};
use ncs_readers::batches::Rows;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Measurement, as stored in the run's folder.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    run: String,
    agreements: Vec<Agreement>,
}

/// Measures the agreement of every pair of tasks, or finds it in the run's folder.
pub(super) fn measure(
    context: &SearchContext<'_>,
    start: &Weights,
    listener: &mut dyn Listener,
) -> Result<Vec<Agreement>, TrainError> {
    let path = context.folder.join("search").join("agreement.json");
    if let Ok(text) = std::fs::read(&path) {
        let kept: Result<Kept, _> = serde_json::from_slice(&text);
        return match kept {
            Ok(kept) if kept.run == context.run => Ok(kept.agreements),
            Ok(_) => Err(unfit(&path, "it belongs to another run".to_owned())),
            Err(error) => Err(unfit(&path, format!("it is unreadable: {error}"))),
        };
    }
    let trainer_context = context.trainer_context();
    let mut trainer = Trainer::new(&trainer_context, phase(context), copies(context, start))?;
    trainer.accumulate_gradients_by_halves();
    trainer.run(listener)?;
    let (_, units) = trainer.model.spec().layer_shapes()[0];
    let n_inputs = context.spec.layer_shapes()[0].0;
    let agreements = agreements(
        &trainer.gradients,
        n_inputs,
        units,
        context.schema.tasks.len(),
    );
    for found in &agreements {
        let names = found.tasks.map(|task| &context.schema.tasks[task].name[..]);
        listener.on_event(&Event::Noted {
            text: &found.in_words(names),
        });
    }
    let kept = Kept {
        run: context.run.to_owned(),
        agreements,
    };
    let text = serde_json::to_vec_pretty(&kept).expect("agreements are plain data");
    context.ranks.on_first(|| {
        create_parent_folder(&path)?;
        Ok(tensor_file::write_bytes(&path, &text)?)
    })?;
    Ok(kept.agreements)
}

/// Returns the phase: one epoch of alternating task steps.
pub(super) fn phase(context: &SearchContext<'_>) -> Phase {
    let batches = context.batches(Rows::All, context.rows_per_step());
    Phase {
        name: "search/agreement".to_owned(),
        draws: "search/agreement".to_owned(),
        tasks: (0..context.schema.tasks.len()).collect(),
        rows: Rows::All,
        rows_per_batch: context.rows_per_step(),
        budget: StepBudget::of_epochs(batches, 1.0, 0),
        keep: Keep::Last,
        patience: None,
        validates: false,
        average: None,
        keep_at: Vec::new(),
    }
}

/// A copy of the network for each task, over common tables, all from `start` and all with the first task's head.
fn copies(context: &SearchContext<'_>, start: &Weights) -> Model {
    let n_tasks = context.schema.tasks.len();
    let mut spec: Spec = context.spec.clone();
    spec.plan.kind = NetworkKind::SparseSharing;
    spec.plan.heads = Heads::default();
    spec.plan
        .hidden
        .iter_mut()
        .for_each(|width| *width *= n_tasks);
    let mut model = Model::new(spec, CounterRng::new(context.plan.seed, "initial weights"));
    context.ranks.share_tables(&mut model);
    let mut base = context.model();
    let base = base.network_mut(0);
    base.restore(start).expect("the start is of this network");
    let network = model.network_mut(0);
    let weights = Weights {
        dense: copied(base, network, n_tasks),
        tables: start.tables.clone(),
    };
    network
        .restore(&weights)
        .expect("the tables are those of the start");
    let shapes = model.spec().layer_shapes();
    if let Some(owners) = UnitOwners::new(0.0, n_tasks) {
        model.set_masks(Some(Arc::new(Masks {
            tasks: (0..n_tasks)
                .map(|task| owners.allowed(&shapes, task))
                .collect(),
            owners: Some(owners),
        })));
    }
    model
}

/// The layers and heads of `base`, once for each task, laid out as those of `wide`.
fn copied(base: &Network, wide: &Network, n_tasks: usize) -> Vec<f32> {
    let mut dense = vec![0.0; wide.dense.len()];
    let layers = base
        .layout
        .layers
        .iter()
        .zip(&wide.layout.layers)
        .enumerate();
    for (number, (from, to)) in layers {
        for unit in 0..to.outputs {
            let (own, task) = (unit / n_tasks, unit % n_tasks);
            dense[to.bias.start + unit] = base.dense[from.bias.start + own];
            for input in 0..from.inputs {
                let read = if number == 0 {
                    input
                } else {
                    input * n_tasks + task
                };
                let weight = base.dense[from.weights.start + input * from.outputs + own];
                dense[to.weights.start + read * to.outputs + unit] = weight;
            }
        }
    }
    let attentions = base.layout.attentions.iter().zip(&wide.layout.attentions);
    for (from, to) in attentions {
        for (from, to) in from.layers.iter().zip(&to.layers) {
            let weights = &base.dense[from.weights.start..from.bias.end];
            dense[to.weights.start..to.bias.end].copy_from_slice(weights);
        }
    }
    let first = &base.layout.heads[0];
    for (task, to) in wide.layout.heads.iter().enumerate() {
        for own in 0..first.inputs {
            dense[to.weights.start + own * n_tasks + task] = base.dense[first.weights.start + own];
        }
        // The base rate of a task does not depend on its inputs.
        dense[to.bias.start] = base.dense[base.layout.heads[task].bias.start];
    }
    dense
}

/// From the sums of the tasks over one half of the batches and then over the other, first-layer weights first.
fn agreements(
    gradients: &[GradientSums],
    n_inputs: usize,
    units: usize,
    n_tasks: usize,
) -> Vec<Agreement> {
    // The gradients of a task's own units, in the order of its copy.
    let half = |task: usize, half: usize| -> Vec<f64> {
        let sums = &gradients[half * n_tasks + task].sums[..n_inputs * units];
        let own = sums
            .iter()
            .enumerate()
            .filter(|(at, _)| at % units % n_tasks == task);
        own.map(|(_, &sum)| f64::from(sum)).collect()
    };
    let halves: Vec<[Vec<f64>; 2]> = (0..n_tasks)
        .map(|task| [0, 1].map(|h| half(task, h)))
        .collect();
    let pairs =
        (0..n_tasks).flat_map(|first| (first + 1..n_tasks).map(move |second| [first, second]));
    pairs
        .map(|tasks| Agreement {
            tasks,
            rho: rho(&halves[tasks[0]], &halves[tasks[1]]),
        })
        .collect()
}

/// Returns rho of two tasks from their two halves; `None` if the halves of a task do not agree.
fn rho(first: &[Vec<f64>; 2], second: &[Vec<f64>; 2]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (own, other) = (dot(&first[0], &first[1]), dot(&second[0], &second[1]));
    let across = (dot(&first[0], &second[1]) + dot(&first[1], &second[0])) / 2.0;
    (own > 0.0 && other > 0.0).then(|| across / (own * other).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rho_is_one_for_a_task_and_itself_and_minus_one_for_its_opposite() {
        let one = [vec![1.0, 2.0, 0.0], vec![1.0, 1.5, 0.5]];
        let opposite = one
            .clone()
            .map(|half| half.into_iter().map(|x| -x).collect());
        let apart = [vec![0.0, 0.0, 2.0], vec![0.0, 0.0, 1.0]];
        assert_eq!(rho(&one, &one), Some(1.0));
        assert_eq!(rho(&one, &opposite), Some(-1.0));
        // (0 + 2 * 0.5) / 2 over the root of 4 times 2.
        assert!((rho(&one, &apart).unwrap() - 0.5 / 8f64.sqrt()).abs() < 1e-12);
        let noise = [vec![1.0, 0.0, 0.0], vec![-1.0, 0.0, 0.0]];
        assert_eq!(rho(&one, &noise), None);
    }

    #[test]
    fn each_task_is_read_in_its_own_units() {
        // Two inputs, two units a task: units 0 and 2 are the first task's, 1 and 3 the second's.
        let sums = |sums: [f32; 8]| GradientSums {
            sums: sums.to_vec(),
            squares: vec![],
        };
        let of_first = sums([1.0, 9.0, 2.0, 9.0, 3.0, 9.0, 4.0, 9.0]);
        let of_second = sums([9.0, 1.0, 9.0, 2.0, 9.0, 3.0, 9.0, 4.0]);
        let all = [of_first.clone(), of_second.clone(), of_first, of_second];
        let [found] = &agreements(&all, 2, 4, 2)[..] else {
            panic!("one pair");
        };
        assert_eq!((found.tasks, found.rho), ([0, 1], Some(1.0)));
    }
}
