//! Checkpoints whose table rows lie in several files, one written by each rank.
//!
//! Beside `NAME.safetensors` there is `NAME-shard-1-of-4-SAVE.safetensors` and so on, where SAVE identifies run, phase and
//! step. The shards are written first, under names that no earlier checkpoint has; the first rank then replaces
//! `NAME.safetensors`, which holds everything else and names SAVE, and deletes the shards of earlier ones. So at every
//! moment there is a checkpoint all of whose files are complete.

use super::Saved;
use crate::error::{TrainError, unfit};
use crate::tensors::read;
use ncs_model::{TableShare, TableStorage, TensorFile};
use std::path::{Path, PathBuf};

/// The shards of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShardSet {
    /// Number of shards.
    pub(super) of: usize,
    /// Identifies run, phase and step.
    pub(super) save: String,
}

impl ShardSet {
    pub(super) fn new(of: usize, (run, phase): (&str, &str), step: u64) -> ShardSet {
        let text = format!("{run}\n{phase}\n{step}\n{of}");
        let save = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        ShardSet { of, save }
    }

    /// Returns the shards that a checkpoint names, if it has any.
    pub(super) fn of_file(file: &TensorFile) -> Option<ShardSet> {
        let of = file.metadata("shards")?.parse().ok()?;
        let save = file.metadata("save")?.to_owned();
        Some(ShardSet { of, save })
    }

    /// Returns what the files of the checkpoint say about its shards.
    pub(super) fn metadata(&self) -> [(String, String); 2] {
        [
            ("shards".to_owned(), self.of.to_string()),
            ("save".to_owned(), self.save.clone()),
        ]
    }

    /// Returns the file of a shard of the checkpoint at `path`.
    pub(super) fn path(&self, path: &Path, index: usize) -> PathBuf {
        let (of, save) = (self.of, &self.save);
        let name = format!("{}{}-of-{of}-{save}.safetensors", prefix(path), index + 1);
        path.with_file_name(name)
    }

    /// Reads a shard of the checkpoint at `path`.
    fn read(
        &self,
        path: &Path,
        index: usize,
        storage: &TableStorage,
    ) -> Result<TensorFile, TrainError> {
        let path = self.path(path, index);
        let file = read(&path, storage)?;
        if ShardSet::of_file(&file).as_ref() == Some(self) {
            Ok(file)
        } else {
            let what = "it is a shard of another checkpoint".to_owned();
            Err(unfit(&path, what))
        }
    }
}

/// Returns the start of the names of a checkpoint's shards.
fn prefix(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}-shard-")
}

/// Deletes the shards of the checkpoint at `path` that are not of this set. One that cannot be deleted stays.
pub(super) fn delete_others(path: &Path, set: Option<&ShardSet>) {
    let own: Vec<PathBuf> = set.map_or(Vec::new(), |set| {
        (0..set.of).map(|index| set.path(path, index)).collect()
    });
    let folder = path.parent().unwrap_or(Path::new(""));
    let prefix = prefix(path);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_shard = entry.file_name().to_string_lossy().starts_with(&prefix);
        let found = path.with_file_name(entry.file_name());
        if is_shard && !own.contains(&found) {
            let _ = std::fs::remove_file(found);
        }
    }
}

impl Saved {
    /// Calls `each` with every file that holds table rows of a share (`None`: of any), one after the other; only one
    /// is in memory, or mapped, beside the checkpoint itself.
    pub(crate) fn each_table_file(
        &self,
        share: Option<TableShare>,
        mut each: impl FnMut(&TensorFile) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let Some(set) = ShardSet::of_file(&self.file) else {
            return each(&self.file);
        };
        for index in 0..set.of {
            let is_other = |share: TableShare| share.of == set.of && share.index != index;
            if !share.is_some_and(is_other) {
                each(&set.read(&self.path, index, &self.storage)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_other_saves_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let old = ShardSet::new(3, ("run", "train"), 7);
        let new = ShardSet::new(2, ("run", "train"), 9);
        let second = folder.path().join("checkpoint-shrinkage.safetensors");
        let files = [
            old.path(&path, 0),
            old.path(&path, 2),
            new.path(&path, 0),
            new.path(&path, 1),
            old.path(&second, 0),
            path.clone(),
        ];
        files
            .iter()
            .for_each(|file| std::fs::write(file, "x").unwrap());
        let left = || files.each_ref().map(|file| file.exists());
        delete_others(&path, Some(&new));
        assert_eq!(left(), [false, false, true, true, true, true]);
        delete_others(&path, None);
        assert_eq!(left(), [false, false, false, false, true, true]);
    }
}
