//! Tensors in one safetensors file that is never half written and is checked when read.
//!
//! [`write()`] fills a file beside the old one and renames it when all of it is on disk. [`TensorFile`]
//! reads a file whole and refuses it if any byte has changed: the header carries the BLAKE3 of every
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
//! Any safetensors reader reads the file: 8 bytes of header length (little endian), a JSON header
//! padded with spaces to a multiple of 8, then the tensors without gaps, in the order in which they
//! were given. The header begins with `{"__metadata__":{"b3":"`, followed by 64 lower-case digits: the
//! BLAKE3 of the length and the header with these digits as zeros. Then come `"b3:NAME"` for each
//! tensor's bytes, and the writer's own metadata.

mod error;
#[cfg(test)]
mod tests;
mod values;

pub use error::TensorFileError;
pub use values::{PickedRows, Values};

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const HEADER_START: &str = r#"{"__metadata__":{"b3":""#;
const DIGITS: usize = 2 * blake3::OUT_LEN;
/// Where the header's own hash lies in a file.
const HEADER_HASH: std::ops::Range<usize> = 8 + HEADER_START.len()..8 + HEADER_START.len() + DIGITS;
/// Headers above this size are refused by the format's readers.
const MOST_HEADER_BYTES: usize = 100_000_000;

/// A named tensor to write.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its name, unlike the others'.
    pub name: String,
    /// Its sizes; their product is the number of values. No sizes: one number.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Values<'a>,
}

/// Writes tensors and metadata to `path`, wholly or not at all; gives the BLAKE3 of each tensor's
/// bytes, in the order of `entries`.
///
/// The same input gives the same bytes. The file is written as `path` with `.tmp` after it, flushed to
/// disk and renamed; a failure removes it and leaves the previous file.
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

/// Writes bytes to `path`, wholly or not at all, as [`write()`] does.
///
/// # Errors
/// A full disk, or a path that cannot be written.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), TensorFileError> {
    replace(path, |file| file.write_all(bytes))
}

/// A safetensors file in memory, every byte of it checked.
#[derive(Clone, Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the tensors begin in `bytes`.
    data_start: usize,
    names: Vec<String>,
}

impl TensorFile {
    /// Reads a file that [`write()`] wrote, and checks all of it.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or cut off, or was not written by [`write()`].
    pub fn read(path: &Path) -> Result<TensorFile, TensorFileError> {
        let bytes = fs::read(path).map_err(|source| TensorFileError::Unreadable {
            path: path.into(),
            source,
        })?;
        TensorFile::parse(path, bytes)
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<TensorFile, TensorFileError> {
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

    /// What the writer noted under `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header
            .metadata()
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// The BLAKE3 of a tensor's bytes, in hexadecimal.
    pub fn hash(&self, name: &str) -> Option<&str> {
        self.metadata(&hash_key(name))
    }

    /// The numbers of a tensor of `f32`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it is of another type.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, TensorFileError> {
        self.values(name, Dtype::F32, f32::from_le_bytes)
    }

    /// The same one by one, without a copy.
    ///
    /// # Errors
    /// There is no such tensor, or it is of another type.
    pub fn f32_values<'a>(
        &'a self,
        name: &str,
    ) -> Result<impl ExactSizeIterator<Item = f32> + use<'a>, TensorFileError> {
        self.iterate(name, Dtype::F32, f32::from_le_bytes)
    }

    /// The numbers of a tensor of `u32`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it is of another type.
    pub fn u32(&self, name: &str) -> Result<Vec<u32>, TensorFileError> {
        self.values(name, Dtype::U32, u32::from_le_bytes)
    }

    /// The numbers of a tensor of `u64`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it is of another type.
    pub fn u64(&self, name: &str) -> Result<Vec<u64>, TensorFileError> {
        self.values(name, Dtype::U64, u64::from_le_bytes)
    }

    /// The numbers of a tensor of `u8`, row-major.
    ///
    /// # Errors
    /// There is no such tensor, or it is of another type.
    pub fn u8(&self, name: &str) -> Result<Vec<u8>, TensorFileError> {
        self.values(name, Dtype::U8, u8::from_le_bytes)
    }

    /// The sizes of a tensor.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize], TensorFileError> {
        Ok(&self.info(name)?.shape)
    }

    /// The names of the tensors in the order of the file; empty tensors at one place by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
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

