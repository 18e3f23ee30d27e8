//! The columns of a request, compared with those that a model reads.

use super::Version;
use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::RankQuery;
use crate::wire::{listed, nearest};
use crate::words::shown;
use ncs_features::value::number_of_text;
use ncs_features::{Beside, Block, Column, Field, LookedUp, Texts, Values, moment};

/// Most columns that a field reads.
const MOST_COLUMNS: usize = 3;

/// The parts of a request.
const CONTEXT: &str = "context";
const CANDIDATES: &str = "candidates";

impl Version {
    /// Checks the columns of a request and returns the fields of the context, in ascending order.
    pub(super) fn check_columns(
        &self,
        query: &mut RankQuery,
        lenient: bool,
    ) -> Result<Vec<usize>, ApiError> {
        self.spread_no_events(&mut query.context);
        self.spread_no_events(&mut query.candidates);
        // The part that each column of a field comes in; those beyond its columns are unused.
        let mut read_by = vec![[None; MOST_COLUMNS]; self.schema().fields.len()];
        let parts = [(&query.context, CONTEXT), (&query.candidates, CANDIDATES)];
        for (block, part) in parts {
            for column in &block.columns {
                let Some(fields) = self.fields_of.get(column.name.as_str()) else {
                    self.check_unread(column, part, lenient)?;
                    continue;
                };
                for &f in fields {
                    let of_field = self.schema().fields[f].columns().zip(&mut read_by[f]);
                    for (_, place) in of_field.filter(|(name, _)| **name == column.name) {
                        if let Some(other) = place.replace(part) {
                            return Err(ErrorKind::Invalid.error(format!(
                                "column \"{}\" comes twice, in {other} and in {part}; send it once",
                                shown(&column.name)
                            )));
                        }
                    }
                }
            }
        }
        self.add_absent(query, &mut read_by, lenient)?;
        let fields = self.schema().fields.iter().enumerate();
        for (f, field) in fields.filter(|(_, field)| field.beside.column().is_some()) {
            let mut beside = read_by[f][1..field.columns().count()].iter();
            if beside.any(|part| *part != read_by[f][0]) {
                self.bring_together(query, field, read_by[f][0] == Some(CONTEXT))?;
                read_by[f] = [Some(CANDIDATES); MOST_COLUMNS];
            }
        }
        let of_context = |&f: &usize| read_by[f][0] == Some(CONTEXT);
        Ok(self.with_derived((0..read_by.len()).filter(of_context).collect()))
    }

    /// Replaces lists without events, `"history": []`, by empty lists of their attributes, `history.item` and so on: only the
    /// model knows which there are.
    fn spread_no_events(&self, block: &mut Block) {
        let n_rows = block.n_rows;
        let names: Vec<String> = block
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        for column in std::mem::take(&mut block.columns) {
            let has_none = |row| column.is_null(row) || column.range(row).is_empty();
            let is_known = self.fields_of.contains_key(column.name.as_str());
            if is_known || !(0..n_rows).all(has_none) {
                block.columns.push(column);
                continue;
            }
            let start = format!("{}.", column.name);
            let mut attributes: Vec<&str> = self.fields_of.keys().map(|name| &**name).collect();
            attributes.retain(|name| name.starts_with(&start));
            attributes.sort_unstable();
            if attributes.is_empty() {
                block.columns.push(column);
            }
            // Rows with events have brought the columns already.
            attributes.retain(|name| names.iter().all(|known| known != name));
            let empty = attributes.into_iter().map(|name| no_events(name, n_rows));
            block.columns.extend(empty);
        }
    }

