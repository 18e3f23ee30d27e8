//! The link to the served model, and the versions that it can point to.
//!
//! A link is replaced by renaming another one over it, which is atomic: a server that looks finds the old model or the
//! new one.

use crate::error::Error;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ncs_model::artifact::Artifact;

const LOCK: &str = ".lock";

/// The path that a server loads its model from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    path: PathBuf,
    name: String,
}

/// File type at the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// Nothing yet.
    Absent,
    /// A link, with the path that it holds.
    Link(String),
    /// A folder with a model.
    Folder,
}

impl Served {
    /// Takes the path of a link that exists or shall be made.
    ///
    /// # Errors
    /// The path has no name, such as `.` or `/`.
    pub fn new(path: &Path) -> Result<Served, String> {
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) => Ok(Served {
                path: path.to_owned(),
                name: name.to_owned(),
            }),
            None => Err(format!(
                "{}: --live needs a name, such as models/live",
                path.display()
            )),
        }
    }

    /// Returns the path of the link.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the versions.
    pub fn versions(&self) -> PathBuf {
        self.path.with_file_name(self.versions_name())
    }

    /// Returns the file of the record.
    pub fn record(&self) -> PathBuf {
        self.path
            .with_file_name(format!("{}.promotions.jsonl", self.name))
    }

    fn versions_name(&self) -> String {
        format!("{}.versions", self.name)
    }

    /// Returns the path of what a link holds.
    pub(super) fn resolved(&self, target: &str) -> PathBuf {
        self.folder().join(target)
    }

    /// Returns the folder of the link.
    fn folder(&self) -> &Path {
        let parent = self.path.parent();
        parent
            .filter(|parent| *parent != Path::new(""))
            .unwrap_or(Path::new("."))
    }

    /// Looks at the path.
    ///
    /// # Errors
    /// It is a file, a folder of several versions or of a training run, or cannot be read.
    pub(super) fn state(&self) -> Result<Live, String> {
        let path = self.path.display();
        let metadata = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Live::Absent),
            found => found.map_err(|error| format!("{path}: {error}"))?,
        };
        if metadata.is_symlink() {
            let target = fs::read_link(&self.path).map_err(|error| format!("{path}: {error}"))?;
            return match target.to_str() {
                Some(target) => Ok(Live::Link(target.to_owned())),
                None => Err(format!("{path}: links to a path that is not UTF-8")),
            };
        }
        if self.path.join("manifest.json").is_file() {
            Ok(Live::Folder)
        } else {
            Err(format!(
                "{path}: is neither a link nor a model, so it cannot be moved on; name a new path, such as \
                 models/live, and have ncs serve load it from there"
            ))
        }
    }

    /// Keeps other promotions of the same path out until the lock is dropped.
    ///
    /// # Errors
    /// Another process promotes, or the folder of the versions cannot be made.
    pub(super) fn lock(&self) -> Result<File, String> {
        let versions = self.versions();
        let cannot = |error: io::Error| format!("{}: {error}", versions.display());
        fs::create_dir_all(&versions).map_err(cannot)?;
        let file = File::create(versions.join(LOCK)).map_err(cannot)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(format!(
                "{}: another promotion is under way; try again when it has ended",
                self.path.display()
            )),
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    /// Turns a folder with a model into a link to a version with the same files. Returns the version.
    ///
    /// # Errors
    /// Files cannot be copied or moved; the folder then stays.
    pub(super) fn adopt(&self) -> Result<String, Error> {
        let version = self.install(&self.path)?;
        let next = self.next_link(&version)?;
        exchange(&next, &self.path).map_err(self.failed("make it a link"))?;
        // What was the folder.
        fs::remove_dir_all(&next).map_err(self.failed("delete the folder that it was"))?;
        Ok(version)
    }

    /// Copies a model to the next version and verifies the copy. Returns the version, relative to the link's folder.
    ///
    /// # Errors
    /// Files cannot be copied, or the copy is not the model.
    pub(super) fn install(&self, model: &Path) -> Result<String, Error> {
        let versions = self.versions();
        fs::create_dir_all(&versions)
            .map_err(|error| format!("{}: {error}", versions.display()))?;
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        let draft = versions.join(format!(".{number:04}.unfinished"));
        let version = versions.join(format!("{number:04}"));
        let copied = copy(model, &draft).map_err(|error| format!("{}: {error}", draft.display()));
        let verified = copied
            .map_err(Error::from)
            .and_then(|()| same_model(model, &draft));
        if let Err(error) = verified {
            let _ = fs::remove_dir_all(&draft);
            return Err(error);
        }
        fs::rename(&draft, &version).map_err(|error| format!("{}: {error}", version.display()))?;
        flush(&versions).map_err(|error| format!("{}: {error}", versions.display()))?;
        Ok(format!("{}/{number:04}", self.versions_name()))
    }

    /// Points the link to a version, by one rename.
    ///
    /// # Errors
    /// The link cannot be made; it then points where it pointed.
    pub(super) fn switch(&self, version: &str) -> Result<(), Error> {
        let next = self.next_link(version)?;
        fs::rename(&next, &self.path).map_err(self.failed("move it"))?;
        Ok(flush(self.folder()).map_err(self.failed("flush its folder"))?)
    }

    /// Makes a link to a version beside the served one.
    fn next_link(&self, version: &str) -> Result<PathBuf, String> {
        let next = self.path.with_file_name(format!(".{}.next", self.name));
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("delete an unfinished link")(error));
            }
            _ => {}
        }
        link(Path::new(version), &next).map_err(self.failed("make a link"))?;
        Ok(next)
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> String {
        let path = self.path.display().to_string();
        move |error| format!("{path}: cannot {action}: {error}")
    }

    /// Deletes all but the newest versions and those named. Returns the deleted ones.
    ///
    /// # Errors
    /// A version cannot be deleted.
    pub(super) fn prune(
        &self,
        keep: usize,
        named: [Option<&String>; 2],
    ) -> Result<Vec<String>, Error> {
        let numbers = self.numbers()?;
        let old = &numbers[..numbers.len().saturating_sub(keep)];
        let mut deleted = Vec::new();
        for number in old {
            let version = format!("{}/{number:04}", self.versions_name());
            if named.contains(&Some(&version)) {
                continue;
            }
            let folder = self.resolved(&version);
            fs::remove_dir_all(&folder)
                .map_err(|error| format!("{}: cannot delete it: {error}", folder.display()))?;
            deleted.push(version);
        }
        Ok(deleted)
    }

    /// Returns the numbers of the versions, in ascending order.
    fn numbers(&self) -> Result<Vec<u64>, String> {
        let versions = self.versions();
        let cannot = |error: io::Error| format!("{}: {error}", versions.display());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&versions).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| name.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Copies the files of a model, not its folders, and flushes them to the disk.
fn copy(model: &Path, draft: &Path) -> io::Result<()> {
    if draft.exists() {
        fs::remove_dir_all(draft)?;
    }
    fs::create_dir_all(draft)?;
    for entry in fs::read_dir(model)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let to = draft.join(entry.file_name());
            fs::copy(entry.path(), &to)?;
            File::options().append(true).open(&to)?.sync_all()?;
        }
    }
    flush(draft)
}

/// Verifies every byte of a copy.
fn same_model(model: &Path, copy: &Path) -> Result<(), Error> {
    Artifact::read(copy)?;
    if Artifact::hash(model)? == Artifact::hash(copy)? {
        Ok(())
    } else {
        Err(format!(
            "{}: the model changed while it was copied; promote it again",
            model.display()
        )
        .into())
    }
}

fn flush(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "promotions need a system with symbolic links",
    ))
}

/// Exchanges two names atomically, where the system can.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system cannot exchange a folder and a link; rename the folder, and promote it first",
    ))
}
