//! Days: dates, or numbers of days; the day in the name of a file's folder, and the choice of some of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use ncs_features::time::{TimeUnit, Timestamp};

use crate::split::Moment;

const SECONDS_PER_DAY: i64 = 86_400;

/// Smallest number that counts time since 1970 in seconds or a finer unit: days and dates in digits are smaller.
const LEAST_EPOCH: f64 = 1e8;

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DayKey {
    /// A number that is not a date, such as the third day of a log.
    Number(i64),
    /// A date, in days since 1970, in UTC.
    Date(i64),
}

impl DayKey {
    /// Returns the day of a time: of an instant, of a number that counts time since 1970, or of digits such as
    /// 20240131. Other whole numbers are days by themselves. `None` for a fraction of a day.
    pub fn of(time: Moment) -> Option<DayKey> {
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
    pub fn parse(text: &str) -> Option<DayKey> {
        DayKey::of(Moment::parse(text, None)?)
    }

    /// Returns the next day.
    pub fn next(self) -> DayKey {
        self.plus(1)
    }

    /// Returns the day `n` days later, or earlier if `n` is negative.
    pub fn plus(self, n: i64) -> DayKey {
        match self {
            DayKey::Number(number) => DayKey::Number(number.saturating_add(n)),
            DayKey::Date(date) => DayKey::Date(date.saturating_add(n)),
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

/// Names of folders by day that are recognised: `day=2026-11-28`, `date=...`, `dt=...`.
const FOLDERS: [&str; 3] = ["day", "date", "dt"];

/// Days from a first to a last one; either may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayRange {
    /// The first day.
    pub first: Option<DayKey>,
    /// The last day, included.
    pub last: Option<DayKey>,
}

impl DayRange {
    /// Parses `FIRST..LAST`, either of which may be left out.
    ///
    /// # Errors
    /// A message without the name of the setting: the text has another form, or the first day is after the last.
    pub fn parse(text: &str) -> Result<DayRange, String> {
        let wrong = || "expected FIRST..LAST, such as 2026-11-01..2026-11-14 or 1..14".to_owned();
        let (first, last) = text.split_once("..").ok_or_else(wrong)?;
        let day = |text: &str| match text.trim() {
            "" => Ok(None),
            text => DayKey::parse(text).map(Some).ok_or_else(wrong),
        };
        let range = DayRange {
            first: day(first)?,
            last: day(last)?,
        };
        match (range.first, range.last) {
            (Some(first), Some(last)) if first > last => Err(format!(
                "{first} is after {last}; write the earlier day first"
            )),
            _ => Ok(range),
        }
    }

    /// Returns true if the range contains the day.
    pub fn holds(self, key: DayKey) -> bool {
        self.first.is_none_or(|first| first <= key) && self.last.is_none_or(|last| key <= last)
    }
}

/// A choice of days, as a setting states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayChoice {
    /// `2026-11-01..2026-11-14`.
    Range(DayRange),
    /// `last 7`: so many days before `as_of`, or up to the latest day that there is.
    Last(u32),
}

impl DayChoice {
    /// Parses `FIRST..LAST` or `last N`.
    ///
    /// # Errors
    /// The text has another form.
    pub fn parse(text: &str) -> Result<DayChoice, String> {
        let Some(number) = text.trim().strip_prefix("last ") else {
            return DayRange::parse(text)
                .map(DayChoice::Range)
                .map_err(|what| format!("{what}, or \"last 7\""));
        };
        match number.trim().parse() {
            Ok(n) if n > 0 => Ok(DayChoice::Last(n)),
            _ => Err(
                "expected \"last N\" with a whole number of days, such as \"last 7\"".to_owned(),
            ),
        }
    }

    /// Returns the days that are chosen. `as_of` is the first day that is not: of a range, days from it on are left out.
    /// Without it, `last N` ends with the day `latest`.
    pub fn range(self, as_of: Option<DayKey>, latest: DayKey) -> DayRange {
        let before = as_of.map(|day| day.plus(-1));
        match self {
            DayChoice::Last(n) => {
                let last = before.unwrap_or(latest);
                DayRange {
                    first: Some(last.plus(1 - i64::from(n))),
                    last: Some(last),
                }
            }
            DayChoice::Range(range) => DayRange {
                first: range.first,
                last: match (range.last, before) {
                    (Some(last), Some(before)) => Some(last.min(before)),
                    (last, before) => last.or(before),
                },
            },
        }
    }
}

/// Returns the files by the day in the name of their folder; `None` if they are not in such folders. `by` is the name of the
/// folders, by default one of `day`, `date` and `dt`.
///
/// # Errors
/// The value in a folder's name is not a day.
pub fn by_folder(
    files: &[PathBuf],
    by: Option<&str>,
) -> Result<Option<BTreeMap<DayKey, Vec<PathBuf>>>, String> {
    let names = by.map_or(FOLDERS.to_vec(), |by| vec![by]);
    let is_in = |name: &&&str| files.iter().all(|file| folder_value(file, name).is_some());
    let Some(name) = names.iter().find(is_in) else {
        return Ok(None);
    };
    let mut days: BTreeMap<DayKey, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let value = folder_value(file, name).unwrap_or_default();
        let key = DayKey::parse(&value).ok_or_else(|| {
            format!(
                "{}: \"{value}\" in the name of the folder is not a day; write a date such as 2026-11-28 or a whole number",
                file.display()
            )
        })?;
        days.entry(key).or_default().push(file.clone());
    }
    Ok(Some(days))
}

/// Returns the value of a folder named `NAME=VALUE` on the path of a file.
fn folder_value(file: &Path, name: &str) -> Option<String> {
    let folders = file.parent()?.components();
    let value = |folder: Component<'_>| {
        let folder = folder.as_os_str().to_str()?;
        let value = folder.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    };
    folders.filter_map(value).next_back()
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

