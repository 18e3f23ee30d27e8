//! What differs between a model and the one that it was trained further from, as a file beside its weights.
//!
//! `delta.safetensors` in a model's folder holds the table rows that are not those of the parent, and all weights of
//! layers and heads:
//!
//! | tensor | |
//! |---|---|
//! | `member.i.dense` | layers and heads of weight set `i` |
//! | `member.i.table.t.removed` | rows of the parent that are gone, ascending |
//! | `member.i.table.t.ids`, `.values` | new and changed rows, ascending, and their vectors |
//! | `life.table.t.*` | the same of the lives of rows |
//! | `mask.t.fc_l` | masks that differ |
//!
//! Its metadata names the parent by the BLAKE3 of its manifest. All else is in the model's other files, which are small:
//! the whole model follows from the parent, and from its own folder without `weights.safetensors`. The manifest holds
//! the BLAKE3 of every whole tensor, by which the result is verified.

use super::manifest::Manifest;
use super::read::{assemble, read_masks};
use super::{
    Artifact, ArtifactError, MANIFEST, MANIFEST_SUM, RowLives, SELF_TEST, WEIGHTS, WeightSet,
    beside, exchange,
};
use crate::masks::Masks;
use crate::spec::Spec;
use crate::tables::{SparseRows, TableShare};
use crate::tensor_file::{self, Entry, TensorFile, TensorFileError, Values};
use crate::units::UnitOwners;
use crate::weights::Weights;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File of a delta, in the folder of a model.
pub const DELTA: &str = "delta.safetensors";

const FORMAT: &str = "ncs4cvr delta 1";

/// A delta, read and verified as a file.
#[derive(Debug)]
pub struct Delta {
    file: TensorFile,
    parent: String,
}

/// What will be written as a delta.
#[derive(Debug)]
pub struct DeltaDraft<'a> {
    child: &'a Artifact,
    parent: blake3::Hash,
    u32s: Vec<(String, Vec<u32>)>,
    f32s: Vec<(String, Vec<f32>)>,
    masks: Vec<(String, Vec<u8>)>,
    size: DeltaSize,
}

/// Size of a delta beside the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeltaSize {
    /// New and changed table rows.
    pub changed: u64,
    /// Table rows of the parent that are gone.
    pub removed: u64,
    /// Table rows of the whole.
    pub rows: u64,
    /// Bytes of the delta.
    pub bytes: u64,
    /// Bytes of all weights.
    pub whole_bytes: u64,
}

impl DeltaSize {
    /// Returns true if it is smaller than the whole, so that it is worth its file.
    pub fn is_smaller(&self) -> bool {
        self.bytes < self.whole_bytes
    }
}

/// A delta that could not be applied. The whole model is not affected.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// A file cannot be read or written, or was changed.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// It is of another model.
    #[error(
        "{}: the delta is against model {expected:.16}, and this is {found:.16}; apply it to that one, or copy the \
         whole model",
        path.display()
    )]
    Parent {
        /// The delta's file.
        path: PathBuf,
        /// BLAKE3 of the manifest that it is against.
        expected: String,
        /// BLAKE3 of the manifest that it was to be applied to.
        found: String,
    },
    /// The result is not the model.
    #[error("{}: {what} after the delta; copy the whole model", path.display())]
    Differs {
        /// The delta's file.
        path: PathBuf,
        /// The difference.
        what: String,
    },
}

impl From<TensorFileError> for DeltaError {
    fn from(error: TensorFileError) -> Self {
        DeltaError::Artifact(error.into())
    }
}

/// Changes of one table.
#[derive(Debug, Default)]
pub(crate) struct TableChange {
    /// Rows that are gone, ascending.
    removed: Vec<u32>,
    /// New and changed rows, ascending.
    ids: Vec<u32>,
    /// Their vectors.
    values: Vec<f32>,
}

