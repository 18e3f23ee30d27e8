//! Division of rows into training, validation and test.

mod error;
mod latest;
mod tally;
mod times;

use crate::plan::Split;
use ncs_features::hash::seeded_hash;
use ncs_features::value::TextBuffer;
use ncs_features::{Block, Column, EncodeError};
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub use error::SplitError;
pub use latest::{LatestError, Resolved, resolve};
pub use tally::{SplitTally, split_tally};
use times::no_instant;
pub use times::{Moment, TimeFormat, time_of};

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Rows from which the model learns.
    Train,
    /// Rows for every choice of model and settings.
    Valid,
    /// Rows for a single, final evaluation.
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

    /// Returns the name of its file in the cache.
    pub(crate) fn file_name(self) -> String {
        format!("{}.ids", self.name())
    }
}

impl Split {
    /// Returns the column that the split reads.
    pub fn column(&self) -> Option<&str> {
        match self {
            Split::Files | Split::Row { .. } => None,
            Split::Hash { column, .. }
            | Split::Time { column, .. }
            | Split::Latest { column, .. } => Some(column),
        }
    }

    /// Returns the part of each row of a block of the training files, whose first row is number `first_row`
    /// (from 0, over all of them).
    ///
    /// By hash, a row's position in [0, 1) is XXH3 under the seed, of its value's text or of the eight
    /// little-endian bytes of its number; the first `valid` of the interval is validation, the next `test` is
    /// test. A row without a value is placed by its number, so that shares are kept and no value is in two
    /// parts. By time, rows from `test_from` on are test, earlier ones from `valid_from` on are validation;
    /// instants are compared as such, in any unit, zone and format.
    ///
    /// # Errors
    /// The column is absent, or holds several values in a row, no time where one is needed, a text that is
    /// not a time, or a number that is not valid beside a boundary that is an instant; or shares of time are
    /// not [resolved](resolve).
    pub fn parts(&self, block: &Block, first_row: u64) -> Result<Vec<Part>, SplitError> {
        let rows = 0..block.n_rows;
        match self {
            Split::Files => Ok(vec![Part::Train; block.n_rows]),
            Split::Row { valid, test, seed } => {
                let place = |row| place_of_number(first_row + row as u64, *seed);
                Ok(rows.map(|row| part_at(place(row), *valid, *test)).collect())
            }
            Split::Latest { column, .. } => Err(SplitError::Unresolved {
                column: column.clone(),
            }),
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
                format,
            } => {
                let column = block.require(column, "the split")?;
                let part = |row| {
                    let time = time_of(column, row, format.as_ref())?;
                    let is_from = |from: Moment| {
                        let is_from = time.is_from(from);
                        is_from.ok_or_else(|| no_instant(column, row, time, from))
                    };
                    Ok(match test_from {
                        Some(from) if is_from(*from)? => Part::Test,
                        _ if is_from(*valid_from)? => Part::Valid,
                        _ => Part::Train,
                    })
                };
                rows.map(part).collect()
            }
        }
    }
}

/// Returns the positions of rows in [0, 1), by the text of their value, or by their number if they have no
/// value.
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

/// Returns a position in [0, 1).
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

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::time::Timestamp;
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
            format: None,
        }
    }

    fn day(text: &str) -> Moment {
        Moment::parse(text, None).unwrap()
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
        let days = by_time(day("2024-02-01"), Some(day("2024-03")));
        let texts_of = ["2024-01-31", "2024-02-01", "2024-02-29", "2024-03-01"];
        check(days.clone(), texts(&texts_of));
        let instants = texts_of.map(|text| Timestamp::parse(text.as_bytes()).unwrap());
        check(days.clone(), Values::Time(instants.into()));
        let with_zones = [
            "2024-02-01T00:30:00+01:00",
            "2024-01-31 23:30:00-01:00",
            "2024-02-01 00:00:00.5",
            "2024-03-01T00:00:00Z",
        ];
        check(days.clone(), texts(&with_zones));
        let seconds = [1_706_745_599, 1_706_745_600, 1_709_251_199, 1_709_251_200];
        check(days, Values::Int(seconds.into()));
        let millis = |seconds: i64| Moment::Number(1e3 * seconds as f64);
        let numbers = by_time(millis(seconds[1]), Some(millis(seconds[3])));
        check(
            numbers,
            Values::Time(seconds.map(|x| Timestamp::new(x, 0)).into()),
        );
    }

    #[test]
    fn other_forms_of_time_need_a_format() {
        let values = || texts(&["1/31/2024", "2/1/2024", "12/31/2024"]);
        let mut split = by_time(day("2024-02-01"), None);
        let error = split.parts(&block(values(), 3), 0).unwrap_err().to_string();
        assert!(
            error.starts_with("column \"c\", row 1: \"1/31/2024\" is neither"),
            "{error}"
        );
        if let Split::Time { format, .. } = &mut split {
            *format = Some(TimeFormat::new("%m/%d/%Y").unwrap());
        }
        let parts = split.parts(&block(values(), 3), 0).unwrap();
        assert_eq!(parts, [Part::Train, Part::Valid, Part::Valid]);
        let error = split
            .parts(&block(texts(&["1/2/2024", "2024"]), 2), 0)
            .unwrap_err();
        let error = error.after(7).to_string();
        assert!(
            error.starts_with("column \"c\", row 9: \"2024\" is not of the form"),
            "{error}"
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
    fn a_number_that_is_no_instant_is_refused_beside_a_date() {
        let split = by_time(day("2024-02-01"), None);
        for values in [Values::Int(vec![20_240_131]), texts(&["20240131"])] {
            let error = split
                .parts(&block(values, 1), 6)
                .unwrap_err()
                .after(6)
                .to_string();
            let expected = "column \"c\", row 7: the number 20240131 cannot be compared with \
                            2024-02-01, a boundary of the split; write";
            assert!(error.starts_with(expected), "{error}");
        }
        let noon = by_time(Moment::Number(5.0), None).parts(&block(texts(&["noon"]), 1), 0);
        let error = noon.unwrap_err().to_string();
        assert!(
            error.contains("\"noon\" is neither a number nor a time"),
            "{error}"
        );
    }

    #[test]
    fn a_key_has_one_part_whatever_its_type() {
        let check = |one: Values, other: Values| {
            let parts = |values: Values| {
                let n = values.len();
                by_hash(4).parts(&block(values, n), 0).unwrap()
            };
            assert_eq!(parts(one), parts(other));
        };
        let numbers: Vec<i64> = (0..200).collect();
        let floats = numbers.iter().map(|&x| x as f64).collect();
        check(Values::Int(numbers.clone()), Values::Float(floats));
        let written: Vec<String> = numbers.iter().map(|x| format!(" {x}.0")).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        check(Values::Int(numbers), texts(&written));
        check(texts(&["True", "false"]), Values::Int(vec![1, 0]));
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
