//! Files of features by id, which are joined to the rows.

use std::path::Path;

use ncs_features::LookupTime;
use ncs_readers::{Lookup, Reading, Split};

use super::checks::Checks;
use super::times::time_unit;
use super::toml_types;

/// Returns the lookups of `[data.lookup]`. Their files are looked at; no row is read.
pub(crate) fn lookups(
    config: &toml_types::Data,
    split: &Split,
    root: &Path,
    checks: &mut Checks<'_>,
) -> Vec<Lookup> {
    let lookup = |(key, stated): (&String, &toml_types::Lookup)| {
        Lookup::new(key, stated.files.to_vec(), root.to_owned())
            .with_time(time(key, stated, split, checks))
            .with_columns(stated.columns.clone())
    };
    config.lookup.iter().map(lookup).collect()
}

fn time(
    key: &str,
    stated: &toml_types::Lookup,
    split: &Split,
    checks: &mut Checks<'_>,
) -> Option<LookupTime> {
    let of_split = match split {
        Split::Time { column, .. } | Split::Latest { column, .. } => Some(column),
        _ => None,
    };
    let Some(record) = &stated.time else {
        for (name, is_stated) in [
            ("row_time", stated.row_time.is_some()),
            ("unit", stated.unit.is_some()),
        ] {
            if is_stated {
                let text = format!(
                    "data.lookup.{key}.{name} goes with time, the column of the files that tells from when on a record \
                     is known"
                );
                checks.say(&["data", "lookup", key, name], text);
            }
        }
        return None;
    };
    let row = stated.row_time.as_ref().or(of_split);
    if row.is_none() {
        let text = format!(
            "data.lookup.{key}.time needs the moment of each row to compare with: state row_time, the column of the \
             rows that holds it"
        );
        checks.say(&["data", "lookup", key, "time"], text);
    }
    Some(LookupTime {
        record: record.clone(),
        row: row.cloned().unwrap_or_default(),
        unit: stated.unit.map(time_unit),
    })
}

/// Checks that the files can be read and have their columns; false if not.
pub(crate) fn check_files(reading: &Reading, checks: &mut Checks<'_>) -> bool {
    let mut are_read = true;
    for lookup in &reading.lookups {
        if let Err(error) = lookup.names() {
            let at = ["data", "lookup", &lookup.key, "files"];
            checks.say(&at, error.to_string());
            are_read = false;
        }
    }
    if are_read && let Err(error) = reading.looked_up_columns() {
        checks.say(&["data", "lookup"], error.to_string());
        are_read = false;
    }
    are_read
}

/// Checks that the rows have the ids and moments by which features are looked up.
pub(crate) fn check_rows(reading: &Reading, checks: &mut Checks<'_>) {
    for lookup in &reading.lookups {
        let key = lookup.key.as_str();
        checks.column(&["data", "lookup", key], key);
        if let Some(time) = &lookup.time {
            let stated = ["data", "lookup", key, "row_time"];
            let at = if checks.states(&stated) {
                stated
            } else {
                ["data", "lookup", key, "time"]
            };
            checks.column(&at, &time.row);
        }
    }
}
