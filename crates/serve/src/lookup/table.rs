//! A table of features in memory.

use super::{Found, Wanted};
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column, Texts, Values};
use std::collections::HashMap;
use thiserror::Error;

/// Features by id. Ids are compared by their canonical text, as everywhere: 7, 7.0 and "7" are one.
#[derive(Clone, Debug)]
pub struct FeatureTable {
    /// The row of each id.
    places: HashMap<Box<[u8]>, u32>,
    /// The features; the last row is null.
    rows: Block,
}

/// Rows that are not a table of features.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TableError {
    /// There is no column of ids.
    #[error("no column \"{0}\", by which features are looked up")]
    NoKey(String),
    /// A row has a list of ids.
    #[error("column \"{0}\" has lists; features are looked up by one id a row")]
    Lists(String),
    /// An id has several rows.
    #[error("\"{id}\" comes twice, in rows {first} and {second}; keep one row for each id")]
    Twice {
        /// The id.
        id: String,
        /// Number of its first row, from 1.
        first: u32,
        /// Number of its second row.
        second: u32,
    },
    /// A column has lists in some rows and single values in others.
    #[error("column \"{0}\" has both lists and single values")]
    Mixed(String),
    /// There are more rows than a table can have.
    #[error("it has more than {} rows", u32::MAX - 1)]
    Large,
}

impl FeatureTable {
    /// Creates a table from blocks of rows with the same columns, in their order. Rows without an id are left out.
    ///
    /// # Errors
    /// There is no column `key`, an id is a list or comes twice, or columns of the blocks differ in kind.
    pub fn new(
        key: &str,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<FeatureTable, TableError> {
        let mut all = Block::default();
        for block in blocks {
            append(&mut all, block)?;
        }
        let n_rows = u32::try_from(all.n_rows).map_err(|_| TableError::Large)?;
        let at = all.columns.iter().position(|column| column.name == key);
        let at = at.ok_or_else(|| TableError::NoKey(key.to_owned()))?;
        let ids = all.columns.remove(at);
        if ids.offsets.is_some() {
            return Err(TableError::Lists(key.to_owned()));
        }
        let mut places = HashMap::new();
        let mut buffer = TextBuffer::default();
        for row in (0..n_rows).filter(|&row| !ids.is_null(row as usize)) {
            let id = buffer.text(&ids.values, row as usize);
            if id.is_empty() {
                continue;
            }
            if let Some(first) = places.insert(id.into(), row) {
                return Err(TableError::Twice {
                    id: String::from_utf8_lossy(id).into_owned(),
                    first: first + 1,
                    second: row + 1,
                });
            }
        }
        all.columns
            .iter_mut()
            .for_each(|column| end(column, n_rows as usize));
        all.n_rows += 1;
        Ok(FeatureTable { places, rows: all })
    }

    /// Returns the number of ids.
    pub fn n_ids(&self) -> usize {
        self.places.len()
    }

    /// Returns the names of the features.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.rows.columns.iter().map(|column| &*column.name)
    }

    /// Returns the rows of ids; see [`super::FeatureSource::rows`].
    pub fn rows(&self, ids: &Column, n_rows: usize, wanted: &Wanted<'_>) -> Found {
        let mut buffer = TextBuffer::default();
        let nobody = self.rows.n_rows - 1;
        let mut found = Found::default();
        let mut place = |row: usize| {
            let id = if ids.is_null(row) {
                b""
            } else {
                buffer.text(&ids.values, row)
            };
            if id.is_empty() {
                return nobody;
            }
            found.ids += 1;
            let place = self.places.get(id);
            found.unknown += u64::from(place.is_none());
            place.map_or(nobody, |&place| place as usize)
        };
        let rows: Vec<usize> = (0..n_rows).map(&mut place).collect();
        let columns = self.rows.columns.iter();
        let columns = columns.filter(|column| wanted(&column.name));
        found.columns = columns.map(|column| column.select(&rows)).collect();
        found
    }
}

/// Appends the rows of a block with the same columns.
fn append(all: &mut Block, block: Block) -> Result<(), TableError> {
    if all.columns.is_empty() {
        *all = block;
        return Ok(());
    }
    for (column, other) in all.columns.iter_mut().zip(block.columns) {
        match (&mut column.offsets, &other.offsets) {
            (None, None) => {}
            (Some(offsets), Some(others)) => {
                let start = offsets.last().copied().unwrap_or(0);
                offsets.extend(others.iter().skip(1).map(|end| start + end));
            }
            _ => return Err(TableError::Mixed(column.name.clone())),
        }
        if !(column.nulls.is_empty() && other.nulls.is_empty()) {
            column.nulls.resize(all.n_rows, false);
            column.nulls.extend(&other.nulls);
            column.nulls.resize(all.n_rows + block.n_rows, false);
        }
        append_values(&mut column.values, other.values);
    }
    all.n_rows += block.n_rows;
    Ok(())
}

