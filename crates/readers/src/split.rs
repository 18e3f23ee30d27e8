//! Which rows are for training, validation and test.

use crate::plan::{Moment, Split};
use ncs_features::hash::seeded_hash;
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column, EncodeError};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the model learns from.
    Train,
    /// What every choice is made on.
    Valid,
    /// What is looked at once.
    Test,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Train, Part::Valid, Part::Test];

    /// Its name in messages and reports.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Test => "test",
        }
    }

    /// The name of its file in the cache.
    pub(crate) fn file_name(self) -> String {
        format!("{}.ids", self.name())
    }
}

/// A row that belongs to no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The split's column is absent, or not what it should be.
    #[error(transparent)]
    Column(#[from] EncodeError),
    /// A row without time.
    #[error(
        "column \"{column}\", row {row}: no time; the split needs one on every row: leave such rows \
         out, or split by hash"
    )]
    NoTime {
        /// The time column.
        column: String,
        /// The row, from 1.
        row: u64,
    },
}

impl SplitError {
    /// The same error where the block's first row comes after `rows` rows of the file.
    pub fn after(self, rows: u64) -> SplitError {
        match self {
            SplitError::Column(error) => SplitError::Column(error.after(rows)),
            SplitError::NoTime { column, row } => SplitError::NoTime {
                column,
                row: row + rows,
            },
        }
    }
}

impl Split {
    /// The column that it looks at.
    pub fn column(&self) -> Option<&str> {
        match self {
            Split::Files | Split::Row { .. } => None,
            Split::Hash { column, .. } | Split::Time { column, .. } => Some(column),
        }
    }

    /// The part of each row of a block of the training files, whose first row is number `first_row`
    /// (from 0, over all of them).
    ///
    /// By hash, a row's place in [0, 1) is XXH3 under the seed, of its value's text or of the eight
    /// little-endian bytes of its number; the first `valid` of it is validation, the next `test`
    /// test. Rows without a value share one place. By time, rows from `test_from` on are test,
    /// earlier ones from `valid_from` on validation.
    ///
    /// # Errors
    /// The column is absent, holds several values in a row, or no time where one is needed.
    pub fn parts(&self, block: &Block, first_row: u64) -> Result<Vec<Part>, SplitError> {
        let rows = 0..block.n_rows;
        match self {
            Split::Files => Ok(vec![Part::Train; block.n_rows]),
            Split::Row { valid, test, seed } => {
                let place = |row| place((first_row + row as u64).to_le_bytes().as_slice(), *seed);
                Ok(rows.map(|row| part_at(place(row), *valid, *test)).collect())
            }
            Split::Hash {
                column,
                valid,
                test,
                seed,
            } => {
                let places = places(block.require(column, "the split")?, rows, *seed);
                places
                    .map(|place| Ok(part_at(place?, *valid, *test)))
                    .collect()
            }
            Split::Time {
                column,
                valid_from,
                test_from,
            } => {
                let column = block.require(column, "the split")?;
                rows.map(|row| Time::of(column, row)?.part(valid_from, test_from.as_ref()))
                    .collect()
            }
        }
    }
}

/// The places of rows by the text of their value.
fn places(
    column: &Column,
    rows: Range<usize>,
    seed: u64,
) -> impl Iterator<Item = Result<f64, EncodeError>> {
    let mut buffer = TextBuffer::default();
    rows.map(move |row| {
        let value = column.only(row)?;
        let text = value.map_or(&b""[..], |i| buffer.text(&column.values, i));
        Ok(place(text, seed))
    })
}

/// A number in [0, 1).
fn place(name: &[u8], seed: u64) -> f64 {
    (seeded_hash(name, seed) >> 11) as f64 / (1u64 << 53) as f64
}

fn part_at(place: f64, valid: f64, test: f64) -> Part {
    match place {
        _ if place < valid => Part::Valid,
        _ if place < valid + test => Part::Test,
        _ => Part::Train,
    }
}

fn no_time(column: &Column, row: usize) -> SplitError {
    SplitError::NoTime {
        column: column.name.clone(),
        row: row as u64 + 1,
    }
}

/// The time of a row: value `i` of the column.
struct Time<'a> {
    column: &'a Column,
    row: usize,
    i: usize,
}