/// Checks the header's hash of itself, before anything else in it is believed.
fn check_header(bytes: &[u8]) -> Result<(), &'static str> {
    let length = bytes
        .first_chunk()
        .ok_or("it ends within its first 8 bytes")?;
    let end = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .and_then(|n| n.checked_add(8));
    let header = end
        .and_then(|end| bytes.get(..end))
        .ok_or("it ends within its header")?;
    let own = header
        .get(HEADER_HASH)
        .ok_or("its header carries no checksum")?;
    if !header[8..].starts_with(HEADER_START.as_bytes()) {
        return Err("its header carries no checksum");
    }
    if header_hash(header).to_hex().as_bytes() != own {
        return Err("its header does not match its checksum");
    }
    Ok(())
}

/// BLAKE3 of the length and the header, the digits of the hash itself as zeros.
fn header_hash(header: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&header[..HEADER_HASH.start])
        .update(&[b'0'; DIGITS]);
    hasher.update(&header[HEADER_HASH.end..]).finalize()
}

fn hash_key(tensor: &str) -> String {
    format!("b3:{tensor}")
}

/// All that is known of a file before its first byte is written.
struct FilePlan<'a> {
    /// The length and the header.
    header: Vec<u8>,
    entries: &'a [Entry<'a>],
    hashes: Vec<(String, blake3::Hash)>,
}

impl<'a> FilePlan<'a> {
    fn new(
        entries: &'a [Entry<'a>],
        metadata: &BTreeMap<String, String>,
    ) -> Result<FilePlan<'a>, String> {
        check_entries(entries)?;
        if let Some(key) = metadata
            .keys()
            .find(|key| *key == "b3" || key.starts_with("b3:"))
        {
            return Err(format!(
                "the metadata key {key:?} is kept for checksums: choose another"
            ));
        }
        let hashes: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.values.hash()))
            .collect();
        let header = header(entries, &hashes, metadata);
        if header.len() - 8 > MOST_HEADER_BYTES {
            return Err(format!(
                "its header would be above {MOST_HEADER_BYTES} bytes"
            ));
        }
        Ok(FilePlan {
            header,
            entries,
            hashes,
        })
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        for entry in self.entries {
            entry.values.visit_bytes(|bytes| out.write_all(bytes))?;
        }
        Ok(())
    }
}

fn check_entries(entries: &[Entry<'_>]) -> Result<(), String> {
    let mut names = HashSet::from(["__metadata__"]);
    for Entry {
        name,
        shape,
        values,
    } in entries
    {
        if !names.insert(name) {
            return Err(format!(
                "tensor name {name:?} is taken: give each tensor its own"
            ));
        }
        let n_values = values.n_bytes() / values.size();
        let product = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if product != Some(n_values) {
            return Err(format!(
                "tensor {name:?} of shape {shape:?} has {n_values} values"
            ));
        }
    }
    Ok(())
}

fn header(
    entries: &[Entry<'_>],
    hashes: &[(String, blake3::Hash)],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = format!("{HEADER_START}{}\"", "0".repeat(DIGITS));
    for (name, hash) in hashes {
        json += &format!(",{}:\"{hash}\"", quoted(&hash_key(name)));
    }
    for (key, value) in metadata {
        json += &format!(",{}:{}", quoted(key), quoted(value));
    }
    json += "}";
    let mut start = 0;
    for Entry {
        name,
        shape,
        values,
    } in entries
    {
        let (name, dtype, end) = (quoted(name), values.dtype(), start + values.n_bytes());
        let shape = shape
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(",");
        json += &format!(
            ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}"
        );
        start = end;
    }
    json += "}";
    json += &" ".repeat(json.len().next_multiple_of(8) - json.len());
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.as_bytes());
    let hash = header_hash(&header).to_hex();
    header[HEADER_HASH].copy_from_slice(hash.as_bytes());
    header
}

/// Puts what `fill` writes at `path` once all of it is on disk; a failure leaves what was there.
fn replace(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), TensorFileError> {
    let beside = beside(path);
    let replaced = fill_file(&beside, fill).and_then(|()| fs::rename(&beside, path));
    replaced.map_err(|source| {
        // Nothing more can be done if this fails too; the next write starts the file anew.
        let _ = fs::remove_file(&beside);
        TensorFileError::unwritten(path, source)
    })?;
    flush_folder(path).map_err(|source| TensorFileError::Unflushed {
        path: path.into(),
        source,
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

fn fill_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    fill(&mut file)?;
    file.into_inner()?.sync_all()
}

/// Makes a rename last through a loss of power.
#[cfg(unix)]
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Folders cannot be opened here; the file system orders renames by itself.
#[cfg(not(unix))]
fn flush_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
