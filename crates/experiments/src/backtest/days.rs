//! The days of a log: folders named `day=2026-11-28`, or the values of a column.

use crate::error::Error;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_readers::{ReadError, Reading, Rows, Split};

use super::BacktestPlan;
use super::key::DayKey;
use super::separate;
use crate::progress::{Progress, grouped};
use ncs_config::RunFile;

/// Names of folders by day that are looked for.
const FOLDERS: [&str; 3] = ["day", "date", "dt"];

/// One day of the log.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// The day.
    pub(super) key: DayKey,
    /// Its files.
    pub(super) files: Vec<PathBuf>,
    /// Reading options.
    pub(super) reading: Reading,
    /// Its rows, at least one.
    pub(super) rows: u64,
    /// BLAKE3 of the files' contents.
    pub(super) hash: blake3::Hash,
}

/// Returns the days with rows, in order, and notes about the others.
///
/// # Errors
/// Files cannot be read, or no column or folder tells the day of a row.
pub(super) fn find(
    file: &RunFile,
    plan: &BacktestPlan<'_>,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(Vec<Day>, Vec<String>), Error> {
    let range = Range::parse(plan.days)?;
    let data = &file.plan.data;
    let patterns = [&data.train[..], &data.valid, &data.test].concat();
    let files = ncs_readers::files(&patterns, &data.root)?;
    let (by_day, reading) = match folders(&files, plan.by)? {
        Some(by_day) => (by_day, data.reading.clone()),
        None => {
            let column = column(file, plan)?;
            let separated = separate::separate(file, &files, &column, plan.folder, progress, stop)?;
            (separated, Reading::default())
        }
    };
    let mut days = Vec::new();
    let mut notes = Vec::new();
    // One column is enough to count the rows.
    let label = vec![file.plan.schema.tasks[0].label.clone()];
    for (key, files) in by_day.into_iter().filter(|(key, _)| range.holds(*key)) {
        crate::stop::refuse(stop, "run the same command again to continue")?;
        let rows = count(&files, &reading, &label)?;
        if rows == 0 {
            notes.push(format!("{key} has files without rows; the day is left out"));
            continue;
        }
        let hash = hash(&files)?;
        days.push(Day {
            key,
            hash,
            files,
            reading: reading.clone(),
            rows,
        });
    }
    notes.extend(gaps(&days));
    let rows: u64 = days.iter().map(|day| day.rows).sum();
    progress.log(&format!("{} days, {} rows", days.len(), grouped(rows)));
    Ok((days, notes))
}

/// Returns the files by the day in the name of their folder; `None` if they are not in such folders.
fn folders(
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
    let value = |folder: std::path::Component<'_>| {
        let folder = folder.as_os_str().to_str()?;
        let value = folder.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    };
    folders.filter_map(value).next_back()
}

/// Returns the column that tells the day of a row.
fn column(file: &RunFile, plan: &BacktestPlan<'_>) -> Result<String, String> {
    let of_split = match &file.plan.data.split {
        Split::Time { column, .. } | Split::Latest { column, .. } => Some(column.clone()),
        _ => None,
    };
    let by = plan.by.map(str::to_owned);
    by.or(of_split).ok_or_else(|| {
        format!(
            "{}: nothing tells the day of a row; name a column with --by, or keep the files of each day in a folder \
             named day=2026-11-28",
            plan.run.display()
        )
    })
}

/// Returns the number of rows.
fn count(files: &[PathBuf], reading: &Reading, columns: &[String]) -> Result<u64, ReadError> {
    let mut rows = Rows::open(files.to_vec(), reading, columns.to_vec());
    let mut n_rows = 0;
    loop {
        match rows.next_block() {
            Ok(Some(block)) => n_rows += block.block.n_rows as u64,
            Ok(None) => return Ok(n_rows),
            Err(ReadError::NoRows { .. }) => return Ok(0),
            Err(error) => return Err(error),
        }
    }
}

fn hash(files: &[PathBuf]) -> Result<blake3::Hash, String> {
    let mut all = blake3::Hasher::new();
    for path in files {
        let cannot = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut hasher = blake3::Hasher::new();
        let file = File::open(path).map_err(cannot)?;
        hasher.update_reader(file).map_err(cannot)?;
        all.update(hasher.finalize().as_bytes());
    }
    Ok(all.finalize())
}

/// Names the days that are missing between the first and the last one.
fn gaps(days: &[Day]) -> Vec<String> {
    let pairs = days.windows(2).filter_map(|pair| {
        let (from, to) = (pair[0].key.next(), pair[1].key);
        let is_gap = match (from, to) {
            (DayKey::Date(from), DayKey::Date(to)) => from < to,
            (DayKey::Number(from), DayKey::Number(to)) => from < to,
            _ => false,
        };
        is_gap.then(|| format!("no rows from {from} to the day before {to}"))
    });
    pairs.collect()
}

/// The days of `--days FIRST..LAST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    first: Option<DayKey>,
    last: Option<DayKey>,
}

impl Range {
    fn parse(text: Option<&str>) -> Result<Range, String> {
        let Some(text) = text else {
            return Ok(Range::default());
        };
        let wrong = || {
            format!("--days {text}: expected FIRST..LAST, such as 2026-11-01..2026-11-14 or 1..14")
        };
        let (first, last) = text.split_once("..").ok_or_else(wrong)?;
        let day = |text: &str| match text.trim() {
            "" => Ok(None),
            text => DayKey::parse(text).map(Some).ok_or_else(wrong),
        };
        let range = Range {
            first: day(first)?,
            last: day(last)?,
        };
        match (range.first, range.last) {
            (Some(first), Some(last)) if first > last => Err(format!(
                "--days {text}: {first} is after {last}; write the earlier day first"
            )),
            _ => Ok(range),
        }
    }

    fn holds(self, key: DayKey) -> bool {
        self.first.is_none_or(|first| first <= key) && self.last.is_none_or(|last| key <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_grouped_by_the_day_of_their_folder() {
        let files = ["log/day=2024-01-02/b.csv", "log/day=2024-01-01/a.csv"].map(PathBuf::from);
        let found = folders(&files, None).unwrap().unwrap();
        let keys: Vec<String> = found.keys().map(DayKey::to_string).collect();
        assert_eq!(keys, ["2024-01-01", "2024-01-02"]);
        assert_eq!(folders(&files, Some("hour")), Ok(None));
        let plain = [PathBuf::from("log/a.csv")];
        assert_eq!(folders(&plain, None), Ok(None));
        let wrong = [PathBuf::from("log/day=monday/a.csv")];
        assert!(folders(&wrong, None).unwrap_err().contains("\"monday\""));
    }

    #[test]
    fn a_range_may_be_open_at_either_end() {
        let holds = |text: &str, day: &str| {
            let range = Range::parse(Some(text)).unwrap();
            range.holds(DayKey::parse(day).unwrap())
        };
        assert!(holds("2024-01-02..2024-01-03", "2024-01-03"));
        assert!(!holds("2024-01-02..2024-01-03", "2024-01-04"));
        assert!(holds("..2024-01-03", "2023-01-01"));
        assert!(holds("3..", "10") && !holds("3..", "2"));
        let wrong = |text: &str, part: &str| {
            let error = Range::parse(Some(text)).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        wrong("2024-01-02", "expected FIRST..LAST");
        wrong("a..b", "expected FIRST..LAST");
        wrong("2024-01-03..2024-01-02", "is after");
    }
}
