//! What a protobuf message would take in memory, counted from its bytes before anything is made of it: two
//! bytes of an empty submessage become hundreds.
//!
//! The shapes below follow `proto/`. Fields that they do not name are passed over, as the decoder does.

use super::MOST_COLUMNS;
use super::bounds::{Bounds, MOST_ID, MOST_NAME, check_length};
use crate::api_error::{ApiError, Kind};

/// A message by its fields.
#[derive(Debug)]
pub(super) struct Shape(&'static [Field]);

/// A field that takes memory.
#[derive(Debug)]
struct Field {
    number: u64,
    name: &'static str,
    /// How often it may come.
    most: usize,
    /// What each of it costs: each element, where it is a list of numbers.
    cost: usize,
    of: Of,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// A text that goes where texts are short.
    Short {
        most: usize,
    },
    /// A text or bytes that are copied.
    Copied,
    /// Bytes that are not.
    Viewed,
    /// Numbers of a variable length; or of so many bytes each.
    Varints,
    Fixed(usize),
    Message(&'static Shape),
}

/// A parameter map has few entries.
const MOST_PARAMETERS: usize = 64;

/// More sizes are no shape of a tensor.
const MOST_SIZES: usize = 8;

const ANY: usize = usize::MAX;

const fn field(number: u64, name: &'static str, most: usize, cost: usize, of: Of) -> Field {
    Field {
        number,
        name,
        most,
        cost,
        of,
    }
}

const fn short(number: u64, name: &'static str) -> Field {
    field(number, name, ANY, 0, Of::Short { most: MOST_NAME })
}

const fn list(number: u64, name: &'static str, cost: usize, of: Of) -> Field {
    field(number, name, ANY, cost, of)
}

pub(super) static RANK: Shape = Shape(&[
    short(1, "model"),
    short(3, "label"),
    field(4, "id", ANY, 0, Of::Short { most: MOST_ID }),
    short(5, "user"),
    field(6, "context", MOST_COLUMNS, 256, Of::Message(&COLUMN)),
    field(7, "candidates", MOST_COLUMNS, 256, Of::Message(&COLUMN)),
    short(9, "top_by"),
]);

static COLUMN: Shape = Shape(&[
    short(1, "name"),
    field(2, "texts", ANY, 0, Of::Message(&TEXTS)),
    field(3, "ints", ANY, 0, Of::Message(&INTS)),
    field(4, "floats", ANY, 0, Of::Message(&FLOATS)),
    field(5, "lengths", ANY, 0, Of::Message(&LENGTHS)),
    list(6, "null_rows", 4, Of::Varints),
]);

static TEXTS: Shape = Shape(&[list(1, "values", 4, Of::Copied)]);
static INTS: Shape = Shape(&[list(1, "values", 8, Of::Varints)]);
static FLOATS: Shape = Shape(&[list(1, "values", 8, Of::Fixed(8))]);
// Where the lists begin is kept beside them.
static LENGTHS: Shape = Shape(&[list(1, "values", 8, Of::Varints)]);

pub(super) static INFER: Shape = Shape(&[
    short(1, "model_name"),
    short(2, "model_version"),
    field(3, "id", ANY, 0, Of::Short { most: MOST_ID }),
    field(
        4,
        "parameters",
        MOST_PARAMETERS,
        160,
        Of::Message(&PARAMETER),
    ),
    field(5, "inputs", MOST_COLUMNS, 512, Of::Message(&INPUT)),
    field(6, "outputs", MOST_COLUMNS, 160, Of::Message(&OUTPUT)),
    field(7, "raw_input_contents", MOST_COLUMNS, 48, Of::Viewed),
]);

static PARAMETER: Shape = Shape(&[
    short(1, "key"),
    field(2, "value", ANY, 0, Of::Message(&CHOICE)),
]);

static CHOICE: Shape = Shape(&[short(3, "string_param")]);

static INPUT: Shape = Shape(&[
    short(1, "name"),
    short(2, "datatype"),
    field(3, "shape", MOST_SIZES, 8, Of::Varints),
    field(
        4,
        "parameters",
        MOST_PARAMETERS,
        160,
        Of::Message(&PARAMETER),
    ),
    field(5, "contents", ANY, 0, Of::Message(&CONTENTS)),
]);

static OUTPUT: Shape = Shape(&[
    short(1, "name"),
    field(
        2,
        "parameters",
        MOST_PARAMETERS,
        160,
        Of::Message(&PARAMETER),
    ),
]);

// What is decoded, and what it becomes as a column.
static CONTENTS: Shape = Shape(&[
    list(1, "bool_contents", 1 + 8, Of::Varints),
    list(2, "int_contents", 4 + 8, Of::Varints),
    list(3, "int64_contents", 8, Of::Varints),
    list(4, "uint_contents", 4 + 8, Of::Varints),
    list(5, "uint64_contents", 8 + 8 + 24, Of::Varints),
    list(6, "fp32_contents", 4 + 8, Of::Fixed(4)),
    list(7, "fp64_contents", 8, Of::Fixed(8)),
    list(8, "bytes_contents", 64, Of::Copied),
]);

/// Counts a message.
///
/// # Errors
/// It would take more than is left ([`Kind::TooLarge`]); a field comes too often or is too long, or the
/// bytes are no message ([`Kind::Invalid`]).
pub(super) fn count(shape: &Shape, message: &[u8], bounds: &Bounds<'_>) -> Result<(), ApiError> {
    let mut seen = [0usize; 10];
    let mut rest = Rest(message);
    while let Some(value) = rest.next()? {
        let found = shape.0.iter().position(|field| field.number == value.field);
        let Some(place) = found else { continue };
        let field = &shape.0[place];
        let n = field.of.count(&value);
        seen[place] += n;
        if seen[place] > field.most {
            let (most, name) = (field.most, field.name);
            return Err(Kind::Invalid.says(format!("more than {most} {name}")));
        }
        bounds.take(n.saturating_mul(field.cost))?;
        let Some(bytes) = value.bytes else { continue };
        match field.of {
            Of::Message(shape) => count(shape, bytes, bounds)?,
            Of::Copied => bounds.take(bytes.len())?,
            Of::Short { most } => {
                check_length(field.name, bytes, most)?;
                bounds.take(2 * bytes.len())?;
            }
            Of::Viewed | Of::Varints | Of::Fixed(_) => {}
        }
    }
    Ok(())
}

impl Of {
    /// How many elements one value of such a field is.
    fn count(self, value: &Value<'_>) -> usize {
        let Some(bytes) = value.bytes else { return 1 };
        match self {
            // The last byte of a number has no continuation bit.
            Of::Varints => bytes.iter().filter(|byte| **byte < 0x80).count(),
            Of::Fixed(size) => bytes.len() / size,
            _ => 1,
        }
    }
}

/// A field's number, and its bytes where it has a length.
struct Value<'a> {
    field: u64,
    bytes: Option<&'a [u8]>,
}

/// What of a message is not read yet.
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
        let (cut, rest) = parts.ok_or_else(|| malformed("it breaks off"))?;
        self.0 = rest;
        Ok(cut)
    }

    fn varint(&mut self) -> Result<u64, ApiError> {
        let mut number = 0u64;
        for (place, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place as u32);
            if *byte < 0x80 {
                self.0 = &self.0[place + 1..];
                return Ok(number);
            }
        }
        Err(malformed("it breaks off in a number"))
    }
}

