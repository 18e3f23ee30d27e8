//! Arguments of `ncs delta`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `ncs delta`
#[derive(Clone, Debug, Subcommand)]
pub enum Delta {
    /// Write delta.safetensors into MODEL: its table rows that are not those of the parent, and its layers.
    Make(MakeDelta),
    /// Write the whole model from its parent and from a folder with its files but for weights.safetensors.
    Apply(ApplyDelta),
}

/// `ncs delta make`
#[derive(Args, Clone, Debug)]
pub struct MakeDelta {
    /// A folder written by ncs train, or the model in it.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The model that servers have before.
    #[arg(long, value_name = "MODEL")]
    pub parent: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ncs delta apply`
#[derive(Args, Clone, Debug)]
pub struct ApplyDelta {
    /// A model's folder with manifest.json, manifest.json.b3, self_test.json and delta.safetensors.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The model that the delta is against.
    #[arg(long, value_name = "MODEL")]
    pub parent: PathBuf,
    /// Folder of the whole model: new, or a model to replace atomically.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
