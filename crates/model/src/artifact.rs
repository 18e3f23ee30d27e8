//! A model as files: `weights.safetensors`, `manifest.json`, and the manifest's BLAKE3 sum.
//!
//! The manifest holds the format's version, the fitted schema (vocabularies included), the network's
//! sizes, which weights belong to which task, and the BLAKE3 of every tensor. Tables are saved by
//! their drawn rows: a row that training never met is the zero vector. Tensors of member `i`:
//! `member.i.dense` (layers and heads, as [`crate::DenseLayout`]), `member.i.table.t.ids` and
//! `member.i.table.t.values`; masks: `mask.t.fc_l`, one bit a connection, as [`Mask::to_bytes`]. Where the
//! model has rows to test itself on, they are in `self_test.json`, whose BLAKE3 the manifest holds.

mod exchange;
mod fits;

use crate::agreement::Agreement;
use crate::calibrator::Calibrator;
use crate::masks::{Mask, Masks};
use crate::model::Weights;
use crate::self_test::SelfTest;
use crate::spec::Spec;
use crate::tables::SparseRows;
use crate::tensor_file::{self, Entry, TensorFile, TensorFileError, Values};
use crate::units::UnitOwners;
use ncs_features::coverage::Shares;
use ncs_features::{Schema, ValueRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Newest version of the files; readers refuse later ones.
pub const VERSION: u32 = 4;

/// Version of files without a task that takes another's logit in.
const RANGED: u32 = 3;

/// Version of files with calibrators, without ranges, and with texts as the log writes them. A release
/// that knew no ranges, no rule for texts or no calibrators must not read a model that has some: it would
/// say other scores.
const CALIBRATED: u32 = 2;

/// Version of files with neither, which every release reads.
const PLAIN: u32 = 1;

const FORMAT: &str = "ncs4cvr model";
const MANIFEST: &str = "manifest.json";
const MANIFEST_SUM: &str = "manifest.json.b3";
const WEIGHTS: &str = "weights.safetensors";
const SELF_TEST: &str = "self_test.json";

/// A trained model, before it is made to run.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The fitted schema.
    pub schema: Arc<Schema>,
    /// The sizes.
    pub spec: Spec,
    /// The masks of all tasks, where the network has any.
    pub masks: Option<Arc<Masks>>,
    /// Sets of weights.
    pub members: Vec<WeightSet>,
    /// For each task: the member that answers for it.
    pub of_task: Vec<usize>,
    /// For each task: what its scores are calibrated by, if they are. Empty: none are.
    pub calibrators: Vec<Option<Calibrator>>,
    /// Rows to test on, with what the model says of them.
    pub self_test: Option<SelfTest>,
    /// For each feature: shares of unseen values and of nulls on the validation rows, to compare those of other
    /// rows with. Empty: not known.
    pub shares: Vec<Shares>,
    /// How much the tasks agree on what they read, pair by pair, where that was measured.
    pub agreements: Vec<Agreement>,
    /// The trainings that it goes on from, the first one first. Empty: it was trained from random weights.
    pub ancestry: Vec<Ancestor>,
}

/// One step from a model to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// BLAKE3 of the manifest of the model that was trained further, in hexadecimal.
    pub model: String,
    /// The training rows that it was trained further on.
    pub rows: u64,
}

/// The weights of one network at one moment of the training.
#[derive(Clone, Debug)]
pub struct WeightSet {
    /// The network.
    pub network: usize,
    /// Its weights.
    pub weights: Arc<Weights>,
}

/// An artifact that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file that cannot be written or read, or that was changed.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The folder is no model.
    #[error("{}: no model here ({reason}); name the folder that `ncs train` wrote, such as DIR/model", path.display())]
    None {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The manifest was changed, or is of another version.
    #[error("{}: {what}; train again, or take the model from where it came from", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    spec: Spec,
    of_task: Vec<usize>,
    /// The network of each member.
    #[serde(rename = "towers")]
    networks: Vec<usize>,
    has_masks: bool,
    /// Whose the hidden units are, where not all are common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owners: Option<UnitOwners>,
    /// BLAKE3 of every tensor.
    tensors: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calibrators: Vec<Option<Calibrator>>,
    /// BLAKE3 of the self-test's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    self_test: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shares: Vec<Shares>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    agreements: Vec<Agreement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ancestry: Vec<Ancestor>,
    schema: Schema,
}

