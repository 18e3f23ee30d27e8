//! The bytes of TFRecord files and of protobuf messages, for the readers and writers of logs and of TensorBoard events.
//!
//! A record is its length (u64), the masked CRC-32C of that, its bytes, and theirs; all little-endian.

use std::io::{self, Write};

/// Bytes of a record's length and its checksum.
pub const HEADER_BYTES: usize = 12;

/// Returns the CRC-32C, rotated and offset as TFRecord defines it, so that a checksum over checksums stays well
/// distributed.
pub fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
}

/// Returns true if a file of records may start with these bytes.
pub fn is_start(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|header| length(header).is_some())
}

/// Returns the length in a header; `None` if the checksum is wrong.
pub fn length(header: &[u8; HEADER_BYTES]) -> Option<u64> {
    let (length, crc) = header.split_at(8);
    let is_right = masked_crc(length).to_le_bytes() == crc;
    is_right.then(|| u64::from_le_bytes(length.try_into().expect("8 of 12 bytes")))
}

/// Writes a record.
///
/// # Errors
/// Those of `output`.
pub fn write_record(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    output.write_all(&length)?;
    output.write_all(&masked_crc(&length).to_le_bytes())?;
    output.write_all(bytes)?;
    output.write_all(&masked_crc(bytes).to_le_bytes())
}

/// Reads a number of seven bits a byte, the lowest first, and advances `bytes`; `None` if it has no end.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Appends a number of seven bits a byte, the lowest first.
pub fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length-delimited protobuf field.
pub fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    const LENGTH_DELIMITED: u64 = 2;
    push_varint(out, field << 3 | LENGTH_DELIMITED);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_format() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // Known from the first bytes of event files: 18 00 00 00 00 00 00 00 a3 7f 4b 22.
        assert_eq!(masked_crc(&24u64.to_le_bytes()), 0x224b_7fa3);
    }

    /// The header is the one that TensorFlow wrote before a record of 872 bytes.
    #[test]
    fn checksums_are_those_of_tensorflow() {
        assert_eq!(masked_crc(&872u64.to_le_bytes()), 0x7DC9_AD04);
    }

    #[test]
    fn varints_have_seven_bits_a_byte() {
        let check = |number: i64, expected: &[u8]| {
            let mut out = Vec::new();
            push_varint(&mut out, number as u64);
            assert_eq!(out, expected);
        };
        check(0, &[0]);
        check(300, &[0xAC, 0x02]);
        check(
            -1,
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        );
    }
}
