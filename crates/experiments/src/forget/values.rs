//! The values as the schemas of models and id caches encode them, as they were before anything was erased.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ncs_features::{ErasedValues, Schema};
use ncs_model::artifact::Artifact;
use ncs_readers::cache;

use super::texts::Texts;

/// The values to erase.
pub(super) struct KnownValues {
    column: String,
    values: Vec<String>,
    /// By the schema of the model that was named.
    main: ErasedValues,
    /// By the schemas of other models and id caches; `None` where one does not have the column.
    of_folder: HashMap<PathBuf, Option<ErasedValues>>,
    /// By all schemas of a run together; `None` where none is there.
    of_run: HashMap<PathBuf, Option<ErasedValues>>,
    texts: Texts,
}

impl KnownValues {
    pub(super) fn new(
        schema: &Schema,
        column: &str,
        values: &[String],
    ) -> Result<KnownValues, String> {
        let main = ErasedValues::of(schema, column, values);
        let main = main.map_err(|error| format!("the model has {error}"))?;
        if main.is_empty() {
            return Err("none of the values is a value: all mean \"missing\"".to_owned());
        }
        Ok(KnownValues {
            column: column.to_owned(),
            texts: Texts::new(values),
            values: values.to_vec(),
            main,
            of_folder: HashMap::new(),
            of_run: HashMap::new(),
        })
    }

    pub(super) fn main(&self) -> &ErasedValues {
        &self.main
    }

    pub(super) fn column(&self) -> &str {
        &self.column
    }

    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Returns the values by the schema of a model or an id cache; `None` if it does not have the column. Ids are
    /// those of the first call for this folder.
    pub(super) fn of_schema(&mut self, folder: &Path, schema: &Schema) -> Option<&ErasedValues> {
        let (column, values) = (&self.column, &self.values);
        let entry = self.of_folder.entry(folder.to_owned());
        let values = entry.or_insert_with(|| of_schema(schema, column, values));
        values.as_ref()
    }

    /// Returns the values by all schemas in the folder of a run: of its model and of its rows. `None` if there are
    /// none. Ids are those of the first call.
    pub(super) fn of_run(&mut self, run: &Path) -> Option<&ErasedValues> {
        if !self.of_run.contains_key(run) {
            let mut all: Option<ErasedValues> = None;
            for schema in schemas_of_run(run) {
                let found = of_schema(&schema, &self.column, &self.values);
                match (&mut all, found) {
                    (Some(all), Some(found)) => all.add_ids_of(&found),
                    (None, found) => all = found,
                    (Some(_), None) => {}
                }
            }
            self.of_run.insert(run.to_owned(), all);
        }
        self.of_run[run].as_ref()
    }
}

fn of_schema(schema: &Schema, column: &str, values: &[String]) -> Option<ErasedValues> {
    // A model without the column holds none of its values.
    ErasedValues::of(schema, column, values).ok()
}

fn schemas_of_run(run: &Path) -> Vec<Schema> {
    let mut schemas = Vec::new();
    if let Ok(artifact) = Artifact::read(&run.join("model")) {
        schemas.push(Schema::clone(&artifact.schema));
    }
    for entry in cache::list(&run.join(crate::training::ROWS)).unwrap_or_default() {
        if let Ok(set) = cache::open_set(&entry.path) {
            schemas.push(set.schema);
        }
    }
    schemas
}
