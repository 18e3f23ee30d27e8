//! A finished level of a search, on disk.

use super::LevelResult;
use crate::context::SearchContext;
use crate::error::TrainError;
use crate::error::unfit;
use crate::tensors::{self, create_parent_folder};
use ncs_model::{Entry, Mask, TaskMask, TensorFile, TensorFileError, Values, tensor_file};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Result of training one level of a search.
pub(super) struct SearchLevel {
    pub(super) result: LevelResult,
    /// The mask of the next level; `None` after the last.
    pub(super) next: Option<TaskMask>,
    /// Scores of its subnetwork on the validation rows if candidates are compared row by row; else empty.
    pub(super) scores: Vec<f32>,
}

/// The name of [`SearchLevel::scores`] in its file.
const SCORES: &str = "validation.scores";

fn path(context: &SearchContext<'_>, task: usize, level: u32) -> PathBuf {
    let folder = context.folder.join("search").join(format!("task-{task}"));
    folder.join(format!("level-{level}.safetensors"))
}

/// The level, if it is finished.
pub(super) fn read(
    context: &SearchContext<'_>,
    task: usize,
    level: u32,
) -> Result<Option<SearchLevel>, TrainError> {
    let path = path(context, task, level);
    if !path.exists() {
        return Ok(None);
    }
    let file = open(context, &path)?;
    let result = serde_json::from_str(file.metadata("result").unwrap_or_default());
    let result =
        result.map_err(|error| unfit(&path, format!("its result is unreadable: {error}")))?;
    let next = mask_in(context, &path, &file)?;
    let scores = if file.has(SCORES) {
        file.f32(SCORES)?
    } else {
        Vec::new()
    };
    Ok(Some(SearchLevel {
        scores,
        result,
        next: (!next.is_empty()).then_some(next),
    }))
}

/// A file of this run.
fn open(context: &SearchContext<'_>, path: &Path) -> Result<TensorFile, TrainError> {
    let file = tensors::read(path, &context.storage)?;
    if file.metadata("run") == Some(context.run) {
        Ok(file)
    } else {
        Err(unfit(path, "it belongs to another run".to_owned()))
    }
}

/// The mask that a file holds; empty, where it holds none.
fn mask_in(
    context: &SearchContext<'_>,
    path: &Path,
    file: &TensorFile,
) -> Result<TaskMask, TrainError> {
    let mut mask = Vec::new();
    for (l, (inputs, outputs)) in context.spec.layer_shapes().into_iter().enumerate() {
        let name = format!("next.fc_{l}");
        if file.has(&name) {
            let layer = Mask::from_bytes(inputs, outputs, &file.u8(&name)?);
            mask.push(layer.ok_or_else(|| unfit(path, "its mask has another size".to_owned()))?);
        }
    }
    Ok(mask)
}

fn mask_path(context: &SearchContext<'_>, task: usize, after: u32) -> PathBuf {
    path(context, task, after).with_extension("mask.safetensors")
}

/// Saves the mask for the level after level `after`, before that level is trained.
pub(super) fn write_mask(
    context: &SearchContext<'_>,
    task: usize,
    after: u32,
    mask: &TaskMask,
) -> Result<(), TrainError> {
    let metadata = [("run".to_owned(), context.run.to_owned())];
    write_file(
        context,
        &mask_path(context, task, after),
        mask,
        &[],
        &metadata.into(),
    )
}

/// The mask that [`write_mask`] kept.
pub(super) fn read_mask(
    context: &SearchContext<'_>,
    task: usize,
    after: u32,
) -> Result<TaskMask, TrainError> {
    let path = mask_path(context, task, after);
    // Without this file the next level cannot be trained: the warm-up must be repeated.
    let file = open(context, &path).map_err(|error| match error {
        TrainError::Damaged { path, what } => unfit(&path, format!("it is damaged ({what})")),
        TrainError::File(TensorFileError::Unreadable { path, source }) => {
            unfit(&path, format!("it cannot be read ({source})"))
        }
        other => other,
    })?;
    mask_in(context, &path, &file)
}

/// Saves the level.
pub(super) fn write(
    context: &SearchContext<'_>,
    task: usize,
    number: u32,
    level: &SearchLevel,
) -> Result<(), TrainError> {
    let result = serde_json::to_string(&level.result).expect("a result is plain data");
    let metadata = [
        ("run".to_owned(), context.run.to_owned()),
        ("result".to_owned(), result),
    ];
    let mask = level.next.as_deref().unwrap_or_default();
    let path = path(context, task, number);
    write_file(context, &path, mask, &level.scores, &metadata.into())
}

fn write_file(
    context: &SearchContext<'_>,
    path: &Path,
    mask: &[Mask],
    scores: &[f32],
    metadata: &BTreeMap<String, String>,
) -> Result<(), TrainError> {
    let bytes: Vec<Vec<u8>> = mask.iter().map(Mask::to_bytes).collect();
    let entries = bytes.iter().enumerate().map(|(l, bytes)| Entry {
        name: format!("next.fc_{l}"),
        shape: vec![bytes.len()],
        values: Values::U8(bytes),
    });
    let mut entries: Vec<Entry<'_>> = entries.collect();
    if !scores.is_empty() {
        entries.push(Entry {
            name: SCORES.to_owned(),
            shape: vec![scores.len()],
            values: Values::F32(scores),
        });
    }
    context.ranks.on_first(|| {
        create_parent_folder(path)?;
        tensor_file::write(path, &entries, metadata)?;
        Ok(())
    })
}
