//! The folder of a model while it is written.

use super::shards::ModelShard;
use super::{Artifact, ArtifactError, beside, exchange};
use crate::tensor_file::TensorFileError;
use std::path::{Path, PathBuf};

/// A folder beside that of a model, which it will replace. It is removed if it is not published.
#[derive(Debug)]
pub struct ArtifactDraft {
    folder: PathBuf,
    draft: PathBuf,
    old: PathBuf,
    is_published: bool,
}

impl ArtifactDraft {
    /// Creates the folder that will become `folder`, and removes what an earlier process left of one.
    ///
    /// # Errors
    /// The file system reports an error.
    pub fn begin(folder: &Path) -> Result<ArtifactDraft, ArtifactError> {
        let draft = ArtifactDraft {
            folder: folder.to_owned(),
            draft: ArtifactDraft::path(folder),
            old: beside(folder, "old"),
            is_published: false,
        };
        draft.at(folder, exchange::recover(folder, &draft.old))?;
        for stale in [&draft.draft, &draft.old] {
            if stale.exists() {
                draft.at(stale, std::fs::remove_dir_all(stale))?;
            }
        }
        draft.at(&draft.draft, std::fs::create_dir_all(&draft.draft))?;
        Ok(draft)
    }

    /// Returns the folder that will become `folder`: other processes write shards there.
    pub fn path(folder: &Path) -> PathBuf {
        beside(folder, "tmp")
    }

    /// Writes all but the shards, which were written there before, and replaces the model's folder atomically where the
    /// file system supports it. Without shards, the file of the weights has the table rows. `add` writes further files
    /// after the model's own.
    ///
    /// # Errors
    /// The file system or `add` reports an error; an existing folder is then unchanged.
    pub fn publish(
        mut self,
        artifact: &Artifact,
        shards: Vec<ModelShard>,
        add: impl FnOnce(&Path) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        artifact.write_files(&self.draft, shards)?;
        add(&self.draft)?;
        let replaced = exchange::replace(&self.draft, &self.folder, &self.old);
        self.is_published = replaced.is_ok();
        self.at(&self.folder, replaced)
    }

    fn at(&self, path: &Path, result: std::io::Result<()>) -> Result<(), ArtifactError> {
        Ok(result.map_err(|error| TensorFileError::unwritten(path, error))?)
    }
}

impl Drop for ArtifactDraft {
    fn drop(&mut self) {
        if !self.is_published {
            // The first error is reported; one about the temporary folder would add nothing.
            let _ = std::fs::remove_dir_all(&self.draft);
        }
    }
}
