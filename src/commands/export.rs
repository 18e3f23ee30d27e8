//! `ncs export`

use crate::error::Error;
use std::path::{Path, PathBuf};

use ncs_export::{EXTERNAL_OVER, Exported, Source};
use ncs_model::artifact::Artifact;

use super::{Outcome, print, size};
use crate::arguments::export::{Export, ExportFormat};
use crate::scoring::LoadedModel;

/// Writes a model in the format of another runtime.
///
/// # Errors
/// The model cannot be read or exported, or a file cannot be written.
pub fn run(arguments: &Export) -> Outcome {
    let loaded = LoadedModel::open(&arguments.model)?;
    let exported = match arguments.format {
        ExportFormat::Onnx => onnx(&loaded, &arguments.out, EXTERNAL_OVER)?,
    };
    print(&text(&exported))
}

/// Writes a model as ONNX to `out`, with test vectors beside it, and constants of more than `external_over` bytes.
///
/// # Errors
/// The model cannot be exported, `out` lies in the model's folder, or a file cannot be written.
pub fn onnx(model: &LoadedModel, out: &Path, external_over: u64) -> Result<Exported, Error> {
    refuse_folder_of_model(model, out)?;
    let source = Source {
        scorer: &model.scorer,
        self_test: model.artifact.self_test.as_ref(),
        hash: Artifact::hash(&model.folder)?.to_hex().to_string(),
    };
    Ok(ncs_export::onnx(&source, out, external_over)?)
}

/// The next training replaces that folder as a whole, and every file in it belongs to the model.
fn refuse_folder_of_model(model: &LoadedModel, out: &Path) -> Result<(), String> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize();
    let is_of_model = folder.is_ok_and(|folder| {
        let of_model = model.folder.canonicalize();
        of_model.is_ok_and(|of_model| folder.starts_with(of_model))
    });
    match is_of_model {
        false => Ok(()),
        true => Err(format!(
            "{}: --out is in the model's folder, which the next training replaces; name a file elsewhere",
            out.display()
        )),
    }
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
