//! The columns of a request, compared with those that a model reads.

use super::Version;
use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::RankQuery;
use crate::wire::{listed, nearest};
use crate::words::shown;
use ncs_features::Column;

impl Version {
    /// Checks the columns of a request and returns the fields of the context, in ascending order.
    pub(super) fn check_columns(
        &self,
        query: &mut RankQuery,
        lenient: bool,
    ) -> Result<Vec<usize>, ApiError> {
        let mut read_by = vec![None; self.schema().fields.len()];
        let parts = [
            (&query.context, "context"),
            (&query.candidates, "candidates"),
        ];
        for (block, part) in parts {
            for column in &block.columns {
                let Some(fields) = self.fields_of.get(column.name.as_str()) else {
                    self.check_unread(column, part, lenient)?;
                    continue;
                };
                for &f in fields {
                    if let Some(other) = read_by[f].replace(part) {
                        return Err(ErrorKind::Invalid.error(format!(
                            "column \"{}\" comes twice, in {other} and in {part}; send it once",
                            shown(&column.name)
                        )));
                    }
                }
            }
        }
        let is_derived = |f: usize| self.schema().parts(f).is_some();
        let absent: Vec<usize> = (0..read_by.len())
            .filter(|&f| read_by[f].is_none() && !is_derived(f))
            .collect();
        if !absent.is_empty() {
            self.check_absent(&absent, lenient)?;
            for f in absent {
                read_by[f] = Some("context");
                let name = &self.schema().fields[f].column;
                if query.context.column(name).is_none() {
                    query.context.columns.push(null(name));
                    query.context.n_rows = 1;
                }
            }
        }
        let of_context = |&f: &usize| read_by[f] == Some("context");
        Ok(self.with_derived((0..read_by.len()).filter(of_context).collect()))
    }

    /// Adds to the fields of a context, ascending, the crosses and past rates that follow from them alone.
    pub(super) fn with_derived(&self, mut fields: Vec<usize>) -> Vec<usize> {
        let columns = fields.clone();
        let is_there = |of: &usize| columns.binary_search(of).is_ok();
        let follows = |&f: &usize| {
            let parts = self.schema().parts(f);
            parts.is_some_and(|parts| parts.iter().all(is_there))
        };
        fields.extend((0..self.schema().fields.len()).filter(follows));
        fields.sort_unstable();
        fields
    }

    /// Checks a column that no field reads. The group column is allowed, since it names the user.
    fn check_unread(&self, column: &Column, part: &str, lenient: bool) -> Result<(), ApiError> {
        let schema = self.schema();
        if lenient || schema.group.as_ref() == Some(&column.name) {
            return Ok(());
        }
        let is_label = schema.tasks.iter().any(|task| task.label == column.name);
        let hint = if is_label {
            "; it is a label, which a request cannot know".to_owned()
        } else {
            nearest(&column.name, self.fields_of.keys().map(|name| &**name))
        };
        let what = format!(
            "{part}: column \"{}\" is not a feature of this model{hint}",
            shown(&column.name)
        );
        Err(ErrorKind::Invalid.error(what))
    }

    fn check_absent(&self, absent: &[usize], lenient: bool) -> Result<(), ApiError> {
        if lenient {
            return Ok(());
        }
        let mut names: Vec<&str> = absent
            .iter()
            .map(|&f| self.schema().fields[f].column.as_str())
            .collect();
        names.dedup();
        let (word, them) = match names.len() {
            1 => ("column", "it"),
            _ => ("columns", "them"),
        };
        Err(ErrorKind::Invalid.error(format!(
            "{word} missing: {}; send {them} in the context or for each candidate, null where a value is \
             unknown",
            listed(&names)
        )))
    }
}

/// Returns a column with one null.
fn null(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        values: ncs_features::Values::Int(vec![0]),
        offsets: None,
        nulls: vec![true],
    }
}