impl Artifact {
    /// Writes the files into `folder`; what stood there before is replaced in one move, where the file system
    /// has one.
    ///
    /// # Errors
    /// The file system refuses; then what stood there is untouched.
    pub fn write(&self, folder: &Path) -> Result<(), ArtifactError> {
        let draft = beside(folder, "tmp");
        let old = beside(folder, "old");
        let at = |path: &Path, done: std::io::Result<()>| {
            done.map_err(|error| TensorFileError::unwritten(path, error))
        };
        at(folder, exchange::recover(folder, &old))?;
        for stale in [&draft, &old] {
            if stale.exists() {
                at(stale, std::fs::remove_dir_all(stale))?;
            }
        }
        at(&draft, std::fs::create_dir_all(&draft))?;
        let written = self.write_files(&draft);
        if written.is_err() {
            // The error at hand says more than one about the leftovers would.
            let _ = std::fs::remove_dir_all(&draft);
            return written;
        }
        Ok(at(folder, exchange::replace(&draft, folder, &old))?)
    }

    fn write_files(&self, folder: &Path) -> Result<(), ArtifactError> {
        let masks = self.mask_bytes();
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let mut entry = |name: String, len: usize, values| {
            entries.push(Entry {
                name,
                shape: vec![len],
                values,
            });
        };
        for (i, member) in self.members.iter().enumerate() {
            let dense = &member.weights.dense;
            entry(format!("member.{i}.dense"), dense.len(), Values::F32(dense));
            for (t, rows) in member.weights.tables.iter().enumerate() {
                let name = |part: &str| format!("member.{i}.table.{t}.{part}");
                entry(name("ids"), rows.ids.len(), Values::U32(&rows.ids));
                entry(name("values"), rows.values.len(), Values::F32(&rows.values));
            }
        }
        for (name, bytes) in &masks {
            entry(name.clone(), bytes.len(), Values::U8(bytes));
        }
        let hashes = tensor_file::write(&folder.join(WEIGHTS), &entries, &BTreeMap::new())?;
        let tensors = hashes
            .into_iter()
            .map(|(name, hash)| (name, hash.to_hex().to_string()));
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: self.version(),
            spec: self.spec.clone(),
            of_task: self.of_task.clone(),
            networks: self.members.iter().map(|member| member.network).collect(),
            has_masks: self.masks.is_some(),
            owners: self.masks.as_ref().and_then(|masks| masks.owners),
            tensors: tensors.collect(),
            calibrators: self.calibrators.clone(),
            self_test: self.write_self_test(folder)?,
            shares: self.shares.clone(),
            agreements: self.agreements.clone(),
            ancestry: self.ancestry.clone(),
            schema: Schema::clone(&self.schema),
        };
        let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
        tensor_file::write_bytes(&folder.join(MANIFEST), text.as_bytes())?;
        let sum = sum_line(text.as_bytes());
        tensor_file::write_bytes(&folder.join(MANIFEST_SUM), sum.as_bytes())?;
        Ok(())
    }

    /// The oldest version whose readers score as it does.
    fn version(&self) -> u32 {
        let has_ranges = self.schema.tables.iter().any(|table| table.range.is_some());
        if self.spec.takes().is_some() {
            VERSION
        } else if has_ranges || self.schema.value_rule != ValueRule::Verbatim {
            RANGED
        } else if self.calibrators.iter().any(Option::is_some) {
            CALIBRATED
        } else {
            PLAIN
        }
    }

    /// The BLAKE3 of its file.
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

    /// Reads the files in `folder` and checks every byte of them. A model that is replaced meanwhile is read
    /// again, so that all files are of one model.
    ///
    /// # Errors
    /// A file is missing, was changed, or is of another version.
    pub fn read(folder: &Path) -> Result<Artifact, ArtifactError> {
        const ATTEMPTS: usize = 5;
        let sum = || std::fs::read(folder.join(MANIFEST_SUM)).ok();
        for _ in 1..ATTEMPTS {
            let before = sum();
            let read = Artifact::read_once(folder);
            if read.is_ok() || sum() == before {
                return read;
            }
        }
        Artifact::read_once(folder)
    }

    fn read_once(folder: &Path) -> Result<Artifact, ArtifactError> {
        let manifest = read_manifest(folder)?;
        let path = folder.join(WEIGHTS);
        let wrong = |what: &str| ArtifactError::Manifest {
            path: path.clone(),
            what: what.to_owned(),
        };
        let file = TensorFile::read(&path).map_err(|error| match error {
            TensorFileError::Unreadable { source, .. } => unread(&path, folder, source),
            error => error.into(),
        })?;
        for (name, hash) in &manifest.tensors {
            if file.hash(name) != Some(hash) {
                return Err(wrong(&format!(
                    "tensor {name} is not the one in the manifest"
                )));
            }
        }
        let fits = fits::check(&manifest, most_numbers(&file, manifest.networks.len()));
        fits.map_err(|what| wrong(&what))?;
        let n_tables = manifest.spec.tables.len();
        let member = |(i, &network): (usize, &usize)| {
            let table = |t: usize| {
                Ok(SparseRows {
                    ids: file.u32(&format!("member.{i}.table.{t}.ids"))?,
                    values: file.f32(&format!("member.{i}.table.{t}.values"))?,
                })
            };
            let weights = Weights {
                dense: file.f32(&format!("member.{i}.dense"))?,
                tables: (0..n_tables)
                    .map(table)
                    .collect::<Result<_, TensorFileError>>()?,
            };
            Ok(WeightSet {
                network,
                weights: Arc::new(weights),
            })
        };
        let members = manifest.networks.iter().enumerate().map(member);
        let artifact = Artifact {
            masks: manifest
                .has_masks
                .then(|| read_masks(&file, &manifest.spec, manifest.owners))
                .transpose()?
                .flatten(),
            members: members.collect::<Result<_, TensorFileError>>()?,
            self_test: read_self_test(folder, manifest.self_test.as_deref())?,
            shares: manifest.shares,
            agreements: manifest.agreements,
            ancestry: manifest.ancestry,
            calibrators: checked(folder, &manifest.spec, manifest.calibrators)?,
            schema: Arc::new(manifest.schema),
            spec: manifest.spec,
            of_task: manifest.of_task,
        };
        match !manifest.has_masks || artifact.masks.is_some() {
            true => Ok(artifact),
            false => Err(wrong("its masks are not those of its layers")),
        }
    }

    /// BLAKE3 of the manifest, which holds that of every tensor: the model's name among models.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn hash(folder: &Path) -> Result<blake3::Hash, ArtifactError> {
        Ok(blake3::hash(&read_file(&folder.join(MANIFEST), folder)?))
    }
}

