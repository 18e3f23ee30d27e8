//! A model as files: `weights.safetensors`, `manifest.json`, and the BLAKE3 checksum of the manifest.
//!
//! The manifest holds the format's version, the fitted schema (vocabularies and past counts included), the network's
//! sizes, the weight set of each task, and the BLAKE3 of every tensor. Of each table only the
//! initialised rows are saved; every other row is the zero vector. The tensors of weight set `i` are
//! `member.i.dense` (layers and heads, as [`crate::DenseLayout`]), `member.i.table.t.ids` and
//! `member.i.table.t.values`; `life.table.t.*` tell when rows were last seen, where they have a lifetime; masks are
//! `mask.t.fc_l`, one bit for each connection, as [`Mask::to_bytes`]. The rows of an optional self-test are in
//! `self_test.json`, whose BLAKE3 is in the manifest. Table rows may lie in shards, `weights-shard-1-of-4.safetensors`. What differs from the model before may be in `delta.safetensors`.

mod ancestry;
mod delta;
mod draft;
mod exchange;
mod fits;
mod lives;
mod manifest;
mod read;
mod shards;

pub use ancestry::{Ancestor, CalibrationFigures, Erasure, Recalibration, TaskRecalibration};
pub use delta::{DELTA, Delta, DeltaDraft, DeltaError, DeltaSize, apply_delta};
pub(crate) use delta::{Frame, TableChange};
pub use draft::ArtifactDraft;
pub use lives::RowLives;
pub use manifest::VERSION;
pub use shards::ModelShard;

use crate::agreement::Agreement;
use crate::calibrator::Calibrator;
use crate::logit_transfer::TakenLogit;
use crate::masks::{Mask, Masks};
use crate::self_test::SelfTest;
use crate::spec::Spec;
use crate::storage::{ReadOrder, StorageError};
use crate::tensor_file::{self, Entry, TensorFileError, Values};
use crate::weights::Weights;
use manifest::{FORMAT, MANIFEST, MANIFEST_SUM, Manifest};
use ncs_features::coverage::Shares;
use ncs_features::distribution::Distributions;
use ncs_features::{LookedUp, Schema};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WEIGHTS: &str = "weights.safetensors";
const SELF_TEST: &str = "self_test.json";

/// A trained model as plain data; a [`crate::Scorer`] runs it.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The fitted schema.
    pub schema: Arc<Schema>,
    /// The sizes.
    pub spec: Spec,
    /// The masks of all tasks, if the network has masks.
    pub masks: Option<Arc<Masks>>,
    /// The weight sets.
    pub weight_sets: Vec<WeightSet>,
    /// For each task, the index of the weight set in `weight_sets` that scores it.
    pub of_task: Vec<usize>,
    /// For each task, the calibrator of its scores, if any. Empty: no task has one.
    pub calibrators: Vec<Option<Calibrator>>,
    /// Rows with their expected scores, to check a loaded model.
    pub self_test: Option<SelfTest>,
    /// For each feature, the shares of unseen values and of nulls on the validation rows, as a reference for
    /// other rows. Empty: unknown.
    pub shares: Vec<Shares>,
    /// The gradient agreement of each pair of tasks, if it was measured.
    pub agreements: Vec<Agreement>,
    /// The trainings, calibrations and erasures since the first training, oldest first. Empty: it is as it was first
    /// trained.
    pub ancestry: Vec<Ancestor>,
    /// For each table, when its rows were last seen; of tables without a lifetime nothing. Empty: no table has one.
    pub lives: Vec<RowLives>,
    /// Distributions of the columns and scores of the training, to compare later rows with. `None`: not known.
    pub distributions: Option<Arc<Distributions>>,
    /// Columns that are equal for all candidates of a request, as callers were told to send them. Empty: not stated.
    pub context_columns: Vec<String>,
    /// Columns that the training took from files of features by id. Empty: none.
    pub looked_up: Vec<LookedUp>,
}

/// The weights of one network at one moment of the training.
#[derive(Clone, Debug)]
pub struct WeightSet {
    /// The network.
    pub network: usize,
    /// Its weights.
    pub weights: Arc<Weights>,
}

