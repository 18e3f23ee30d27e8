//! Instants of time: one number and one text, whatever unit, zone or form a file writes them in.
//!
//! The calendar is computed here and not by a library, because a file can hold any number of seconds
//! that 64 bits hold, and libraries stop at the year 9999 or a few hours before its end.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;

const DAY: i64 = 86_400;
const SECOND: u32 = 1_000_000_000;

/// An instant, counted from 1970-01-01 00:00:00 UTC. A date is its midnight; a time without a zone is UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    seconds: i64,
    /// Nanoseconds after them, below 10^9.
    nanos: u32,
}

/// The unit in which a number counts time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Days, as in a date column.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl TimeUnit {
    /// Returns the number of units per second; `None` for days.
    fn per_second(self) -> Option<i64> {
        match self {
            TimeUnit::Days => None,
            TimeUnit::Seconds => Some(1),
            TimeUnit::Millis => Some(1_000),
            TimeUnit::Micros => Some(1_000_000),
            TimeUnit::Nanos => Some(1_000_000_000),
        }
    }

    /// Returns the unit of a number that counts time since 1970, by its size: days below 10^6, seconds below
    /// 10^11, milliseconds below 10^14, microseconds below 10^17, nanoseconds from there on. All of them mean
    /// the years 1973 to 5138, days those to 4707.
    pub fn of_size(count: f64) -> TimeUnit {
        match count.abs() {
            size if size < 1e6 => TimeUnit::Days,
            size if size < 1e11 => TimeUnit::Seconds,
            size if size < 1e14 => TimeUnit::Millis,
            size if size < 1e17 => TimeUnit::Micros,
            _ => TimeUnit::Nanos,
        }
    }
}

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Timestamp = Timestamp {
        seconds: 0,
        nanos: 0,
    };

    /// Returns the instant that many seconds and nanoseconds after the start of 1970.
    pub fn new(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp {
            seconds: seconds.saturating_add(i64::from(nanos / SECOND)),
            nanos: nanos % SECOND,
        }
    }

    /// Returns the instant `count` units after the start of 1970.
    pub fn of(count: i64, unit: TimeUnit) -> Timestamp {
        let Some(per_second) = unit.per_second() else {
            return Timestamp::new(count.saturating_mul(DAY), 0);
        };
        let nanos = count.rem_euclid(per_second) * (i64::from(SECOND) / per_second);
        Timestamp::new(count.div_euclid(per_second), nanos as u32)
    }

    /// Returns the instant of a count with a fraction; see [`Timestamp::of`].
    pub fn of_f64(count: f64, unit: TimeUnit) -> Timestamp {
        if count.trunc() == count {
            return Timestamp::of(count as i64, unit);
        }
        let seconds = match unit.per_second() {
            None => count * DAY as f64,
            Some(per_second) => count / per_second as f64,
        };
        let whole = seconds.floor();
        Timestamp::new(whole as i64, ((seconds - whole) * f64::from(SECOND)) as u32)
    }

    /// Converts Parquet's 96-bit timestamp: nanoseconds within a Julian day.
    pub fn of_julian(day: u32, nanos: i64) -> Timestamp {
        const JULIAN_1970: i64 = 2_440_588;
        let since = Timestamp::of(nanos, TimeUnit::Nanos);
        let midnight = (i64::from(day) - JULIAN_1970) * DAY;
        Timestamp::new(midnight + since.seconds, since.nanos)
    }

    /// Seconds since the start of 1970, with their fraction.
    pub fn seconds_f64(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) / f64::from(SECOND)
    }

    /// Returns the year, the month and the day of the month of the date in UTC, the latter two from 1.
    pub fn date(self) -> (i64, i64, i64) {
        civil(self.seconds.div_euclid(DAY))
    }

    /// Its whole seconds, rounded down.
    pub fn whole_seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds after its whole seconds.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// Parses an ISO 8601 text: a date, or a date and time of day after a blank or `T`, with or without
    /// seconds, fraction (at most nine digits) and offset (`Z`, ` UTC`, `+02:00`, `+0200`, `+02`, with or
    /// without a blank before it). Returns `None` for any other text.
    pub fn parse(text: &[u8]) -> Option<Timestamp> {
        let (date, rest) = text.split_at_checked(10)?;
        let midnight = parse_date(date)?.checked_mul(DAY)?;
        let Some((between, rest)) = rest.split_first() else {
            return Some(Timestamp::new(midnight, 0));
        };
        if !matches!(between, b'T' | b't' | b' ') {
            return None;
        }
        let (clock, rest) = parse_clock(rest)?;
        let offset = parse_offset(rest)?;
        Some(Timestamp::new(
            midnight + clock.seconds - offset,
            clock.nanos,
        ))
    }

    /// Appends the one text of the instant, in UTC: `2024-01-01` at midnight, `2024-01-01 12:30:00` or
    /// `2024-01-01 12:30:00.25` otherwise; years beyond four digits have their sign.
    pub fn write(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let written = if (0..10_000).contains(&year) {
            write!(out, "{year:04}-{month:02}-{day:02}")
        } else {
            write!(out, "{year:+05}-{month:02}-{day:02}")
        };
        written.expect("writing to memory does not fail");
        if second > 0 || self.nanos > 0 {
            out.push(b' ');
            write_clock(second, self.nanos, out);
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Parses a text `hh:mm:ss`, with or without a fraction, as seconds since midnight.
pub(crate) fn time_of_day(text: &[u8]) -> Option<Timestamp> {
    let (clock, rest) = parse_clock(text)?;
    let has_seconds = text.get(5) == Some(&b':');
    (rest.is_empty() && has_seconds).then_some(clock)
}

/// Appends `hh:mm:ss` of a second of the day, and the fraction without zeros at its end.
pub fn write_clock(second: i64, nanos: u32, out: &mut Vec<u8>) {
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let written = write!(out, "{hour:02}:{minute:02}:{:02}", second % 60);
    written.expect("writing to memory does not fail");
    if nanos > 0 {
        write!(out, ".{nanos:09}").expect("writing to memory does not fail");
        let end = out.iter().rposition(|&digit| digit != b'0');
        out.truncate(end.map_or(0, |end| end + 1));
    }
}

/// Returns the text of the time of day `count` units after midnight.
pub fn clock_text(count: i64, unit: TimeUnit) -> Vec<u8> {
    let time = Timestamp::of(count, unit);
    let mut text = Vec::new();
    write_clock(time.seconds.rem_euclid(DAY), time.nanos, &mut text);
    text
}

/// Days since 1970 of `yyyy-mm-dd`.
fn parse_date(date: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else {
        return None;
    };
    let year = digits(&[y0, y1, y2, y3])?;
    let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
    let exists = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    exists.then(|| days_since_1970(year, month, day))
}

/// Seconds and nanoseconds since midnight, and what follows.
fn parse_clock(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (&[h0, h1, b':', m0, m1], mut rest) = text.split_first_chunk::<5>()? else {
        return None;
    };
    let (hour, minute) = (digits(&[h0, h1])?, digits(&[m0, m1])?);
    let (mut second, mut nanos) = (0, 0);
    if let Some((&[b':', s0, s1], after)) = rest.split_first_chunk::<3>() {
        second = digits(&[s0, s1])?;
        rest = after;
        if let [b'.' | b',', fraction @ ..] = rest {
            let n = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
            let places = u32::try_from(n).ok().filter(|n| (1..=9).contains(n))?;
            nanos = digits(&fraction[..n])? * 10i64.pow(9 - places);
            rest = &fraction[n..];
        }
    }
    let exists = hour < 24 && minute < 60 && second < 60;
    let time = Timestamp::new(hour * 3600 + minute * 60 + second, nanos as u32);
    exists.then_some((time, rest))
}

/// Returns the seconds by which a clock with this offset is ahead of UTC.
fn parse_offset(text: &[u8]) -> Option<i64> {
    let text = match text {
        b"" => return Some(0),
        [b' ', rest @ ..] => rest,
        text => text,
    };
    let (sign, offset) = match text {
        b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', offset @ ..] => (1, offset),
        [b'-', offset @ ..] => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = match *offset {
        [h0, h1] => (digits(&[h0, h1])?, 0),
        [h0, h1, m0, m1] | [h0, h1, b':', m0, m1] => (digits(&[h0, h1])?, digits(&[m0, m1])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in 400 years of the Gregorian calendar.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const FROM_MARCH_0: i64 = 719_468;

/// Days since 1970-01-01 of a date, by years that begin in March
/// (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA + day_of_era - FROM_MARCH_0
}

/// Returns year, month and day of a day since 1970-01-01: the inverse of [`days_since_1970`].
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + FROM_MARCH_0;
    let (era, day) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let from_january = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(from_january <= 2);
    (year, from_january, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_iso_form_of_an_instant_is_the_same() {
        let check = |text: &str, expected: Option<&str>| {
            let found = Timestamp::parse(text.as_bytes()).map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        for text in [
            "2024-01-01",
            "2024-01-01 00:00:00",
            "2024-01-01T00:00",
            "2024-01-01T00:00:00Z",
            "2024-01-01 00:00:00.000000",
            "2024-01-01T02:00:00+02:00",
            "2024-01-01T02:00:00+0200",
            "2023-12-31 19:30:00.000-04:30",
            "2024-01-01 00:00:00+00",
            "2024-01-01 00:00:00 UTC",
            "2024-01-01 02:00:00.000 +0200",
            "2023-12-31 19:30:00 -04:30",
            "2024-01-01 00:00:00 Z",
        ] {
            check(text, Some("2024-01-01"));
        }
        check("2024-02-29t23:59:59,5", Some("2024-02-29 23:59:59.5"));
        check("0001-01-01", Some("0001-01-01"));
        check(
            "9999-12-31 23:59:59.999999999",
            Some("9999-12-31 23:59:59.999999999"),
        );
        check("9999-12-31 23:59:59-01:00", Some("+10000-01-01 00:59:59"));
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01x",
            "2024-01-01 24:00:00",
            "2024-01-01 00:00:60",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00.1234567890",
            "2024-01-01 00:00:00+1",
            "2024-01-01 ",
            "2024-01-01 00:00:00 ",
            "2024-01-01 00:00:00  +0200",
            "2024-01-01 00:00:00 EST",
            "01/01/2024",
            "",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn units_are_one_instant() {
        let noon = Timestamp::parse(b"2024-01-01 12:00:00.123").unwrap();
        let check = |count: i64, unit: TimeUnit| assert_eq!(Timestamp::of(count, unit), noon);
        check(1_704_110_400_123, TimeUnit::Millis);
        check(1_704_110_400_123_000, TimeUnit::Micros);
        check(1_704_110_400_123_000_000, TimeUnit::Nanos);
        assert_eq!(Timestamp::of_julian(2_460_311, 43_200_123_000_000), noon);
        assert_eq!(noon.seconds_f64(), 1_704_110_400.123);
        let day = Timestamp::of(-1, TimeUnit::Days).to_string();
        assert_eq!(day, "1969-12-31");
        let before = Timestamp::of(-1, TimeUnit::Millis).to_string();
        assert_eq!(before, "1969-12-31 23:59:59.999");
        assert_eq!(
            Timestamp::of_f64(1.5, TimeUnit::Seconds).to_string(),
            "1970-01-01 00:00:01.5"
        );
        assert_eq!(
            Timestamp::of_f64(19_723.0, TimeUnit::Days).to_string(),
            "2024-01-01"
        );
    }

    #[test]
    fn a_time_of_day_has_one_text() {
        let text = |count, unit| String::from_utf8(clock_text(count, unit)).unwrap();
        assert_eq!(text(45_000_500, TimeUnit::Millis), "12:30:00.5");
        assert_eq!(text(0, TimeUnit::Nanos), "00:00:00");
        assert_eq!(
            time_of_day(b"12:30:00.500"),
            Some(Timestamp::new(45_000, 500_000_000))
        );
        assert_eq!(time_of_day(b"12:30"), None);
        assert_eq!(time_of_day(b"25:00:00"), None);
    }

    proptest! {
        #[test]
        fn any_number_of_any_unit_has_a_text(count: i64) {
            for unit in [TimeUnit::Days, TimeUnit::Seconds, TimeUnit::Millis, TimeUnit::Nanos] {
                prop_assert!(!Timestamp::of(count, unit).to_string().is_empty());
            }
        }

        #[test]
        fn four_digit_years_are_read_as_written(seconds in -62_167_219_200i64..253_402_300_800, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos);
            prop_assert_eq!(Timestamp::parse(time.to_string().as_bytes()), Some(time));
        }
    }
}
