//! A file of rows, on this machine or in an object store.

use crate::remote::{Object, is_remote};
use crate::source::ReadError;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes of an object that are read at once where a column chunk is read step by step.
const OBJECT_BUFFER: usize = 1 << 16;

/// A file that is open.
#[derive(Debug)]
pub(crate) enum DataFile {
    /// On this machine.
    Local(File),
    /// In an object store.
    Remote(Object),
}

/// Attributes that show that a file was replaced or modified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Size in bytes.
    pub(crate) n_bytes: u64,
    /// Time of the last change in seconds and nanoseconds since 1970; negative ones before.
    pub(crate) modified: Option<(i64, u32)>,
    /// The file system's number, on Unix.
    pub(crate) inode: Option<u64>,
    /// An object store's mark of this content.
    pub(crate) e_tag: Option<String>,
}

impl DataFile {
    pub(crate) fn open(path: &Path) -> Result<DataFile, ReadError> {
        if is_remote(path) {
            return Object::open(path).map(DataFile::Remote);
        }
        let file = File::open(path).map_err(ReadError::io(path, "open"))?;
        Ok(DataFile::Local(file))
    }
}

impl FileFacts {
    pub(crate) fn of(path: &Path) -> Result<FileFacts, ReadError> {
        if is_remote(path) {
            let object = Object::open(path)?;
            let facts = object.facts();
            return Ok(FileFacts {
                n_bytes: facts.n_bytes,
                modified: Some(facts.modified),
                inode: None,
                e_tag: facts.e_tag.clone(),
            });
        }
        let metadata = std::fs::metadata(path).map_err(ReadError::io(path, "open"))?;
        let modified = metadata.modified().ok();
        let modified = modified.map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                (-(before.as_secs() as i64), before.subsec_nanos())
            }
        });
        Ok(FileFacts {
            n_bytes: metadata.len(),
            modified,
            inode: inode(&metadata),
            e_tag: None,
        })
    }
}

/// Returns the size in bytes of a file on this machine or in an object store.
///
/// # Errors
/// There is no such file, or it cannot be looked at.
pub fn file_bytes(path: &Path) -> Result<u64, ReadError> {
    Ok(FileFacts::of(path)?.n_bytes)
}

/// Opens a file on this machine or in an object store to read its bytes.
///
/// # Errors
/// There is no such file, or it cannot be opened.
pub fn open_bytes(path: &Path) -> Result<impl Read + use<>, ReadError> {
    DataFile::open(path)
}

/// Returns the path of a file from the root of the file system; URLs stay.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    match is_remote(path) {
        true => path.to_owned(),
        false => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// Returns what tells a file from its earlier content without its bytes: size, time, and mark of an object store.
///
/// # Errors
/// There is no such file, or it cannot be looked at.
pub fn file_mark(path: &Path) -> Result<String, ReadError> {
    let facts = FileFacts::of(path)?;
    let mark = facts.e_tag.unwrap_or_default();
    Ok(format!("{} {:?} {mark}", facts.n_bytes, facts.modified))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.ino())
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> Option<u64> {
    None
}

impl Read for DataFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            DataFile::Local(file) => file.read(buffer),
            DataFile::Remote(object) => object.read(buffer),
        }
    }
}

impl Seek for DataFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            DataFile::Local(file) => file.seek(to),
            DataFile::Remote(object) => object.seek(to),
        }
    }
}

impl Length for DataFile {
    fn len(&self) -> u64 {
        match self {
            DataFile::Local(file) => file.len(),
            DataFile::Remote(object) => object.facts().n_bytes,
        }
    }
}

impl ChunkReader for DataFile {
    type T = BufReader<DataFile>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let file = match self {
            DataFile::Local(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                return Ok(BufReader::new(DataFile::Local(file)));
            }
            DataFile::Remote(object) => DataFile::Remote(object.from(start)),
        };
        Ok(BufReader::with_capacity(OBJECT_BUFFER, file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            DataFile::Local(file) => file.get_bytes(start, length),
            DataFile::Remote(object) => Ok(object.bytes(start, length)?),
        }
    }
}
