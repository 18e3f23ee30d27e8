//! A model whose table rows lie in several files, one written by each process of a training.
//!
//! Beside `weights.safetensors`, which then has no rows, lie `weights-shard-1-of-4.safetensors` and so on. Each has, of every
//! table, the rows that a hash of their numbers gives to its share ([`TableShare`]), under the names that they have in a whole
//! file. The manifest has the BLAKE3 of the tensors of each shard, and of the whole tensors: it is the same model in
//! other files.

use super::manifest::Manifest;
use super::{Artifact, ArtifactError, WEIGHTS};
use crate::storage::TableStorage;
use crate::tables::{SparseRows, TableShare};
use crate::tensor_file::{self, Entry, TensorFile, TensorFileError, Values};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// BLAKE3 of every tensor of a shard, in hexadecimal, by name.
pub type ModelShard = BTreeMap<String, String>;

/// Returns the name of the file of a share.
fn file_name(share: TableShare) -> String {
    let stem = WEIGHTS.trim_end_matches(".safetensors");
    format!(
        "{stem}-shard-{}-of-{}.safetensors",
        share.index + 1,
        share.of
    )
}

impl Artifact {
    /// Writes the table rows of a share into `folder`, that of a [`super::ArtifactDraft`]. Of a process that holds its share
    /// only, the artifact has no others.
    ///
    /// # Errors
    /// The file system reports an error.
    pub fn write_shard(
        &self,
        folder: &Path,
        share: TableShare,
    ) -> Result<ModelShard, ArtifactError> {
        let mut tables = Vec::new();
        for (i, set) in self.weight_sets.iter().enumerate() {
            for (t, rows) in set.weights.tables.iter().enumerate() {
                tables.push((format!("member.{i}.table.{t}"), of_share(rows, share)));
            }
        }
        let entry = |name: String, len: usize, values| Entry {
            name,
            shape: vec![len],
            values,
        };
        let entries = tables.iter().flat_map(|(name, rows)| {
            let (ids, values) = (&rows.ids, &rows.values);
            [
                entry(format!("{name}.ids"), ids.len(), Values::U32(ids)),
                entry(format!("{name}.values"), values.len(), Values::F32(values)),
            ]
        });
        let entries: Vec<Entry<'_>> = entries.collect();
        let path = folder.join(file_name(share));
        let hashes = tensor_file::write(&path, &entries, &BTreeMap::new())?;
        let in_hex = |(name, hash): (String, blake3::Hash)| (name, hash.to_hex().to_string());
        Ok(hashes.into_iter().map(in_hex).collect())
    }
}

/// Returns the rows of a share; without a copy if all are.
fn of_share(rows: &SparseRows<f32>, share: TableShare) -> SparseRows<f32> {
    if rows.ids.iter().all(|&id| share.owns(id)) {
        return rows.clone();
    }
    let width = rows.values.len() / rows.ids.len().max(1);
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    let all = rows.ids.iter().zip(rows.values.chunks_exact(width.max(1)));
    for (&id, vector) in all.filter(|(id, _)| share.owns(**id)) {
        ids.push(id);
        values.extend_from_slice(vector);
    }
    SparseRows {
        ids,
        values: values.into(),
    }
}

/// Reads the table rows of a model in shards, `[weight set][table]`, into a storage.
///
/// # Errors
/// A shard is missing, was changed, or is of another model: the error names its file.
pub(super) fn read(
    folder: &Path,
    manifest: &Manifest,
    storage: &TableStorage,
) -> Result<Vec<Vec<SparseRows<f32>>>, ArtifactError> {
    let of = manifest.shards.len();
    let mut files = Vec::with_capacity(of);
    for (index, tensors) in manifest.shards.iter().enumerate() {
        files.push(open(folder, TableShare { index, of }, tensors)?);
    }
    let dim = manifest.spec.plan.dim;
    let table = |set: usize, table: usize| {
        let name = |part: &str| format!("member.{set}.table.{table}.{part}");
        let mut parts = Vec::with_capacity(of);
        for file in &files {
            let rows = SparseRows {
                ids: file.u32(&name("ids"))?,
                values: file.f32_rows(&name("values"))?,
            };
            if rows.values.len() != rows.ids.len() * dim {
                return Err(wrong(file.path(), "it has not a row for each row number"));
            }
            parts.push(rows);
        }
        let rows = SparseRows::joined_in(storage, &parts, dim)?;
        for (part, hash) in [
            ("ids", Values::U32(&rows.ids).hash()),
            ("values", Values::F32(&rows.values).hash()),
        ] {
            let expected = manifest.tensors.get(&name(part));
            if expected.map(String::as_str) != Some(hash.to_hex().as_str()) {
                let what = format!(
                    "{} of all shards is not the one in the manifest",
                    name(part)
                );
                return Err(wrong(folder, &what));
            }
        }
        Ok(rows)
    };
    let n_tables = manifest.spec.tables.len();
    let sets = 0..manifest.networks.len();
    sets.map(|set| (0..n_tables).map(|t| table(set, t)).collect())
        .collect()
}

/// Maps the file of a share, so that no shard is in memory beside the rows that are made of all.
fn open(
    folder: &Path,
    share: TableShare,
    tensors: &ModelShard,
) -> Result<TensorFile, ArtifactError> {
    let path = folder.join(file_name(share));
    let file = TensorFile::map(&path).map_err(|error| match error {
        TensorFileError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => {
            let of = share.of;
            wrong(
                &path,
                &format!("it is missing, and the table rows lie in {of} shards"),
            )
        }
        error => error.into(),
    })?;
    let differs = |(name, hash): &(&String, &String)| file.hash(name) != Some(*hash);
    match tensors.iter().find(differs) {
        Some((name, _)) => {
            let what = format!("its tensor {name} is not the one in the manifest");
            Err(wrong(&path, &what))
        }
        None => Ok(file),
    }
}

fn wrong(path: &Path, what: &str) -> ArtifactError {
    ArtifactError::Manifest {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}