/// How many numbers the layers and heads of the largest member have.
fn most_numbers(file: &TensorFile, n_members: usize) -> usize {
    let of_member = |member: usize| {
        let values = file.f32_values(&format!("member.{member}.dense"));
        values.map_or(0, |values| values.len())
    };
    (0..n_members).map(of_member).max().unwrap_or(0)
}

/// The rows to test on, where the manifest has the hash of their file.
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
    test.map(Some).ok_or_else(|| wrong("it is no self-test"))
}

/// Calibrators of which each is one, and as many as tasks or none.
fn checked(
    folder: &Path,
    spec: &Spec,
    calibrators: Vec<Option<Calibrator>>,
) -> Result<Vec<Option<Calibrator>>, ArtifactError> {
    let wrong = |what: String| ArtifactError::Manifest {
        path: folder.join(MANIFEST),
        what,
    };
    if !calibrators.is_empty() && calibrators.len() != spec.tasks.len() {
        return Err(wrong("it has not a calibrator for each task".to_owned()));
    }
    for (task, calibrator) in spec.tasks.iter().zip(&calibrators) {
        if let Some(calibrator) = calibrator {
            let checked = calibrator.check();
            checked.map_err(|what| wrong(format!("the calibrator of task \"{task}\": {what}")))?;
        }
    }
    Ok(calibrators)
}

fn read_manifest(folder: &Path) -> Result<Manifest, ArtifactError> {
    let path = folder.join(MANIFEST);
    let wrong = |what: String| ArtifactError::Manifest {
        path: path.clone(),
        what,
    };
    let text = read_file(&path, folder)?;
    let sum = read_file(&folder.join(MANIFEST_SUM), folder)?;
    if sum != sum_line(&text).as_bytes() {
        return Err(wrong(
            "it fails its checksum: some byte was changed".to_owned(),
        ));
    }
    let json: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    let version = json["version"].as_u64().unwrap_or(0);
    let is_known = (u64::from(PLAIN)..=u64::from(VERSION)).contains(&version);
    if json["format"] != FORMAT || !is_known {
        let found = format!("{} {}", json["format"], json["version"]);
        return Err(wrong(format!(
            "it is {found}; this program reads \"{FORMAT}\" {PLAIN} to {VERSION}"
        )));
    }
    serde_json::from_value(json).map_err(|error| wrong(error.to_string()))
}

fn read_file(path: &Path, folder: &Path) -> Result<Vec<u8>, ArtifactError> {
    std::fs::read(path).map_err(|error| unread(path, folder, error))
}

/// A folder without the file is no model; anything else that is wrong is wrong with the file.
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

/// As `b3sum` prints it.
fn sum_line(text: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", blake3::hash(text))
}

fn mask_name(task: usize, layer: usize) -> String {
    format!("mask.{task}.fc_{layer}")
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