impl TableChange {
    /// Calls `row` with every row after the change, ascending, until it returns `None`; `parent` gives the rows before,
    /// ascending.
    pub(crate) fn merge<'a>(
        &'a self,
        parent: impl Iterator<Item = (u32, &'a [f32])>,
        mut row: impl FnMut(u32, &'a [f32]) -> Option<()>,
    ) -> Option<()> {
        let width = self.values.len() / self.ids.len().max(1);
        let vectors = self.values.chunks_exact(width.max(1));
        let mut changed = self.ids.iter().copied().zip(vectors).peekable();
        let mut removed = self.removed.iter().copied().peekable();
        for (id, vector) in parent {
            while let Some((new, vector)) = changed.next_if(|(new, _)| *new < id) {
                row(new, vector)?;
            }
            if let Some((_, vector)) = changed.next_if(|(same, _)| *same == id) {
                row(id, vector)?;
            } else if removed.next_if_eq(&id).is_none() {
                row(id, vector)?;
            }
        }
        changed.try_for_each(|(new, vector)| row(new, vector))
    }
}

impl Delta {
    /// Reads the delta in a model's folder; `None` if it has none.
    ///
    /// # Errors
    /// It cannot be read, was changed, or is of another version.
    pub fn read(folder: &Path) -> Result<Option<Delta>, DeltaError> {
        let path = folder.join(DELTA);
        if !path.exists() {
            return Ok(None);
        }
        let file = TensorFile::read(&path)?;
        let parent = file.metadata("parent").unwrap_or_default().to_owned();
        if file.metadata("format") != Some(FORMAT) {
            let what = format!("it is not a \"{FORMAT}\"");
            return Err(ArtifactError::Manifest { path, what }.into());
        }
        Ok(Some(Delta { file, parent }))
    }

    /// Returns the BLAKE3 of the manifest of the model that it is against, in hexadecimal.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// Returns the path of its file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the changes of a table of a weight set.
    pub(crate) fn table(&self, member: usize, table: usize) -> Result<TableChange, DeltaError> {
        let name = |part: &str| format!("member.{member}.table.{table}.{part}");
        Ok(TableChange {
            removed: self.file.u32(&name("removed"))?,
            ids: self.file.u32(&name("ids"))?,
            values: self.file.f32(&name("values"))?,
        })
    }

    fn dense(&self, member: usize) -> Result<Vec<f32>, DeltaError> {
        Ok(self.file.f32(&format!("member.{member}.dense"))?)
    }

    fn differs(&self, what: impl Into<String>) -> DeltaError {
        DeltaError::Differs {
            path: self.file.path().to_owned(),
            what: what.into(),
        }
    }

    /// Reads the model of `folder` but for its tables, which stay empty. Masks that the delta does not hold are those of
    /// the parent. Returns the manifest's BLAKE3 and tensor hashes with it.
    pub(crate) fn frame(
        &self,
        folder: &Path,
        parent: Option<&Arc<Masks>>,
    ) -> Result<Frame, DeltaError> {
        let hash = Artifact::hash(folder)?;
        let manifest = Manifest::read(folder)?;
        let n_sets = manifest.networks.len();
        let dense: Vec<Vec<f32>> = (0..n_sets)
            .map(|set| self.dense(set))
            .collect::<Result<_, _>>()?;
        let longest = dense.iter().map(Vec::len).max().unwrap_or(0);
        super::fits::check(&manifest, longest).map_err(|what| self.differs(what))?;
        let masks = match manifest.has_masks {
            false => None,
            true => {
                let masks = self.masks(&manifest.spec, manifest.owners, parent)?;
                Some(masks.ok_or_else(|| self.differs("its masks are not those of its layers"))?)
            }
        };
        let hashes = manifest.tensors.clone();
        let sets = manifest.networks.iter().zip(dense);
        let weight_sets = sets.map(|(&network, dense)| WeightSet {
            network,
            weights: Arc::new(Weights {
                dense,
                tables: Vec::new(),
            }),
        });
        let weight_sets = weight_sets.collect();
        let artifact = assemble(folder, manifest, masks, weight_sets, Vec::new())?;
        if Artifact::hash(folder)? != hash {
            return Err(self.differs("the model was replaced while it was read"));
        }
        let frame = Frame {
            artifact,
            hash,
            hashes,
        };
        frame.check_dense(self)?;
        Ok(frame)
    }

