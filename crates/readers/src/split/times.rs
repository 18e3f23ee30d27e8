//! The times of a split: of its rows and of its boundaries.

use chrono::format::{Item, Parsed, StrftimeItems};
use ncs_features::canonical::trimmed;
use ncs_features::time::{TimeUnit, Timestamp};
use ncs_features::value::{TextBuffer, number_of_text, shown};
use ncs_features::{Column, EncodeError, Values};
use serde::{Serialize, Serializer};
use std::fmt;

use super::error::SplitError;

/// A time: of a row, or a boundary of a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Moment {
    /// A number, such as seconds since 1970.
    Number(f64),
    /// An instant.
    Instant(Timestamp),
}

/// Smallest number that, beside a date, is read as seconds since 1970 (or a finer unit): smaller ones would
/// be of 1973 at the latest.
const LEAST_EPOCH: f64 = 1e8;

impl Moment {
    /// Parses the moment in a text: in ISO 8601 (a month is its first day), in `format`, or as a number.
    pub fn parse(text: &str, format: Option<&TimeFormat>) -> Option<Moment> {
        let text = text.trim();
        let month = || Timestamp::parse(format!("{text}-01").as_bytes());
        let iso = || Timestamp::parse(text.as_bytes()).or_else(month);
        let instant = iso().or_else(|| format?.parse(text));
        let number = || number_of_text(text.as_bytes()).map(Moment::Number);
        instant.map(Moment::Instant).or_else(number)
    }

    /// Returns true if it is at `other` or later; `None` if a number is compared with a date.
    pub fn is_from(self, other: Moment) -> Option<bool> {
        Some(match (self, other) {
            (Moment::Number(time), Moment::Number(from)) => time >= from,
            (Moment::Instant(time), Moment::Instant(from)) => time >= from,
            (Moment::Instant(time), Moment::Number(from)) => time >= since_1970(from),
            (Moment::Number(time), Moment::Instant(from)) if time.abs() >= LEAST_EPOCH => {
                since_1970(time) >= from
            }
            (Moment::Number(_), Moment::Instant(_)) => return None,
        })
    }
}

/// Returns the instant of a number that counts time since 1970, in the unit given by its size.
fn since_1970(count: f64) -> Timestamp {
    Timestamp::of_f64(count, TimeUnit::of_size(count))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Number(number) => write!(f, "{number}"),
            Moment::Instant(time) => write!(f, "{time}"),
        }
    }
}

/// The form of times that are not in ISO 8601, such as `%m/%d/%Y %H:%M`, in the letters of `strftime`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
}

impl TimeFormat {
    /// Parses the time format in `text`.
    ///
    /// # Errors
    /// It has an invalid letter after a `%`.
    pub fn new(text: &str) -> Result<TimeFormat, String> {
        let items = StrftimeItems::new(text).parse_to_owned().map_err(|_| {
            format!(
                "\"{text}\" is not a time format; write it as for strftime, such as \
                 \"%m/%d/%Y %H:%M:%S\""
            )
        })?;
        Ok(TimeFormat {
            text: text.to_owned(),
            items,
        })
    }

