//! Features by id for the rows of a model, as in its training.

use std::path::{Path, PathBuf};

use ncs_features::LookedUp;
use ncs_model::artifact::Artifact;
use ncs_readers::{Lookup, ReadError, shown_path};

use super::{LoadedModel, Rows};
use crate::error::Error;

/// Returns the lookups of files that are named with their column of ids. Relative paths start at the working folder. The
/// times by which a record is chosen are those of the first of these models whose training used this id.
pub fn lookups<'a>(
    models: impl IntoIterator<Item = &'a Artifact> + Clone,
    files: &[(String, PathBuf)],
) -> Vec<Lookup> {
    let lookup = |(key, path): &(String, PathBuf)| {
        let records = models.clone().into_iter();
        let mut records = records.flat_map(|model| &model.looked_up);
        let record = records.find(|record| record.key == *key);
        let files = vec![path.display().to_string()];
        let time = record.and_then(|record| record.time.clone());
        Lookup::new(key, files, PathBuf::from(".")).with_time(time)
    };
    files.iter().map(lookup).collect()
}

/// Refuses rows without columns that the training of a model looked up.
///
/// # Errors
/// A column is absent; the rows cannot be read.
pub fn check_looked_up(model: &LoadedModel, rows: &Rows) -> Result<(), Error> {
    let records = &model.artifact.looked_up;
    if records.is_empty() {
        return Ok(());
    }
    let Some((file, present)) = rows.columns()? else {
        return Ok(());
    };
    match absent(records, &present) {
        None => Ok(()),
        Some(what) => Err(format!("{}: {what}", shown_path(&file)).into()),
    }
}

/// Describes the columns that a training looked up and that rows with the columns `present` lack.
fn absent(records: &[LookedUp], present: &[String]) -> Option<String> {
    let absent = |record: &LookedUp| {
        let columns = record.columns.iter();
        let columns = columns.filter(|column| !present.contains(column));
        let columns: Vec<&str> = columns.map(String::as_str).collect();
        (!columns.is_empty()).then(|| (record.key.clone(), columns.join(", ")))
    };
    let (key, columns) = records.iter().find_map(absent)?;
    Some(format!(
        "no column {columns}, which the training of the model looked up by {key}: name the file of these features \
         (--lookup {key}=FILE), or rows that have the columns"
    ))
}

/// Returns the columns of rows with those that are looked up.
pub(super) fn with_looked_up(
    mut columns: Vec<String>,
    path: &Path,
    lookups: &[Lookup],
) -> Result<(PathBuf, Vec<String>), ReadError> {
    for lookup in lookups {
        let names = lookup.names()?;
        let new: Vec<String> = names
            .into_iter()
            .filter(|name| !columns.contains(name))
            .collect();
        columns.extend(new);
    }
    Ok((path.to_owned(), columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_columns_are_named_with_their_id() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let records = [LookedUp {
            key: "item".into(),
            columns: names(&["price", "brand"]),
            time: None,
        }];
        let check = |present: &[&str], expected: Option<&str>| {
            let found = absent(&records, &names(present));
            let start = found.as_deref().map(|text| text.split(',').next().unwrap());
            assert_eq!(start, expected);
        };
        check(&["item", "price", "brand"], None);
        check(&["item", "price"], Some("no column brand"));
        let text = absent(&records, &names(&["item"])).unwrap();
        assert!(text.contains("--lookup item=FILE"), "{text}");
    }
}
