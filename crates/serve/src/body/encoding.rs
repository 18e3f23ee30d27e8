//! Content encodings: gzip, deflate and identity.

use super::capped::Capped;
use crate::api_error::{ApiError, ErrorKind};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Content encoding of a body (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No encoding.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950); raw deflate (RFC 1951) is accepted too, because clients send it.
    Deflate,
}

/// Base-2 logarithm of the largest window that a stream may use: 32 KiB, the maximum of deflate.
const WINDOW_BITS: u8 = 15;

/// Responses with fewer bytes are sent uncompressed, since they fit into a packet.
const MIN_BYTES: usize = 1024;

impl Encoding {
    /// Returns the decompressed size of a body of `n_bytes`; `None` if it is compressed.
    pub(crate) fn decoded_size(self, n_bytes: usize) -> Option<usize> {
        (self == Encoding::Identity).then_some(n_bytes)
    }

    /// Parses a request's `Content-Encoding`.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, ApiError> {
        Encoding::named(headers, &header::CONTENT_ENCODING)
    }

    /// Parses an encoding from the given header.
    pub(crate) fn named(headers: &HeaderMap, header: &HeaderName) -> Result<Encoding, ApiError> {
        let mut values = headers.get_all(header).iter();
        let (first, second) = (values.next(), values.next());
        let Some(value) = first else {
            return Ok(Encoding::Identity);
        };
        let name = value.as_bytes().trim_ascii();
        if second.is_some() || name.contains(&b',') {
            return Err(unknown(header, "several encodings in sequence"));
        }
        let known = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
        ];
        let encoding = known
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        let shown = || format!("\"{}\"", name[..name.len().min(40)].escape_ascii());
        encoding
            .map(|(_, encoding)| *encoding)
            .ok_or_else(|| unknown(header, &shown()))
    }

    /// Returns the name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }
}

fn unknown(header: &HeaderName, what: &str) -> ApiError {
    ErrorKind::Encoding.error(format!(
        "{what} cannot be read as {header}; send gzip, deflate (zlib) or identity"
    ))
}

/// Decodes a body to at most `limit` bytes.
///
/// This is CPU-bound work: do not call it on async threads.
pub fn decode(encoding: Encoding, bytes: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    match encoding {
        Encoding::Identity => Ok(bytes),
        Encoding::Gzip => gunzip(&bytes, limit),
        Encoding::Deflate => {
            let has_zlib_header = is_zlib(&bytes);
            let mut decoded = Capped::new(limit);
            let stream = Decompress::new(has_zlib_header);
            let rest = inflate(stream, &bytes, &mut decoded, encoding)?;
            if rest.is_empty() {
                Ok(decoded.into_bytes())
            } else {
                Err(trailing(encoding, rest.len()))
            }
        }
    }
}

/// Decodes a gzip file, which may consist of several members.
fn gunzip(mut bytes: &[u8], limit: usize) -> Result<Bytes, ApiError> {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    let mut decoded = Capped::new(limit);
    loop {
        let stream = Decompress::new_gzip(WINDOW_BITS);
        bytes = inflate(stream, bytes, &mut decoded, Encoding::Gzip)?;
        match bytes {
            [] => return Ok(decoded.into_bytes()),
            rest if rest.starts_with(&MAGIC) => {}
            rest => return Err(trailing(Encoding::Gzip, rest.len())),
        }
    }
}

/// Returns true if the bytes begin with a zlib header (RFC 1950).
fn is_zlib(bytes: &[u8]) -> bool {
    let &[method, flags, ..] = bytes else {
        return true;
    };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]) % 31 == 0
}

/// Decodes one stream and returns the bytes after it.
fn inflate<'a>(
    mut stream: Decompress,
    bytes: &'a [u8],
    decoded: &mut Capped,
    encoding: Encoding,
) -> Result<&'a [u8], ApiError> {
    let mut rest = bytes;
    loop {
        let before = (stream.total_in(), stream.total_out());
        let status = stream.decompress_vec(rest, decoded.with_room()?, FlushDecompress::None);
        let status = status.map_err(|error| damaged(encoding, &error.to_string()))?;
        decoded.check()?;
        let n_read = stream.total_in() - before.0;
        rest = &rest[n_read as usize..];
        if status == Status::StreamEnd {
            return Ok(rest);
        }
        if (stream.total_in(), stream.total_out()) == before {
            return Err(damaged(encoding, "it is truncated"));
        }
    }
}

fn damaged(encoding: Encoding, what: &str) -> ApiError {
    ErrorKind::Invalid.error(format!(
        "the body is not {}, contrary to its Content-Encoding: {what}; send it whole, or without that header",
        encoding.name()
    ))
}

fn trailing(encoding: Encoding, n_bytes: usize) -> ApiError {
    damaged(encoding, &format!("{n_bytes} bytes follow its end"))
}

/// Encodes a response by the request's `Accept-Encoding` and returns its `Content-Encoding`, if any. A
/// response that is short or does not shrink stays unencoded.
pub fn encode(accepted: Option<&HeaderValue>, bytes: Vec<u8>) -> (Vec<u8>, Option<HeaderValue>) {
    let encoding = match accepted.and_then(|accepted| accepted.to_str().ok()) {
        Some(accepted) if bytes.len() >= MIN_BYTES => preferred(accepted),
        _ => Encoding::Identity,
    };
    match pack(encoding, &bytes) {
        Some(shorter) => (shorter, Some(HeaderValue::from_static(encoding.name()))),
        None => (bytes, None),
    }
}

/// Returns the encoded bytes if they are shorter.
pub fn pack(encoding: Encoding, bytes: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => deflate(Compress::new_gzip(Compression::fast(), WINDOW_BITS), bytes),
        Encoding::Deflate => deflate(Compress::new(Compression::fast(), true), bytes),
    }
}

/// Returns the compressed bytes if they are shorter.
fn deflate(mut stream: Compress, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut compressed = Vec::with_capacity(bytes.len());
    let status = stream.compress_vec(bytes, &mut compressed, FlushCompress::Finish);
    let is_shorter = matches!(status, Ok(Status::StreamEnd)) && compressed.len() < bytes.len();
    is_shorter.then(|| {
        compressed.shrink_to_fit();
        compressed
    })
}

/// Returns the encoding that the client prefers (RFC 9110, section 12.5.3); gzip if it has no preference.
fn preferred(accepted: &str) -> Encoding {
    let weight = |name: &str| {
        let entries = accepted.split(',').map(entry);
        let mut named = entries.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, weight)| weight)
    };
    let any = weight("*");
    let weight_of = |name| weight(name).or(any).unwrap_or(0.0);
    let plain = weight("identity").unwrap_or(0.0);
    let (gzip, deflate) = (weight_of("gzip"), weight_of("deflate"));
    if gzip.max(deflate) <= 0.0 || plain > gzip.max(deflate) {
        Encoding::Identity
    } else if gzip >= deflate {
        Encoding::Gzip
    } else {
        Encoding::Deflate
    }
}

/// Parses a name and its weight; 0 if the weight is not a number.
fn entry(entry: &str) -> (&str, f32) {
    let mut parts = entry.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
    (name, weight)
}

#[cfg(test)]
mod tests;