    /// Returns the masks; `None` if they are not those of the layers.
    fn masks(
        &self,
        spec: &Spec,
        owners: Option<UnitOwners>,
        parent: Option<&Arc<Masks>>,
    ) -> Result<Option<Arc<Masks>>, TensorFileError> {
        if self.file.has(&super::mask_name(0, 0)) {
            return read_masks(&self.file, spec, owners);
        }
        let masks = parent.map(|masks| {
            let tasks = masks.tasks.clone();
            Arc::new(Masks { tasks, owners })
        });
        Ok(masks.filter(|masks| owners.is_none_or(|owners| owners.fit(masks))))
    }
}

/// A model without its tables, and what its tensors must hash to.
pub(crate) struct Frame {
    /// The model; its tables are empty.
    pub(crate) artifact: Artifact,
    /// BLAKE3 of its manifest.
    pub(crate) hash: blake3::Hash,
    /// BLAKE3 of every tensor of the whole.
    hashes: BTreeMap<String, String>,
}

impl Frame {
    /// Compares the hash of a tensor with that of the whole.
    pub(crate) fn check(
        &self,
        delta: &Delta,
        name: &str,
        found: &blake3::Hash,
    ) -> Result<(), DeltaError> {
        match self.hashes.get(name) {
            Some(hash) if *hash == *found.to_hex() => Ok(()),
            _ => Err(delta.differs(format!("tensor {name} is not the one in the manifest"))),
        }
    }

    /// Verifies layers, heads and masks.
    fn check_dense(&self, delta: &Delta) -> Result<(), DeltaError> {
        for (set, weight_set) in self.artifact.weight_sets.iter().enumerate() {
            let hash = Values::F32(&weight_set.weights.dense).hash();
            self.check(delta, &format!("member.{set}.dense"), &hash)?;
        }
        for (name, bytes) in self.artifact.mask_bytes() {
            self.check(delta, &name, &blake3::hash(&bytes))?;
        }
        Ok(())
    }
}

impl<'a> DeltaDraft<'a> {
    /// Compares `child` with the model in the folder `parent`.
    ///
    /// # Errors
    /// The parent cannot be read, or is not the model of hash `expected`.
    pub fn between(
        child: &'a Artifact,
        parent: &Path,
        expected: Option<&blake3::Hash>,
    ) -> Result<DeltaDraft<'a>, DeltaError> {
        let before = Artifact::read(parent)?;
        let hash = Artifact::hash(parent)?;
        if let Some(expected) = expected.filter(|expected| **expected != hash) {
            return Err(DeltaError::Parent {
                path: parent.to_owned(),
                expected: expected.to_hex().to_string(),
                found: hash.to_hex().to_string(),
            });
        }
        let mut draft = DeltaDraft {
            child,
            parent: hash,
            u32s: Vec::new(),
            f32s: Vec::new(),
            masks: Vec::new(),
            size: DeltaSize {
                whole_bytes: child.n_weight_bytes(),
                ..DeltaSize::default()
            },
        };
        draft.add_sets(&before);
        draft.add_lives(&before);
        let tasks = |masks: &Option<Arc<Masks>>| masks.as_ref().map(|masks| masks.tasks.clone());
        if tasks(&child.masks) != tasks(&before.masks) {
            draft.masks = child.mask_bytes();
        }
        let entries = draft.entries();
        let bytes: usize = entries.iter().map(|entry| entry.values.n_bytes()).sum();
        draft.size.bytes = bytes as u64;
        Ok(draft)
    }

    /// Returns its size, without the header of its file.
    pub fn size(&self) -> DeltaSize {
        self.size
    }

    /// Writes it into the folder of the model, atomically.
    ///
    /// # Errors
    /// The file system reports an error.
    pub fn write(&self, folder: &Path) -> Result<(), ArtifactError> {
        let metadata = [
            ("format".to_owned(), FORMAT.to_owned()),
            ("parent".to_owned(), self.parent.to_hex().to_string()),
        ];
        tensor_file::write(&folder.join(DELTA), &self.entries(), &metadata.into())?;
        Ok(())
    }

    fn add_sets(&mut self, before: &Artifact) {
        let none = SparseRows::default();
        for (i, set) in self.child.weight_sets.iter().enumerate() {
            let old = before.weight_sets.get(i);
            for (t, rows) in set.weights.tables.iter().enumerate() {
                let old = old.and_then(|old| old.weights.tables.get(t));
                let change = table_change(old.unwrap_or(&none), rows);
                self.size.rows += rows.ids.len() as u64;
                self.size.changed += change.ids.len() as u64;
                self.size.removed += change.removed.len() as u64;
                let name = |part: &str| format!("member.{i}.table.{t}.{part}");
                self.u32s.push((name("removed"), change.removed));
                self.u32s.push((name("ids"), change.ids));
                self.f32s.push((name("values"), change.values));
            }
        }
    }

