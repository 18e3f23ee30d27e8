//! Tensors of the Open Inference Protocol and their conversion to columns.
//!
//! A tensor has the name of its column. `[1, ...]` is a column of the context, `[N, ...]` of the candidates
//! (all are candidates if `N` is 1). `[N]` and `[N, 1]` have one value per row, `[N, L]` a list of `L`
//! values; a tensor `NAME:lengths` of `N` whole numbers gives the used length of each list.

use super::Accepts;
use crate::api_error::{ApiError, ErrorKind};
use crate::words::shown;
use ncs_features::value::{widen, widen_bfloat, widen_half};
use ncs_features::{Block, Column, Texts, Values};

/// Datatype of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned integers of this many bytes.
    Uint(usize),
    /// Signed integers of this many bytes.
    Int(usize),
    /// IEEE 754 half precision.
    Fp16,
    /// bfloat16: the upper half of single precision.
    Bf16,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
    /// Texts.
    Bytes,
}

impl Datatype {
    /// Parses the protocol's name.
    ///
    /// # Errors
    /// There is no such datatype.
    pub fn parse(name: &str) -> Result<Datatype, String> {
        Ok(match name {
            "BOOL" => Datatype::Bool,
            "UINT8" => Datatype::Uint(1),
            "UINT16" => Datatype::Uint(2),
            "UINT32" => Datatype::Uint(4),
            "UINT64" => Datatype::Uint(8),
            "INT8" => Datatype::Int(1),
            "INT16" => Datatype::Int(2),
            "INT32" => Datatype::Int(4),
            "INT64" => Datatype::Int(8),
            "FP16" => Datatype::Fp16,
            "BF16" => Datatype::Bf16,
            "FP32" => Datatype::Fp32,
            "FP64" => Datatype::Fp64,
            "BYTES" => Datatype::Bytes,
            _ => {
                let name = shown(name);
                return Err(format!(
                    "no datatype \"{name}\"; use BYTES, BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, \
                     FP32 or FP64"
                ));
            }
        })
    }

    fn size(self) -> Option<usize> {
        match self {
            Datatype::Bool => Some(1),
            Datatype::Uint(size) | Datatype::Int(size) => Some(size),
            Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Fp32 => Some(4),
            Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }

    /// Returns the bytes of memory that values of this type take when read from `n_bytes` bytes.
    pub(super) fn cost(self, n_bytes: usize) -> usize {
        match self {
            // Numbers beyond 63 bits become texts.
            Datatype::Uint(8) => 3 * n_bytes,
            datatype => datatype.size().map_or(n_bytes, |size| n_bytes / size * 8),
        }
    }

    /// Returns true if values parsed from JSON are of this type.
    pub(super) fn holds(self, values: &Values) -> bool {
        match (self, values) {
            (Datatype::Bytes, Values::Text(_)) => true,
            // A whole number beyond 63 bits is stored as text.
            (Datatype::Uint(8), Values::Text(_)) => true,
            (Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64, values) => {
                !matches!(values, Values::Text(_))
            }
            (Datatype::Bytes, _) => false,
            (_, values) => matches!(values, Values::Int(_)),
        }
    }

    /// Reads `n` values from little-endian bytes; each text is preceded by its length (32 bits).
    ///
    /// # Errors
    /// The bytes are not exactly `n` values.
    pub fn read(self, bytes: &[u8], n: usize) -> Result<Values, String> {
        match self.size() {
            None => texts(bytes, n).map(Values::Text),
            Some(size) if n.checked_mul(size) == Some(bytes.len()) => Ok(self.numbers(bytes)),
            Some(size) => Err(format!(
                "{} bytes where the shape says {n} values of {size}",
                bytes.len()
            )),
        }
    }

    fn numbers(self, bytes: &[u8]) -> Values {
        match self {
            Datatype::Uint(8) => unsigned(bytes),
            Datatype::Bool => Values::Int(bytes.iter().map(|&x| i64::from(x != 0)).collect()),
            Datatype::Uint(size) => Values::Int(wide(bytes, size, 0)),
            Datatype::Int(size) => Values::Int(wide(bytes, size, 64 - 8 * size as u32)),
            Datatype::Fp64 => {
                let numbers = bytes.as_chunks().0.iter();
                Values::Float(numbers.map(|&x| f64::from_le_bytes(x)).collect())
            }
            Datatype::Fp32 => {
                let numbers = bytes.as_chunks().0.iter();
                Values::Float(numbers.map(|&x| widen(f32::from_le_bytes(x))).collect())
            }
            _ => {
                let numbers = bytes.as_chunks().0.iter().map(|&x| u16::from_le_bytes(x));
                Values::Float(match self {
                    Datatype::Fp16 => numbers.map(widen_half).collect(),
                    _ => numbers.map(widen_bfloat).collect(),
                })
            }
        }
    }
}

/// Reads numbers of `size` bytes; shifting up and back by `spare` bits extends their sign.
fn wide(bytes: &[u8], size: usize, spare: u32) -> Vec<i64> {
    if size == 8 {
        let numbers = bytes.as_chunks().0.iter();
        return numbers.map(|&x| i64::from_le_bytes(x)).collect();
    }
    let number = |bytes: &[u8]| {
        let mut whole = [0; 8];
        whole[..size].copy_from_slice(bytes);
        (i64::from_le_bytes(whole) << spare) >> spare
    };
    bytes.chunks_exact(size).map(number).collect()
}

/// Reads unsigned 64-bit numbers; beyond 63 bits they make a column of texts, as in JSON.
fn unsigned(bytes: &[u8]) -> Values {
    let numbers: Vec<u64> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|&x| u64::from_le_bytes(x))
        .collect();
    let signed: Option<Vec<i64>> = numbers.iter().map(|&x| i64::try_from(x).ok()).collect();
    signed.map(Values::Int).unwrap_or_else(|| {
        let mut texts = Texts::default();
        numbers
            .iter()
            .for_each(|x| texts.push(x.to_string().as_bytes()));
        Values::Text(texts)
    })
}

