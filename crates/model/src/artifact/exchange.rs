//! Replaces a folder by another, so that one of them exists at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Replaces `folder` by `draft` and deletes the previous contents.
///
/// Linux and macOS exchange two names atomically: `folder` is the old or the new folder at any time, also
/// after a power loss. If the file system does not support this (some network file systems, other systems), the old
/// folder is renamed to `old` first, and `folder` is missing for a moment; [`recover`] restores it if the process
/// ends in this moment.
pub(super) fn replace(draft: &Path, folder: &Path, old: &Path) -> io::Result<()> {
    if folder.exists() {
        if exchange(draft, folder).is_ok() {
            flush_parent(folder)?;
            return fs::remove_dir_all(draft);
        }
        fs::rename(folder, old)?;
        if let Err(error) = fs::rename(draft, folder) {
            // Restore the old folder; the first error is the one to report.
            let _ = fs::rename(old, folder);
            return Err(error);
        }
    } else {
        fs::rename(draft, folder)?;
    }
    flush_parent(folder)?;
    if old.exists() {
        fs::remove_dir_all(old)
    } else {
        Ok(())
    }
}

/// Restores a folder that a process renamed and did not replace before it was killed.
pub(super) fn recover(folder: &Path, old: &Path) -> io::Result<()> {
    if old.exists() && !folder.exists() {
        fs::rename(old, folder)
    } else {
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes renames durable across a power loss.
fn flush_parent(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| *parent != Path::new(""));
    let parent: PathBuf = parent.unwrap_or(Path::new(".")).to_owned();
    if cfg!(unix) {
        fs::File::open(parent)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(path: &Path, text: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a"), text).unwrap();
    }

    #[test]
    fn a_folder_replaces_another() {
        let root = tempfile::tempdir().unwrap();
        let [draft, folder, old] = ["draft", "folder", "old"].map(|name| root.path().join(name));
        for text in ["first", "second", "third"] {
            folder_of(&draft, text);
            replace(&draft, &folder, &old).unwrap();
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), text);
            assert!(!draft.exists() && !old.exists());
        }
    }

    /// A reader that polls without pause finds a folder every time.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_exists_at_any_time() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let root = tempfile::tempdir().unwrap();
        let [draft, folder, old] = ["draft", "folder", "old"].map(|name| root.path().join(name));
        folder_of(&folder, "first");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let polls = scope.spawn(|| {
                let mut polls = 0;
                while !done.load(Ordering::Relaxed) || polls == 0 {
                    assert!(folder.is_dir(), "after {polls} polls");
                    polls += 1;
                }
                polls
            });
            for _ in 0..200 {
                folder_of(&draft, "next");
                replace(&draft, &folder, &old).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            assert!(polls.join().unwrap() > 0);
        });
    }

    #[test]
    fn a_renamed_folder_is_recovered() {
        let root = tempfile::tempdir().unwrap();
        let [folder, old] = ["folder", "old"].map(|name| root.path().join(name));
        recover(&folder, &old).unwrap();
        folder_of(&old, "only");
        recover(&folder, &old).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "only");
        folder_of(&old, "stale");
        recover(&folder, &old).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "only");
    }
}
