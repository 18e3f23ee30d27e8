//! Columns of files of features by id, added to the rows of a log block by block.

use super::Lookup;
use super::tally::LookupTally;
use crate::checked::leave_out;
use crate::plan::Reading;
use crate::source::{RawBlock, ReadError};
use ncs_features::lookup::{FeatureTable, Place, moment};
use ncs_features::time::Timestamp;
use ncs_features::{Block, Column, EncodeError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Adds looked-up columns to rows.
pub(crate) struct Join {
    /// The columns of the rows themselves.
    pub(crate) own: Vec<String>,
    /// The columns of the result, in order.
    wanted: Vec<String>,
    parts: Vec<Joined>,
}

/// The columns of one lookup.
struct Joined {
    lookup: Lookup,
    table: Arc<FeatureTable>,
    columns: Vec<String>,
    tally: LookupTally,
}

impl Join {
    /// Reads the tables that have wanted columns; `None` if none has.
    ///
    /// # Errors
    /// A file cannot be read, or is no table of features.
    pub(crate) fn new(reading: &Reading, wanted: &[String]) -> Result<Option<Join>, ReadError> {
        if reading.lookups.is_empty() {
            return Ok(None);
        }
        reading.looked_up_columns()?;
        let mut parts = Vec::new();
        for lookup in &reading.lookups {
            let mut columns = lookup.names()?;
            columns.retain(|column| wanted.contains(column));
            if columns.is_empty() {
                continue;
            }
            let table = lookup.table()?;
            parts.push(Joined {
                lookup: lookup.clone(),
                tally: LookupTally::new(&table),
                table,
                columns,
            });
        }
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Join {
            own: reading.own_columns(wanted)?,
            wanted: wanted.to_vec(),
            parts,
        }))
    }

    /// Refuses rows that have a column which is looked up.
    ///
    /// # Errors
    /// They have one.
    pub(crate) fn refuse_both(&self, path: &Path, present: &[String]) -> Result<(), ReadError> {
        let mut parts = self.parts.iter();
        parts.try_for_each(|part| part.lookup.refuse_both(path, present, &part.columns))
    }

    /// Adds the columns to rows that hold the columns `own`. Rows whose moment cannot be read become broken ones.
    ///
    /// # Errors
    /// The ids are lists.
    pub(crate) fn add(&mut self, path: &Path, raw: &mut RawBlock) -> Result<(), ReadError> {
        for part in &self.parts {
            part.leave_out_unreadable(raw);
        }
        let mut columns: Vec<Option<Column>> = self.wanted.iter().map(|_| None).collect();
        let mut put = |column: Column| {
            if let Some(place) = self.wanted.iter().position(|name| *name == column.name) {
                columns[place] = Some(column);
            }
        };
        for part in &mut self.parts {
            let found = part.found(path, &raw.block)?;
            found.into_iter().for_each(&mut put);
        }
        std::mem::take(&mut raw.block.columns)
            .into_iter()
            .for_each(put);
        raw.block.columns = columns.into_iter().flatten().collect();
        Ok(())
    }

    /// Describes the shares of rows and ids that were found, a note for each file.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let parts = self.parts.iter();
        parts.filter_map(|part| part.tally.note(&part.lookup, &part.table))
    }
}

/// Describes a row without a readable moment.
fn no_moment(column: &str, error: &EncodeError) -> String {
    match error {
        EncodeError::NotATime { found, .. } => format!(
            "column {column:?}: \"{found}\" is not a time, by which features are looked up; write dates and times in ISO \
             8601 (2026-11-29T08:30:00Z) or as numbers since 1970"
        ),
        error => format!("no moment by which features are looked up: {error}"),
    }
}

impl Joined {
    fn leave_out_unreadable(&self, raw: &mut RawBlock) {
        let Some(time) = &self.lookup.time else {
            return;
        };
        let Some(column) = raw.block.column(&time.row) else {
            return;
        };
        let mut broken = BTreeMap::new();
        for row in 0..raw.block.n_rows {
            if let Err(error) = moment(column, row, time.unit) {
                broken.insert(row, no_moment(&time.row, &error));
            }
        }
        if !broken.is_empty() {
            leave_out(raw, broken);
        }
    }

    /// Returns the columns of the rows' ids.
    fn found(&mut self, path: &Path, block: &Block) -> Result<Vec<Column>, ReadError> {
        let key = &self.lookup.key;
        let ids = block.column(key).filter(|ids| ids.offsets.is_none());
        let Some(ids) = ids else {
            return Err(ReadError::Lookup {
                path: path.to_owned(),
                what: format!("column {key:?} has lists; features are looked up by one id a row"),
            });
        };
        let times = self.lookup.time.as_ref();
        let times = times.and_then(|time| Some((block.column(&time.row)?, time.unit)));
        // Rows whose moment cannot be read were left out.
        let moment = |row: usize| -> Option<Timestamp> {
            times.and_then(|(column, unit)| moment(column, row, unit).ok().flatten())
        };
        let places: Vec<Place> = self.table.places(ids, block.n_rows, moment);
        self.tally.add(&self.table, ids, &places, moment);
        let wanted = |name: &str| self.columns.iter().any(|column| column == name);
        Ok(self.table.at(&places, &wanted))
    }
}