    fn add_lives(&mut self, before: &Artifact) {
        let none = RowLives::default();
        for (t, lives) in self.child.lives.iter().enumerate() {
            let change = lives_change(before.lives.get(t).unwrap_or(&none), lives);
            for (part, values) in ["removed", "ids", "last_seen", "sightings"]
                .iter()
                .zip(change)
            {
                self.u32s.push((format!("life.table.{t}.{part}"), values));
            }
        }
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let sets = self.child.weight_sets.iter().enumerate();
        let dense = sets.map(|(i, set)| {
            let values = Values::F32(&set.weights.dense);
            (format!("member.{i}.dense"), values)
        });
        let u32s = self.u32s.iter();
        let u32s = u32s.map(|(name, values)| (name.clone(), Values::U32(values)));
        let f32s = self.f32s.iter();
        let f32s = f32s.map(|(name, values)| (name.clone(), Values::F32(values)));
        let masks = self.masks.iter();
        let masks = masks.map(|(name, bytes)| (name.clone(), Values::U8(bytes)));
        let all = dense.chain(u32s).chain(f32s).chain(masks);
        all.map(|(name, values)| Entry {
            shape: vec![values.n_bytes() / values.size()],
            name,
            values,
        })
        .collect()
    }
}

/// Returns what makes the rows `new` of `old`.
fn table_change(old: &SparseRows<f32>, new: &SparseRows<f32>) -> TableChange {
    let width = |rows: &SparseRows<f32>| rows.values.len() / rows.ids.len().max(1);
    let (old_width, width) = (width(old), width(new));
    let mut change = TableChange::default();
    let mut before = old.ids.iter().copied().enumerate().peekable();
    for (row, &id) in new.ids.iter().enumerate() {
        while let Some((_, gone)) = before.next_if(|(_, other)| *other < id) {
            change.removed.push(gone);
        }
        let vector = &new.values[row * width..(row + 1) * width];
        let same = before.next_if(|(_, other)| *other == id);
        let is_same = same.is_some_and(|(row, _)| {
            let other = &old.values[row * old_width..(row + 1) * old_width];
            // By bits: 0 and -0 are equal and hash differently.
            let mut pairs = other.iter().zip(vector);
            other.len() == vector.len() && pairs.all(|(a, b)| a.to_bits() == b.to_bits())
        });
        if !is_same {
            change.ids.push(id);
            change.values.extend_from_slice(vector);
        }
    }
    change.removed.extend(before.map(|(_, gone)| gone));
    change
}

/// Returns removed rows, and new and changed rows with their last sighting and their number of sightings.
fn lives_change(old: &RowLives, new: &RowLives) -> [Vec<u32>; 4] {
    let mut change: [Vec<u32>; 4] = Default::default();
    let gone = old
        .ids
        .iter()
        .filter(|id| new.ids.binary_search(id).is_err());
    change[0] = gone.copied().collect();
    for (row, &id) in new.ids.iter().enumerate() {
        let now = [id, new.last_seen[row], new.sightings[row]];
        let before = old.ids.binary_search(&id).ok();
        let before = before.map(|row| [id, old.last_seen[row], old.sightings[row]]);
        if before != Some(now) {
            for (column, value) in change[1..].iter_mut().zip(now) {
                column.push(value);
            }
        }
    }
    change
}

/// Writes the whole model to `out` from its parent and from a folder with its files but for `weights.safetensors`. An
/// existing folder is replaced atomically.
///
/// # Errors
/// The folder has no delta, the delta is of another parent, the result is not the model, or files cannot be read or
/// written; `out` then stays as it was.
pub fn apply_delta(parent: &Path, folder: &Path, out: &Path) -> Result<(), DeltaError> {
    let delta = Delta::read(folder)?.ok_or_else(|| ArtifactError::None {
        path: folder.to_owned(),
        reason: format!("{DELTA} is missing"),
    })?;
    let found = Artifact::hash(parent)?.to_hex().to_string();
    if found != delta.parent {
        return Err(DeltaError::Parent {
            path: delta.file.path().to_owned(),
            expected: delta.parent,
            found,
        });
    }
    let before = Artifact::read(parent)?;
    let mut frame = delta.frame(folder, before.masks.as_ref())?;
    let n_tables = frame.artifact.spec.tables.len();
    for (i, set) in frame.artifact.weight_sets.iter_mut().enumerate() {
        let old = before.weight_sets.get(i);
        let tables = (0..n_tables).map(|t| {
            let old = old.and_then(|old| old.weights.tables.get(t));
            Ok::<_, DeltaError>(merged(old, &delta.table(i, t)?))
        });
        let tables = tables.collect::<Result<_, _>>()?;
        let dense = set.weights.dense.clone();
        set.weights = Arc::new(Weights { dense, tables });
    }
    frame.artifact.lives = delta.lives(&before.lives, n_tables)?;
    write_whole(&delta, &frame, folder, out)
}

