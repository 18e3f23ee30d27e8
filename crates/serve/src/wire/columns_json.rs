//! Columns in JSON: `{"column": value}` for one row, `{"column": [value, ...]}` or
//! `[{"column": value}, ...]` for many. A value in the object of a row may be a list of objects, the events of a sequence: each
//! of their keys is a column.

use super::MAX_COLUMNS;
use super::bounds::{Bounds, ColumnWeight, NUMBER};
use super::short_json::Short;
use crate::words::shown;
use ncs_features::Block;
use ncs_features::columns::ColumnBuilder;
use ncs_features::json::{Cell, CellSeed, Events, brief};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// Reads one row: an object of values.
pub(super) struct OneRow<'a, 'b>(pub(super) &'a Bounds<'b>);

/// Reads many rows, as an object of lists or a list of objects.
pub(super) struct ManyRows<'a, 'b>(pub(super) &'a Bounds<'b>);

/// Columns by name, in the order of their first appearance.
struct Columns<'a, 'b> {
    columns: Vec<ColumnBuilder>,
    weights: Vec<ColumnWeight>,
    indices: HashMap<Box<str>, usize>,
    bounds: &'a Bounds<'b>,
}

impl<'a, 'b> Columns<'a, 'b> {
    fn new(bounds: &'a Bounds<'b>) -> Columns<'a, 'b> {
        Columns {
            columns: Vec::new(),
            weights: Vec::new(),
            indices: HashMap::new(),
            bounds,
        }
    }

    fn find(&self, name: &str, guess: usize) -> Option<usize> {
        // Rows nearly always list their columns in the same order.
        match self.columns.get(guess) {
            Some(column) if column.name() == name => Some(guess),
            _ => self.indices.get(name).copied(),
        }
    }

    fn add<E: Error>(&mut self, name: &str) -> Result<usize, E> {
        let index = self.columns.len();
        if index == MAX_COLUMNS {
            let what = format!("more than {MAX_COLUMNS} columns");
            return Err(E::custom(what));
        }
        let taken = self.bounds.column(name);
        taken.map_err(|refusal| self.bounds.stop(refusal))?;
        self.columns.push(ColumnBuilder::new(name));
        self.weights.push(ColumnWeight::default());
        self.indices.insert(name.into(), index);
        Ok(index)
    }

    /// Appends a value to the current row of a column.
    fn push<E: Error>(&mut self, index: usize, cell: &Cell<'_>) -> Result<(), E> {
        self.weights[index].row(self.bounds, cell)?;
        cell.push_to(&mut self.columns[index]);
        Ok(())
    }

    /// Adds a column for each attribute of the events of the only row: `history.item` of `history`.
    fn push_events<E: Error>(&mut self, name: &str, events: Events<'_>) -> Result<(), E> {
        for (attribute, values) in events.attributes {
            let name = format!("{name}.{attribute}");
            if self.find(&name, usize::MAX).is_some() {
                return Err(twice(&name));
            }
            let index = self.add(&name)?;
            self.push(index, &Cell::List(values))?;
        }
        Ok(())
    }

    /// Returns a seed for a cell, which limits its list to the remaining allowance.
    fn cell(&self) -> CellSeed {
        CellSeed::within(self.bounds.max_items())
    }

    fn finish(mut self, n_rows: usize) -> Block {
        Block {
            n_rows,
            columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect(),
        }
    }
}

impl<'de> DeserializeSeed<'de> for OneRow<'_, '_> {
    type Value = Block;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Block, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_, '_> {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value for each column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut row = Columns::new(self.0);
        while let Some(name) = map.next_key_seed(column_name(self.0))? {
            if row.find(&name, usize::MAX).is_some() {
                return Err(twice(&name));
            }
            let cell = map.next_value_seed(row.cell().with_events());
            let pushed = cell.and_then(|cell| match cell {
                Cell::Events(events) => row.push_events(&name, events),
                cell => {
                    let index = row.add(&name)?;
                    row.push(index, &cell)
                }
            });
            pushed.map_err(|error| in_column(&name, error))?;
        }
        row.columns.iter_mut().for_each(ColumnBuilder::end_row);
        Ok(row.finish(1))
    }
}

