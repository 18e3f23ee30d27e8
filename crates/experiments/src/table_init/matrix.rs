//! Matrices of NumPy (`.npy`) and safetensors files, and the ids of their rows.

use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use ncs_features::{Column, Texts, Values};
use ncs_readers::shown_path;
use safetensors::{Dtype, SafeTensors};

use super::chunks::column;
use crate::error::Error;

/// Type of the numbers of a file, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    F16,
    Bf16,
    F32,
    F64,
    I32,
    U32,
    I64,
    U64,
}

impl Number {
    fn n_bytes(self) -> usize {
        match self {
            Number::F16 | Number::Bf16 => 2,
            Number::F32 | Number::I32 | Number::U32 => 4,
            Number::F64 | Number::I64 | Number::U64 => 8,
        }
    }

    fn of_numpy(name: &str) -> Option<Number> {
        Some(match name {
            "<f2" => Number::F16,
            "<f4" => Number::F32,
            "<f8" => Number::F64,
            "<i4" => Number::I32,
            "<u4" => Number::U32,
            "<i8" => Number::I64,
            "<u8" => Number::U64,
            _ => return None,
        })
    }

    fn of_safetensors(dtype: Dtype) -> Option<Number> {
        Some(match dtype {
            Dtype::F16 => Number::F16,
            Dtype::BF16 => Number::Bf16,
            Dtype::F32 => Number::F32,
            Dtype::F64 => Number::F64,
            Dtype::I32 => Number::I32,
            Dtype::U32 => Number::U32,
            Dtype::I64 => Number::I64,
            Dtype::U64 => Number::U64,
            _ => return None,
        })
    }

    fn is_whole(self) -> bool {
        !matches!(self, Number::F16 | Number::Bf16 | Number::F32 | Number::F64)
    }

    /// Returns the number in these bytes.
    fn float(self, bytes: &[u8]) -> f64 {
        match self {
            Number::F16 => f64::from(f16::from_le_bytes(array(bytes))),
            Number::Bf16 => f64::from(bf16::from_le_bytes(array(bytes))),
            Number::F32 => f64::from(f32::from_le_bytes(array(bytes))),
            Number::F64 => f64::from_le_bytes(array(bytes)),
            _ => self.whole(bytes) as f64,
        }
    }

    /// Returns the whole number in these bytes.
    fn whole(self, bytes: &[u8]) -> i128 {
        match self {
            Number::I32 => i32::from_le_bytes(array(bytes)).into(),
            Number::U32 => u32::from_le_bytes(array(bytes)).into(),
            Number::I64 => i64::from_le_bytes(array(bytes)).into(),
            Number::U64 => u64::from_le_bytes(array(bytes)).into(),
            _ => 0,
        }
    }
}

/// Returns the bytes of one number, whose count the caller has checked.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// An array of a file: numbers, row after row.
pub(super) struct Array {
    bytes: Vec<u8>,
    number: Number,
    shape: Vec<usize>,
}

/// A matrix of a file, a vector in each row.
pub(super) struct Matrix {
    array: Array,
    /// True if the file names its arrays.
    is_named: bool,
}

impl Matrix {
    /// Reads a file of `numpy.save`.
    ///
    /// # Errors
    /// It is no such file, or holds something else than a matrix of numbers.
    pub(super) fn of_npy(path: &Path) -> Result<Matrix, Error> {
        Matrix::of(npy(path)?, path, false)
    }

