use super::*;
use proptest::prelude::*;

fn packed(mut stream: Compress, bytes: &[u8]) -> Bytes {
    let mut compressed = Vec::with_capacity(bytes.len() + 1000);
    let status = stream.compress_vec(bytes, &mut compressed, FlushCompress::Finish);
    assert_eq!(status.unwrap(), Status::StreamEnd);
    compressed.into()
}

fn gzip(bytes: &[u8]) -> Bytes {
    packed(Compress::new_gzip(Compression::fast(), WINDOW_BITS), bytes)
}

fn zlib(bytes: &[u8]) -> Bytes {
    packed(Compress::new(Compression::fast(), true), bytes)
}

fn raw(bytes: &[u8]) -> Bytes {
    packed(Compress::new(Compression::fast(), false), bytes)
}

#[track_caller]
fn check_refused(encoding: Encoding, bytes: &[u8], limit: usize, kind: ErrorKind, message: &str) {
    let refusal = decode(encoding, Bytes::copy_from_slice(bytes), limit).unwrap_err();
    assert_eq!(refusal.kind, kind, "{refusal}");
    assert!(refusal.message.contains(message), "{refusal}");
}

#[test]
fn a_body_at_the_limit_is_decoded_and_one_byte_more_refused() {
    for n_bytes in [1, 1000, 16 << 10, 100_000] {
        let body = vec![7; n_bytes];
        let cases = [
            (Encoding::Gzip, gzip(&body)),
            (Encoding::Deflate, zlib(&body)),
            (Encoding::Deflate, raw(&body)),
        ];
        for (encoding, sent) in cases {
            assert_eq!(decode(encoding, sent.clone(), n_bytes).unwrap(), body);
            let message = format!("than the {} bytes", n_bytes - 1);
            check_refused(encoding, &sent, n_bytes - 1, ErrorKind::TooLarge, &message);
        }
    }
}

#[test]
fn a_body_truncated_anywhere_is_refused() {
    let body: Vec<u8> = (0..2000_u32).map(|i| (i * i / 7) as u8).collect();
    let cases = [
        (Encoding::Gzip, gzip(&body)),
        (Encoding::Deflate, zlib(&body)),
        (Encoding::Deflate, raw(&body)),
    ];
    for (encoding, sent) in cases {
        for end in 0..sent.len() {
            check_refused(
                encoding,
                &sent[..end],
                1 << 20,
                ErrorKind::Invalid,
                "truncated",
            );
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused_unless_they_are_another_member() {
    let twice = [gzip(b"one "), gzip(b"two")].concat();
    let read = decode(Encoding::Gzip, twice.into(), 100).unwrap();
    assert_eq!(read, b"one two".as_slice());
    let cases = [
        (Encoding::Gzip, gzip(b"one")),
        (Encoding::Deflate, zlib(b"one")),
        (Encoding::Deflate, raw(b"one")),
    ];
    for (encoding, sent) in cases {
        let more = [&sent[..], b"xyz"].concat();
        let message = "3 bytes follow its end";
        check_refused(encoding, &more, 100, ErrorKind::Invalid, message);
    }
}

#[test]
fn a_damaged_byte_does_not_change_the_content_unnoticed() {
    let body = b"click and conversion, click and conversion".as_slice();
    let sent = gzip(body);
    // The first ten bytes hold a time and an operating system, which the decoder ignores.
    for at in 10..sent.len() {
        let mut damaged = sent.to_vec();
        damaged[at] ^= 0x10;
        match decode(Encoding::Gzip, damaged.into(), 100) {
            // Bits after the last code are ignored.
            Ok(decoded) => assert_eq!(decoded, body),
            Err(refusal) => assert_eq!(refusal.kind, ErrorKind::Invalid),
        }
    }
}

#[test]
fn an_unknown_encoding_is_refused_and_the_known_ones_listed() {
    let check = |values: &[&str], expected: Result<Encoding, &str>| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        match (Encoding::of(&headers), expected) {
            (Err(refusal), Err(message)) => {
                assert_eq!(refusal.kind, ErrorKind::Encoding);
                assert!(refusal.message.contains(message), "{refusal}");
                assert!(refusal.message.contains("gzip, deflate (zlib) or identity"));
            }
            (found, expected) => assert_eq!(found.ok(), expected.ok(), "{values:?}"),
        }
    };
    check(&[], Ok(Encoding::Identity));
    check(&["identity"], Ok(Encoding::Identity));
    check(&[" GZip "], Ok(Encoding::Gzip));
    check(&["deflate"], Ok(Encoding::Deflate));
    check(&["br"], Err("\"br\""));
    check(&["gzip, deflate"], Err("several"));
    check(&["gzip", "gzip"], Err("several"));
}

#[test]
fn the_preferred_encoding_is_chosen() {
    let check = |accepted: &str, expected: Encoding| {
        assert_eq!(preferred(accepted), expected, "{accepted}");
    };
    check("gzip", Encoding::Gzip);
    check("deflate", Encoding::Deflate);
    check("gzip, deflate", Encoding::Gzip);
    check("gzip;q=0.5, deflate;q=0.8", Encoding::Deflate);
    check("GZIP ; Q=1", Encoding::Gzip);
    check("gzip;q=0", Encoding::Identity);
    check("gzip;q=0, *", Encoding::Deflate);
    check("*;q=0.1", Encoding::Gzip);
    check("identity, gzip;q=0.5", Encoding::Identity);
    check("br", Encoding::Identity);
    check("gzip;q=most", Encoding::Identity);
    check("", Encoding::Identity);
}

#[test]
fn responses_are_encoded_if_that_makes_them_shorter() {
    let check = |accepted: Option<&str>, body: &[u8], expected: Encoding| {
        let accepted = accepted.map(|accepted| accepted.parse().unwrap());
        let sent = encode(accepted.as_ref(), body.to_vec());
        let name = match expected {
            Encoding::Identity => None,
            other => Some(other.name()),
        };
        assert_eq!(
            sent.1.as_ref().map(HeaderValue::as_bytes),
            name.map(str::as_bytes)
        );
        assert_eq!(decode(expected, sent.0.into(), body.len()).unwrap(), body);
    };
    let long = b"0.125, ".repeat(1000);
    check(None, &long, Encoding::Identity);
    check(Some("gzip"), &long, Encoding::Gzip);
    check(Some("deflate"), &long, Encoding::Deflate);
    check(Some("gzip"), &long[..1000], Encoding::Identity);
    let mut noise = 1_u32;
    let mut next = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let noise: Vec<u8> = (0..4000).map(|_| next()).collect();
    check(Some("gzip"), &noise, Encoding::Identity);
}

proptest! {
    #[test]
    fn decoding_never_panics_or_exceeds_its_limit(bytes: Vec<u8>, has_gzip_header: bool) {
        let start: &[u8] = if has_gzip_header { &gzip(b"")[..10] } else { &[] };
        let bytes = Bytes::from([start, &bytes].concat());
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            if let Ok(decoded) = decode(encoding, bytes.clone(), 1000) {
                prop_assert!(decoded.len() <= 1000);
            }
        }
    }
}