    /// Adds a null to the context for each absent column, if that is allowed.
    fn add_absent(
        &self,
        query: &mut RankQuery,
        read_by: &mut [[Option<&'static str>; MOST_COLUMNS]],
        lenient: bool,
    ) -> Result<(), ApiError> {
        let mut absent = Vec::new();
        for (f, field) in self.schema().fields.iter().enumerate() {
            if self.schema().parts(f).is_some() {
                continue;
            }
            for (place, name) in field.columns().enumerate() {
                if read_by[f][place].is_none() {
                    read_by[f][place] = Some(CONTEXT);
                    absent.push(name.as_str());
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        self.check_absent(&absent, lenient)?;
        for name in absent {
            if query.context.column(name).is_none() {
                query.context.columns.push(null(name));
                query.context.n_rows = 1;
            }
        }
        Ok(())
    }

    /// Adds to each candidate the moment of the context that a feature compares with one of the candidates': the age of an
    /// item at the time of a request.
    fn bring_together(
        &self,
        query: &mut RankQuery,
        field: &Field,
        own_in_context: bool,
    ) -> Result<(), ApiError> {
        let [own, second] = [Some(&field.column), field.beside.column()];
        let name = if own_in_context { own } else { second };
        let (Beside::Since { unit, .. }, Some(name)) = (&field.beside, name) else {
            return Err(ErrorKind::Invalid.error(format!(
                "columns {} are the values and {} of feature \"{}\"; send all of them in the context, or all for each \
                 candidate",
                listed(&field.columns().map(String::as_str).collect::<Vec<_>>()),
                match &field.beside {
                    Beside::Ages(_) => "ages",
                    _ => "weights",
                },
                field.name
            )));
        };
        // Several features may read the same column.
        if query.candidates.column(name).is_some() {
            return Ok(());
        }
        let Some(column) = query.context.column(name) else {
            return Ok(());
        };
        let wrong = |error| ErrorKind::Invalid.error(format!("context: {error}"));
        let moment = moment(field, *unit, column, 0).map_err(wrong)?;
        let n_rows = query.candidates.n_rows;
        let values = match &column.values {
            // A text as a number or a moment, which takes the same memory whatever its length.
            Values::Text(texts) => match texts_number(texts) {
                Some(number) => Values::Float(vec![number; n_rows]),
                None => Values::Time(vec![moment.unwrap_or_default(); n_rows]),
            },
            values => values.select_or_fill(std::iter::repeat_n(column.range(0).next(), n_rows)),
        };
        query.candidates.columns.push(Column {
            name: name.clone(),
            values,
            offsets: None,
            nulls: vec![moment.is_none(); n_rows],
        });
        Ok(())
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

    fn check_absent(&self, absent: &[&str], lenient: bool) -> Result<(), ApiError> {
        if lenient {
            return Ok(());
        }
        let mut names = absent.to_vec();
        names.dedup();
        let (word, them) = match names.len() {
            1 => ("column", "it"),
            _ => ("columns", "them"),
        };
        Err(ErrorKind::Invalid.error(format!(
            "{word} missing: {}; send {them} in the context or for each candidate, null where a value is \
             unknown{}",
            listed(&names),
            self.hint_of_lookups(&names)
        )))
    }

    /// Returns `; its training looked up price by item: ...` if absent columns were looked up.
    fn hint_of_lookups(&self, absent: &[&str]) -> String {
        let hint = |record: &LookedUp| {
            let columns = record.columns.iter().map(String::as_str);
            let columns: Vec<&str> = columns.filter(|name| absent.contains(name)).collect();
            let key = &record.key;
            (!columns.is_empty()).then(|| {
                format!(
                    "; the training looked up {} by {key}: send {key} to a server with --lookup {key}=FILE",
                    listed(&columns)
                )
            })
        };
        self.looked_up().iter().filter_map(hint).collect()
    }
}

/// Returns a column with one null.
fn null(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        values: Values::Int(vec![0]),
        offsets: None,
        nulls: vec![true],
    }
}

/// Returns a column of empty lists.
fn no_events(name: &str, n_rows: usize) -> Column {
    Column {
        name: name.to_owned(),
        values: Values::Int(Vec::new()),
        offsets: Some(vec![0; n_rows + 1]),
        nulls: Vec::new(),
    }
}

/// Returns the number in the only text.
fn texts_number(texts: &Texts) -> Option<f64> {
    let first = (!texts.is_empty()).then(|| texts.get(0));
    first.and_then(number_of_text)
}