impl<'de> DeserializeSeed<'de> for ManyRows<'_, '_> {
    type Value = Block;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Block, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ManyRows<'_, '_> {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of values for each column, or a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut rows = Columns::new(self.0);
        let mut length = None;
        while let Some(name) = map.next_key_seed(column_name(self.0))? {
            if rows.find(&name, usize::MAX).is_some() {
                return Err(twice(&name));
            }
            let index = rows.add(&name)?;
            let column = WholeColumn {
                rows: &mut rows,
                index,
            };
            let n = map.next_value_seed(column);
            let n = n.map_err(|error| in_column(&name, error))?;
            match &length {
                None => length = Some((n, name)),
                Some((first, _)) if *first == n => {}
                Some((first, of)) => {
                    return Err(A::Error::custom(format!(
                        "column \"{}\" has {n} values and column \"{}\" has {first}; each needs \
                         one a candidate, null where it is unknown",
                        shown(&name),
                        shown(of)
                    )));
                }
            }
        }
        Ok(rows.finish(length.map_or(0, |(n, _)| n)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Block, A::Error> {
        let mut rows = Columns::new(self.0);
        let mut n_rows = 0;
        let (mut last_row, mut attributes) = (Vec::new(), Vec::new());
        loop {
            let row = Row {
                rows: &mut rows,
                number: n_rows,
                last_row: &mut last_row,
                attributes: &mut attributes,
                n_attributes: 0,
                lenient: self.0.accepts.lenient,
            };
            if list.next_element_seed(row)?.is_none() {
                return Ok(rows.finish(n_rows));
            }
            n_rows += 1;
            self.0.count(n_rows)?;
        }
    }
}

/// Reads all values of a column.
struct WholeColumn<'r, 'a, 'b> {
    rows: &'r mut Columns<'a, 'b>,
    index: usize,
}

impl<'de> DeserializeSeed<'de> for WholeColumn<'_, '_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for WholeColumn<'_, '_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with a value for each candidate")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let mut n = 0;
        while let Some(cell) = list.next_element_seed(self.rows.cell())? {
            self.rows.push(self.index, &cell)?;
            self.rows.columns[self.index].end_row();
            n += 1;
            self.rows.bounds.count(n)?;
        }
        Ok(n)
    }
}

/// Reads one of many rows.
struct Row<'r, 'a, 'b> {
    rows: &'r mut Columns<'a, 'b>,
    number: usize,
    /// For each column, one more than the last row that has it.
    last_row: &'r mut Vec<usize>,
    /// The columns of events, each with those of their attributes.
    attributes: &'r mut Vec<(usize, usize)>,
    /// Attributes of events in this row.
    n_attributes: usize,
    lenient: bool,
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a candidate: an object with a value for each column")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut n = 0;
        while let Some(index) = map.next_key_seed(KeyOfRow(&mut self, n))? {
            let cell = map.next_value_seed(self.rows.cell().with_events());
            let pushed = cell.and_then(|cell| self.push(index, cell));
            pushed.map_err(|error| in_column(self.rows.columns[index].name(), error))?;
            n += 1;
        }
        let n_attributes = self.n_attributes;
        self.end(n + n_attributes)
    }
}

