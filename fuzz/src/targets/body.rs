//! Compressed bodies, and content negotiation of responses. The first byte of an input selects
//! the encoding (lowest two bits) and the size limit (other bits).

use super::Target;
use crate::mutate::Form;
use bytes::Bytes;
use http::HeaderValue;
use ncs_serve::body::{Encoding, decode, encode};

pub(super) const TARGET: Target = Target {
    name: "body",
    run,
    seeds,
    form: Form::Bytes,
    words: &[
        "\x1f",
        "gzip",
        "deflate",
        "identity;q=0",
        "*;q=0.5",
        ",",
        ";q=",
        "x-gzip",
    ],
    max_length: 16 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    let (&first, rest) = input.split_first().ok_or("no input")?;
    let limit = 1 << (first >> 2).min(20);
    let encoding = match first & 3 {
        0 => Encoding::Gzip,
        1 => Encoding::Deflate,
        2 => Encoding::Identity,
        _ => return round_trip(rest),
    };
    let decoded = decode(encoding, Bytes::copy_from_slice(rest), limit);
    let decoded = decoded.map_err(|error| error.message)?;
    if encoding != Encoding::Identity {
        assert!(
            decoded.len() <= limit,
            "{} bytes, the limit is {limit}",
            decoded.len()
        );
    }
    Ok(format!(
        "{} {}",
        encoding.name(),
        decoded.len().next_power_of_two()
    ))
}

/// Checks that a body encoded by the header (the input up to its first zero byte) is decoded to itself.
fn round_trip(input: &[u8]) -> Result<String, String> {
    let end = input
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(input.len());
    let header = HeaderValue::from_bytes(&input[..end]).map_err(|error| error.to_string())?;
    let body = input[end..].repeat(64);
    let (encoded, content_encoding) = encode(Some(&header), body.clone());
    let encoding = match content_encoding.as_ref().map(HeaderValue::as_bytes) {
        None => Encoding::Identity,
        Some(b"gzip") => Encoding::Gzip,
        Some(b"deflate") => Encoding::Deflate,
        Some(other) => panic!("{} is not an encoding", other.escape_ascii()),
    };
    let decoded = decode(encoding, encoded.into(), body.len());
    assert_eq!(decoded, Ok(body.into()));
    Ok(format!("round trip {}", encoding.name()))
}

fn seeds() -> Vec<Vec<u8>> {
    let compressed = |name: &'static str, bytes: Vec<u8>| {
        let header = HeaderValue::from_static(name);
        encode(Some(&header), bytes).0
    };
    let text = || br#"{"candidates": {"video": ["v1", "v2"]}}"#.repeat(40);
    let zeros = || vec![0; 3 << 20];
    let gzip = compressed("gzip", text());
    let zlib = compressed("deflate", text());
    let seed = |first: u8, bytes: &[u8]| [&[first], bytes].concat();
    vec![
        seed(20 << 2, &gzip),
        seed(4 << 2, &gzip),
        seed(20 << 2, &[&gzip[..], &gzip].concat()),
        seed(20 << 2 | 1, &zlib),
        seed(20 << 2 | 1, &zlib[2..zlib.len() - 4]),
        seed(20 << 2, &compressed("gzip", zeros())),
        seed(20 << 2 | 1, &compressed("deflate", zeros())),
        seed(2, b"as it is"),
        seed(
            3,
            &[&b"gzip;q=0.5, deflate, identity;q=0.1\0"[..], &text()].concat(),
        ),
        seed(3, &[&b"*\0"[..], &text()].concat()),
    ]
}
