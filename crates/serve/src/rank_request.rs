//! Rank requests and their scores, independent of the protocol.

use ncs_features::Block;
use std::sync::Arc;
use std::time::Duration;

/// A request to score candidates for one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankQuery {
    /// Model and version.
    pub model: ModelSelector,
    /// Request id from the caller; generated if empty.
    pub id: String,
    /// User, which decides between stable and canary version. `None`: the value of the schema's group
    /// column.
    pub user: Option<String>,
    /// Columns that are equal for all candidates: one row, or no columns.
    pub context: Block,
    /// The other columns, one row per candidate.
    pub candidates: Block,
    /// Return only the best candidates, best first.
    pub top: Option<Top>,
    /// The caller's timeout, counted from the start of the request.
    pub timeout: Option<Duration>,
}

/// Selection of a model and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSelector {
    /// Name of the model. `None`: the only model.
    pub name: Option<String>,
    /// Version of the model.
    pub version: VersionSelector,
}

/// Selection of a version of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionSelector {
    /// By the user's share: `canary` for some users, `stable` for the others; the newest version if there
    /// are no labels.
    #[default]
    Routed,
    /// The version with this number.
    Number(u64),
    /// The version with this label.
    Labelled(String),
}

/// Selection of the best candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Number of candidates.
    pub n: usize,
    /// Output to sort by. `None`: the product of the longest chain of tasks, or the first task if there is none.
    pub by: Option<String>,
}

/// The scores of a [`RankQuery`].
#[derive(Clone, Debug, PartialEq)]
pub struct RankScores {
    /// Request id.
    pub id: String,
    /// Name of the model.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: u64,
    /// BLAKE3 hash of the model's manifest, in hex.
    pub hash: Arc<str>,
    /// Label that selected the version, if any.
    pub label: Option<&'static str>,
    /// Names of the outputs: the tasks, then their products.
    pub outputs: Arc<[String]>,
    /// `scores[output][candidate]`, in the order of the candidates.
    pub scores: Vec<Vec<f32>>,
    /// Indices of the candidates that the scores belong to, from 0, if only the best were requested.
    pub best: Option<Vec<u32>>,
}

impl RankScores {
    /// Returns an upper bound of the response's size in bytes in any format: a score takes at most 16
    /// characters.
    pub fn max_bytes(&self) -> usize {
        let scores: usize = self.scores.iter().map(Vec::len).sum();
        let best = self.best.as_ref().map_or(0, Vec::len);
        let names: usize = self.outputs.iter().map(String::len).sum();
        1024 + 6 * self.id.len() + 16 * scores + 11 * best + 2 * names + 256 * self.outputs.len()
    }
}