impl Row<'_, '_, '_> {
    /// Appends a value, or the attributes of events, each to a column of its own.
    fn push<E: Error>(&mut self, index: usize, cell: Cell<'_>) -> Result<(), E> {
        let n_events = match &cell {
            Cell::Events(events) => events.n_events(),
            _ => 0,
        };
        if let Cell::Events(events) = cell {
            self.rows.push(index, &Cell::Null)?;
            for (name, values) in events.attributes {
                let attribute = self.attribute(index, &name)?;
                self.push_attribute(attribute, values)?;
            }
        } else {
            self.rows.push(index, &cell)?;
        }
        // Attributes that only events of other rows have.
        for place in 0..self.attributes.len() {
            let (column, attribute) = self.attributes[place];
            if column == index && self.last_row[attribute] != self.number + 1 {
                let missing = Cell::Text("".into());
                self.push_attribute(attribute, vec![missing; n_events])?;
            }
        }
        Ok(())
    }

    fn push_attribute<E: Error>(&mut self, index: usize, values: Vec<Cell<'_>>) -> Result<(), E> {
        if self.last_row[index] == self.number + 1 {
            return Err(twice(self.rows.columns[index].name()));
        }
        self.last_row[index] = self.number + 1;
        self.n_attributes += 1;
        self.rows.push(index, &Cell::List(values))
    }

    /// Returns the column of an attribute of the events in a column.
    fn attribute<E: Error>(&mut self, column: usize, attribute: &str) -> Result<usize, E> {
        let name = format!("{}.{attribute}", self.rows.columns[column].name());
        if let Some(index) = self.rows.find(&name, column + 1) {
            return Ok(index);
        }
        let index = self.rows.add(&name)?;
        self.rows.bounds.spend(NUMBER * self.number)?;
        // The rows before have no events.
        (0..self.number).for_each(|_| self.rows.columns[index].end_row());
        self.last_row.push(0);
        self.attributes.push((column, index));
        Ok(index)
    }

    fn end<E: Error>(&mut self, n_columns: usize) -> Result<(), E> {
        if n_columns < self.rows.columns.len() && !self.lenient {
            let missing = self.last_row.iter().position(|&row| row != self.number + 1);
            if let Some(index) = missing {
                return Err(self.lacks_column(self.number, self.rows.columns[index].name()));
            }
        }
        // Columns that this row lacks are null.
        let n_absent = self.rows.columns.len() - n_columns;
        self.rows.bounds.spend(NUMBER * n_absent)?;
        self.rows
            .columns
            .iter_mut()
            .for_each(ColumnBuilder::end_row);
        Ok(())
    }

    fn lacks_column<E: Error>(&self, row: usize, name: &str) -> E {
        E::custom(format!(
            "candidate {} lacks column \"{}\", which another has; write null where it is unknown",
            row + 1,
            shown(name)
        ))
    }

    fn column_index<E: Error>(&mut self, name: &str, guess: usize) -> Result<usize, E> {
        let index = match self.rows.find(name, guess) {
            Some(index) => index,
            None if self.number > 0 && !self.lenient => return Err(self.lacks_column(0, name)),
            None => {
                let index = self.rows.add(name)?;
                self.rows.bounds.spend(NUMBER * self.number)?;
                (0..self.number).for_each(|_| self.rows.columns[index].end_row());
                self.last_row.push(0);
                index
            }
        };
        if self.last_row[index] == self.number + 1 {
            return Err(twice(name));
        }
        self.last_row[index] = self.number + 1;
        Ok(index)
    }
}

/// Reads a key of a row; the number is the expected column.
struct KeyOfRow<'k, 'r, 'a, 'b>(&'k mut Row<'r, 'a, 'b>, usize);

impl<'de> DeserializeSeed<'de> for KeyOfRow<'_, '_, '_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOfRow<'_, '_, '_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        self.0.column_index(name, self.1)
    }
}

fn column_name<'a, 'b>(bounds: &'a Bounds<'b>) -> Short<'a, 'b> {
    Short::name("a column's name", bounds)
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format!("column \"{}\" comes twice", shown(name)))
}

fn in_column<E: Error>(name: &str, error: E) -> E {
    E::custom(format!("column \"{}\": {}", shown(name), brief(&error)))
}