    #[test]
    fn files_are_grouped_by_the_day_of_their_folder() {
        let files = ["log/day=2024-01-02/b.csv", "log/day=2024-01-01/a.csv"].map(PathBuf::from);
        let found = by_folder(&files, None).unwrap().unwrap();
        let keys: Vec<String> = found.keys().map(DayKey::to_string).collect();
        assert_eq!(keys, ["2024-01-01", "2024-01-02"]);
        assert_eq!(by_folder(&files, Some("hour")), Ok(None));
        let plain = [PathBuf::from("log/a.csv")];
        assert_eq!(by_folder(&plain, None), Ok(None));
        let wrong = [PathBuf::from("log/day=monday/a.csv")];
        assert!(by_folder(&wrong, None).unwrap_err().contains("\"monday\""));
    }

    #[test]
    fn a_range_may_be_open_at_either_end() {
        let holds = |text: &str, day: &str| {
            let range = DayRange::parse(text).unwrap();
            range.holds(DayKey::parse(day).unwrap())
        };
        assert!(holds("2024-01-02..2024-01-03", "2024-01-03"));
        assert!(!holds("2024-01-02..2024-01-03", "2024-01-04"));
        assert!(holds("..2024-01-03", "2023-01-01"));
        assert!(holds("3..", "10") && !holds("3..", "2"));
        let wrong = |text: &str, part: &str| {
            let error = DayRange::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        wrong("2024-01-02", "FIRST..LAST");
        wrong("a..b", "FIRST..LAST");
        wrong("5..4", "write the earlier day first");
    }

    #[test]
    fn a_choice_ends_before_the_day_of_training() {
        let day = |text: &str| DayKey::parse(text).unwrap();
        let chosen = |text: &str, as_of: Option<&str>| {
            let range = DayChoice::parse(text)
                .unwrap()
                .range(as_of.map(day), day("2024-03-05"));
            let shown = |day: Option<DayKey>| day.map_or(String::new(), |day| day.to_string());
            format!("{}..{}", shown(range.first), shown(range.last))
        };
        assert_eq!(chosen("last 3", None), "2024-03-03..2024-03-05");
        assert_eq!(
            chosen("last 2", Some("2024-03-01")),
            "2024-02-28..2024-02-29"
        );
        assert_eq!(
            chosen("2024-01-01..", Some("2024-03-01")),
            "2024-01-01..2024-02-29"
        );
        assert_eq!(chosen("..2024-01-05", Some("2024-03-01")), "..2024-01-05");
        assert_eq!(chosen("..", None), "..");
        for wrong in ["last", "last 0", "last week", "yesterday"] {
            assert!(DayChoice::parse(wrong).is_err(), "{wrong}");
        }
    }
}
