//! `ncs export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `ncs export`
#[derive(Args, Clone, Debug)]
pub struct Export {
    /// A folder written by ncs train, or the model in it.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Format of the file.
    #[arg(long, value_enum, default_value_t = ExportFormat::Onnx)]
    pub format: ExportFormat,
    /// Output file, such as model.onnx. Test vectors are written beside it, FILE.vectors.json, and constants of more
    /// than 1 GiB as FILE.data.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// A format of `ncs export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// ONNX, opset 17: takes ids and numbers, returns calibrated probabilities.
    Onnx,
}
