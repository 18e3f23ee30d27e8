//! Tensors in one safetensors file, written atomically and verified when read.
//!
//! [`write()`] writes a temporary file beside the old one and renames it when all of it is on disk. [`TensorFile`]
//! reads a whole file and rejects it if any byte has changed: the header carries the BLAKE3 of every
//! tensor, and of itself.
//!
//! ```no_run
//! use ncs_model::tensor_file::{Entry, TensorFile, Values, write};
//! let bias = Entry { name: "bias".into(), shape: vec![2], values: Values::F32(&[0.5, -1.0]) };
//! write("w.safetensors".as_ref(), &[bias], &[("step".to_string(), "7".to_string())].into())?;
//! let file = TensorFile::read("w.safetensors".as_ref())?;
//! assert_eq!(file.f32("bias")?, [0.5, -1.0]);
//! assert_eq!(file.metadata("step"), Some("7"));
//! # Ok::<(), ncs_model::tensor_file::TensorFileError>(())
//! ```
//!
//! # Bytes
//! The file can be read by any safetensors reader: 8 bytes of header length (little endian), a JSON header
//! padded with spaces to a multiple of 8, then the tensors without gaps, in the order in which they
//! were given. The header begins with `{"__metadata__":{"b3":"`, followed by 64 lower-case digits: the
//! BLAKE3 of the length and the header with these digits as zeros. Then come `"b3:NAME"` for each
//! tensor's bytes, and the writer's own metadata.

mod error;
mod header;
mod replace;
mod rows;
#[cfg(test)]
mod tests;
mod values;

pub use error::TensorFileError;
pub use replace::Draft;
pub use values::{FirstRows, Values};

use crate::storage::{MappedBytes, RowValues};
use header::{FilePlan, check_header, hash_key};
use replace::replace;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A named tensor to write.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its name; unique in the file.
    pub name: String,
    /// Its sizes; their product is the number of values. Empty: a scalar.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values<'a>,
}