impl<'a> Time<'a> {
    fn of(column: &'a Column, row: usize) -> Result<Time<'a>, SplitError> {
        let i = column.only(row)?.ok_or_else(|| no_time(column, row))?;
        Ok(Time { column, row, i })
    }

    fn part(&self, valid_from: &Moment, test_from: Option<&Moment>) -> Result<Part, SplitError> {
        match test_from {
            Some(moment) if self.is_from(moment)? => Ok(Part::Test),
            _ if self.is_from(valid_from)? => Ok(Part::Valid),
            _ => Ok(Part::Train),
        }
    }

    fn is_from(&self, moment: &Moment) -> Result<bool, SplitError> {
        let column = self.column;
        match moment {
            Moment::Text(from) => {
                Ok(TextBuffer::default().text(&column.values, self.i) >= from.as_bytes())
            }
            Moment::Number(from) => {
                let time = column.number(self.row, self.i)?;
                Ok(time.ok_or_else(|| no_time(column, self.row))? >= *from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::{Texts, Values};
    use proptest::prelude::*;

    fn block(values: Values, n_rows: usize) -> Block {
        let column = Column {
            name: "c".into(),
            values,
            ..Column::default()
        };
        Block {
            n_rows,
            columns: vec![column],
        }
    }

    fn texts(values: &[&str]) -> Values {
        let mut texts = Texts::default();
        values.iter().for_each(|value| texts.push(value.as_bytes()));
        Values::Text(texts)
    }

    fn by_hash(seed: u64) -> Split {
        Split::Hash {
            column: "c".into(),
            valid: 0.2,
            test: 0.1,
            seed,
        }
    }

    fn by_time(valid_from: Moment, test_from: Option<Moment>) -> Split {
        Split::Time {
            column: "c".into(),
            valid_from,
            test_from,
        }
    }

    #[test]
    fn shares_are_kept() {
        let rows = block(Values::Int((0..20_000).collect()), 20_000);
        let parts = by_hash(1).parts(&rows, 0).unwrap();
        let n = |part| parts.iter().filter(|&&p| p == part).count();
        assert!(
            (3_800..4_200).contains(&n(Part::Valid)),
            "{}",
            n(Part::Valid)
        );
        assert!((1_850..2_150).contains(&n(Part::Test)), "{}", n(Part::Test));
        assert_ne!(by_hash(2).parts(&rows, 0).unwrap(), parts);
    }

    #[test]
    fn row_numbers_go_on_from_block_to_block() {
        let split = Split::Row {
            valid: 0.4,
            test: 0.2,
            seed: 3,
        };
        let parts =
            |first: u64, n: usize| split.parts(&block(Values::Int(vec![]), n), first).unwrap();
        assert_eq!([parts(0, 7), parts(7, 93)].concat(), parts(0, 100));
    }

    #[test]
    fn time_cuts_where_it_says() {
        use Part::{Test, Train, Valid};
        let check = |split: Split, values: Values| {
            assert_eq!(
                split.parts(&block(values, 4), 0).unwrap(),
                [Train, Valid, Valid, Test]
            );
        };
        let numbers = by_time(Moment::Number(5.0), Some(Moment::Number(9.0)));
        check(numbers.clone(), Values::Int(vec![4, 5, 8, 9]));
        check(numbers, texts(&["4.5", "5", "8", "10"]));
        let days = Moment::Text("2024-02-01".into());
        let days = by_time(days, Some(Moment::Text("2024-03".into())));
        check(
            days,
            texts(&["2024-01-31", "2024-02-01", "2024-02-29", "2024-03-01"]),
        );
    }

    #[test]
    fn a_row_without_time_is_named() {
        let split = by_time(Moment::Number(5.0), None);
        let error = split
            .parts(&block(texts(&["7", ""]), 2), 0)
            .unwrap_err()
            .after(100);
        assert!(
            error
                .to_string()
                .starts_with("column \"c\", row 102: no time"),
            "{error}"
        );
        let error = split
            .parts(&block(texts(&["7", "noon"]), 2), 0)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("row 2: text where a number belongs"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn a_value_is_never_in_two_parts(values in prop::collection::vec(0i64..20, 1..100), seed: u64) {
            let n = values.len();
            let parts = by_hash(seed).parts(&block(Values::Int(values.clone()), n), 0).unwrap();
            for (value, part) in values.iter().zip(&parts) {
                let alone = by_hash(seed).parts(&block(texts(&[&value.to_string()]), 1), 0).unwrap();
                prop_assert_eq!(&alone[0], part);
            }
        }
    }
}
