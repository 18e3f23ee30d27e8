//! Labels and scores of evaluated rows as a file, so that runs on the same rows can be compared row by row.

use std::collections::BTreeMap;
use std::path::Path;

use ncs_eval::{Predictions, TaskPredictions};
use ncs_features::LabelKind;
use ncs_model::{Entry, TensorFile, Values, tensor_file};

use crate::error::Error;

/// Writes them for a comparison, which tests by rows that count once each: nothing if some rows have weights.
///
/// # Errors
/// As [`write`].
pub(crate) fn keep(path: &Path, predictions: &Predictions) -> Result<(), Error> {
    let counts_by_weight = |task: &TaskPredictions| !task.weights.is_empty();
    if predictions.tasks.iter().any(counts_by_weight) {
        return Ok(());
    }
    write(path, predictions)
}

/// Writes labels and scores of every task: tensors `labels.TASK` and `scores.TASK`; NaN marks an unknown label.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write(path: &Path, predictions: &Predictions) -> Result<(), Error> {
    let mut entries = Vec::new();
    for task in &predictions.tasks {
        for (kind, values) in [("labels", &task.labels), ("scores", &task.scores)] {
            entries.push(Entry {
                name: format!("{kind}.{}", task.name),
                shape: vec![values.len()],
                values: Values::F32(values),
            });
        }
    }
    let names: Vec<&str> = predictions
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    let kinds: Vec<LabelKind> = predictions.tasks.iter().map(|task| task.kind).collect();
    let metadata = BTreeMap::from([
        ("tasks".to_owned(), serde_json::to_string(&names)?),
        ("kinds".to_owned(), serde_json::to_string(&kinds)?),
        (
            "funnel".to_owned(),
            serde_json::to_string(&predictions.funnel)?,
        ),
        (
            "products".to_owned(),
            serde_json::to_string(&predictions.products)?,
        ),
    ]);
    tensor_file::write(path, &entries, &metadata)?;
    Ok(())
}

/// Reads a file of [`write`]; true probabilities, weights and groups are not in it.
///
/// # Errors
/// Fails if the file is missing or was changed.
pub(crate) fn read(path: &Path) -> Result<Predictions, Error> {
    let file = TensorFile::read(path)?;
    let metadata = |key: &str| file.metadata(key).unwrap_or("null");
    let names: Vec<String> = serde_json::from_str(metadata("tasks"))?;
    let mut tasks = Vec::new();
    for (name, kind) in names.into_iter().zip(kinds(&file)?) {
        tasks.push(TaskPredictions {
            labels: file.f32(&format!("labels.{name}"))?,
            scores: file.f32(&format!("scores.{name}"))?,
            name,
            kind,
            ..TaskPredictions::default()
        });
    }
    Ok(Predictions {
        tasks,
        groups: Vec::new(),
        funnel: serde_json::from_str(metadata("funnel"))?,
        // Files of earlier versions have none.
        products: serde_json::from_str(file.metadata("products").unwrap_or("[]"))?,
    })
}

/// Returns the kinds of the tasks' labels. Files from before there were values say only which are binary.
fn kinds(file: &TensorFile) -> Result<Vec<LabelKind>, Error> {
    if let Some(kinds) = file.metadata("kinds") {
        return Ok(serde_json::from_str(kinds)?);
    }
    let binary: Vec<bool> = serde_json::from_str(file.metadata("binary").unwrap_or("null"))?;
    let kind = |binary| {
        if binary {
            LabelKind::Binary
        } else {
            LabelKind::Ratio
        }
    };
    Ok(binary.into_iter().map(kind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_eval::TaskProduct;

    #[test]
    fn predictions_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.safetensors");
        let task = |name: &str, kind| TaskPredictions {
            name: name.to_owned(),
            kind,
            labels: vec![0.0, 1.0, f32::NAN],
            scores: vec![0.25, 0.5, 0.75],
            ..TaskPredictions::default()
        };
        let written = Predictions {
            tasks: vec![
                task("ctr", LabelKind::Binary),
                task("watch", LabelKind::Value),
            ],
            groups: Vec::new(),
            funnel: Some((0, 1)),
            products: vec![TaskProduct {
                name: "ctr_cart_buy".to_owned(),
                tasks: vec![0, 1],
            }],
        };
        write(&path, &written).unwrap();
        let loaded = read(&path).unwrap();
        assert_eq!(format!("{loaded:?}"), format!("{written:?}"));
    }
}
