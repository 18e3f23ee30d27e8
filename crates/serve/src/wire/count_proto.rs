//! Counts the memory that a protobuf message would take, from its bytes and before it is decoded: two bytes
//! of an empty submessage become hundreds.
//!
//! The shapes below follow `proto/`. Other fields are ignored, as by the decoder.

use super::MAX_COLUMNS;
use super::bounds::{Bounds, MAX_ID, MAX_NAME, check_length};
use crate::api_error::{ApiError, ErrorKind};

/// Fields of a message type.
#[derive(Debug)]
pub(super) struct Shape(&'static [Field]);

/// A field that takes memory.
#[derive(Debug)]
struct Field {
    number: u64,
    name: &'static str,
    /// Maximum number of occurrences.
    most: usize,
    /// Bytes per occurrence; per element for a list of numbers.
    cost: usize,
    contents: Contents,
}

/// Contents of a field.
#[derive(Clone, Copy, Debug)]
enum Contents {
    /// A text with a maximum length.
    Short {
        most: usize,
    },
    /// A text or bytes that are copied.
    Copied,
    /// Bytes that are not copied.
    Borrowed,
    /// Numbers of variable length.
    Varints,
    Fixed(usize),
    Message(&'static Shape),
}

/// Maximum number of entries of a parameter map.
const MAX_PARAMETERS: usize = 64;

/// Maximum number of dimensions of a shape.
const MAX_SIZES: usize = 8;

const ANY: usize = usize::MAX;

const fn field(
    number: u64,
    name: &'static str,
    most: usize,
    cost: usize,
    contents: Contents,
) -> Field {
    Field {
        number,
        name,
        most,
        cost,
        contents,
    }
}

const fn short(number: u64, name: &'static str) -> Field {
    field(number, name, ANY, 0, Contents::Short { most: MAX_NAME })
}

const fn list(number: u64, name: &'static str, cost: usize, contents: Contents) -> Field {
    field(number, name, ANY, cost, contents)
}

pub(super) static RANK: Shape = Shape(&[
    short(1, "model"),
    short(3, "label"),
    field(4, "id", ANY, 0, Contents::Short { most: MAX_ID }),
    short(5, "user"),
    field(6, "context", MAX_COLUMNS, 256, Contents::Message(&COLUMN)),
    field(
        7,
        "candidates",
        MAX_COLUMNS,
        256,
        Contents::Message(&COLUMN),
    ),
    short(9, "top_by"),
]);

static COLUMN: Shape = Shape(&[
    short(1, "name"),
    field(2, "texts", ANY, 0, Contents::Message(&TEXTS)),
    field(3, "ints", ANY, 0, Contents::Message(&INTS)),
    field(4, "floats", ANY, 0, Contents::Message(&FLOATS)),
    field(5, "lengths", ANY, 0, Contents::Message(&LENGTHS)),
    list(6, "null_rows", 4, Contents::Varints),
]);

static TEXTS: Shape = Shape(&[list(1, "values", 4, Contents::Copied)]);
static INTS: Shape = Shape(&[list(1, "values", 8, Contents::Varints)]);
static FLOATS: Shape = Shape(&[list(1, "values", 8, Contents::Fixed(8))]);
// The offsets of the lists are stored too.
static LENGTHS: Shape = Shape(&[list(1, "values", 8, Contents::Varints)]);

pub(super) static INFER: Shape = Shape(&[
    short(1, "model_name"),
    short(2, "model_version"),
    field(3, "id", ANY, 0, Contents::Short { most: MAX_ID }),
    field(
        4,
        "parameters",
        MAX_PARAMETERS,
        160,
        Contents::Message(&PARAMETER),
    ),
    field(5, "inputs", MAX_COLUMNS, 512, Contents::Message(&INPUT)),
    field(6, "outputs", MAX_COLUMNS, 160, Contents::Message(&OUTPUT)),
    field(7, "raw_input_contents", MAX_COLUMNS, 48, Contents::Borrowed),
]);

static PARAMETER: Shape = Shape(&[
    short(1, "key"),
    field(2, "value", ANY, 0, Contents::Message(&CHOICE)),
]);

static CHOICE: Shape = Shape(&[short(3, "string_param")]);

static INPUT: Shape = Shape(&[
    short(1, "name"),
    short(2, "datatype"),
    field(3, "shape", MAX_SIZES, 8, Contents::Varints),
    field(
        4,
        "parameters",
        MAX_PARAMETERS,
        160,
        Contents::Message(&PARAMETER),
    ),
    field(5, "contents", ANY, 0, Contents::Message(&CONTENTS)),
]);

static OUTPUT: Shape = Shape(&[
    short(1, "name"),
    field(
        2,
        "parameters",
        MAX_PARAMETERS,
        160,
        Contents::Message(&PARAMETER),
    ),
]);

// Bytes as decoded and as a column.
static CONTENTS: Shape = Shape(&[
    list(1, "bool_contents", 1 + 8, Contents::Varints),
    list(2, "int_contents", 4 + 8, Contents::Varints),
    list(3, "int64_contents", 8, Contents::Varints),
    list(4, "uint_contents", 4 + 8, Contents::Varints),
    list(5, "uint64_contents", 8 + 8 + 24, Contents::Varints),
    list(6, "fp32_contents", 4 + 8, Contents::Fixed(4)),
    list(7, "fp64_contents", 8, Contents::Fixed(8)),
    list(8, "bytes_contents", 64, Contents::Copied),
]);

/// Counts the memory of a message.
///
/// # Errors
/// It would take more than the allowance ([`ErrorKind::TooLarge`]); a field occurs too often or is too long, or
/// the bytes are not a message ([`ErrorKind::Invalid`]).
pub(super) fn count(shape: &Shape, message: &[u8], bounds: &Bounds<'_>) -> Result<(), ApiError> {
    let mut seen = [0usize; 10];
    let mut rest = Rest(message);
    while let Some(value) = rest.next()? {
        let found = shape.0.iter().position(|field| field.number == value.field);
        let Some(index) = found else { continue };
        let field = &shape.0[index];
        let n = field.contents.count(&value);
        seen[index] += n;
        if seen[index] > field.most {
            let (most, name) = (field.most, field.name);
            return Err(ErrorKind::Invalid.error(format!("more than {most} {name}")));
        }
        bounds.take(n.saturating_mul(field.cost))?;
        let Some(bytes) = value.bytes else { continue };
        match field.contents {
            Contents::Message(shape) => count(shape, bytes, bounds)?,
            Contents::Copied => bounds.take(bytes.len())?,
            Contents::Short { most } => {
                check_length(field.name, bytes, most)?;
                bounds.take(2 * bytes.len())?;
            }
            Contents::Borrowed | Contents::Varints | Contents::Fixed(_) => {}
        }
    }
    Ok(())
}

impl Contents {
    /// Returns the number of elements in one occurrence of a field.
    fn count(self, value: &Value<'_>) -> usize {
        let Some(bytes) = value.bytes else { return 1 };
        match self {
            // The last byte of a varint has no continuation bit.
            Contents::Varints => bytes.iter().filter(|byte| **byte < 0x80).count(),
            Contents::Fixed(size) => bytes.len() / size,
            _ => 1,
        }
    }
}

/// A field number, and the bytes of a length-delimited field.
struct Value<'a> {
    field: u64,
    bytes: Option<&'a [u8]>,
}

/// The rest of a message.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Result<Option<Value<'a>>, ApiError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = key >> 3;
        let bytes = match key & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => self.cut(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.cut(length)?)
            }
            5 => self.cut(4).map(|_| None)?,
            _ => {
                return Err(malformed(
                    "a field has a type that these messages do not use",
                ));
            }
        };
        Ok(Some(Value { field, bytes }))
    }

    fn cut(&mut self, length: u64) -> Result<&'a [u8], ApiError> {
        let length = usize::try_from(length).ok();
        let parts = length.and_then(|length| self.0.split_at_checked(length));
        let (cut, rest) = parts.ok_or_else(|| malformed("it is truncated"))?;
        self.0 = rest;
        Ok(cut)
    }

    fn varint(&mut self) -> Result<u64, ApiError> {
        let mut number = 0u64;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index as u32);
            if *byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(malformed("it is truncated in a number"))
    }
}