    /// Parses a text in this format; without an offset it is UTC, without a time of day midnight.
    pub fn parse(&self, text: &str) -> Option<Timestamp> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).ok()?;
        let time = match parsed.to_datetime() {
            Ok(time) => time.to_utc(),
            Err(_) => match parsed.to_naive_datetime_with_offset(0) {
                Ok(time) => time.and_utc(),
                Err(_) => parsed
                    .to_naive_date()
                    .ok()?
                    .and_time(Default::default())
                    .and_utc(),
            },
        };
        let nanos = time.timestamp_subsec_nanos();
        Some(Timestamp::new(time.timestamp(), nanos))
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for TimeFormat {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

/// Returns the time of row `row`.
///
/// # Errors
/// The row has no time, several values, or a text that is not a time.
pub fn time_of(
    column: &Column,
    row: usize,
    format: Option<&TimeFormat>,
) -> Result<Moment, SplitError> {
    let no_time = || SplitError::NoTime {
        column: column.name.clone(),
        row: row as u64 + 1,
    };
    let i = column.only(row)?.ok_or_else(no_time)?;
    let mut buffer = TextBuffer::default();
    match (&column.values, format) {
        (Values::Time(times), _) => Ok(Moment::Instant(times[i])),
        (values, Some(format)) => {
            let text = String::from_utf8_lossy(trimmed(buffer.plain(values, i)));
            let time = format.parse(&text).map(Moment::Instant);
            time.ok_or_else(|| other_form(column, row, i, Some(format)))
        }
        (Values::Text(_), None) => {
            let text = buffer.text(&column.values, i);
            let instant = Timestamp::parse(text).map(Moment::Instant);
            let time = instant.or_else(|| number_of_text(text).map(Moment::Number));
            time.ok_or_else(|| other_form(column, row, i, None))
        }
        _ => {
            let number = column.number(row, i).ok().flatten();
            number.map(Moment::Number).ok_or_else(no_time)
        }
    }
}

fn other_form(column: &Column, row: usize, i: usize, format: Option<&TimeFormat>) -> SplitError {
    let found = shown(&column.values, i);
    let what = match format {
        Some(format) => format!(
            "\"{found}\" is not of the form \"{format}\" that the split's format says; mend the one or \
             the other"
        ),
        None => format!(
            "\"{found}\" is neither a number nor a time in ISO 8601, such as 2024-02-01 or \
             2024-02-01T12:30:00+02:00; say in the split how times are written, such as \
             format = \"%m/%d/%Y\""
        ),
    };
    not_comparable(column, row, what)
}

/// Returns the error of a time that is a number beside a boundary that is an instant.
pub(super) fn no_instant(column: &Column, row: usize, time: Moment, from: Moment) -> SplitError {
    let what = format!(
        "the number {time} cannot be compared with {from}, a boundary of the split; write the boundary \
         as a number in the column's unit, or say in the split how times are written, such as \
         format = \"%Y%m%d\""
    );
    not_comparable(column, row, what)
}

fn not_comparable(column: &Column, row: usize, what: String) -> SplitError {
    SplitError::Column(EncodeError::NotComparable {
        column: column.name.clone(),
        row: row as u64 + 1,
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_forms_are_read_as_their_format_says() {
        let check = |format: &str, text: &str, expected: Option<&str>| {
            let found = TimeFormat::new(format).unwrap().parse(text);
            assert_eq!(
                found.map(|time| time.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check("%m/%d/%Y", "02/29/2024", Some("2024-02-29"));
        check("%m/%d/%Y", "2/9/2024", Some("2024-02-09"));
        check("%m/%d/%Y", "30/01/2024", None);
        check("%m/%d/%Y", "02/29/2024 12:00", None);
        check(
            "%d.%m.%Y %H:%M",
            "29.02.2024 23:59",
            Some("2024-02-29 23:59:00"),
        );
        check("%Y%m%d", "20240229", Some("2024-02-29"));
        check(
            "%d %b %Y %I:%M:%S %p",
            "01 Mar 2024 01:02:03 PM",
            Some("2024-03-01 13:02:03"),
        );
        check(
            "%Y/%m/%d %H:%M:%S%.f %z",
            "2024/03/01 01:00:00.5 +0200",
            Some("2024-02-29 23:00:00.5"),
        );
        check("%s", "1709164800", Some("2024-02-29"));
        let error = TimeFormat::new("%Q").unwrap_err();
        assert!(error.starts_with("\"%Q\" is not a time format"), "{error}");
    }

    #[test]
    fn a_boundary_is_an_instant_or_a_number() {
        let check = |text: &str, expected: Option<&str>| {
            let found = Moment::parse(text, None).map(|moment| format!("{moment:?} {moment}"));
            let start = |found: &String| expected.is_some_and(|start| found.ends_with(start));
            assert_eq!(
                found.as_ref().is_some_and(start),
                expected.is_some(),
                "{text}: {found:?}"
            );
        };
        check("2024-02-01", Some(" 2024-02-01"));
        check("2024-02", Some(" 2024-02-01"));
        check("2024-02-01T02:00:00+02:00", Some(" 2024-02-01"));
        check("1706745600", Some("Number(1706745600.0) 1706745600"));
        check("noon", None);
        let us = TimeFormat::new("%m/%d/%Y").unwrap();
        let found = Moment::parse("02/01/2024", Some(&us));
        assert_eq!(found, Moment::parse("2024-02-01", None));
    }

    #[test]
    fn numbers_beside_instants_count_since_1970() {
        let instant = |text: &str| Moment::parse(text, None).unwrap();
        let day = instant("2024-02-01");
        for same in [
            19_754.0,
            1_706_745_600.0,
            1_706_745_600e3,
            1_706_745_600e6,
            1_706_745_600e9,
        ] {
            assert_eq!(day.is_from(Moment::Number(same)), Some(true), "{same}");
            assert_eq!(
                day.is_from(Moment::Number(same * 1.001)),
                Some(false),
                "{same}"
            );
            let epoch = (same > LEAST_EPOCH).then_some(true);
            assert_eq!(Moment::Number(same).is_from(day), epoch, "{same}");
        }
        assert_eq!(Moment::Number(7.0).is_from(Moment::Number(7.0)), Some(true));
    }
}
