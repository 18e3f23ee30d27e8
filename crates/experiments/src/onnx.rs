//! A model as an ONNX file.

use std::path::Path;

use ncs_export::{Exported, Source};
use ncs_model::artifact::Artifact;

use crate::error::Error;
use crate::scoring::LoadedModel;

/// Writes a model as ONNX to `out`, with test vectors beside it, and constants of more than `external_over` bytes.
///
/// # Errors
/// The model cannot be exported, `out` lies in the model's folder, or a file cannot be written.
pub fn write(model: &LoadedModel, out: &Path, external_over: u64) -> Result<Exported, Error> {
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
    if is_of_model {
        Err(format!(
            "{}: --out is in the model's folder, which the next training replaces; name a file elsewhere",
            out.display()
        ))
    } else {
        Ok(())
    }
}