/// Bytes that are no message.
pub(crate) fn malformed(what: &str) -> ApiError {
    Kind::Invalid.says(format!(
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
    fn check(shape: &Shape, message: &[u8], kind: Kind, part: &str) {
        let refusal = count(shape, message, &Bounds::new(&ACCEPTS)).unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.what.contains(part), "{refusal}");
    }

    #[test]
    fn what_is_small_on_the_wire_and_large_in_memory_is_refused() {
        check(
            &INFER,
            &b"\x3a\0".repeat(5000),
            Kind::Invalid,
            "more than 4096 raw_input_contents",
        );
        check(
            &INFER,
            &b"\x2a\0".repeat(5000),
            Kind::TooLarge,
            "250000 bytes in memory",
        );
        check(&INFER, &b"\x32\0".repeat(5000), Kind::TooLarge, "in memory");
        check(
            &INFER,
            &b"\x22\0".repeat(65),
            Kind::Invalid,
            "more than 64 parameters",
        );
        check(&RANK, &b"\x32\0".repeat(5000), Kind::TooLarge, "in memory");
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
            Kind::TooLarge,
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
        check(&RANK, &texts.encode_to_vec(), Kind::TooLarge, "in memory");
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
            Kind::Invalid,
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
            Kind::Invalid,
            "more than 8 shape",
        );
        check(
            &INFER,
            &input(1, 1025).encode_to_vec(),
            Kind::Invalid,
            "name has 1025 bytes",
        );
        for broken in [
            &b"\x2a\x05ab"[..],
            b"\x2a",
            b"\xff\xff",
            b"\x0b",
            b"\x09abc",
        ] {
            check(&INFER, broken, Kind::Invalid, "cannot be decoded");
        }
    }
}
