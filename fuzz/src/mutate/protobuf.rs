//! Mutations that preserve a valid protobuf message, without its schema.

use super::{number, word};
use crate::random::Random;
use ncs_features::record_bytes::{push_varint, varint};

/// A field of a message, with its number and wire type.
#[derive(Clone, Debug)]
struct Field {
    key: u64,
    value: FieldValue,
}

#[derive(Clone, Debug)]
enum FieldValue {
    Number(u64),
    Fixed(Vec<u8>),
    /// A string, packed numbers, or a nested message.
    Bytes(Vec<u8>),
}

/// Mutates a field of the message in `bytes`, often a field of a nested message; other bytes are mutated without a
/// format.
pub(super) fn mutate(
    bytes: &mut Vec<u8>,
    other: &[u8],
    words: &'static [&'static str],
    random: &mut Random,
) {
    let Some(mut fields) = parse(bytes) else {
        return super::mutate_bytes(bytes, other, words, random);
    };
    let position = random.below(fields.len());
    match (random.below(10), fields.get_mut(position)) {
        (0, Some(_)) => drop(fields.remove(position)),
        (1, Some(field)) => {
            let copies = vec![field.clone(); random.few(16)];
            fields.extend(copies);
        }
        (2, Some(field)) => field.key = (random.below(12) << 3) as u64 | field.key & 7,
        (3, _) => {
            let others = parse(other).unwrap_or_default();
            let chosen = others.get(random.below(others.len())).cloned();
            fields.extend(chosen);
        }
        (_, Some(field)) => mutate_value(&mut field.value, other, words, random),
        _ => fields.push(Field {
            key: (random.below(12) << 3) as u64 | 2,
            value: FieldValue::Bytes(word(words, random).into()),
        }),
    }
    *bytes = encode(&fields);
}

fn mutate_value(
    value: &mut FieldValue,
    other: &[u8],
    words: &'static [&'static str],
    random: &mut Random,
) {
    match value {
        FieldValue::Number(x) => *x = number(random) as u64,
        FieldValue::Fixed(bytes) => super::overwrite(bytes, &super::number_bytes(random), random),
        FieldValue::Bytes(bytes) if random.once_in(4) => *bytes = word(words, random).into(),
        // A string may look like a message, which does no harm.
        FieldValue::Bytes(bytes) => mutate(bytes, other, words, random),
    }
}

/// Parses the fields of a message; `None` if the bytes are not a message, or empty.
fn parse(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => FieldValue::Number(varint(&mut bytes)?),
            1 => FieldValue::Fixed(bytes.split_off(..8)?.to_vec()),
            5 => FieldValue::Fixed(bytes.split_off(..4)?.to_vec()),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                FieldValue::Bytes(bytes.split_off(..length)?.to_vec())
            }
            _ => return None,
        };
        fields.push(Field { key, value });
    }
    (!fields.is_empty()).then_some(fields)
}

fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        push_varint(&mut bytes, field.key);
        match &field.value {
            FieldValue::Number(x) => push_varint(&mut bytes, *x),
            FieldValue::Fixed(fixed) => bytes.extend(fixed),
            FieldValue::Bytes(inner) => {
                push_varint(&mut bytes, inner.len() as u64);
                bytes.extend(inner);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let message =
            b"\x0a\x03abc\x10\xac\x02\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08";
        let fields = parse(message).unwrap();
        assert_eq!(fields.len(), 4);
        assert_eq!(encode(&fields), message);
        assert!(parse(b"\x0a\x09abc").is_none());
    }
}
