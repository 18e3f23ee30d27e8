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
    let temporary = temporary(path);
    let replaced = fill_file(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    replaced.map_err(|source| {
        // Nothing more can be done if this fails too; the next write overwrites the file.
        let _ = fs::remove_file(&temporary);
        TensorFileError::unwritten(path, source)
    })?;
    flush_folder(path).map_err(|source| TensorFileError::Unflushed {
        path: path.into(),
        source,
    })
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
