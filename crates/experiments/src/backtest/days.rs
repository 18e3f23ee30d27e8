//! The days of a log: folders named `day=2026-11-28`, or the values of a column.

use crate::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ncs_readers::days::{DayKey, DayRange, by_folder};
use ncs_readers::{ReadError, Reading, Rows, Split, shown_path};

use super::BacktestPlan;
use super::separate;
use crate::progress::{Progress, grouped};
use ncs_config::RunFile;

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
    let range = match plan.days {
        None => DayRange::default(),
        Some(text) => DayRange::parse(text).map_err(|what| format!("--days {text}: {what}"))?,
    };
    let data = &file.plan.data;
    let patterns = [&data.train[..], &data.valid, &data.test].concat();
    let files = ncs_readers::files(&patterns, &data.root)?;
    let (by_day, reading) = match by_folder(&files, plan.by)? {
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
        let hash = hash(&files, &reading)?;
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

fn hash(files: &[PathBuf], reading: &Reading) -> Result<blake3::Hash, String> {
    let mut all = blake3::Hasher::new();
    for lookup in &reading.lookups {
        let marks = lookup.marks().map_err(|error| error.to_string())?;
        all.update(format!("{} {marks}\n", lookup.key).as_bytes());
    }
    for path in files {
        let cannot = |error: std::io::Error| format!("{}: {error}", shown_path(path));
        let mut hasher = blake3::Hasher::new();
        let file = ncs_readers::open_bytes(path).map_err(|error| error.to_string())?;
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