/// An error in writing or reading an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file cannot be written or read, or was changed.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// Rows of a model in shards cannot be kept in a temporary file.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The folder does not hold a model.
    #[error("{}: no model here ({reason}); name the folder that `ncs train` wrote, such as DIR/model", path.display())]
    None {
        /// The folder.
        path: PathBuf,
        /// The missing part.
        reason: String,
    },
    /// The manifest was changed, or has another version.
    #[error("{}: {what}; train again, or restore a copy of the model", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The problem.
        what: String,
    },
}

impl Artifact {
    /// Creates a model without masks, and without all that scores do not need: `of_task` has for each task the index of
    /// the weight set that scores it.
    pub fn new(
        schema: Arc<Schema>,
        spec: Spec,
        of_task: Vec<usize>,
        weight_sets: Vec<WeightSet>,
    ) -> Artifact {
        Artifact {
            schema,
            spec,
            masks: None,
            weight_sets,
            of_task,
            calibrators: vec![],
            self_test: None,
            shares: vec![],
            agreements: vec![],
            ancestry: vec![],
            lives: vec![],
            distributions: None,
            context_columns: vec![],
            looked_up: vec![],
        }
    }

    /// Returns the tasks `[from, to]` of the logit transfer, and its parameters in the weight set that scores `to`.
    /// `None` without a transfer, or if the weights are of another network.
    pub fn taken(&self) -> Option<([usize; 2], TakenLogit)> {
        let tasks = self.spec.takes()?;
        let member = self.weight_sets.get(*self.of_task.get(tasks[1])?)?;
        // The parameters come last.
        let dense = &member.weights.dense;
        let first = dense.len().checked_sub(TakenLogit::NUMBERS)?;
        Some((tasks, TakenLogit::of(&dense[first..])?))
    }

    /// Writes the files into `folder`. An existing folder is replaced atomically where the file system supports it.
    ///
    /// # Errors
    /// The file system reports an error; an existing folder is then unchanged.
    pub fn write(&self, folder: &Path) -> Result<(), ArtifactError> {
        self.write_with(folder, |_| Ok(()))
    }

    /// Writes the files as [`Artifact::write`] does; `add` writes further ones into the folder that will become `folder`,
    /// after the model's own.
    ///
    /// # Errors
    /// The file system or `add` reports an error; an existing folder is then unchanged.
    pub fn write_with(
        &self,
        folder: &Path,
        add: impl FnOnce(&Path) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        ArtifactDraft::begin(folder)?.publish(self, Vec::new(), add)
    }

