//! `ncs export`

use std::path::PathBuf;

use ncs_experiments::onnx;
use ncs_experiments::progress::size;
use ncs_experiments::scoring::LoadedModel;
use ncs_export::{EXTERNAL_OVER, Exported};

use super::{Outcome, print};
use crate::arguments::export::{Export, ExportFormat};

/// Writes a model in the format of another runtime.
///
/// # Errors
/// The model cannot be read or exported, or a file cannot be written.
pub fn run(arguments: &Export) -> Outcome {
    let loaded = LoadedModel::open(&arguments.model)?;
    let exported = match arguments.format {
        ExportFormat::Onnx => onnx::write(&loaded, &arguments.out, EXTERNAL_OVER)?,
    };
    print(&text(&exported))
}

fn text(exported: &Exported) -> String {
    let signature = &exported.signature;
    let names = signature.inputs.iter().map(|input| input.name.as_str());
    let names: Vec<&str> = names.collect();
    let file =
        |(path, n_bytes): &(PathBuf, u64)| format!("{}: {}\n", path.display(), size(*n_bytes));
    let files: String = exported.files.iter().map(file).collect();
    format!(
        "{files}inputs: {}\noutputs: {}\n",
        names.join(", "),
        signature.outputs.join(", ")
    )
}
