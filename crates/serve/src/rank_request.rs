//! What is asked and what is answered, whatever the protocol.

use ncs_features::Block;
use std::sync::Arc;
use std::time::Duration;

/// One user and some candidates to be scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// The model, and which of its versions.
    pub model: ModelSelector,
    /// The caller's name for this request; one is made where it is empty.
    pub id: String,
    /// The user, by whom a request is sent to the canary or not. `None`: the schema's group column says.
    pub user: Option<String>,
    /// Columns that are the same for all candidates: one row, or no column at all.
    pub context: Block,
    /// The other columns, a row a candidate.
    pub candidates: Block,
    /// Answer only the best so many candidates, best first.
    pub top: Option<Top>,
    /// How long the caller waits, counted from when the request began.
    pub timeout: Option<Duration>,
}

/// VersionSelector model is to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSelector {
    /// The model's name. `None`: the only one there is.
    pub name: Option<String>,
    /// One of its versions.
    pub version: VersionSelector,
}

/// VersionSelector version of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionSelector {
    /// By the user's share: `canary` for some, `stable` for the others, the newest without labels.
    #[default]
    Routed,
    /// This one.
    Number(u64),
    /// The one with this label.
    Labelled(String),
}

/// The best candidates only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// How many.
    pub n: usize,
    /// By the scores of this output. `None`: the product of the tasks, or else the first task.
    pub by: Option<String>,
}

/// The scores that answer a [`Question`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The request's name.
    pub id: String,
    /// Who answers.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// BLAKE3 of its manifest, in hex.
    pub hash: Arc<str>,
    /// Under which label it was asked, where under one.
    pub label: Option<&'static str>,
    /// Names of the outputs: the tasks, then their product.
    pub outputs: Arc<[String]>,
    /// `scores[output][candidate]`, in the order of `candidates`.
    pub scores: Vec<Vec<f32>>,
    /// VersionSelector candidates the scores are of, from 0, where only the best were asked for.
    pub best: Option<Vec<u32>>,
}

impl Answer {
    /// More bytes than it takes in any form: a score has 16 characters at most.
    pub fn most_bytes(&self) -> usize {
        let scores: usize = self.scores.iter().map(Vec::len).sum();
        let best = self.best.as_ref().map_or(0, Vec::len);
        let names: usize = self.outputs.iter().map(String::len).sum();
        1024 + 6 * self.id.len() + 16 * scores + 11 * best + 2 * names + 256 * self.outputs.len()
    }
}
