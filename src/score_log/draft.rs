//! A file that has its name only once it is whole: until then `.NAME.unfinished`, and locked by the
//! process that writes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const START: &str = ".scores-";
const END: &str = ".parquet.unfinished";

/// A draft. Dropped before [`Draft::finish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    unfinished: PathBuf,
}

impl Draft {
    /// Starts the file `scores-STEM-N.parquet`, for the first `N` from 1 that is free.
    pub(super) fn create(folder: &Path, stem: &str) -> io::Result<(Draft, File)> {
        for n in 1.. {
            let path = folder.join(format!("scores-{stem}-{n}.parquet"));
            let unfinished = folder.join(format!("{START}{stem}-{n}{END}"));
            if let Some(file) = claim(&path, &unfinished)? {
                return Ok((Draft { path, unfinished }, file));
            }
        }
        unreachable!("numbers do not end")
    }

    /// The name that it is to have.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.path)
    }
}

impl Drop for Draft {
    /// Takes an unfinished file away; after [`Draft::finish`] there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// The file `unfinished`, if nobody else has the name `path`.
fn claim(path: &Path, unfinished: &Path) -> io::Result<Option<File>> {
    let create = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(unfinished);
    let file = match create {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        // Someone who removes drafts took it for one that nobody writes.
        return Ok(None);
    }
    if path.try_exists()? {
        fs::remove_file(unfinished)?;
        return Ok(None);
    }
    Ok(unfinished.try_exists()?.then_some(file))
}

/// Removes the drafts that no process writes, and returns which.
pub(super) fn remove_abandoned(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(START) && name.ends_with(END)) {
            continue;
        }
        let path = entry.path();
        // Locked: it is being written. Without locks there is no telling.
        let lock = OpenOptions::new().write(true).open(&path);
        let Ok(file) = lock else { continue };
        if file.try_lock().is_ok() && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// A time as names of files have it, in UTC: `20260314T070809Z`.
pub(super) fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let [year, month, day] = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day, so many days after 1 January 1970: Howard Hinnant's `civil_from_days`, for years
/// that begin in March and eras of 400 of them.
fn date(days: u64) -> [u64; 3] {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    [era * 400 + year_of_era + u64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_has_a_name_that_sorts() {
        let check = |seconds: u64, expected: &str| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(stamp(time), expected);
        };
        check(0, "19700101T000000Z");
        check(951_782_400, "20000229T000000Z");
        check(951_868_800, "20000301T000000Z");
        check(1_735_689_599, "20241231T235959Z");
        check(1_773_472_089, "20260314T070809Z");
        check(4_107_542_400, "21000301T000000Z");
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scores-a-1.parquet"), "whole").unwrap();
        let (second, _file) = Draft::create(folder.path(), "a").unwrap();
        let (third, _file) = Draft::create(folder.path(), "a").unwrap();
        assert_eq!(second.path(), folder.path().join("scores-a-2.parquet"));
        assert_eq!(third.path(), folder.path().join("scores-a-3.parquet"));
        second.finish().unwrap();
        drop(third);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_drafts_that_nobody_writes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, _file) = Draft::create(folder.path(), "a").unwrap();
        let left = folder.path().join(".scores-b-1.parquet.unfinished");
        let other = folder.path().join(".other.unfinished");
        for path in [&left, &other] {
            fs::write(path, "torn").unwrap();
        }
        assert_eq!(remove_abandoned(folder.path()).unwrap(), [left]);
        assert!(draft.unfinished.exists() && other.exists());
    }
}
