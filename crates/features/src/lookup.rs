//! Features by id: the records of a file in memory. With times, a row gets the newest record of its id that is not
//! later than the row's own moment.

mod records;

use crate::block::{Block, Column};
use crate::error::EncodeError;
use crate::time::{TimeUnit, Timestamp};
use crate::time_reader::TimeReader;
use crate::value::TextBuffer;
use records::{Numbers, append, end, numbered, refuse_twice, times_of};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Whether a column of this name is needed.
pub type Wanted<'a> = dyn Fn(&str) -> bool + 'a;

/// Columns that a training took from a file of features by id: a record in the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedUp {
    /// The column of ids.
    pub key: String,
    /// The columns of the file that the model reads.
    pub columns: Vec<String>,
    /// The times of records and rows; `None`: an id has one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<LookupTime>,
}

/// Columns that tell which record of an id is known at a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupTime {
    /// Column of the file: the moment from which on a record is known.
    pub record: String,
    /// Column of the rows: their moments.
    pub row: String,
    /// Unit in which numbers count since 1970 in both; `None`: by their size ([`TimeUnit::of_size`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
}

/// Rows that were looked up.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The columns, a row for each id.
    pub columns: Vec<Column>,
    /// Number of ids that are not null.
    pub ids: u64,
    /// Number of these without a record.
    pub unknown: u64,
}

/// Outcome of looking up the id of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The row has no id.
    NoId,
    /// The table does not have the id.
    Unknown,
    /// All records of the id are later than the row, or the row has no moment.
    Early,
    /// A record of the table.
    Record(u32),
}

/// Records by id. Ids are compared by their canonical text, as everywhere: 7, 7.0 and "7" are one.
#[derive(Clone, Debug)]
pub struct FeatureTable {
    /// The number of each id.
    numbers: Numbers,
    /// Where the records of an id begin in `order`, and their end.
    starts: Vec<u32>,
    /// The records of each id, oldest first.
    order: Vec<u32>,
    /// The moment of each record in `order`; empty if an id has one record.
    times: Vec<Timestamp>,
    /// The features; the last row is null.
    rows: Block,
}

