//! Replaces a file by a complete new one.

use super::TensorFileError;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Replaces `path` by the output of `fill` once all of it is on disk; on failure the previous file stays.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), TensorFileError> {
    Draft::write(path, fill)?.publish()
}

/// A new file that is on disk beside the one that it will replace, as `path` with `.tmp` appended. It is removed if
/// it is not published: several files that belong together are all written before the first is published.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    temporary: PathBuf,
    is_published: bool,
}

impl Draft {
    /// Writes the output of `fill` for `path`, and flushes it to disk.
    ///
    /// # Errors
    /// A full disk, or a path that cannot be written; the previous file stays.
    pub fn write(
        path: &Path,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Draft, TensorFileError> {
        let draft = Draft {
            path: path.to_owned(),
            temporary: temporary(path),
            is_published: false,
        };
        let filled = fill_file(&draft.temporary, fill);
        filled.map_err(|source| TensorFileError::unwritten(path, source))?;
        Ok(draft)
    }

    /// Renames the file to its path, whose previous file it replaces, and flushes the folder.
    ///
    /// # Errors
    /// The file cannot be renamed; the previous file stays.
    pub fn publish(mut self) -> Result<(), TensorFileError> {
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.map_err(|source| TensorFileError::unwritten(&self.path, source))?;
        self.is_published = true;
        flush_folder(&self.path).map_err(|source| TensorFileError::Unflushed {
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // Nothing more can be done if this fails too; the next write overwrites the file.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Returns the path of the temporary file: `path` with `.tmp` appended.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

fn fill_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    fill(&mut file)?;
    file.into_inner()?.sync_all()
}

/// Makes a rename durable across a power loss.
#[cfg(unix)]
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Does nothing: folders cannot be opened here, and the file system orders renames itself.
#[cfg(not(unix))]
fn flush_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
