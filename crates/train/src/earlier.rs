//! Training that continues from an earlier model and starts from its weights.

use crate::lifetimes::Evicted;
use ncs_features::Schema;
use ncs_model::Model;
use ncs_model::artifact::{Artifact, WeightSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Trained model from which a run continues. The schema of the run must extend its schema
/// ([`ncs_features::continued::misfits`]) and the networks must be identical.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The model.
    pub artifact: Arc<Artifact>,
    /// BLAKE3 of its manifest.
    pub hash: blake3::Hash,
    /// Folder of its training, whose last checkpoint has the optimizer moments; `None`: they start anew.
    pub run: Option<PathBuf>,
    /// Rows that its tables have lost by their lifetimes: `artifact` is the model without them, `hash` that of the model
    /// with them.
    pub evicted: Vec<Evicted>,
}

impl Earlier {
    /// Copies the weights into every network of `model`. If several weight sets of one network serve different
    /// tasks, those of the first of these tasks are taken. Rows of tables beyond the earlier ones stay uninitialised.
    ///
    /// # Panics
    /// If the networks differ; the check of the run file excludes this.
    pub(crate) fn restore(&self, model: &mut Model) {
        for number in 0..model.networks().len() {
            let network = model.network_mut(number);
            let first = network.tasks[0];
            let set: &WeightSet = &self.artifact.weight_sets[self.artifact.of_task[first]];
            let restored = network.restore(&set.weights);
            restored.expect("the network is that of the earlier model");
        }
    }
}

/// Returns the tasks whose separate weight sets cannot be carried over to one training, for each such network:
/// `ctr, cvr`.
pub fn merged_tasks(artifact: &Artifact, schema: &Schema) -> Vec<String> {
    let networks = artifact.spec.networks().into_iter();
    let tasks = networks.map(|tasks| {
        tasks
            .into_iter()
            .filter(|&task| task < schema.tasks.len())
            .collect::<Vec<usize>>()
    });
    let differ = |tasks: &Vec<usize>| {
        let mut sets = tasks.iter().map(|&task| artifact.of_task[task]);
        let first = sets.next();
        sets.any(|set| Some(set) != first)
    };
    let names = |tasks: Vec<usize>| -> String {
        let names: Vec<&str> = tasks
            .iter()
            .map(|&task| schema.tasks[task].name.as_str())
            .collect();
        names.join(", ")
    };
    tasks.filter(differ).map(names).collect()
}
