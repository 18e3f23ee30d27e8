//! Content codings: gzip, deflate, and none.

use super::capped::Capped;
use crate::api_error::{ApiError, Kind};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// How a body is encoded (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950 (zlib); RFC 1951 without zlib's header is read too, because clients send it.
    Deflate,
}

/// The base-2 logarithm of the largest window that a stream may ask for: 32 KiB, all that deflate has.
const WINDOW_BITS: u8 = 15;

/// Answers below this are sent as they are: they fit into a packet.
const FEWEST_BYTES: usize = 1024;

impl Encoding {
    /// What a request's `Content-Encoding` says.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, ApiError> {
        Encoding::named(headers, &header::CONTENT_ENCODING)
    }

    /// What a header of this name says.
    pub(crate) fn named(headers: &HeaderMap, header: &HeaderName) -> Result<Encoding, ApiError> {
        let mut values = headers.get_all(header).iter();
        let (first, second) = (values.next(), values.next());
        let Some(value) = first else {
            return Ok(Encoding::Identity);
        };
        let name = value.as_bytes().trim_ascii();
        if second.is_some() || name.contains(&b',') {
            return Err(unknown(header, "several encodings, one over the other,"));
        }
        let known = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
        ];
        let found = known
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        let shown = || format!("\"{}\"", name[..name.len().min(40)].escape_ascii());
        found
            .map(|(_, encoding)| *encoding)
            .ok_or_else(|| unknown(header, &shown()))
    }

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }
}

fn unknown(header: &HeaderName, what: &str) -> ApiError {
    Kind::Encoding.says(format!(
        "{what} cannot be read as {header}; send gzip, deflate (zlib) or identity"
    ))
}

/// Decodes a body; no more than `limit` bytes are ever made.
///
/// This computes for as long as it takes, so not on threads that serve connections.
pub fn decode(encoding: Encoding, bytes: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    match encoding {
        Encoding::Identity => Ok(bytes),
        Encoding::Gzip => gunzip(&bytes, limit),
        Encoding::Deflate => {
            let has_zlib_header = is_zlib(&bytes);
            let mut decoded = Capped::new(limit);
            let stream = Decompress::new(has_zlib_header);
            let rest = inflate(stream, &bytes, &mut decoded, encoding)?;
            match rest.is_empty() {
                true => Ok(decoded.into_bytes()),
                false => Err(trailing(encoding, rest.len())),
            }
        }
    }
}

/// A gzip file may have several members, one after the other.
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

/// Whether bytes begin as RFC 1950 says.
fn is_zlib(bytes: &[u8]) -> bool {
    let &[method, flags, ..] = bytes else {
        return true;
    };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]) % 31 == 0
}

/// Decodes one stream; gives what comes after it.
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
            return Err(damaged(encoding, "it breaks off"));
        }
    }
}

fn damaged(encoding: Encoding, what: &str) -> ApiError {
    Kind::Invalid.says(format!(
        "the body is not {}, as its Content-Encoding says: {what}; send it whole, or without that header",
        encoding.name()
    ))
}

fn trailing(encoding: Encoding, n_bytes: usize) -> ApiError {
    damaged(encoding, &format!("{n_bytes} bytes come after its end"))
}

/// Encodes an answer as its reader prefers, by the request's `Accept-Encoding`; gives what is to be its
/// `Content-Encoding`, if any. Answers that are short, or that do not get shorter, stay as they are.
pub fn encode(accepted: Option<&HeaderValue>, bytes: Vec<u8>) -> (Vec<u8>, Option<HeaderValue>) {
    let encoding = match accepted.and_then(|accepted| accepted.to_str().ok()) {
        Some(accepted) if bytes.len() >= FEWEST_BYTES => preferred(accepted),
        _ => Encoding::Identity,
    };
    match pack(encoding, &bytes) {
        Some(shorter) => (shorter, Some(HeaderValue::from_static(encoding.name()))),
        None => (bytes, None),
    }
}

/// The bytes in an encoding, if that makes them shorter.
pub fn pack(encoding: Encoding, bytes: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => deflate(Compress::new_gzip(Compression::fast(), WINDOW_BITS), bytes),
        Encoding::Deflate => deflate(Compress::new(Compression::fast(), true), bytes),
    }
}

/// The bytes compressed, if that makes them shorter.
fn deflate(mut stream: Compress, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut made = Vec::with_capacity(bytes.len());
    let status = stream.compress_vec(bytes, &mut made, FlushCompress::Finish);
    let is_shorter = matches!(status, Ok(Status::StreamEnd)) && made.len() < bytes.len();
    is_shorter.then(|| {
        made.shrink_to_fit();
        made
    })
}

/// VersionSelector encoding a reader prefers (RFC 9110, section 12.5.3); gzip where it does not care.
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

/// A name and its weight, 0 if that is no number.
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