/// Appends values, as texts where their types differ.
fn append_values(values: &mut Values, others: Values) {
    match (&mut *values, others) {
        (Values::Int(values), Values::Int(others)) => values.extend(others),
        (Values::Float(values), Values::Float(others)) => values.extend(others),
        (Values::Time(values), Values::Time(others)) => values.extend(others),
        (Values::Text(texts), others) => push_texts(texts, &others),
        (_, others) => {
            let mut texts = Texts::default();
            push_texts(&mut texts, values);
            push_texts(&mut texts, &others);
            *values = Values::Text(texts);
        }
    }
}

fn push_texts(texts: &mut Texts, values: &Values) {
    let mut buffer = TextBuffer::default();
    (0..values.len()).for_each(|i| texts.push(buffer.plain(values, i)));
}

/// Appends a null row to a column of `n_rows` rows.
fn end(column: &mut Column, n_rows: usize) {
    column.nulls.resize(n_rows, false);
    column.nulls.push(true);
    match &mut column.offsets {
        Some(offsets) => offsets.push(offsets.last().copied().unwrap_or(0)),
        None => {
            column.values = column
                .values
                .select_or_fill((0..n_rows).map(Some).chain([None]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: Values) -> Column {
        Column {
            name: name.into(),
            values,
            ..Column::default()
        }
    }

    fn texts(texts: &[&str]) -> Values {
        let mut values = Texts::default();
        texts.iter().for_each(|text| values.push(text.as_bytes()));
        Values::Text(values)
    }

    fn block(ids: Values, prices: Values) -> Block {
        Block {
            n_rows: ids.len(),
            columns: vec![column("price", prices), column("item", ids)],
        }
    }

    #[test]
    fn rows_are_found_by_the_text_of_their_id() {
        let table = FeatureTable::new(
            "item",
            [
                block(Values::Int(vec![7, 8]), Values::Float(vec![1.5, 2.5])),
                block(texts(&["x", ""]), texts(&["3", "4"])),
            ],
        )
        .unwrap();
        assert_eq!(
            (table.n_ids(), table.columns().collect::<Vec<_>>()),
            (3, vec!["price"])
        );
        let ids = Column {
            nulls: vec![false, false, false, true],
            ..column("item", texts(&["x", "7.0", "y", "8"]))
        };
        let found = table.rows(&ids, 4, &|name| name == "price");
        assert_eq!((found.ids, found.unknown), (3, 1));
        let [price] = &found.columns[..] else {
            panic!("{found:?}")
        };
        assert_eq!(price.values, texts(&["3", "1.5", "", ""]));
        assert_eq!(price.nulls, [false, false, true, true]);
        assert!(table.rows(&ids, 4, &|_| false).columns.is_empty());
    }

    #[test]
    fn lists_are_kept() {
        let tags = Column {
            offsets: Some(vec![0, 2, 2]),
            ..column("tags", texts(&["a", "b"]))
        };
        let rows = |ids: Vec<i64>| Block {
            n_rows: 2,
            columns: vec![column("item", Values::Int(ids)), tags.clone()],
        };
        let table = FeatureTable::new("item", [rows(vec![1, 2]), rows(vec![3, 4])]).unwrap();
        let ids = column("item", Values::Int(vec![3, 9, 2]));
        let found = table.rows(&ids, 3, &|_| true);
        assert_eq!(found.columns[0].offsets, Some(vec![0, 2, 2, 2]));
        assert_eq!(found.columns[0].nulls, [false, true, false]);
    }

    #[test]
    fn wrong_tables_are_refused() {
        let prices = || Values::Int(vec![1, 2]);
        let error = |key: &str, ids| FeatureTable::new(key, [block(ids, prices())]).unwrap_err();
        assert_eq!(
            error("id", Values::Int(vec![1, 2])),
            TableError::NoKey("id".into())
        );
        let twice = error("item", texts(&["1", "1.0"]));
        assert_eq!(
            twice.to_string(),
            "\"1\" comes twice, in rows 1 and 2; keep one row for each id"
        );
    }
}