    /// Reads the tensors `vector`, and `id` if there is one, of a safetensors file.
    ///
    /// # Errors
    /// It is no such file, or the tensors are no matrix of numbers and no list of whole numbers.
    pub(super) fn of_safetensors(
        path: &Path,
        id: &str,
        vector: &str,
    ) -> Result<(Matrix, Option<Ids>), Error> {
        let bytes = read(path)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| wrong(path, &format!("it is no safetensors file: {error}")))?;
        let array = |name: &str| -> Result<Option<Array>, Error> {
            let Ok(tensor) = tensors.tensor(name) else {
                return Ok(None);
            };
            let number = Number::of_safetensors(tensor.dtype()).ok_or_else(|| {
                let what = format!(
                    "tensor {name:?} is of type {:?}; write float32 vectors and int64 ids",
                    tensor.dtype()
                );
                wrong(path, &what)
            })?;
            Ok(Some(Array {
                bytes: tensor.data().to_vec(),
                number,
                shape: tensor.shape().to_vec(),
            }))
        };
        let vectors = array(vector)?.ok_or_else(|| {
            let names = ncs_features::shown::names(tensors.names().into_iter());
            wrong(
                path,
                &format!(
                    "no tensor {vector:?}; it has {names}; name that of the vectors by init.vector"
                ),
            )
        })?;
        let ids = array(id)?.map(|ids| Ids::of(ids, path)).transpose()?;
        Ok((Matrix::of(vectors, path, true)?, ids))
    }

    fn of(array: Array, path: &Path, is_named: bool) -> Result<Matrix, Error> {
        if array.shape.len() != 2 {
            let what = format!(
                "an array of shape {:?}; it must be a matrix with a vector in each row",
                array.shape
            );
            return Err(wrong(path, &what));
        }
        Ok(Matrix { array, is_named })
    }

    /// Returns the number of vectors.
    pub(super) fn n_rows(&self) -> usize {
        self.array.shape[0]
    }

    /// Returns true if the file names its arrays.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Returns some rows as a column of lists.
    pub(super) fn column(&self, rows: Range<usize>) -> Column {
        let (width, number) = (self.array.shape[1], self.array.number);
        let size = number.n_bytes();
        let bytes = &self.array.bytes[rows.start * width * size..rows.end * width * size];
        let numbers = bytes.chunks_exact(size).map(|bytes| number.float(bytes));
        let offsets = (0..=rows.len()).map(|row| (row * width) as u32);
        column(
            "vectors",
            Values::Float(numbers.collect()),
            Some(offsets.collect()),
        )
    }
}

/// The ids of the rows of a matrix.
pub(super) enum Ids {
    /// Whole numbers.
    Whole(Array),
    /// Texts.
    Texts(Vec<String>),
}

impl Ids {
    /// Reads ids: a list of whole numbers in NumPy's format, or a text with an id on each line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Ids, Error> {
        if path.extension().is_some_and(|ending| ending == "npy") {
            return Ids::of(npy(path)?, path);
        }
        let text = String::from_utf8(read(path)?);
        let text = text.map_err(|_| wrong(path, "it is not UTF-8; write an id on each line"))?;
        Ok(Ids::Texts(text.lines().map(str::to_owned).collect()))
    }

    fn of(array: Array, path: &Path) -> Result<Ids, Error> {
        if array.shape.len() != 1 || !array.number.is_whole() {
            let what = format!(
                "ids of shape {:?} and type {:?}; write a list of int64, or a text file with an id on each line",
                array.shape, array.number
            );
            return Err(wrong(path, &what));
        }
        Ok(Ids::Whole(array))
    }

    /// Returns the number of ids.
    pub(super) fn len(&self) -> usize {
        match self {
            Ids::Whole(array) => array.shape[0],
            Ids::Texts(texts) => texts.len(),
        }
    }

    /// Returns some ids as values of a column.
    pub(super) fn values(&self, rows: Range<usize>) -> Values {
        let mut texts = Texts::default();
        match self {
            Ids::Whole(array) => {
                let size = array.number.n_bytes();
                let bytes = &array.bytes[rows.start * size..rows.end * size];
                for bytes in bytes.chunks_exact(size) {
                    texts.push(array.number.whole(bytes).to_string().as_bytes());
                }
            }
            Ids::Texts(ids) => ids[rows].iter().for_each(|id| texts.push(id.as_bytes())),
        }
        Values::Text(texts)
    }
}

fn wrong(path: &Path, what: &str) -> Error {
    format!("{}: {what}", shown_path(path)).into()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| wrong(path, &format!("cannot read the file: {error}")))
}

/// Reads an array in NumPy's format (NEP 1): a magic text, a version, the length of the header, the header, which is a
/// Python dictionary, and the numbers.
fn npy(path: &Path) -> Result<Array, Error> {
    let mut bytes = read(path)?;
    let (header, start) =
        npy_header(&bytes).ok_or_else(|| wrong(path, "it is no file of numpy.save"))?;
    let stated = |what: &str| wrong(path, what);
    let name = quoted(&header, "descr").unwrap_or_default();
    let number = Number::of_numpy(&name).ok_or_else(|| {
        stated(&format!(
            "numbers of type {name:?}; write vectors as float32 and ids as int64, little endian"
        ))
    })?;
    if after(&header, "fortran_order").is_none_or(|text| !text.starts_with("False")) {
        return Err(stated(
            "its numbers are column after column; save numpy.ascontiguousarray of it",
        ));
    }
    let shape = npy_shape(&header).ok_or_else(|| stated("its header has no shape"))?;
    let n_bytes = shape
        .iter()
        .try_fold(number.n_bytes(), |n, size| n.checked_mul(*size));
    if n_bytes != Some(bytes.len() - start) {
        return Err(stated(&format!(
            "its shape is {shape:?}, and it holds {} bytes: it is cut off",
            bytes.len() - start
        )));
    }
    bytes.drain(..start);
    Ok(Array {
        bytes,
        number,
        shape,
    })
}

