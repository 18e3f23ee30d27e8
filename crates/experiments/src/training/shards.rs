//! A model in shards: each rank writes its table rows into the folder that the first rank has created.

use ncs_collective::{Collective, Wait};
use ncs_config::RunPlan;
use ncs_model::TableShare;
use ncs_model::artifact::{Artifact, ArtifactDraft, ModelShard};
use ncs_train::ModelFiles;
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::error::Error;

/// What a rank has written, or why it could not.
#[derive(Serialize, Deserialize)]
enum Written {
    Shard(ModelShard),
    Failed(String),
}

/// Writes the shard of this rank into the draft of the model in `folder`, once the first rank has created it, and returns
/// those of all ranks; none where the model is one file.
///
/// # Errors
/// A rank cannot write its shard, on all ranks; a rank has ended.
pub(super) fn of_ranks(
    plan: &RunPlan,
    artifact: &Artifact,
    folder: &Path,
    ranks: &dyn Collective,
) -> Result<Vec<ModelShard>, Error> {
    let of = ranks.n_ranks();
    if plan.train.model_files == ModelFiles::Whole || of == 1 {
        return Ok(Vec::new());
    }
    ranks.barrier(Wait::Unlimited)?;
    let share = TableShare {
        index: ranks.rank(),
        of,
    };
    let own = match artifact.write_shard(&ArtifactDraft::path(folder), share) {
        Ok(shard) => Written::Shard(shard),
        Err(error) => Written::Failed(error.to_string()),
    };
    let own = serde_json::to_vec(&own)?;
    let received = ranks.exchange(&vec![&own[..]; of], Wait::Unlimited)?;
    let mut shards = Vec::with_capacity(of);
    for (rank, text) in received.iter().enumerate() {
        match serde_json::from_slice(text)? {
            Written::Shard(shard) => shards.push(shard),
            Written::Failed(error) if rank == share.index => return Err(error.into()),
            Written::Failed(error) => return Err(format!("rank {rank}: {error}").into()),
        }
    }
    Ok(shards)
}
