//! A mask search of both tasks, one after the other, scaled up from a few steps a level.

use crate::arguments::Arguments;
use crate::base;
use crate::clock::{Cost, median_cost, once};
use crate::paper::{self, N_BATCHES, Training};
use ncs_features::Batch;
use ncs_model::{Masks, TaskMask, masks};
use serde_json::{Value, json};

/// Every level is trained, from the whole network to the last mask, CVR on clicked rows only; between
/// levels the smallest connections go. The record has the cost of `steps_per_level` steps at each
/// level's median, and of the prunings.
pub(crate) fn search(arguments: &Arguments) -> Value {
    let levels: Vec<Level> = (0..2).flat_map(|task| levels(arguments, task)).collect();
    let steps = f64::from(arguments.steps_per_level);
    let sum = |of: fn(&Cost) -> f64| -> f64 {
        let level = |level: &Level| steps * of(&level.step) + of(&level.pruning);
        levels.iter().map(level).sum()
    };
    let total = Cost {
        cpu_ms: sum(|cost| cost.cpu_ms),
        wall_ms: sum(|cost| cost.wall_ms),
        n: arguments.samples,
    };
    // Rows of the log, each of which passes once a level.
    let rows = arguments.steps_per_level as usize * arguments.size.batch;
    let mut record = base(arguments, total, rows * (arguments.rounds as usize + 1));
    record["rounds"] = json!(arguments.rounds);
    record["steps_per_level"] = json!(arguments.steps_per_level);
    record["levels"] = levels.iter().map(Level::to_json).collect();
    record
}

/// One level of one task's search.
struct Level {
    task: usize,
    density: f64,
    /// A step.
    step: Cost,
    /// Finding the next mask, and making it run: once.
    pruning: Cost,
}

impl Level {
    fn to_json(&self) -> Value {
        json!({
            "task": (["ctr", "cvr"][self.task]),
            "density": self.density,
            "cpu_ms": self.step.cpu_ms,
            "wall_ms": self.step.wall_ms,
            "prune_cpu_ms": self.pruning.cpu_ms,
            "prune_wall_ms": self.pruning.wall_ms,
        })
    }
}

fn levels(arguments: &Arguments, task: usize) -> Vec<Level> {
    let size = arguments.size;
    let batches: Vec<Batch> = paper::batches(size)
        .iter()
        .map(|batch| rows_of(batch, task))
        .collect();
    let mut training = Training::new(size, paper::model(size, [1.0; 2]), &[task]);
    let mut turn = batches.iter().cycle();
    let rate = masks::round_rate(arguments.density[task], arguments.rounds);
    let mut levels = Vec::new();
    for level in 0..=arguments.rounds {
        let next = || training.step(turn.next().expect("a cycle has no end"));
        let step = median_cost(next, arguments.samples, N_BATCHES, 1);
        let density = masks::density(mask_of(&training, task));
        let pruning = if level < arguments.rounds {
            once(|| prune(&mut training, task, rate))
        } else {
            Cost::default()
        };
        levels.push(Level {
            task,
            density,
            step,
            pruning,
        });
    }
    levels
}

/// The rows whose label is known.
fn rows_of(batch: &Batch, task: usize) -> Batch {
    let is_known = |&row: &usize| !batch.labels[task][row].is_nan();
    let rows: Vec<usize> = (0..batch.n_rows).filter(is_known).collect();
    batch.select(&rows)
}

fn mask_of(training: &Training, task: usize) -> &TaskMask {
    &training.model.masks().expect("a model under masks").tasks[task]
}

fn prune(training: &mut Training, task: usize, rate: f64) {
    let network = training.model.network(0);
    let layers = network.layout.layers.iter();
    let weights: Vec<&[f32]> = layers
        .map(|layer| &network.dense[layer.weights.clone()])
        .collect();
    let next = masks::prune_smallest(mask_of(training, task), &weights, rate);
    let mut tasks = training
        .model
        .masks()
        .expect("a model under masks")
        .tasks
        .clone();
    tasks[task] = next;
    training.set_masks(Masks {
        tasks,
        owners: None,
    });
}