    /// Writes all tensors, or all but the table rows, and returns the BLAKE3 of all.
    fn write_weights(
        &self,
        path: &Path,
        has_rows: bool,
    ) -> Result<Vec<(String, blake3::Hash)>, TensorFileError> {
        let masks = self.mask_bytes();
        let mut entries = self.weight_entries();
        let mut elsewhere = Vec::new();
        if !has_rows {
            let is_row = |entry: &Entry<'_>| {
                entry.name.starts_with("member.") && entry.name.contains(".table.")
            };
            let (rows, others) = entries.into_iter().partition(is_row);
            let rows: Vec<Entry<'_>> = rows;
            let hash = |entry: Entry<'_>| (entry.name, entry.values.hash());
            elsewhere = rows.into_iter().map(hash).collect();
            entries = others;
        }
        entries.extend(masks.iter().map(|(name, bytes)| Entry {
            name: name.clone(),
            shape: vec![bytes.len()],
            values: Values::U8(bytes),
        }));
        let mut hashes = tensor_file::write(path, &entries, &BTreeMap::new())?;
        hashes.extend(elsewhere);
        Ok(hashes)
    }

    /// Returns the number of bytes of all weights and lives of rows.
    fn n_weight_bytes(&self) -> u64 {
        let entries = self.weight_entries();
        entries
            .iter()
            .map(|entry| entry.values.n_bytes() as u64)
            .sum()
    }

    fn weight_entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut entry = |name: String, len: usize, values| {
            entries.push(Entry {
                name,
                shape: vec![len],
                values,
            });
        };
        for (i, weight_set) in self.weight_sets.iter().enumerate() {
            let dense = &weight_set.weights.dense;
            entry(format!("member.{i}.dense"), dense.len(), Values::F32(dense));
            for (t, rows) in weight_set.weights.tables.iter().enumerate() {
                let name = |part: &str| format!("member.{i}.table.{t}.{part}");
                entry(name("ids"), rows.ids.len(), Values::U32(&rows.ids));
                rows.values.will_be_read(ReadOrder::Sequential);
                entry(name("values"), rows.values.len(), Values::F32(&rows.values));
            }
        }
        for (t, lives) in self.lives.iter().enumerate() {
            for (part, values) in [
                ("ids", &lives.ids),
                ("last_seen", &lives.last_seen),
                ("sightings", &lives.sightings),
            ] {
                let name = format!("life.table.{t}.{part}");
                entry(name, values.len(), Values::U32(values));
            }
        }
        entries
    }

    fn write_files(&self, folder: &Path, shards: Vec<ModelShard>) -> Result<(), ArtifactError> {
        let hashes = self.write_weights(&folder.join(WEIGHTS), shards.is_empty())?;
        let tensors = hashes
            .into_iter()
            .map(|(name, hash)| (name, hash.to_hex().to_string()));
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: match shards.is_empty() {
                true => manifest::version(self),
                false => VERSION,
            },
            spec: self.spec.clone(),
            of_task: self.of_task.clone(),
            networks: self.weight_sets.iter().map(|set| set.network).collect(),
            has_masks: self.masks.is_some(),
            owners: self.masks.as_ref().and_then(|masks| masks.owners),
            tensors: tensors.collect(),
            shards,
            calibrators: self.calibrators.clone(),
            self_test: self.write_self_test(folder)?,
            shares: self.shares.clone(),
            agreements: self.agreements.clone(),
            ancestry: self.ancestry.clone(),
            distributions: self.distributions.as_deref().cloned(),
            context_columns: self.context_columns.clone(),
            looked_up: self.looked_up.clone(),
            schema: Schema::clone(&self.schema),
        };
        Ok(manifest.write(folder)?)
    }

    /// Writes the self-test, if there is one, and returns the BLAKE3 of its file.
    fn write_self_test(&self, folder: &Path) -> Result<Option<String>, ArtifactError> {
        let Some(test) = &self.self_test else {
            return Ok(None);
        };
        let text = test.to_json();
        tensor_file::write_bytes(&folder.join(SELF_TEST), &text)?;
        Ok(Some(blake3::hash(&text).to_hex().to_string()))
    }

    fn mask_bytes(&self) -> Vec<(String, Vec<u8>)> {
        let Some(masks) = &self.masks else {
            return Vec::new();
        };
        let of_task = |(t, layers): (usize, &Vec<Mask>)| {
            let layers = layers.iter().enumerate();
            layers
                .map(move |(l, mask)| (mask_name(t, l), mask.to_bytes()))
                .collect::<Vec<_>>()
        };
        masks.tasks.iter().enumerate().flat_map(of_task).collect()
    }
}

fn mask_name(task: usize, layer: usize) -> String {
    format!("mask.{task}.fc_{layer}")
}

fn beside(folder: &Path, ending: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{ending}"))
}

fn read_file(path: &Path, folder: &Path) -> Result<Vec<u8>, ArtifactError> {
    std::fs::read(path).map_err(|error| unread(path, folder, error))
}

/// Converts a read error: a folder without the file is not a model; any other error is one of the file.
fn unread(path: &Path, folder: &Path, error: std::io::Error) -> ArtifactError {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    if !matches!(error.kind(), NotFound | NotADirectory) {
        return ArtifactError::File(TensorFileError::Unreadable {
            path: path.to_owned(),
            source: error,
        });
    }
    let name = path.file_name().unwrap_or_default();
    ArtifactError::None {
        path: folder.to_owned(),
        reason: format!("{}: {error}", name.display()),
    }
}
