//! Reading a model from its files.

use super::{
    Artifact, ArtifactError, MANIFEST, MANIFEST_SUM, Manifest, RowLives, SELF_TEST, WEIGHTS,
    WeightSet, fits, mask_name, read_file, shards, unread,
};
use crate::calibrator::Calibrator;
use crate::masks::Mask;
use crate::masks::Masks;
use crate::self_test::SelfTest;
use crate::spec::Spec;
use crate::storage::TableStorage;
use crate::tables::SparseRows;
use crate::tensor_file::{TensorFile, TensorFileError};
use crate::units::UnitOwners;
use crate::weights::Weights;
use std::path::Path;
use std::sync::Arc;

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

impl Artifact {
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
pub(super) fn assemble(
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

pub(super) fn read_masks(
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
