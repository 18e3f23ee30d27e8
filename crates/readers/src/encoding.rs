//! Texts that are not written in UTF-8.

use encoding_rs::{WINDOWS_1252, mem};
use serde::Serialize;
use std::io::{self, BufRead, Read};

/// Character encoding of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Encoding {
    /// UTF-8; other bytes break their row.
    #[default]
    Utf8,
    /// ISO 8859-1: a byte is the character of that number.
    Latin1,
    /// Windows-1252: Latin-1 with printable characters from 0x80 to 0x9F.
    Windows1252,
}

impl Encoding {
    /// Returns true if texts are UTF-8 without conversion.
    pub fn is_utf8(&self) -> bool {
        *self == Encoding::Utf8
    }

    /// Appends `bytes` in UTF-8 to `text`.
    fn decode(self, bytes: &[u8], text: &mut Vec<u8>) {
        match self {
            Encoding::Utf8 => text.extend_from_slice(bytes),
            Encoding::Latin1 => text.extend_from_slice(mem::decode_latin1(bytes).as_bytes()),
            Encoding::Windows1252 => {
                let (decoded, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
                text.extend_from_slice(decoded.as_bytes());
            }
        }
    }

    /// Decodes a text that is not UTF-8 from this encoding; `None` for UTF-8.
    pub(crate) fn decoded(self, text: &[u8]) -> Option<Vec<u8>> {
        if self == Encoding::Utf8 {
            return None;
        }
        let mut decoded = Vec::with_capacity(text.len() + 8);
        self.decode(text, &mut decoded);
        Some(decoded)
    }
}

/// Bytes on their way from an encoding of one byte a character to UTF-8.
pub(crate) struct Decoded<R> {
    input: R,
    encoding: Encoding,
    text: Vec<u8>,
    /// Number of bytes of `text` that were returned.
    place: usize,
}

impl<R: BufRead> Decoded<R> {
    pub(crate) fn new(input: R, encoding: Encoding) -> Decoded<R> {
        Decoded {
            input,
            encoding,
            text: Vec::new(),
            place: 0,
        }
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.place == self.text.len() {
            self.text.clear();
            self.place = 0;
            let bytes = self.input.fill_buf()?;
            self.encoding.decode(bytes, &mut self.text);
            let n = bytes.len();
            self.input.consume(n);
        }
        Ok(&self.text[self.place..])
    }

    fn consume(&mut self, n: usize) {
        self.place += n;
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = self.fill_buf()?;
        let n = text.len().min(buffer.len());
        buffer[..n].copy_from_slice(&text[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_characters() {
        let check = |encoding: Encoding, expected: &str| {
            let bytes = &b"K\xF6ln \x80"[..];
            let mut text = String::new();
            let mut input = Decoded::new(io::BufReader::with_capacity(2, bytes), encoding);
            input.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        };
        check(Encoding::Latin1, "Köln \u{80}");
        check(Encoding::Windows1252, "Köln €");
    }
}
