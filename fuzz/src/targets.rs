//! What reads bytes from outside, one function a file: an answer's kind, or the refusal.

mod artifact;
mod body;
pub(crate) mod files;
mod infer_json;
mod infer_proto;
mod labels;
mod questions;
mod rank_json;
mod rank_proto;
mod tensors;

use crate::mutate::{Changes, Form};

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads them: what kind of answer they have, or the text of the refusal.
    pub run: fn(&[u8]) -> Result<String, String>,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What they are made of.
    pub form: Form,
    /// What may stand in them.
    pub words: &'static [&'static str],
    /// The largest input, in bytes.
    pub longest: usize,
}

impl Target {
    /// How its inputs are changed.
    pub fn changes(&self) -> Changes {
        Changes {
            form: self.form,
            words: self.words,
            longest: self.longest,
        }
    }
}

/// All of them.
pub const ALL: [Target; 12] = [
    rank_json::TARGET,
    rank_proto::TARGET,
    infer_json::TARGET,
    infer_proto::TARGET,
    tensors::TARGET,
    body::TARGET,
    labels::TARGET,
    artifact::TARGET,
    files::CSV,
    files::JSON_LINES,
    files::PARQUET,
    files::TFRECORD,
];

/// The target of this name.
pub fn named(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}

/// Columns of the models, keys of the requests, and values that mean something to them.
const WORDS: &[&str] = &[
    "user",
    "hour",
    "history",
    "video",
    "tags",
    "price",
    "age",
    "watch",
    "session",
    "click",
    "buy",
    "model",
    "version",
    "label",
    "id",
    "context",
    "candidates",
    "top_k",
    "top_by",
    "ctr",
    "cvr",
    "ctcvr",
    "stable",
    "canary",
    "inputs",
    "outputs",
    "parameters",
    "name",
    "shape",
    "datatype",
    "data",
    "binary_data",
    "binary_data_size",
    "binary_data_output",
    "classification",
    "shared_memory_region",
    "timeout",
    "history:lengths",
    "tags:lengths",
    ":lengths",
    "BOOL",
    "INT8",
    "INT32",
    "INT64",
    "UINT8",
    "UINT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
    "v1",
    "u7",
    "-",
    "-1",
    "21",
    "news",
    "news|sport||x",
    "nan",
    "inf",
    "1e39",
    "-1e300",
    "0x10",
    " 7 ",
];