fn texts(mut bytes: &[u8], n: usize) -> Result<Texts, String> {
    let mut texts = Texts::default();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((text, rest)) = rest.split_at_checked(length) else {
            return Err(format!(
                "text {} declares {length} bytes, but {} are left",
                texts.len(),
                rest.len()
            ));
        };
        texts.push(text);
        bytes = rest;
    }
    if let Some(text) = texts.not_utf8() {
        return Err(format!("text {text} is not UTF-8"));
    }
    match bytes.is_empty() && texts.len() == n {
        true => Ok(texts),
        false => Err(format!(
            "{} texts and {} bytes over where the shape says {n} texts",
            texts.len(),
            bytes.len()
        )),
    }
}

/// A tensor with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the column, or `NAME:lengths`.
    pub name: String,
    /// One or two dimensions.
    pub shape: Vec<i64>,
    /// Values; their number is the product of the shape.
    pub values: Values,
}

/// Returns the number of values of a shape.
///
/// # Errors
/// It has no or more than two dimensions, a negative one, or the number exceeds 32 bits.
pub fn n_values(shape: &[i64]) -> Result<usize, String> {
    let description = || format!("shape {shape:?}");
    if shape.is_empty() || shape.len() > 2 {
        return Err(format!(
            "{}: a column is [rows] or [rows, list]",
            description()
        ));
    }
    let size = |&size: &i64| u32::try_from(size).ok();
    let sizes: Option<Vec<u32>> = shape.iter().map(size).collect();
    let product = sizes.and_then(|sizes| sizes.into_iter().try_fold(1u32, u32::checked_mul));
    match product {
        Some(n) => Ok(n as usize),
        None => Err(format!("{}: no such number of values", description())),
    }
}

const LENGTHS: &str = ":lengths";

