//! Trained models as files of other runtimes: ONNX, of operator set 17.
//!
//! [`onnx`] writes a frozen model. The inputs are those of the encoder ([`Signature`]): ids of categorical columns,
//! raw numbers, lists with their lengths; the outputs are the calibrated probabilities of `ncs score`. All that lies
//! between is in the graph: the rows of tables that training has seen, scales of numbers, past counts and rates of
//! single columns, the Gram matrix, layers with 0 for pruned connections, heads, calibrators. What cannot be written so
//! that it gives the same scores is refused by name ([`ExportError::Refused`]), before a file is written.
//!
//! ```no_run
//! use ncs_export::{Source, onnx};
//! use ncs_model::{Scorer, artifact::Artifact};
//! let folder = std::path::Path::new("DIR/model");
//! let artifact = Artifact::read(folder)?;
//! let source = Source {
//!     scorer: &Scorer::new(&artifact).ok_or("weights of another network")?,
//!     self_test: artifact.self_test.as_ref(),
//!     hash: Artifact::hash(folder)?.to_hex().to_string(),
//! };
//! onnx(&source, "model.onnx".as_ref(), ncs_export::EXTERNAL_OVER)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod fields;
mod files;
mod network;
mod outputs;
pub mod proto;
mod signature;
mod vectors;

pub use signature::{Input, InputTensor, Role, Signature, TensorValues};

use builder::{GraphBuilder, Value};
use files::{Drafts, appended};
use ncs_features::EncodeError;
use ncs_model::{Scorer, SelfTest, TensorFileError};
use std::path::{Path, PathBuf};

/// Constants of more bytes than this go into a second file. Protobuf holds 2 GiB at most, and readers keep a file of
/// protobuf in memory twice while they parse it.
pub const EXTERNAL_OVER: u64 = 1 << 30;

/// The model to export.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The model.
    pub scorer: &'a Scorer,
    /// The rows of the test vectors, if the model has some; otherwise they are one row of missing values.
    pub self_test: Option<&'a SelfTest>,
    /// BLAKE3 of the model's manifest, which the files name.
    pub hash: String,
}

/// The files of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Path and size in bytes of each file: constants, if they are apart, test vectors, and last the model.
    pub files: Vec<(PathBuf, u64)>,
    /// Inputs and outputs.
    pub signature: Signature,
}

/// An error of an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The model cannot be written so that it gives the same scores; no file was written.
    #[error("the model cannot be exported: {what}; {remedy}")]
    Refused {
        /// The part, by name.
        what: String,
        /// The remedy.
        remedy: String,
    },
    /// The rows of the self-test cannot be encoded: the model is damaged.
    #[error("the self-test of the model: {0}")]
    SelfTest(#[from] EncodeError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] TensorFileError),
}

/// Writes a model as ONNX to `path`, and test vectors to `path` with `.vectors.json` appended. Constants of more than
/// `external_over` bytes together (by default [`EXTERNAL_OVER`]) go to `path` with `.data` appended. All files are
/// written beside their paths before the first is replaced.
///
/// # Errors
/// The model cannot be exported, or a file cannot be written; the previous files then stay.
pub fn onnx(source: &Source<'_>, path: &Path, external_over: u64) -> Result<Exported, ExportError> {
    if path.is_dir() {
        return Err(ExportError::Refused {
            what: format!("{} is a folder", path.display()),
            remedy: "name a file".to_owned(),
        });
    }
    let scorer = source.scorer;
    let signature = Signature::of(scorer.schema())?;
    let graph = graph(scorer, &signature)?;
    let vectors = vectors::json(scorer, &signature, source.self_test, &source.hash)?;
    let metadata = vec![("ncs4cvr.model", source.hash.clone())];
    let mut drafts = Drafts::default();
    drafts.write_bytes(appended(path, ".vectors.json"), &vectors)?;
    files::write_model(
        &mut drafts,
        graph,
        &signature,
        metadata,
        path,
        external_over,
    )?;
    Ok(Exported {
        files: drafts.publish()?,
        signature,
    })
}

/// Builds the graph of a model.
fn graph(scorer: &Scorer, signature: &Signature) -> Result<GraphBuilder, ExportError> {
    let mut graph = GraphBuilder::new(signature.names().map(str::to_owned));
    let fields = fields::fields(&mut graph, scorer.schema(), signature);
    let networks = scorer.networks();
    let mut probabilities: Vec<(usize, Value)> = Vec::new();
    for (n, network) in networks.iter().enumerate() {
        let name = match networks.len() {
            1 => String::new(),
            _ => format!("set_{n}/"),
        };
        let logits = network::logits(&mut graph, scorer, network, &name, &fields)?;
        probabilities.extend(outputs::probabilities(&mut graph, scorer, network, logits));
    }
    // By the task's number: every task is scored by one network.
    probabilities.sort_by_key(|(task, _)| *task);
    let calibrators = scorer.calibrators().iter();
    let scores = probabilities.iter().zip(calibrators);
    let scores =
        scores.map(|((_, p), calibrator)| outputs::calibrated(&mut graph, p, calibrator.as_ref()));
    let mut scores: Vec<Value> = scores.collect();
    for product in scorer.schema().products() {
        let mut so_far = scores[product.tasks[0]].clone();
        for &task in &product.tasks[1..] {
            let name = match product.tasks.len() {
                2 => product.name.clone(),
                _ => format!("{}/{}", product.name, scorer.schema().tasks[task].name),
            };
            let name = format!("product/{name}");
            so_far = graph.node("Mul", &name, &[&so_far, &scores[task]]);
        }
        scores.push(so_far);
    }
    let axis = graph.integers(&[1]);
    for (score, output) in scores.iter().zip(&signature.outputs) {
        graph.node_to(
            "Squeeze",
            std::slice::from_ref(output),
            &[score, &axis],
            Vec::new(),
        );
    }
    Ok(graph)
}