/// Returns the header, and where the numbers start.
fn npy_header(bytes: &[u8]) -> Option<(String, usize)> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (version, rest) = rest.split_at_checked(2)?;
    let (length, taken): (usize, usize) = match version[0] {
        1 => (usize::from(u16::from_le_bytes(array(rest.get(..2)?))), 2),
        2 | 3 => (u32::from_le_bytes(array(rest.get(..4)?)) as usize, 4),
        _ => return None,
    };
    let header = rest.get(taken..taken.checked_add(length)?)?;
    let header = std::str::from_utf8(header).ok()?.to_owned();
    Some((header, 8 + taken + length))
}

/// Returns what comes after the key of a Python dictionary and its colon.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(header: &str, key: &str) -> Option<String> {
    let text = after(header, key)?.strip_prefix('\'')?;
    Some(text.split_once('\'')?.0.to_owned())
}

fn npy_shape(header: &str) -> Option<Vec<usize>> {
    let (sizes, _) = after(header, "shape")?.strip_prefix('(')?.split_once(')')?;
    let sizes = sizes
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes an array as `numpy.save` does.
    fn saved(folder: &Path, descr: &str, shape: &str, numbers: &[u8]) -> std::path::PathBuf {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(numbers);
        let path = folder.join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn matrices_of_every_number_type_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let check = |descr: &str, numbers: Vec<u8>| {
            let path = saved(folder.path(), descr, "(2, 1)", &numbers);
            let matrix = Matrix::of_npy(&path).unwrap_or_else(|error| panic!("{error}"));
            let column = matrix.column(0..2);
            assert_eq!(column.values, Values::Float(vec![1.0, 2.0]), "{descr}");
            assert_eq!(column.offsets, Some(vec![0, 1, 2]));
        };
        check("<f4", [1f32, 2.0].map(f32::to_le_bytes).concat());
        check("<f8", [1f64, 2.0].map(f64::to_le_bytes).concat());
        check(
            "<f2",
            [1.0, 2.0].map(|x| f16::from_f32(x).to_le_bytes()).concat(),
        );
        check("<i8", [1i64, 2].map(i64::to_le_bytes).concat());
        check("<u4", [1u32, 2].map(u32::to_le_bytes).concat());
    }

    #[test]
    fn ids_keep_all_their_digits() {
        let folder = tempfile::tempdir().unwrap();
        let ids = [u64::MAX, 7].map(u64::to_le_bytes).concat();
        let path = saved(folder.path(), "<u8", "(2,)", &ids);
        let ids = Ids::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let Values::Text(texts) = ids.values(0..2) else {
            panic!("texts");
        };
        assert_eq!(
            (texts.get(0), texts.get(1)),
            (&b"18446744073709551615"[..], &b"7"[..])
        );
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refuses = |descr: &str, shape: &str, numbers: &[u8], what: &str| {
            let path = saved(folder.path(), descr, shape, numbers);
            let error = Matrix::of_npy(&path).err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.contains(what) && error.contains("a.npy"), "{error}");
        };
        refuses(">f4", "(1, 1)", &[0; 4], "numbers of type \">f4\"");
        refuses("<U3", "(1, 1)", &[0; 12], "numbers of type \"<U3\"");
        refuses("<f4", "(2, 1)", &[0; 4], "it is cut off");
        refuses("<f4", "(4611686018427387904, 4)", &[0; 4], "it is cut off");
        refuses("<f4", "(1,)", &[0; 4], "of shape [1]");
        let path = folder.path().join("b.npy");
        std::fs::write(&path, b"\x93NUMPY\x01\x00\xff\xff{").unwrap();
        let error = Matrix::of_npy(&path).err().map(|error| error.to_string());
        assert!(error.unwrap_or_default().contains("no file of numpy.save"));
    }
}