/// Writes tensors and metadata to `path` atomically. Returns the BLAKE3 of each tensor's
/// bytes, in the order of `entries`.
///
/// The same input gives the same bytes. The file is written as `path` with `.tmp` appended, flushed to
/// disk and renamed; on failure it is removed and the previous file stays.
///
/// # Errors
/// An entry or a key that the format cannot hold, a full disk, or a path that cannot be written.
pub fn write(
    path: &Path,
    entries: &[Entry<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<(String, blake3::Hash)>, TensorFileError> {
    let plan = FilePlan::new(entries, metadata).map_err(|problem| TensorFileError::Unwritable {
        path: path.into(),
        problem,
    })?;
    replace(path, |file| plan.write_to(file))?;
    Ok(plan.hashes)
}

/// Writes bytes to `path` atomically, like [`write()`].
///
/// # Errors
/// A full disk, or a path that cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), TensorFileError> {
    replace(path, |file| file.write_all(bytes))
}

/// The bytes of a file.
#[derive(Clone, Debug)]
enum Bytes {
    Read(Vec<u8>),
    Mapped(Arc<MappedBytes>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Read(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

/// A safetensors file in memory, or mapped into it, with verified checksums.
#[derive(Clone, Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    header: Metadata,
    /// The offset of the tensors in `bytes`.
    data_start: usize,
    names: Vec<String>,
}

impl TensorFile {
    /// Reads a file written by [`write()`], and verifies all checksums.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or cut off, or was not written by [`write()`].
    pub fn read(path: &Path) -> Result<TensorFile, TensorFileError> {
        let bytes = fs::read(path).map_err(|source| TensorFileError::Unreadable {
            path: path.into(),
            source,
        })?;
        TensorFile::parse(path, Bytes::Read(bytes))
    }

    /// Maps a file written by [`write()`], and verifies all checksums. It takes memory only as long as the system has
    /// no other use for it, so it may be larger. It must not be overwritten meanwhile; [`write()`] replaces it by
    /// another file, which is safe.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`].
    pub fn map(path: &Path) -> Result<TensorFile, TensorFileError> {
        let unreadable = |source| TensorFileError::Unreadable {
            path: path.into(),
            source,
        };
        let map = fs::File::open(path).and_then(|file| MappedBytes::new(&file));
        let map = map.map_err(unreadable)?;
        TensorFile::parse(path, Bytes::Mapped(Arc::new(map)))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<TensorFile, TensorFileError> {
        let damaged = |problem| TensorFileError::Damaged {
            path: path.into(),
            problem,
        };
        check_header(&bytes).map_err(|problem| damaged(problem.into()))?;
        let (header_bytes, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let mut tensors: Vec<_> = header.tensors().into_iter().collect();
        tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
        let names = tensors.into_iter().map(|(name, _)| name).collect();
        let path = path.to_path_buf();
        let file = TensorFile {
            path,
            bytes,
            header,
            data_start: 8 + header_bytes,
            names,
        };
        file.check_tensors()?;
        Ok(file)
    }

    fn check_tensors(&self) -> Result<(), TensorFileError> {
        for name in &self.names {
            let hash = blake3::hash(self.tensor_bytes(self.info(name)?));
            if self.metadata(&hash_key(name)) != Some(hash.to_hex().as_str()) {
                let (path, tensor) = (self.path.clone(), name.clone());
                return Err(TensorFileError::DamagedTensor { path, tensor });
            }
        }
        Ok(())
    }

    /// Returns the path that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the metadata value of `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header
            .metadata()
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// Returns the BLAKE3 of a tensor's bytes, in hexadecimal.
    pub fn hash(&self, name: &str) -> Option<&str> {
        self.metadata(&hash_key(name))
    }

    /// Returns the values of a tensor of `f32`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, TensorFileError> {
        self.values(name, Dtype::F32, f32::from_le_bytes)
    }

    /// Returns the values of a tensor of `f32`, row-major: of a mapped file without a copy.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn f32_rows(&self, name: &str) -> Result<RowValues<f32>, TensorFileError> {
        let values = self.f32_values(name)?;
        if let (Bytes::Mapped(bytes), true) = (&self.bytes, cfg!(target_endian = "little")) {
            let (start, end) = self.info(name)?.data_offsets;
            let range = self.data_start + start..self.data_start + end;
            if let Some(values) = RowValues::in_file(bytes, range) {
                return Ok(values);
            }
        }
        Ok(values.collect())
    }

    /// Iterates over the values of a tensor of `f32`, without a copy.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn f32_values<'a>(
        &'a self,
        name: &str,
    ) -> Result<impl ExactSizeIterator<Item = f32> + use<'a>, TensorFileError> {
        self.iterate(name, Dtype::F32, f32::from_le_bytes)
    }

    /// Returns the values of a tensor of `u32`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn u32(&self, name: &str) -> Result<Vec<u32>, TensorFileError> {
        self.values(name, Dtype::U32, u32::from_le_bytes)
    }

    /// Returns the values of a tensor of `u64`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn u64(&self, name: &str) -> Result<Vec<u64>, TensorFileError> {
        self.values(name, Dtype::U64, u64::from_le_bytes)
    }

    /// Returns the values of a tensor of `u8`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it has another type.
    pub fn u8(&self, name: &str) -> Result<Vec<u8>, TensorFileError> {
        self.values(name, Dtype::U8, u8::from_le_bytes)
    }

    /// Returns the sizes of a tensor.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize], TensorFileError> {
        Ok(&self.info(name)?.shape)
    }

    /// Returns the names of the tensors in the order of the file; empty tensors at the same offset are ordered by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns true if there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    fn values<T, const N: usize>(
        &self,
        name: &str,
        expected: Dtype,
        value: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, TensorFileError> {
        Ok(self.iterate(name, expected, value)?.collect())
    }

    fn iterate<'a, T, const N: usize>(
        &'a self,
        name: &str,
        expected: Dtype,
        value: fn([u8; N]) -> T,
    ) -> Result<impl ExactSizeIterator<Item = T> + use<'a, T, N>, TensorFileError> {
        let info = self.info(name)?;
        if info.dtype != expected {
            let (path, tensor, found) = (self.path.clone(), name.to_string(), info.dtype);
            return Err(TensorFileError::WrongType {
                path,
                tensor,
                found,
                expected,
            });
        }
        let (numbers, _) = self.tensor_bytes(info).as_chunks();
        Ok(numbers.iter().map(move |&bytes| value(bytes)))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, TensorFileError> {
        self.header
            .info(name)
            .ok_or_else(|| TensorFileError::Missing {
                path: self.path.clone(),
                tensor: name.to_string(),
                names: self.names.join(", "),
            })
    }

    fn tensor_bytes(&self, info: &TensorInfo) -> &[u8] {
        let (start, end) = info.data_offsets;
        &self.bytes[self.data_start..][start..end]
    }
}