/// Splits tensors into the context and the candidates.
///
/// # Errors
/// Shapes do not match, a name is repeated, lengths have no list, or there are too many candidates.
pub fn blocks(tensors: Vec<Tensor>, accepts: &Accepts) -> Result<(Block, Block), ApiError> {
    let rows = |tensor: &Tensor| tensor.shape[0] as usize;
    let n_rows = tensors.iter().map(rows).max().unwrap_or(0);
    accepts.check_candidates(n_rows)?;
    let (lengths, columns): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|tensor| tensor.name.ends_with(LENGTHS));
    let mut lengths: Vec<Option<Tensor>> = lengths.into_iter().map(Some).collect();
    let mut names = std::collections::HashSet::new();
    let mut context = Block {
        n_rows: 1,
        columns: Vec::new(),
    };
    let mut candidates = Block {
        n_rows,
        columns: Vec::new(),
    };
    for tensor in columns {
        let name = tensor.name.clone();
        let wrong =
            |what: String| ErrorKind::Invalid.error(format!("input \"{}\": {what}", shown(&name)));
        if !names.insert(name.clone()) {
            return Err(wrong("it comes twice".to_owned()));
        }
        let block = match rows(&tensor) {
            n if n == n_rows => &mut candidates,
            1 => &mut context,
            n => {
                return Err(wrong(format!(
                    "shape {:?} has {n} rows, and others have {n_rows}; a column has one row for the \
                     context or one a candidate",
                    tensor.shape
                )));
            }
        };
        let is_lengths = |tensor: &&mut Option<Tensor>| {
            let lengths = tensor.as_ref();
            lengths.is_some_and(|lengths| lengths.name.strip_suffix(LENGTHS) == Some(&name))
        };
        let lengths = lengths.iter_mut().find(is_lengths).and_then(Option::take);
        block.columns.push(column(tensor, lengths).map_err(wrong)?);
    }
    match lengths.into_iter().flatten().next() {
        None => Ok((context, candidates)),
        Some(rest) => Err(ErrorKind::Invalid.error(format!(
            "input \"{}\": there is no input with lists of that name",
            shown(&rest.name)
        ))),
    }
}

fn column(tensor: Tensor, lengths: Option<Tensor>) -> Result<Column, String> {
    let n_rows = tensor.shape[0] as usize;
    let width = tensor.shape.get(1).map_or(1, |&width| width as usize);
    let is_list = tensor.shape.len() == 2 && (width != 1 || lengths.is_some());
    let (values, offsets) = match lengths {
        Some(_) if !is_list => return Err("it has lengths, but its shape is no list".to_owned()),
        Some(lengths) => {
            let lengths = counts(&lengths, n_rows, width)?;
            let (values, offsets) = cut(&tensor.values, &lengths, width);
            (values, Some(offsets))
        }
        None if is_list => {
            let offsets = (0..=n_rows).map(|row| (row * width) as u32).collect();
            (tensor.values, Some(offsets))
        }
        None => (tensor.values, None),
    };
    Ok(Column {
        name: tensor.name,
        values,
        offsets,
        nulls: Vec::new(),
    })
}

/// Returns the list length of each row, at most `width`.
fn counts(lengths: &Tensor, n_rows: usize, width: usize) -> Result<Vec<usize>, String> {
    let Values::Int(numbers) = &lengths.values else {
        return Err("its lengths must be whole numbers".to_owned());
    };
    if numbers.len() != n_rows {
        return Err(format!("{} lengths for {n_rows} rows", numbers.len()));
    }
    let count = |&length: &i64| usize::try_from(length).ok().filter(|&n| n <= width);
    let counts: Option<Vec<usize>> = numbers.iter().map(count).collect();
    counts.ok_or_else(|| format!("a length is outside 0 to {width}, the width of its shape"))
}

