//! Datatypes of the Open Inference Protocol: values from bytes.

use crate::api_error::ApiError;
use crate::words::shown;
use ncs_features::value::{widen, widen_bfloat, widen_half};
use ncs_features::{Texts, Values};

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
    pub fn parse(name: &str) -> Result<Datatype, ApiError> {
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
                return Err(ApiError::invalid(format!(
                    "no datatype \"{name}\"; use BYTES, BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, \
                     FP32 or FP64"
                )));
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
    pub fn read(self, bytes: &[u8], n: usize) -> Result<Values, ApiError> {
        match self.size() {
            None => texts(bytes, n).map(Values::Text),
            Some(size) if n.checked_mul(size) == Some(bytes.len()) => Ok(self.numbers(bytes)),
            Some(size) => Err(ApiError::invalid(format!(
                "{} bytes where the shape says {n} values of {size}",
                bytes.len()
            ))),
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

fn texts(mut bytes: &[u8], n: usize) -> Result<Texts, ApiError> {
    let mut texts = Texts::default();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((text, rest)) = rest.split_at_checked(length) else {
            return Err(ApiError::invalid(format!(
                "text {} declares {length} bytes, but {} are left",
                texts.len(),
                rest.len()
            )));
        };
        texts.push(text);
        bytes = rest;
    }
    if let Some(text) = texts.not_utf8() {
        return Err(ApiError::invalid(format!("text {text} is not UTF-8")));
    }
    if !bytes.is_empty() || texts.len() != n {
        return Err(ApiError::invalid(format!(
            "{} texts and {} bytes over where the shape says {n} texts",
            texts.len(),
            bytes.len()
        )));
    }
    Ok(texts)
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
            assert!(error.message.contains(expected), "{error}");
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
}