/// Rows that are not a table of features.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TableError {
    /// There is no column of ids.
    #[error("no column \"{0}\", by which features are looked up")]
    NoKey(String),
    /// There is no column of times.
    #[error("no column \"{0}\", the time of a record")]
    NoTime(String),
    /// A row has a list of ids.
    #[error("column \"{0}\" has lists; features are looked up by one id a row")]
    Lists(String),
    /// A record has no time.
    #[error("row {row} has no time in \"{column}\"; write the moment from which on it is known")]
    Untimed {
        /// The column of times.
        column: String,
        /// Number of the row, from 1.
        row: u32,
    },
    /// The time of a record cannot be read.
    #[error(
        "column \"{column}\", row {row}: \"{found}\" is not the time of a record; write dates and times in ISO 8601 \
         (2026-11-29T08:30:00Z) or as numbers since 1970"
    )]
    NotATime {
        /// The column of times.
        column: String,
        /// Number of the row, from 1.
        row: u32,
        /// The value.
        found: String,
    },
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
    /// An id has several records of one time.
    #[error(
        "\"{id}\" has two records of {time}, in rows {first} and {second}; keep one for each id and time"
    )]
    TwiceAt {
        /// The id.
        id: String,
        /// The time.
        time: Timestamp,
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

/// Bytes of an id in a table beside its text: the entry of a hash table, and its offset.
const BYTES_OF_ID: usize = 32;

impl FeatureTable {
    /// Creates a table of one record an id from blocks of rows with the same columns, in their order. Rows without an
    /// id are left out.
    ///
    /// # Errors
    /// There is no column `key`, an id is a list or comes twice, or columns of the blocks differ in kind.
    pub fn new(
        key: &str,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<FeatureTable, TableError> {
        FeatureTable::of(key, None, blocks)
    }

    /// Creates a table of any number of records an id, each with its time in the column `time`, whose numbers count in
    /// `unit`. `time` stays a feature.
    ///
    /// # Errors
    /// Those of [`FeatureTable::new`]; or a record has no time, or an id two records of one time.
    pub fn with_times(
        key: &str,
        time: &str,
        unit: Option<TimeUnit>,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<FeatureTable, TableError> {
        FeatureTable::of(key, Some((time, unit)), blocks)
    }

    fn of(
        key: &str,
        time: Option<(&str, Option<TimeUnit>)>,
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
        let (numbers, number_of_row) = numbered(&ids, n_rows);
        let times = match time {
            Some((column, unit)) => times_of(&all, column, unit, &number_of_row)?,
            None => Vec::new(),
        };
        let time_of = |row: u32| times.get(row as usize).copied().unwrap_or_default();
        let number_of = |row: u32| number_of_row[row as usize];
        let mut order: Vec<u32> = (0..n_rows)
            .filter(|&row| number_of(row).is_some())
            .collect();
        order.sort_by_key(|&row| (number_of(row), time_of(row), row));
        refuse_twice(&order, number_of, time_of, &ids, time.is_some())?;
        let mut starts = vec![0; numbers.len() + 1];
        for &row in &order {
            starts[number_of(row).map_or(0, |number| number as usize + 1)] += 1;
        }
        (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
        let sorted = order.iter().map(|&row| time_of(row));
        let times = if time.is_some() {
            sorted.collect()
        } else {
            Vec::new()
        };
        all.columns
            .iter_mut()
            .for_each(|column| end(column, n_rows as usize));
        all.n_rows += 1;
        Ok(FeatureTable {
            numbers,
            starts,
            order,
            times,
            rows: all,
        })
    }

    /// Returns the number of ids.
    pub fn n_ids(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the number of records.
    pub fn n_records(&self) -> usize {
        self.order.len()
    }

    /// Returns the approximate memory size of the table in bytes.
    pub fn n_bytes(&self) -> usize {
        let ids: usize = self.numbers.keys().map(|id| id.len() + BYTES_OF_ID).sum();
        let of_column = |column: &Column| {
            let offsets = column
                .offsets
                .as_ref()
                .map_or(0, |offsets| 4 * offsets.len());
            column.values.n_bytes() + offsets + column.nulls.len()
        };
        let columns: usize = self.rows.columns.iter().map(of_column).sum();
        ids + columns + 4 * self.order.len() + size_of_val(&self.times[..])
    }

    /// Returns the names of the features.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.rows.columns.iter().map(|column| &*column.name)
    }

    /// Returns the place of each id. With times, `moment` gives the moment of a row.
    pub fn places(
        &self,
        ids: &Column,
        n_rows: usize,
        moment: impl Fn(usize) -> Option<Timestamp>,
    ) -> Vec<Place> {
        let mut buffer = TextBuffer::default();
        let mut place = |row: usize| {
            let id = if ids.is_null(row) {
                b""
            } else {
                buffer.text(&ids.values, row)
            };
            if id.is_empty() {
                return Place::NoId;
            }
            match self.numbers.get(id) {
                None => Place::Unknown,
                Some(&number) => self.newest(number as usize, || moment(row)),
            }
        };
        (0..n_rows).map(&mut place).collect()
    }

    /// Returns the newest record of an id that is not later than a moment.
    fn newest(&self, number: usize, moment: impl Fn() -> Option<Timestamp>) -> Place {
        let (start, end) = (
            self.starts[number] as usize,
            self.starts[number + 1] as usize,
        );
        if self.times.is_empty() {
            return Place::Record(start as u32);
        }
        let Some(moment) = moment() else {
            return Place::Early;
        };
        match self.times[start..end].partition_point(|&time| time <= moment) {
            0 => Place::Early,
            n => Place::Record((start + n - 1) as u32),
        }
    }

    /// Returns the moment of a record; `None` if records have no times.
    pub fn time(&self, record: u32) -> Option<Timestamp> {
        self.times.get(record as usize).copied()
    }

    /// Returns the number of the id of a record, below [`FeatureTable::n_ids`].
    pub fn id_of(&self, record: u32) -> usize {
        self.starts.partition_point(|&start| start <= record) - 1
    }

    /// Returns columns of the records at these places, null where there is none.
    pub fn at(&self, places: &[Place], wanted: &Wanted<'_>) -> Vec<Column> {
        let row = |place: &Place| match place {
            Place::Record(record) => self.order[*record as usize] as usize,
            _ => self.rows.n_rows - 1,
        };
        let rows: Vec<usize> = places.iter().map(row).collect();
        let columns = self.rows.columns.iter();
        let columns = columns.filter(|column| wanted(&column.name));
        columns.map(|column| column.select(&rows)).collect()
    }

    /// Returns the rows of ids as of a moment, in their order: null in every column where an id has no record.
    pub fn rows(
        &self,
        ids: &Column,
        n_rows: usize,
        moment: Timestamp,
        wanted: &Wanted<'_>,
    ) -> Found {
        let places = self.places(ids, n_rows, |_| Some(moment));
        let count = |is: fn(&Place) -> bool| places.iter().filter(|place| is(place)).count() as u64;
        Found {
            columns: self.at(&places, wanted),
            ids: count(|place| *place != Place::NoId),
            unknown: count(|place| matches!(place, Place::Unknown | Place::Early)),
        }
    }
}

/// Returns the moment that a row of a column holds, `None` where it holds none. Numbers count since 1970 in `unit`.
///
/// # Errors
/// The row holds something else than a moment, or several values.
pub fn moment(
    column: &Column,
    row: usize,
    unit: Option<TimeUnit>,
) -> Result<Option<Timestamp>, EncodeError> {
    TimeReader::plain(column, unit).row(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Texts, Values};

    const NOW: Timestamp = Timestamp::EPOCH;

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
        let found = table.rows(&ids, 4, NOW, &|name| name == "price");
        assert_eq!((found.ids, found.unknown), (3, 1));
        let [price] = &found.columns[..] else {
            panic!("{found:?}")
        };
        assert_eq!(price.values, texts(&["3", "1.5", "", ""]));
        assert_eq!(price.nulls, [false, false, true, true]);
        assert!(table.rows(&ids, 4, NOW, &|_| false).columns.is_empty());
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
        let found = table.rows(&ids, 3, NOW, &|_| true);
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

    fn history() -> Block {
        let days = ["2024-03-05", "2024-03-01", "2024-03-03", "2024-03-02"];
        Block {
            n_rows: 4,
            columns: vec![
                column("item", Values::Int(vec![7, 7, 8, 7])),
                column("price", Values::Int(vec![50, 10, 30, 20])),
                column("since", texts(&days)),
            ],
        }
    }

    #[test]
    fn the_newest_record_that_is_not_later_is_found() {
        let table = FeatureTable::with_times("item", "since", None, [history()]).unwrap();
        assert_eq!((table.n_ids(), table.n_records()), (2, 4));
        let check = |id: i64, moment: Option<&str>, expected: Option<i64>| {
            let moment = moment.map(|text| Timestamp::parse(text.as_bytes()).unwrap());
            let ids = column("item", Values::Int(vec![id]));
            let places = table.places(&ids, 1, |_| moment);
            let found = table.at(&places, &|name| name == "price");
            let price = (!found[0].is_null(0)).then(|| found[0].values.clone());
            let expected = expected.map(|price| Values::Int(vec![price]));
            assert_eq!(price, expected, "{id} at {moment:?}");
            if let (Place::Record(record), Some(moment)) = (places[0], moment) {
                assert!(table.time(record).unwrap() <= moment);
            }
        };
        check(7, Some("2024-02-29T23:59:59"), None);
        check(7, Some("2024-03-01"), Some(10));
        check(7, Some("2024-03-01T23:59:59"), Some(10));
        check(7, Some("2024-03-02"), Some(20));
        check(7, Some("2024-03-04"), Some(20));
        check(7, Some("2024-03-05T00:00:01"), Some(50));
        check(8, Some("2024-03-04"), Some(30));
        check(9, Some("2024-03-04"), None);
        check(7, None, None);
    }

    #[test]
    fn records_of_one_time_or_of_none_are_refused() {
        let check = |days: [&str; 4], expected: &str| {
            let mut rows = history();
            rows.columns[2] = column("since", texts(&days));
            let error = FeatureTable::with_times("item", "since", None, [rows]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            [
                "2024-03-05",
                "2024-03-01",
                "2024-03-01",
                "2024-03-05T00:00:00Z",
            ],
            "\"7\" has two records of 2024-03-05, in rows 1 and 4; keep one for each id and time",
        );
        check(
            ["2024-03-05", "", "2024-03-01", "2024-03-02"],
            "row 2 has no time in \"since\"; write the moment from which on it is known",
        );
        let error = FeatureTable::with_times("item", "at", None, [history()]).unwrap_err();
        assert_eq!(error, TableError::NoTime("at".into()));
    }
}
