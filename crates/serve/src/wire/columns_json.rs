//! Columns in JSON: `{"column": value}` for one row, `{"column": [value, ...]}` or
//! `[{"column": value}, ...]` for many.

use super::{Accepts, MOST_COLUMNS};
use ncs_features::Block;
use ncs_features::columns::ColumnBuilder;
use ncs_features::json::CellSeed;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

/// Reads one row: an object of values.
pub(super) struct OneRow;

/// Reads many rows, as an object of lists or a list of objects.
pub(super) struct ManyRows<'a> {
    pub(super) accepts: &'a Accepts,
    /// Set where it fails because there are too many rows.
    pub(super) too_many: &'a Cell<bool>,
}

/// Columns by name, in the order of their first appearance.
#[derive(Default)]
struct Columns {
    columns: Vec<ColumnBuilder>,
    places: HashMap<Box<str>, usize>,
}

impl Columns {
    fn find(&self, name: &str, guess: usize) -> Option<usize> {
        // Rows name their columns in the same order, nearly always.
        match self.columns.get(guess) {
            Some(column) if column.name() == name => Some(guess),
            _ => self.places.get(name).copied(),
        }
    }

    fn add<E: Error>(&mut self, name: &str) -> Result<usize, E> {
        let place = self.columns.len();
        if place == MOST_COLUMNS {
            let what = format!("more than {MOST_COLUMNS} columns");
            return Err(E::custom(what));
        }
        self.columns.push(ColumnBuilder::new(name));
        self.places.insert(name.into(), place);
        Ok(place)
    }

    fn finish(mut self, n_rows: usize) -> Block {
        Block {
            n_rows,
            columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect(),
        }
    }
}

impl<'de> DeserializeSeed<'de> for OneRow {
    type Value = Block;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Block, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value for each column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut row = Columns::default();
        while let Some(name) = map.next_key::<String>()? {
            if row.find(&name, usize::MAX).is_some() {
                return Err(twice(&name));
            }
            let place = row.add(&name)?;
            let cell = map.next_value_seed(CellSeed::default());
            cell.map_err(|error| in_column(&name, error))?
                .push_to(&mut row.columns[place]);
        }
        row.columns.iter_mut().for_each(ColumnBuilder::end_row);
        Ok(row.finish(1))
    }
}

impl<'de> DeserializeSeed<'de> for ManyRows<'_> {
    type Value = Block;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Block, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ManyRows<'_> {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of values for each column, or a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut rows = Columns::default();
        let mut length: Option<(usize, String)> = None;
        while let Some(name) = map.next_key::<String>()? {
            if rows.find(&name, usize::MAX).is_some() {
                return Err(twice(&name));
            }
            let place = rows.add(&name)?;
            let column = WholeColumn {
                column: &mut rows.columns[place],
                of: &self,
            };
            let n = map.next_value_seed(column);
            let n = n.map_err(|error| in_column(&name, error))?;
            match &length {
                None => length = Some((n, name)),
                Some((first, _)) if *first == n => {}
                Some((first, of)) => {
                    return Err(A::Error::custom(format!(
                        "column \"{name}\" has {n} values and column \"{of}\" has {first}; each needs \
                         one a candidate, null where it is unknown"
                    )));
                }
            }
        }
        Ok(rows.finish(length.map_or(0, |(n, _)| n)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Block, A::Error> {
        let mut rows = Columns::default();
        let mut n_rows = 0;
        let mut last_seen = Vec::new();
        loop {
            let row = Row {
                rows: &mut rows,
                number: n_rows,
                last_seen: &mut last_seen,
                lenient: self.accepts.lenient,
            };
            if list.next_element_seed(row)?.is_none() {
                return Ok(rows.finish(n_rows));
            }
            n_rows += 1;
            self.count(n_rows)?;
        }
    }
}

impl ManyRows<'_> {
    fn count<E: Error>(&self, n: usize) -> Result<(), E> {
        if n <= self.accepts.candidates {
            return Ok(());
        }
        self.too_many.set(true);
        Err(E::custom("too many candidates"))
    }
}

/// All values of a column.
struct WholeColumn<'a, 'b> {
    column: &'a mut ColumnBuilder,
    of: &'a ManyRows<'b>,
}

impl<'de> DeserializeSeed<'de> for WholeColumn<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for WholeColumn<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with a value for each candidate")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let mut n = 0;
        while let Some(cell) = list.next_element_seed(CellSeed::default())? {
            cell.push_to(self.column);
            self.column.end_row();
            n += 1;
            self.of.count(n)?;
        }
        Ok(n)
    }
}

/// One of many rows.
struct Row<'a> {
    rows: &'a mut Columns,
    number: usize,
    /// For each column: one more than the last row that had it.
    last_seen: &'a mut Vec<usize>,
    lenient: bool,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a candidate: an object with a value for each column")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut n = 0;
        while let Some(place) = map.next_key_seed(KeyOfRow(&mut self, n))? {
            let column = &mut self.rows.columns[place];
            let cell = map.next_value_seed(CellSeed::default());
            match cell {
                Ok(cell) => cell.push_to(column),
                Err(error) => return Err(in_column(column.name(), error)),
            }
            n += 1;
        }
        self.end(n)
    }
}

impl Row<'_> {
    fn end<E: Error>(&mut self, n_columns: usize) -> Result<(), E> {
        if n_columns < self.rows.columns.len() && !self.lenient {
            let absent = self
                .last_seen
                .iter()
                .position(|&row| row != self.number + 1);
            if let Some(place) = absent {
                return Err(self.lacks(self.number, self.rows.columns[place].name()));
            }
        }
        self.rows
            .columns
            .iter_mut()
            .for_each(ColumnBuilder::end_row);
        Ok(())
    }

    fn lacks<E: Error>(&self, row: usize, name: &str) -> E {
        E::custom(format!(
            "candidate {} lacks column \"{name}\", which another has; write null where it is unknown",
            row + 1
        ))
    }

    fn place<E: Error>(&mut self, name: &str, guess: usize) -> Result<usize, E> {
        let place = match self.rows.find(name, guess) {
            Some(place) => place,
            None if self.number > 0 && !self.lenient => return Err(self.lacks(0, name)),
            None => {
                let place = self.rows.add(name)?;
                (0..self.number).for_each(|_| self.rows.columns[place].end_row());
                self.last_seen.push(0);
                place
            }
        };
        if self.last_seen[place] == self.number + 1 {
            return Err(twice(name));
        }
        self.last_seen[place] = self.number + 1;
        Ok(place)
    }
}

/// A key of a row, and which column one expects there.
struct KeyOfRow<'a, 'b>(&'a mut Row<'b>, usize);

impl<'de> DeserializeSeed<'de> for KeyOfRow<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOfRow<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        self.0.place(name, self.1)
    }
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format!("column \"{name}\" comes twice"))
}

fn in_column<E: Error>(name: &str, error: E) -> E {
    E::custom(format!("column \"{name}\": {error}"))
}
