//! Days as keys: dates, or numbers of days.

use std::fmt;

use ncs_features::time::{TimeUnit, Timestamp};
use ncs_readers::Moment;

const SECONDS_PER_DAY: i64 = 86_400;

/// Smallest number that counts time since 1970 in seconds or a finer unit: days and dates in digits are smaller.
const LEAST_EPOCH: f64 = 1e8;

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum DayKey {
    /// A number that is not a date, such as the third day of a log.
    Number(i64),
    /// A date, in days since 1970, in UTC.
    Date(i64),
}

impl DayKey {
    /// Returns the day of a time: of an instant, of a number that counts time since 1970, or of digits such as
    /// 20240131. Other whole numbers are days by themselves. `None` for a fraction of a day.
    pub(super) fn of(time: Moment) -> Option<DayKey> {
        let date = |time: Timestamp| DayKey::Date(time.whole_seconds().div_euclid(SECONDS_PER_DAY));
        match time {
            Moment::Instant(time) => Some(date(time)),
            Moment::Number(x) if x.abs() >= LEAST_EPOCH => {
                Some(date(Timestamp::of_f64(x, TimeUnit::of_size(x))))
            }
            Moment::Number(x) if x.fract() != 0.0 || !x.is_finite() => None,
            Moment::Number(x) => Some(digits(x as i64).map_or(DayKey::Number(x as i64), date)),
        }
    }

    /// Parses a day as it is shown, or a time in ISO 8601.
    pub(super) fn parse(text: &str) -> Option<DayKey> {
        DayKey::of(Moment::parse(text, None)?)
    }

    /// Returns the next day.
    pub(super) fn next(self) -> DayKey {
        match self {
            DayKey::Number(number) => DayKey::Number(number + 1),
            DayKey::Date(date) => DayKey::Date(date + 1),
        }
    }
}

/// Returns the date that digits such as 20240131 mean.
fn digits(number: i64) -> Option<Timestamp> {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let is_year = (1900..2100).contains(&year);
    let text = format!("{year:04}-{month:02}-{day:02}");
    is_year.then(|| Timestamp::parse(text.as_bytes())).flatten()
}

impl fmt::Display for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DayKey::Number(number) => write!(f, "{number}"),
            DayKey::Date(date) => write!(f, "{}", Timestamp::of(*date, TimeUnit::Days)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_same_however_it_is_written() {
        for text in [
            "2024-01-31",
            "2024-01-31 23:59:59",
            "2024-02-01T01:00:00+02:00",
            "20240131",
            "1706745599",
            "1706745599000",
        ] {
            assert_eq!(
                DayKey::parse(text).unwrap().to_string(),
                "2024-01-31",
                "{text}"
            );
        }
        assert_eq!(DayKey::parse("7"), Some(DayKey::Number(7)));
        assert_eq!(DayKey::parse("20241399"), Some(DayKey::Number(20_241_399)));
        for text in ["", "monday", "7.5"] {
            assert_eq!(DayKey::parse(text), None, "{text}");
        }
        assert_eq!(
            DayKey::parse("2024-02-28").unwrap().next().to_string(),
            "2024-02-29"
        );
        assert!(DayKey::parse("9") < DayKey::parse("10"));
    }
}
