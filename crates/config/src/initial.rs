//! Tables whose rows begin at the vectors of a file.

use std::path::{Path, PathBuf};

use ncs_features::{IdSpacePlan, SchemaPlan};

use super::checks::Checks;
use super::toml_types::{self, Column, ColumnSettings};

/// A table whose rows begin at the vectors of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInit {
    /// The table, by its place in the schema.
    pub table: usize,
    /// The feature that states the file.
    pub column: String,
    /// The file.
    pub file: PathBuf,
    /// The column or tensor of ids, if it is stated.
    pub id: Option<String>,
    /// The column or tensor of vectors, if it is stated.
    pub vector: Option<String>,
    /// The file of the ids of a matrix.
    pub ids: Option<PathBuf>,
    /// True if training leaves the vectors as they are.
    pub frozen: bool,
}

/// Returns the files that columns state.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    schema: &SchemaPlan,
    root: &Path,
    checks: &mut Checks<'_>,
) -> Vec<TableInit> {
    let mut found: Vec<TableInit> = Vec::new();
    for (name, column) in &config.columns {
        let Column::With(
            ColumnSettings::Categorical {
                init: Some(init), ..
            }
            | ColumnSettings::List {
                init: Some(init), ..
            },
        ) = column
        else {
            continue;
        };
        let Some(field) = schema.fields.iter().find(|field| field.name == *name) else {
            continue;
        };
        let init = TableInit {
            table: field.table,
            column: name.clone(),
            file: root.join(&init.file),
            id: init.id.clone(),
            vector: init.vector.clone(),
            ids: init.ids.as_ref().map(|ids| root.join(ids)),
            frozen: init.frozen,
        };
        if let Some(problem) = problem(&init, schema, &found) {
            checks.say(&["columns", name, "init"], problem);
        }
        found.push(init);
    }
    found
}

fn problem(init: &TableInit, schema: &SchemaPlan, others: &[TableInit]) -> Option<String> {
    let name = &init.column;
    if let IdSpacePlan::Hash { .. } = schema.tables[init.table].ids {
        return Some(format!(
            "columns.{name}.init needs a vocabulary: two ids may share one of the buckets; leave buckets out"
        ));
    }
    if let Some(other) = others.iter().find(|other| other.table == init.table) {
        return Some(format!(
            "columns.{name} and columns.{} share one table; state init at one of them",
            other.column
        ));
    }
    let ending = init.file.extension().and_then(|ending| ending.to_str());
    let is_matrix = matches!(ending, Some("npy" | "safetensors"));
    if init.ids.is_some() && !is_matrix {
        return Some(format!(
            "columns.{name}.init.ids goes with a matrix (.npy or .safetensors); name the column of ids by init.id"
        ));
    }
    let mut files = std::iter::once(&init.file).chain(&init.ids);
    let absent = files.find(|file| !file.is_file())?;
    let file = ncs_readers::shown_path(absent);
    Some(format!(
        "columns.{name}.init: there is no file {file}; relative paths start at the run file"
    ))
}
