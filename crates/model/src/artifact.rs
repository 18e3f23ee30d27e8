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
use crate::storage::{ReadOrder, StorageError, TableStorage};
use crate::tables::SparseRows;
use crate::tensor_file::{self, Entry, TensorFile, TensorFileError, Values};
use crate::units::UnitOwners;
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

/// How the weights of a model are opened.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Read,
    Map,
}

impl Opening {
    fn file(self, path: &Path) -> Result<TensorFile, TensorFileError> {
        match self {
            Opening::Read => TensorFile::read(path),
            Opening::Map => TensorFile::map(path),
        }
    }

    fn storage_of_shards(self) -> TableStorage {
        match self {
            Opening::Read => TableStorage::Memory,
            Opening::Map => TableStorage::in_folder(&std::env::temp_dir()),
        }
    }
}

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

    /// Reads the files in `folder` and checks every byte of them. If the model is replaced meanwhile it is read
    /// again, so that all files belong to one model.
    ///
    /// # Errors
    /// A file is missing, was changed, or has another version.
    pub fn read(folder: &Path) -> Result<Artifact, ArtifactError> {
        Artifact::open(folder, Opening::Read)
    }

    /// Reads the files as [`Artifact::read`] does, but maps the file of the weights: the vectors of table rows stay in it,
    /// as [`TensorFile::map`] explains. Those of a model in shards go into a temporary file of the system.
    ///
    /// # Errors
    /// Those of [`Artifact::read`].
    pub fn map(folder: &Path) -> Result<Artifact, ArtifactError> {
        Artifact::open(folder, Opening::Map)
    }

    fn open(folder: &Path, opening: Opening) -> Result<Artifact, ArtifactError> {
        const ATTEMPTS: usize = 5;
        let sum = || std::fs::read(folder.join(MANIFEST_SUM)).ok();
        for _ in 1..ATTEMPTS {
            let before = sum();
            let read = Artifact::read_once(folder, opening);
            if read.is_ok() || sum() == before {
                return read;
            }
        }
        Artifact::read_once(folder, opening)
    }

    fn read_once(folder: &Path, opening: Opening) -> Result<Artifact, ArtifactError> {
        let manifest = Manifest::read(folder)?;
        let path = folder.join(WEIGHTS);
        let wrong = |what: &str| ArtifactError::Manifest {
            path: path.clone(),
            what: what.to_owned(),
        };
        let file = opening.file(&path).map_err(|error| match error {
            TensorFileError::Unreadable { source, .. } => unread(&path, folder, source),
            error => error.into(),
        })?;
        let is_whole = manifest.shards.is_empty();
        let differs = |(name, hash): &(&String, &String)| {
            (is_whole || file.has(name)) && file.hash(name) != Some(*hash)
        };
        if let Some((name, _)) = manifest.tensors.iter().find(differs) {
            return Err(wrong(&format!(
                "tensor {name} is not the one in the manifest"
            )));
        }
        let fits = fits::check(&manifest, max_dense(&file, manifest.networks.len()));
        fits.map_err(|what| wrong(&what))?;
        let n_tables = manifest.spec.tables.len();
        let tables = match is_whole {
            true => read_tables(&file, manifest.networks.len(), n_tables)?,
            false => shards::read(folder, &manifest, &opening.storage_of_shards())?,
        };
        let weight_set = |((i, &network), tables): ((usize, &usize), Vec<SparseRows<f32>>)| {
            let dense = file.f32(&format!("member.{i}.dense"))?;
            Ok(WeightSet {
                network,
                weights: Arc::new(Weights { dense, tables }),
            })
        };
        let weight_sets = manifest.networks.iter().enumerate().zip(tables);
        let weight_sets = weight_sets.map(weight_set);
        let weight_sets = weight_sets.collect::<Result<_, TensorFileError>>()?;
        let masks = manifest
            .has_masks
            .then(|| read_masks(&file, &manifest.spec, manifest.owners))
            .transpose()?
            .flatten();
        if manifest.has_masks && masks.is_none() {
            return Err(wrong("its masks are not those of its layers"));
        }
        let lives =
            read_lives(&file, n_tables)?.ok_or_else(|| wrong("its lives are not those of rows"))?;
        assemble(folder, manifest, masks, weight_sets, lives)
    }

    /// Returns true if a model's folder holds its weights, and not only a delta.
    pub fn has_weights(folder: &Path) -> bool {
        folder.join(WEIGHTS).is_file()
    }

    /// Returns the BLAKE3 of the manifest, which identifies the model: the manifest holds the BLAKE3 of every tensor.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn hash(folder: &Path) -> Result<blake3::Hash, ArtifactError> {
        Ok(blake3::hash(&read_file(&folder.join(MANIFEST), folder)?))
    }
}

