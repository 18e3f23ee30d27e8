//! Optimizer moments of the training that an earlier model came from, out of its last checkpoint.
//!
//! The model holds the weights that validation chose, the checkpoint the moments after the last step, and beside them the
//! chosen weights: these show that both are of one training.

use crate::checkpoint::{self, Saved, SavedNetwork};
use crate::earlier::Earlier;
use crate::error::TrainError;
use crate::optim::Optimizers;
use crate::plan::TrainPlan;
use ncs_model::artifact::Artifact;
use ncs_model::{Masks, Model, SlotRows, Table, TableStorage, TensorFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Last checkpoints of a run, the one that its model came from first.
const CHECKPOINTS: [&str; 4] = [
    "refit.safetensors",
    "refit-shrinkage.safetensors",
    "checkpoint.safetensors",
    "checkpoint-shrinkage.safetensors",
];

/// Moments to go on with.
pub(crate) struct EarlierMoments {
    saved: Saved,
    path: PathBuf,
    /// The masks that numbered the moments of layers and heads.
    masks: Option<Arc<Masks>>,
}

impl EarlierMoments {
    /// Finds the moments of an earlier model in the folder of its training.
    ///
    /// # Errors
    /// A text that says why there are none.
    pub(crate) fn find(
        earlier: &Earlier,
        run: &Path,
        plan: &TrainPlan,
        storage: &TableStorage,
    ) -> Result<EarlierMoments, String> {
        let weights = hashes_of_weights(&earlier.artifact);
        let mut reason = format!("{} holds no checkpoint of this model", run.display());
        for name in CHECKPOINTS {
            let path = run.join(name);
            let Some(saved) = checkpoint::open_any(&path, storage) else {
                continue;
            };
            if !weights.iter().all(|hash| saved.has_weights(hash)) {
                continue;
            }
            let kinds = plan.optimizer_kinds();
            if saved.optimizers() != Some(kinds.as_str()) {
                reason = format!("those of {name} are of another optimizer");
                continue;
            }
            if let Err(error) = saved.each_table_file(None, |_| Ok(())) {
                reason = error.to_string();
                continue;
            }
            return Ok(EarlierMoments {
                saved,
                path,
                masks: earlier.artifact.masks.clone(),
            });
        }
        Err(reason)
    }

    /// Returns the hash of the checkpoint, which covers every byte.
    pub(crate) fn hash(&self) -> &str {
        self.saved.hash()
    }

    /// Returns the checkpoint.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the optimizers of a model at its first step the moments: those of initialised table rows, and those of layers
    /// and heads if the model has the masks that they were trained with; others start anew. A part that does not fit is
    /// left as it is.
    ///
    /// # Errors
    /// A file with the table rows of a rank cannot be read.
    pub(crate) fn restore(
        &self,
        model: &Model,
        optimizers: &mut Optimizers,
    ) -> Result<(), TrainError> {
        let has_masks = model.masks().map(Arc::as_ref) == self.masks.as_deref();
        let networks = model.networks().iter().zip(&mut optimizers.networks);
        for (number, ((network, state), saved)) in networks.zip(self.saved.networks()).enumerate() {
            let SavedNetwork { steps, counts } = saved;
            if has_masks && counts.len() == state.counts.len() {
                let [first, second] = ["m", "v"].map(|name| format!("{name}.{number}.dense"));
                let fits = checkpoint::fill_from(&self.saved, &first, &mut state.dense.first)
                    .and_then(|()| {
                        checkpoint::fill_from(&self.saved, &second, &mut state.dense.second)
                    });
                if fits.is_some() {
                    state.counts.copy_from_slice(counts);
                }
            }
            state.steps = *steps;
            let tables = network.tables.iter().zip(&mut state.tables);
            tables.for_each(|(table, moments)| moments.follow(table));
        }
        self.saved.each_table_file(None, |file| {
            let networks = model.networks().iter().zip(&mut optimizers.networks);
            for (number, (network, state)) in networks.enumerate() {
                let tables = network.tables.iter().zip(&mut state.tables);
                for (k, (table, moments)) in tables.enumerate() {
                    let prefix = format!("tower.{number}.table.{k}");
                    restore_rows(file, &prefix, table, moments.rows_mut());
                }
            }
            Ok(())
        })
    }
}

/// Copies the moments of the rows that a table has.
fn restore_rows(
    file: &TensorFile,
    prefix: &str,
    table: &Table<f32>,
    rows: &mut SlotRows<f32>,
) -> Option<()> {
    let ids = file.u32(&format!("{prefix}.ids")).ok()?;
    let mut values = file.f32_values(&format!("{prefix}.moments")).ok()?;
    (values.len() == ids.len() * rows.width()).then_some(())?;
    let width = rows.width();
    for id in ids {
        let is_there = (id as usize) < table.n_rows() && table.is_initialised(id);
        if is_there {
            let row = rows.row_mut(table.slot(id)).iter_mut();
            row.zip(&mut values).for_each(|(to, from)| *to = from);
        } else {
            values.by_ref().take(width).for_each(drop);
        }
    }
    Some(())
}

/// Returns the hash of layers and heads of each weight set that training goes on from: of each network, that of its first
/// task.
fn hashes_of_weights(artifact: &Artifact) -> Vec<blake3::Hash> {
    let hash = |tasks: &Vec<usize>| {
        let set = artifact
            .weight_sets
            .get(*artifact.of_task.get(*tasks.first()?)?)?;
        let mut hasher = blake3::Hasher::new();
        for value in &set.weights.dense {
            hasher.update(&value.to_le_bytes());
        }
        Some(hasher.finalize())
    };
    let networks = artifact.spec.networks();
    networks.iter().filter_map(hash).collect()
}
