//! Values in a model, and the model without them.

use std::path::Path;
use std::sync::Arc;

use ncs_features::{ErasedValues, SchemaTraces};
use ncs_model::artifact::{Ancestor, Artifact, Erasure, WeightSet};
use ncs_model::{Scorer, SelfTest, SparseRows};

use super::files::{counted, listed};
use crate::error::Error;

/// Describes what of a model holds the values; `None` if nothing does.
pub(super) fn traces(artifact: &Artifact, values: &ErasedValues) -> Result<Option<String>, Error> {
    let SchemaTraces { entries, counts } = values.traces(&artifact.schema);
    let rows = artifact.weight_sets.iter().map(|set| n_rows(set, values));
    let test = match &artifact.self_test {
        None => 0,
        Some(test) => count(&values.rows_of(&test.rows)?),
    };
    Ok(listed(&[
        counted(rows.sum(), "table row"),
        counted(entries, "vocabulary entry"),
        counted(counts, "past count"),
        counted(test, "row of the self-test"),
    ]))
}

fn count(flags: &[bool]) -> usize {
    flags.iter().filter(|flag| **flag).count()
}

fn n_rows(set: &WeightSet, values: &ErasedValues) -> usize {
    let of_table = |(table, rows): (usize, &SparseRows<f32>)| {
        let ids = rows.ids.iter();
        ids.filter(|&&id| values.has_row(table, id)).count()
    };
    set.weights.tables.iter().enumerate().map(of_table).sum()
}

/// Replaces the model in `folder` by one without the values.
pub(super) fn erase(folder: &Path, column: &str, values: &ErasedValues) -> Result<(), Error> {
    let mut artifact = Artifact::read(folder)?;
    let hash = Artifact::hash(folder)?;
    artifact.schema = Arc::new(values.without(&artifact.schema));
    for set in &mut artifact.weight_sets {
        let gone = |table: usize, id: u32| values.has_row(table, id);
        set.weights = Arc::new(set.weights.without_rows(gone));
    }
    if let Some(distributions) = &mut artifact.distributions {
        let columns = &mut Arc::make_mut(distributions).columns;
        for (field, found) in artifact.schema.fields.iter().zip(columns) {
            found.forget(|id| values.has_row(field.table, id));
        }
    }
    for (table, lives) in artifact.lives.iter_mut().enumerate() {
        lives.retain(|id| !values.has_row(table, id));
    }
    artifact.ancestry.push(Ancestor {
        day: None,
        model: hash.to_hex().to_string(),
        rows: 0,
        calibration: None,
        erasure: Some(Erasure {
            column: column.to_owned(),
            values: values.len() as u64,
        }),
    });
    // Rows with the values go; the others may share a row of a hashed table with them.
    let scorer = Scorer::new(&artifact).ok_or("the model's weights do not fit its network")?;
    if let Some(test) = artifact.self_test.take() {
        let holds = values.rows_of(&test.rows)?;
        let kept: Vec<usize> = (0..holds.len()).filter(|&row| !holds[row]).collect();
        let rows = test.rows.select(&kept);
        artifact.self_test = (!kept.is_empty())
            .then(|| SelfTest::record(&scorer, &rows))
            .flatten();
    }
    Ok(artifact.write(folder)?)
}
