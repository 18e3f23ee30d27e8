//! Which rows are for training, validation and test.

use crate::plan::{Moment, Split};
use ncs_features::hash::seeded_hash;
use ncs_features::value::{TextBuffer, shown};
use ncs_features::{Block, Column, EncodeError};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// test. A row without a value is placed by its number, so that shares are kept and nobody is
    /// in two parts. By time, rows from `test_from` on are test, earlier ones from `valid_from` on
    /// validation.
    ///
    /// # Errors
    /// The column is absent, holds several values in a row, no time where one is needed, or numbers
    /// where the moments are texts, or texts where they are numbers.
    pub fn parts(&self, block: &Block, first_row: u64) -> Result<Vec<Part>, SplitError> {
        let rows = 0..block.n_rows;
        match self {
            Split::Files => Ok(vec![Part::Train; block.n_rows]),
            Split::Row { valid, test, seed } => {
                let place = |row| place_of_number(first_row + row as u64, *seed);
                Ok(rows.map(|row| part_at(place(row), *valid, *test)).collect())
            }
            Split::Hash {
                column,
                valid,
                test,
                seed,
            } => {
                let places = places(block.require(column, "the split")?, rows, first_row, *seed);
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

/// The places of rows by the text of their value, or by their number where they have none.
fn places(
    column: &Column,
    rows: Range<usize>,
    first_row: u64,
    seed: u64,
) -> impl Iterator<Item = Result<f64, EncodeError>> {
    let mut buffer = TextBuffer::default();
    rows.map(move |row| {
        Ok(match column.only(row)? {
            Some(i) => place(buffer.text(&column.values, i), seed),
            None => place_of_number(first_row + row as u64, seed),
        })
    })
}

fn place_of_number(row: u64, seed: u64) -> f64 {
    place(&row.to_le_bytes(), seed)
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
        let mut buffer = TextBuffer::default();
        let text = buffer.text(&self.column.values, self.i);
        match (moment, self.number()?) {
            (Moment::Number(from), Some(time)) => Ok(time >= *from),
            (Moment::Text(from), None) => Ok(text >= from.as_bytes()),
            _ => Err(self.unlike(moment)),
        }
    }

    /// The time as a number, `None` where it is a text that reads as none: whether a column holds
    /// numbers must not hang on the format, and a CSV file holds texts only.
    fn number(&self) -> Result<Option<f64>, SplitError> {
        match self.column.number(self.row, self.i) {
            Ok(Some(number)) => Ok(Some(number)),
            Err(EncodeError::NotANumber { .. }) => Ok(None),
            Ok(None) | Err(_) => Err(no_time(self.column, self.row)),
        }
    }

    fn unlike(&self, moment: &Moment) -> SplitError {
        let found = shown(&self.column.values, self.i);
        let (found, moment, remedy) = match moment {
            Moment::Text(from) => (
                format!("the number {found}"),
                format!("the text \"{from}\""),
                "write the moment as a number in the column's unit, without quotes, such as whole \
                 microseconds since 1970",
            ),
            Moment::Number(from) => (
                format!("the text \"{found}\""),
                format!("the number {from}"),
                "write the moment as a text of the column's form, such as \"2024-02-01\", or the \
                 column as numbers",
            ),
        };
        SplitError::Column(EncodeError::NotComparable {
            column: self.column.name.clone(),
            row: self.row as u64 + 1,
            what: format!(
                "{found} cannot be compared with {moment}, a moment of the split; {remedy}"
            ),
        })
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
        let nan = block(Values::Float(vec![f64::NAN]), 1);
        let error = split.parts(&nan, 0).unwrap_err().to_string();
        assert!(error.starts_with("column \"c\", row 1: no time"), "{error}");
    }

    #[test]
    fn a_time_of_another_kind_than_the_moment_is_refused() {
        let check = |moment: Moment, values: Values, expected: &str| {
            let error = by_time(moment, None).parts(&block(values, 1), 6);
            let error = error.unwrap_err().after(6).to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let day = || Moment::Text("2024-02-01".into());
        let number = "column \"c\", row 7: the number 1706745600 cannot be compared with the text \
                      \"2024-02-01\", a moment of the split; write the moment as a number";
        check(day(), Values::Int(vec![1_706_745_600]), number);
        check(day(), Values::Float(vec![1_706_745_600.0]), number);
        check(day(), texts(&["1706745600"]), number);
        check(
            Moment::Number(5.0),
            texts(&["noon"]),
            "column \"c\", row 7: the text \"noon\" cannot be compared with the number 5, a moment \
             of the split; write the moment as a text",
        );
    }

    #[test]
    fn rows_without_a_key_keep_the_shares() {
        let mut rows = block(Values::Int(vec![0; 20_000]), 20_000);
        rows.columns[0].nulls = vec![true; 20_000];
        let parts = by_hash(1).parts(&rows, 0).unwrap();
        let n = |part| parts.iter().filter(|&&p| p == part).count();
        let (valid, test) = (n(Part::Valid), n(Part::Test));
        assert!((3_800..4_200).contains(&valid), "{valid}");
        assert!((1_850..2_150).contains(&test), "{test}");
        let empty = block(texts(&["", ""]), 2);
        assert_eq!(by_hash(1).parts(&empty, 500).unwrap(), parts[500..502]);
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