fn merged(old: Option<&SparseRows<f32>>, change: &TableChange) -> SparseRows<f32> {
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    let none = SparseRows::default();
    let old = old.unwrap_or(&none);
    let width = old.values.len() / old.ids.len().max(1);
    let before = old.ids.iter().copied();
    let before = before.zip(old.values.chunks_exact(width.max(1)));
    let done = change.merge(before, |id, vector| {
        ids.push(id);
        values.extend_from_slice(vector);
        Some(())
    });
    debug_assert!(done.is_some(), "no row is refused");
    SparseRows {
        ids,
        values: values.into(),
    }
}

impl Delta {
    /// Returns the lives of rows after the delta.
    fn lives(&self, before: &[RowLives], n_tables: usize) -> Result<Vec<RowLives>, DeltaError> {
        if !self.file.has("life.table.0.ids") {
            return Ok(Vec::new());
        }
        let none = RowLives::default();
        let table = |t: usize| {
            let column = |part: &str| self.file.u32(&format!("life.table.{t}.{part}"));
            let changed = RowLives {
                ids: column("ids")?,
                last_seen: column("last_seen")?,
                sightings: column("sightings")?,
            };
            if !changed.is_sound() {
                return Err(self.differs("its lives are not those of rows"));
            }
            let removed = column("removed")?;
            Ok(before.get(t).unwrap_or(&none).changed(&removed, &changed))
        };
        (0..n_tables).map(table).collect()
    }
}

/// Writes the files of a model and verifies its tensors.
fn write_whole(delta: &Delta, frame: &Frame, folder: &Path, out: &Path) -> Result<(), DeltaError> {
    let (draft, old) = (beside(out, "tmp"), beside(out, "old"));
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |error| DeltaError::from(TensorFileError::unwritten(&path, error))
    };
    exchange::recover(out, &old).map_err(cannot(out))?;
    for stale in [&draft, &old] {
        if stale.exists() {
            std::fs::remove_dir_all(stale).map_err(cannot(stale))?;
        }
    }
    std::fs::create_dir_all(&draft).map_err(cannot(&draft))?;
    let written = fill(delta, frame, folder, &draft);
    if written.is_err() {
        // The first error is reported.
        let _ = std::fs::remove_dir_all(&draft);
        return written;
    }
    exchange::replace(&draft, out, &old).map_err(cannot(out))
}

fn fill(delta: &Delta, frame: &Frame, folder: &Path, draft: &Path) -> Result<(), DeltaError> {
    let shards = Manifest::read(folder)?.shards;
    let of = shards.len();
    let path = draft.join(WEIGHTS);
    let hashes = frame.artifact.write_weights(&path, shards.is_empty())?;
    for (index, shard) in shards.iter().enumerate() {
        let share = TableShare { index, of };
        if frame.artifact.write_shard(draft, share)? != *shard {
            return Err(delta.differs(format!(
                "shard {} is not the one in the manifest",
                index + 1
            )));
        }
    }
    for (name, hash) in &hashes {
        frame.check(delta, name, hash)?;
    }
    if hashes.len() != frame.hashes.len() {
        return Err(delta.differs("a tensor of the manifest is missing"));
    }
    for name in [MANIFEST, MANIFEST_SUM, SELF_TEST, DELTA] {
        let from = folder.join(name);
        if from.exists() {
            let bytes = super::read_file(&from, folder)?;
            tensor_file::write_bytes(&draft.join(name), &bytes)?;
        }
    }
    match Artifact::hash(draft)? == frame.hash {
        true => Ok(()),
        false => Err(delta.differs("the model was replaced while it was read")),
    }
}

#[cfg(test)]
mod tests;
