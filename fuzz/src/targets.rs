//! The targets, one file each: functions that read external bytes, and return the kind of result or an error.

mod artifact;
mod body;
pub(crate) mod files;
mod infer_json;
mod infer_proto;
mod labels;
mod rank_json;
mod rank_proto;
mod requests;
mod tensors;

use crate::mutate::{Form, Mutator};

/// A function that reads bytes, with its inputs.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads an input, and returns the kind of result or the error message.
    pub run: fn(&[u8]) -> Result<String, String>,
    /// The initial inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The format of the inputs.
    pub form: Form,
    /// Words to insert into inputs.
    pub words: &'static [&'static str],
    /// The maximum size of an input in bytes.
    pub max_length: usize,
}

impl Target {
    /// Returns the mutator of its inputs.
    pub fn mutator(&self) -> Mutator {
        Mutator {
            form: self.form,
            words: self.words,
            max_length: self.max_length,
        }
    }
}

/// All targets.
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

/// Returns the target of this name.
pub fn named(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}

/// Columns of the models, keys of the requests, and values with a special meaning.
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
