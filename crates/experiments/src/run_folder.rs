//! The folder of a run: who may write into it, and what a fresh start deletes.
//!
//! ```text
//! DIR/run.lock   locked by the process that works here; its text says which one that is
//!     run.id     says that the folder is a run's, and of which run
//! ```
//!
//! The system drops the lock when its process ends, however it ends: what a killed run leaves is a file
//! that nobody holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use ncs_model::tensor_file;

use crate::error::Error;

const LOCK: &str = "run.lock";
const ID: &str = "run.id";

/// Files that a run which was killed while it claimed its folder may have left there.
const OWN: [&str; 3] = [LOCK, ID, "run.id.tmp"];

/// Bytes of a lock file that are shown.
const MOST_SHOWN: u64 = 200;

/// Number of attempts to lock, and the pause between them.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of a run, held by this process until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// `None` where the file system has no locks.
    lock: Option<File>,
}

impl RunFolder {
    /// Takes a new, an empty or a run's own folder for this process, and makes it if need be.
    ///
    /// # Errors
    /// Another process works there, it holds files that no run wrote, or it cannot be made or written.
    pub fn hold(path: &Path) -> Result<RunFolder, Error> {
        check(path)?;
        fs::create_dir_all(path).map_err(|error| {
            format!(
                "{}: cannot make this folder: {error}; choose another with --out",
                path.display()
            )
        })?;
        let lock = lock(path)?;
        let folder = RunFolder {
            path: path.to_owned(),
            lock,
        };
        folder.claim()?;
        Ok(folder)
    }

    /// The folder of a run that another rank of this job holds.
    pub fn of_first_rank(path: &Path) -> RunFolder {
        RunFolder {
            path: path.to_owned(),
            lock: None,
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no other process can come in; some file systems have no locks.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Marks the folder as that of a run, though of no run yet, so that a first attempt that fails leaves
    /// it usable.
    fn claim(&self) -> Result<(), Error> {
        let id = self.path.join(ID);
        if !id.exists() {
            tensor_file::write_bytes(&id, b"")?;
        }
        Ok(())
    }

    /// Deletes what a run resumes from; results stay until they are replaced.
    ///
    /// # Errors
    /// A file cannot be deleted.
    pub fn forget(&self) -> Result<(), Error> {
        let gone = |path: &Path, done: io::Result<()>| -> Result<(), Error> {
            match done {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(format!("{}: cannot be deleted: {error}", path.display()).into())
                }
                _ => Ok(()),
            }
        };
        // An empty one says that the folder is a run's, but of no run yet.
        let id = self.path.join(ID);
        gone(&id, fs::write(&id, ""))?;
        for file in ["checkpoint.safetensors", "log.txt", "clock.json"] {
            let path = self.path.join(file);
            gone(&path, fs::remove_file(&path))?;
        }
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".safetensors") && name.contains("-shard-") {
                gone(&entry.path(), fs::remove_file(entry.path()))?;
            }
        }
        for inner in ["search", "tensorboard"] {
            let path = self.path.join(inner);
            gone(&path, fs::remove_dir_all(&path))?;
        }
        Ok(())
    }
}

impl Drop for RunFolder {
    /// Says that nobody is here any more, while the lock still keeps others from writing.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            let _ = lock.set_len(0);
        }
    }
}

/// Whether a process works in the folder of a run.
pub fn is_held(path: &Path) -> bool {
    let file = File::open(path.join(LOCK));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// A run writes into a new or empty folder, or into its own.
fn check(folder: &Path) -> Result<(), Error> {
    if !folder.exists() || folder.join(ID).exists() {
        return Ok(());
    }
    let cannot = |error: io::Error| {
        format!(
            "{}: cannot be the folder of a run: {error}; choose another with --out",
            folder.display()
        )
    };
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        if !OWN.iter().any(|own| name == *own) {
            return Err(format!(
                "{}: the folder holds files that no run wrote; choose a new or empty one with --out",
                folder.display()
            ).into());
        }
    }
    Ok(())
}

/// Locks the folder; `None` where its file system has no locks.
fn lock(folder: &Path) -> Result<Option<File>, Error> {
    let path = folder.join(LOCK);
    let failed = |error: io::Error| {
        format!(
            "{}: cannot be written: {error}; check who owns the folder, or choose another with --out",
            path.display()
        )
    };
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false);
    let mut file = opened.open(&path).map_err(failed)?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            // Whoever has it may be about to sign, about to leave, or only look whether it is held.
            Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(taken(folder, &holder(&mut file)).into()),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
    }
    let text = format!("{}\n", who_am_i(SystemTime::now()));
    let signed = file.set_len(0).and_then(|()| file.rewind());
    signed
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(failed)?;
    Ok(Some(file))
}

/// Some network file systems have none.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// `out: process 71 on db1, since 2026-03-01 09:00:00 UTC, works in this folder; ...`
fn taken(folder: &Path, who: &str) -> String {
    format!(
        "{}: {who}, works in this folder; wait until it has ended, stop it, or choose another folder with --out",
        folder.display()
    )
}

/// Who has signed the lock. Some systems let nobody read a file that is locked.
fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MOST_SHOWN).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    match text.lines().next().filter(|_| read.is_ok()) {
        Some(line) => line.replace(char::is_control, " "),
        None => "another process".to_owned(),
    }
}

/// `process 71 on db1, since 2026-03-01 09:00:00 UTC`
fn who_am_i(now: SystemTime) -> String {
    format!(
        "process {} on {}, since {}",
        std::process::id(),
        host(),
        utc(now)
    )
}

/// Formats a time: `2026-03-14 07:08:09 UTC`. Times before 1970 are shown as its start.
pub(crate) fn utc(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    let time = time.max(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(unix)]
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        assert!(!is_held(&path));
        let first = RunFolder::hold(&path).unwrap();
        assert!(is_held(&path));
        let error = RunFolder::hold(&path).unwrap_err().to_string();
        let me = format!(
            "out: process {} on {}, since 20",
            std::process::id(),
            host()
        );
        assert!(error.contains(&me), "{error}");
        assert!(
            error.contains(" UTC, works in this folder; wait"),
            "{error}"
        );
        drop(first);
        assert!(!is_held(&path));
        RunFolder::hold(&path).unwrap();
    }

    #[test]
    fn the_time_of_a_claim_is_in_utc() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_773_472_089);
        assert_eq!(utc(time), "2026-03-14 07:08:09 UTC");
    }

    /// A kill at any moment of a claim leaves some of these files, whole or empty.
    #[test]
    fn what_a_killed_claim_leaves_is_no_obstacle() {
        for left in [
            &[][..],
            &[LOCK],
            &[LOCK, "run.id.tmp"],
            &["run.id.tmp"],
            &OWN,
        ] {
            for text in ["", "process 1 on gone, since 2026-03-01 09:00:00 UTC\n"] {
                let folder = tempfile::tempdir().unwrap();
                for name in left {
                    fs::write(folder.path().join(name), text).unwrap();
                }
                let held = RunFolder::hold(folder.path());
                let held = held.unwrap_or_else(|error| panic!("{left:?}: {error}"));
                assert!(held.path().join(ID).exists());
            }
        }
    }

    #[test]
    fn other_files_beside_a_torn_claim_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run.id.tmp", "notes.txt"] {
            fs::write(folder.path().join(name), "mine").unwrap();
        }
        let error = RunFolder::hold(folder.path()).unwrap_err().to_string();
        assert!(error.contains("files that no run wrote"), "{error}");
        assert!(!folder.path().join(LOCK).exists());
    }
}