/// Returns the error for bytes that are not a message.
pub(crate) fn malformed(what: &str) -> ApiError {
    ErrorKind::Invalid.error(format!(
        "the message cannot be decoded: {what}; send what the service's .proto file declares"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Accepts;
    use super::*;
    use crate::proto::inference::model_infer_request::InferInputTensor;
    use crate::proto::inference::{InferTensorContents, ModelInferRequest};
    use crate::proto::ranking::{Column, Ints, RankRequest, Texts, column::Values};
    use prost::Message;

    const ACCEPTS: Accepts = Accepts {
        candidates: 10,
        bytes: 250_000,
        lenient: false,
    };

    #[track_caller]
    fn check(shape: &Shape, message: &[u8], kind: ErrorKind, part: &str) {
        let refusal = count(shape, message, &Bounds::new(&ACCEPTS)).unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.message.contains(part), "{refusal}");
    }

    #[test]
    fn small_messages_that_are_large_in_memory_are_refused() {
        check(
            &INFER,
            &b"\x3a\0".repeat(5000),
            ErrorKind::Invalid,
            "more than 4096 raw_input_contents",
        );
        check(
            &INFER,
            &b"\x2a\0".repeat(5000),
            ErrorKind::TooLarge,
            "250000 bytes in memory",
        );
        check(
            &INFER,
            &b"\x32\0".repeat(5000),
            ErrorKind::TooLarge,
            "in memory",
        );
        check(
            &INFER,
            &b"\x22\0".repeat(65),
            ErrorKind::Invalid,
            "more than 64 parameters",
        );
        check(
            &RANK,
            &b"\x32\0".repeat(5000),
            ErrorKind::TooLarge,
            "in memory",
        );
    }

    #[test]
    fn values_are_counted_as_they_are_in_memory() {
        let numbers = |n: usize| {
            let values = Some(Values::Ints(Ints { values: vec![1; n] }));
            let column = Column {
                values,
                ..Column::default()
            };
            RankRequest {
                candidates: vec![column],
                ..RankRequest::default()
            }
        };
        let bounds = Bounds::new(&ACCEPTS);
        count(&RANK, &numbers(31_000).encode_to_vec(), &bounds).unwrap();
        check(
            &RANK,
            &numbers(32_000).encode_to_vec(),
            ErrorKind::TooLarge,
            "in memory",
        );
        let texts: Texts = std::iter::repeat_n("", 70_000).collect();
        let column = Column {
            values: Some(Values::Texts(texts)),
            ..Column::default()
        };
        let texts = RankRequest {
            context: vec![column],
            ..RankRequest::default()
        };
        check(
            &RANK,
            &texts.encode_to_vec(),
            ErrorKind::TooLarge,
            "in memory",
        );
    }

    #[test]
    fn long_names_and_shapes_and_broken_bytes_are_refused() {
        let long = RankRequest {
            id: "i".repeat(201),
            ..RankRequest::default()
        };
        check(
            &RANK,
            &long.encode_to_vec(),
            ErrorKind::Invalid,
            "id has 201 bytes",
        );
        let input = |shape: usize, name: usize| ModelInferRequest {
            inputs: vec![InferInputTensor {
                name: "n".repeat(name),
                shape: vec![1; shape],
                contents: Some(InferTensorContents::default()),
                ..InferInputTensor::default()
            }],
            ..ModelInferRequest::default()
        };
        let bounds = Bounds::new(&ACCEPTS);
        count(&INFER, &input(2, 10).encode_to_vec(), &bounds).unwrap();
        check(
            &INFER,
            &input(9, 1).encode_to_vec(),
            ErrorKind::Invalid,
            "more than 8 shape",
        );
        check(
            &INFER,
            &input(1, 1025).encode_to_vec(),
            ErrorKind::Invalid,
            "name has 1025 bytes",
        );
        for broken in [
            &b"\x2a\x05ab"[..],
            b"\x2a",
            b"\xff\xff",
            b"\x0b",
            b"\x09abc",
        ] {
            check(&INFER, broken, ErrorKind::Invalid, "cannot be decoded");
        }
    }
}
