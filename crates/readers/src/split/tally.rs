//! Division of all rows by a split, and checks that a run can use the parts.

use super::Part;
use super::times::{Moment, time_of};
use crate::find::files;
use crate::plan::{DataPlan, Split};
use crate::rows::Rows;
use crate::source::ReadError;
use ncs_features::Block;
use ncs_features::time::{TimeUnit, Timestamp};

/// Limits of a nearly empty part: fewer rows than this number, and a smaller share of all rows than this.
const FEW_ROWS: u64 = 100;
const FEW_SHARE: f64 = 0.01;

/// Number of rows in each part of a split, and the range of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitTally {
    /// Rows of training, validation and test.
    rows: [u64; 3],
    /// The first and the last time that is a number.
    numbers: Option<(f64, f64)>,
    /// The first and the last time that is an instant.
    instants: Option<(Timestamp, Timestamp)>,
}

impl SplitTally {
    /// Counts the rows of a block by their `parts`.
    pub fn add(&mut self, split: &Split, block: &Block, parts: &[Part]) {
        parts.iter().for_each(|&part| self.rows[part as usize] += 1);
        let Split::Time { column, format, .. } = split else {
            return;
        };
        let Some(column) = block.column(column) else {
            return;
        };
        let times = (0..block.n_rows).filter_map(|row| time_of(column, row, format.as_ref()).ok());
        times.for_each(|time| match time {
            Moment::Number(time) => self.numbers = Some(wider(self.numbers, time)),
            Moment::Instant(time) => self.instants = Some(wider(self.instants, time)),
        });
    }

    /// Returns the rows of a part.
    pub fn n_rows_of(&self, part: Part) -> u64 {
        self.rows[part as usize]
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Returns the reason why no run should use the split, if there is one: it leaves too few rows of a part
    /// that has no files of its own, or its times are in several units.
    pub fn fault(&self, plan: &DataPlan) -> Option<String> {
        if let Some(units) = self.units(&plan.split) {
            return Some(units);
        }
        let (part, rows) = Part::ALL
            .into_iter()
            .filter(|&part| is_made(plan, part))
            .map(|part| (part, self.rows[part as usize]))
            .find(|&(_, rows)| rows == 0 || self.is_few(rows))?;
        let n_rows = self.n_rows();
        let left = if rows == 0 {
            "none".to_owned()
        } else {
            format!("only {rows}")
        };
        Some(format!(
            "the split leaves {left} of {n_rows} rows for {}: {}",
            part.name(),
            self.remedy(&plan.split)
        ))
    }

    fn is_few(&self, rows: u64) -> bool {
        rows < FEW_ROWS && (rows as f64) < FEW_SHARE * self.n_rows() as f64
    }

    fn remedy(&self, split: &Split) -> String {
        match split {
            Split::Files => "name more files".to_owned(),
            Split::Row { .. } | Split::Latest { .. } => {
                "raise its shares, or give it more rows".to_owned()
            }
            Split::Hash { column, .. } => format!(
                "look at column \"{column}\", of which all rows with one value are in one part, and at \
                 the shares"
            ),
            Split::Time {
                column,
                valid_from,
                test_from,
                ..
            } => {
                let test_from = test_from.map(|from| format!(", test_from {from}"));
                format!(
                    "valid_from is {valid_from}{}, and the times of column \"{column}\" go {}; move the \
                     boundaries",
                    test_from.unwrap_or_default(),
                    self.range()
                )
            }
        }
    }

    /// `from 2024-01-01 to 2024-01-31 12:00:00`
    fn range(&self) -> String {
        let numbers = self
            .numbers
            .map(|(first, last)| format!("from {first} to {last}"));
        let instants = self
            .instants
            .map(|(first, last)| format!("from {first} to {last}"));
        let ranges: Vec<String> = instants.into_iter().chain(numbers).collect();
        ranges.join(" and ")
    }

    /// Detects numbers that count time since 1970 in different units, by their size.
    fn units(&self, split: &Split) -> Option<String> {
        let Split::Time { column, .. } = split else {
            return None;
        };
        let (first, last) = self.numbers?;
        let (one, other) = (epoch_unit(first)?, epoch_unit(last)?);
        (one != other).then(|| {
            format!(
                "the times of column \"{column}\" are {} in some rows ({first}) and {} in others ({last}); \
                 write all of them in one unit, or as time stamps",
                name(one),
                name(other)
            )
        })
    }
}

fn wider<T: PartialOrd + Copy>(range: Option<(T, T)>, time: T) -> (T, T) {
    let (first, last) = range.unwrap_or((time, time));
    (
        if time < first { time } else { first },
        if time > last { time } else { last },
    )
}

/// Returns the unit in which a number is a time of the years 2000 to 2100.
fn epoch_unit(count: f64) -> Option<TimeUnit> {
    let unit = TimeUnit::of_size(count);
    let year = |text: &[u8]| Timestamp::parse(text).unwrap_or_default();
    let in_century = year(b"2000-01-01")..year(b"2100-01-01");
    let is_epoch = unit != TimeUnit::Days && in_century.contains(&Timestamp::of_f64(count, unit));
    is_epoch.then_some(unit)
}

fn name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Days => "days",
        TimeUnit::Seconds => "seconds",
        TimeUnit::Millis => "milliseconds",
        TimeUnit::Micros => "microseconds",
        TimeUnit::Nanos => "nanoseconds",
    }
}

/// Returns true if the rows of a part come from the split alone.
fn is_made(plan: &DataPlan, part: Part) -> bool {
    match (&plan.split, part) {
        (Split::Files, _) => false,
        (_, Part::Train) => true,
        (_, Part::Valid) => plan.valid.is_empty(),
        (
            Split::Hash { test, .. } | Split::Row { test, .. } | Split::Latest { test, .. },
            Part::Test,
        ) => plan.test.is_empty() && *test > 0.0,
        (Split::Time { test_from, .. }, Part::Test) => plan.test.is_empty() && test_from.is_some(),
    }
}

/// Counts the rows of the training files in each part of the split; reads the split's column only. Rows
/// without a time are left out where rows may be broken.
///
/// # Errors
/// A file cannot be read, or a row has no time and no rows may be broken.
pub fn split_tally(plan: &DataPlan) -> Result<SplitTally, ReadError> {
    let columns: Vec<String> = plan.split.column().map(str::to_owned).into_iter().collect();
    let mut rows = Rows::open(files(&plan.train, &plan.root)?, &plan.reading, columns);
    let mut tally = SplitTally::default();
    let mut first_row = 0;
    while let Some(read) = rows.next_block()? {
        let block = &read.block;
        match plan.split.parts(block, first_row) {
            Ok(parts) => tally.add(&plan.split, block, &parts),
            Err(error) if plan.reading.max_broken_share == 0.0 => {
                return Err(read.split_error(error));
            }
            Err(_) => {
                for row in 0..block.n_rows {
                    let alone = block.select(&[row]);
                    if let Ok(parts) = plan.split.parts(&alone, first_row + row as u64) {
                        tally.add(&plan.split, &alone, &parts);
                    }
                }
            }
        }
        first_row += block.n_rows as u64;
    }
    Ok(tally)
}