fn cut(values: &Values, lengths: &[usize], width: usize) -> (Values, Vec<u32>) {
    let rows = lengths.iter().enumerate();
    let kept = rows.flat_map(|(row, &n)| row * width..row * width + n);
    let values = values.select(kept);
    let mut offsets = vec![0];
    let mut end = 0;
    offsets.extend(lengths.iter().map(|&n| {
        end += n as u32;
        end
    }));
    (values, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_their_bytes() {
        let check = |datatype: &str, bytes: &[u8], expected: Values| {
            let datatype = Datatype::parse(datatype).unwrap();
            let n = bytes.len() / datatype.size().unwrap();
            assert_eq!(datatype.read(bytes, n).unwrap(), expected, "{datatype:?}");
        };
        let ints = |numbers: &[i64]| Values::Int(numbers.into());
        let floats = |numbers: &[f64]| Values::Float(numbers.into());
        check("BOOL", &[0, 1, 7], ints(&[0, 1, 1]));
        check("INT8", &[255, 1], ints(&[-1, 1]));
        check("UINT8", &[255], ints(&[255]));
        check("INT16", &[0, 128], ints(&[-32768]));
        check("UINT32", &[0, 0, 0, 128], ints(&[1 << 31]));
        check("INT64", &(-5i64).to_le_bytes(), ints(&[-5]));
        check("UINT64", &5u64.to_le_bytes(), ints(&[5]));
        check("FP16", &[0, 60, 0, 192], floats(&[1.0, -2.0]));
        check("FP16", &[0x66, 0x2E], floats(&[0.1]));
        check("FP16", &[1, 0], floats(&[6e-8]));
        check("BF16", &[128, 63], floats(&[1.0]));
        check("BF16", &[0xCD, 0x3D], floats(&[0.1]));
        check("FP32", &0.1f32.to_le_bytes(), floats(&[0.1]));
        check("FP64", &0.1f64.to_le_bytes(), floats(&[0.1]));
        let Values::Text(texts) = Datatype::Uint(8).read(&[255; 8], 1).unwrap() else {
            panic!("beyond 63 bits it is a text");
        };
        assert_eq!(texts.get(0), b"18446744073709551615");
    }

    #[test]
    fn bytes_that_do_not_match_the_shape_are_refused() {
        let check = |datatype: Datatype, bytes: &[u8], n, expected: &str| {
            let error = datatype.read(bytes, n).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(
            Datatype::Fp32,
            &[0; 7],
            2,
            "7 bytes where the shape says 2 values of 4",
        );
        check(Datatype::Fp32, &[0; 8], usize::MAX, "8 bytes where");
        check(Datatype::Bytes, &[9, 0, 0, 0, b'a'], 1, "declares 9 bytes");
        check(
            Datatype::Bytes,
            &[1, 0, 0, 0, b'a', 0],
            1,
            "1 texts and 1 bytes over",
        );
        check(
            Datatype::Bytes,
            &[1, 0, 0, 0, 0xff],
            1,
            "text 0 is not UTF-8",
        );
        check(Datatype::Bytes, &[], 1, "0 texts");
    }

    fn tensor(name: &str, shape: &[i64]) -> Tensor {
        let n = n_values(shape).unwrap() as i64;
        Tensor {
            name: name.into(),
            shape: shape.into(),
            values: Values::Int((0..n).collect()),
        }
    }

    const ACCEPTS: Accepts = Accepts {
        candidates: 5,
        bytes: 1 << 20,
        lenient: false,
    };

    #[test]
    fn one_row_is_the_context_and_lists_are_cut_to_their_lengths() {
        let lengths = Tensor {
            values: Values::Int(vec![1, 0, 2]),
            ..tensor("b:lengths", &[3])
        };
        let tensors = vec![tensor("a", &[1, 2]), lengths, tensor("b", &[3, 2])];
        let (context, candidates) = blocks(tensors, &ACCEPTS).unwrap();
        assert_eq!(context.n_rows, 1);
        assert_eq!(context.columns[0].offsets, Some(vec![0, 2]));
        assert_eq!(candidates.n_rows, 3);
        assert_eq!(candidates.columns[0].values, Values::Int(vec![0, 4, 5]));
        assert_eq!(candidates.columns[0].offsets, Some(vec![0, 1, 1, 3]));
    }

    #[test]
    fn shapes_that_do_not_match_are_refused() {
        let check = |tensors: Vec<Tensor>, expected: &str| {
            let refusal = blocks(tensors, &ACCEPTS).unwrap_err();
            assert!(refusal.message.contains(expected), "{refusal}");
        };
        check(vec![tensor("a", &[6])], "more than 5 candidates");
        check(
            vec![tensor("a", &[2]), tensor("b", &[3])],
            "shape [2] has 2 rows",
        );
        check(vec![tensor("a", &[2]), tensor("a", &[2])], "it comes twice");
        check(
            vec![tensor("a:lengths", &[2])],
            "no input with lists of that name",
        );
        check(
            vec![tensor("a", &[2]), tensor("a:lengths", &[2])],
            "its shape is no list",
        );
        check(
            vec![tensor("a", &[2, 2]), tensor("a:lengths", &[1])],
            "1 lengths for 2 rows",
        );
        check(
            vec![tensor("a", &[3, 1]), tensor("a:lengths", &[3])],
            "outside 0 to 1",
        );
        assert!(n_values(&[]).is_err());
        assert!(n_values(&[1, 2, 3]).is_err());
        assert!(n_values(&[-1]).is_err());
        assert!(n_values(&[1 << 20, 1 << 20]).is_err());
    }
}