/// Joins what a manifest holds and what the other files hold.
fn assemble(
    folder: &Path,
    manifest: Manifest,
    masks: Option<Arc<Masks>>,
    weight_sets: Vec<WeightSet>,
    lives: Vec<RowLives>,
) -> Result<Artifact, ArtifactError> {
    Ok(Artifact {
        masks,
        weight_sets,
        self_test: read_self_test(folder, manifest.self_test.as_deref())?,
        shares: manifest.shares,
        agreements: manifest.agreements,
        ancestry: manifest.ancestry,
        distributions: manifest.distributions.map(Arc::new),
        context_columns: manifest.context_columns,
        looked_up: manifest.looked_up,
        lives,
        calibrators: check_calibrators(folder, &manifest.spec, manifest.calibrators)?,
        schema: Arc::new(manifest.schema),
        spec: manifest.spec,
        of_task: manifest.of_task,
    })
}

/// Reads the lives of rows; `None` if they are not sound, and nothing where the file has none.
fn read_lives(
    file: &TensorFile,
    n_tables: usize,
) -> Result<Option<Vec<RowLives>>, TensorFileError> {
    if !file.has("life.table.0.ids") {
        return Ok(Some(Vec::new()));
    }
    let column = |t: usize, part: &str| file.u32(&format!("life.table.{t}.{part}"));
    let table = |t: usize| {
        Ok(RowLives {
            ids: column(t, "ids")?,
            last_seen: column(t, "last_seen")?,
            sightings: column(t, "sightings")?,
        })
    };
    let lives: Vec<RowLives> = (0..n_tables)
        .map(table)
        .collect::<Result<_, TensorFileError>>()?;
    Ok(lives.iter().all(RowLives::is_sound).then_some(lives))
}

/// Returns the number of layer and head parameters of the largest weight set.
fn max_dense(file: &TensorFile, n_weight_sets: usize) -> usize {
    let n_dense = |i: usize| {
        let values = file.f32_values(&format!("member.{i}.dense"));
        values.map_or(0, |values| values.len())
    };
    (0..n_weight_sets).map(n_dense).max().unwrap_or(0)
}

/// Reads the self-test if the manifest holds the hash of its file.
fn read_self_test(folder: &Path, hash: Option<&str>) -> Result<Option<SelfTest>, ArtifactError> {
    let Some(hash) = hash else {
        return Ok(None);
    };
    let wrong = |what: &str| ArtifactError::Manifest {
        path: folder.join(SELF_TEST),
        what: what.to_owned(),
    };
    let text = read_file(&folder.join(SELF_TEST), folder)?;
    if blake3::hash(&text).to_hex().as_str() != hash {
        return Err(wrong(
            "it is not the one in the manifest: some byte was changed",
        ));
    }
    let test = SelfTest::from_json(&text);
    test.map(Some).ok_or_else(|| wrong("it is not a self-test"))
}

/// Checks that the calibrators are valid, and as many as tasks or none.
fn check_calibrators(
    folder: &Path,
    spec: &Spec,
    calibrators: Vec<Option<Calibrator>>,
) -> Result<Vec<Option<Calibrator>>, ArtifactError> {
    let wrong = |what: String| ArtifactError::Manifest {
        path: folder.join(MANIFEST),
        what,
    };
    if !calibrators.is_empty() && calibrators.len() != spec.tasks.len() {
        return Err(wrong(
            "it does not have a calibrator for each task".to_owned(),
        ));
    }
    for (task, calibrator) in spec.tasks.iter().zip(&calibrators) {
        if let Some(calibrator) = calibrator {
            let result = calibrator.check();
            result.map_err(|what| wrong(format!("the calibrator of task \"{task}\": {what}")))?;
        }
    }
    Ok(calibrators)
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

fn mask_name(task: usize, layer: usize) -> String {
    format!("mask.{task}.fc_{layer}")
}

/// Reads the table rows of all members, `[member][table]`.
fn read_tables(
    file: &TensorFile,
    n_members: usize,
    n_tables: usize,
) -> Result<Vec<Vec<SparseRows<f32>>>, TensorFileError> {
    let table = |member: usize, t: usize| {
        Ok(SparseRows {
            ids: file.u32(&format!("member.{member}.table.{t}.ids"))?,
            values: file.f32_rows(&format!("member.{member}.table.{t}.values"))?,
        })
    };
    let members = 0..n_members;
    members
        .map(|member| (0..n_tables).map(|t| table(member, t)).collect())
        .collect()
}

fn read_masks(
    file: &TensorFile,
    spec: &Spec,
    owners: Option<UnitOwners>,
) -> Result<Option<Arc<Masks>>, TensorFileError> {
    let mut tasks = Vec::new();
    for task in 0..spec.tasks.len() {
        let mut layers = Vec::new();
        for (layer, (inputs, outputs)) in spec.layer_shapes().into_iter().enumerate() {
            let bytes = file.u8(&mask_name(task, layer))?;
            let Some(mask) = Mask::from_bytes(inputs, outputs, &bytes) else {
                return Ok(None);
            };
            layers.push(mask);
        }
        tasks.push(layers);
    }
    let masks = Masks { tasks, owners };
    let fits = owners.is_none_or(|owners| owners.fit(&masks));
    Ok(fits.then(|| Arc::new(masks)))
}

fn beside(folder: &Path, ending: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{ending}"))
}
