//! Messages in gRPC frames: a byte that is 1 if the message is compressed, the length in four bytes, and the
//! message. The caller decompresses and decodes them, within limits.

use crate::api_error::{ApiError, ErrorKind};
use crate::body::{self, BodyLimits, Encoding};
use crate::budget::{Budget, Share};
use axum::body::Body;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::HeaderName;
use std::sync::Arc;
use tokio::time::timeout;

/// Length of the prefix of each message in bytes.
pub(super) const PREFIX: usize = 5;

pub(super) const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A message as it was sent.
#[derive(Debug)]
pub(super) struct Packed {
    encoding: Encoding,
    bytes: Bytes,
}

impl Packed {
    /// Returns its size once decompressed; `None` if it is compressed.
    pub(super) fn size(&self) -> Option<usize> {
        self.encoding.decoded_size(self.bytes.len())
    }

    /// Decompresses the message to at most `limit` bytes. This is CPU-bound work.
    pub(super) fn unpack(self, limit: usize) -> Result<Bytes, ApiError> {
        body::decode(self.encoding, self.bytes, limit)
    }
}

/// Returns the compression of a call's compressed messages.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    Encoding::named(headers, &ENCODING)
}

/// Reads the only message of a body.
pub(super) async fn only(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Packed, ApiError> {
    let encoding = encoding(headers)?;
    let with_prefix = BodyLimits {
        bytes: limits.bytes.saturating_add(PREFIX),
        ..*limits
    };
    let mut bytes = body::read_raw(headers, body, &with_prefix, budget).await?;
    if bytes.is_empty() {
        return Err(ErrorKind::Invalid.error("the call has no message; it needs one"));
    }
    let prefix = Prefix::read(&bytes).ok_or_else(truncated)?;
    let encoding = prefix.encoding(encoding)?;
    bytes.advance(PREFIX);
    match bytes.len().cmp(&prefix.length) {
        std::cmp::Ordering::Equal => Ok(Packed { encoding, bytes }),
        std::cmp::Ordering::Less => Err(truncated()),
        std::cmp::Ordering::Greater => {
            Err(ErrorKind::Invalid.error("the call has several messages; send one"))
        }
    }
}

fn truncated() -> ApiError {
    ErrorKind::Invalid.error("the message is truncated; send as many bytes as its prefix declares")
}

/// The prefix of a message.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    flag: u8,
    length: usize,
}

impl Prefix {
    fn read(bytes: &[u8]) -> Option<Prefix> {
        let ([flag, length @ ..], _) = bytes.split_first_chunk::<PREFIX>()?;
        Some(Prefix {
            flag: *flag,
            length: u32::from_be_bytes(*length) as usize,
        })
    }

    fn encoding(self, call_encoding: Encoding) -> Result<Encoding, ApiError> {
        match (self.flag, call_encoding) {
            (0, _) => Ok(Encoding::Identity),
            (1, Encoding::Identity) => Err(ErrorKind::Invalid.error(
                "a message is flagged as compressed, but the call has no encoding: send grpc-encoding",
            )),
            (1, encoding) => Ok(encoding),
            (flag, _) => Err(ErrorKind::Invalid.error(format!(
                "a message begins with {flag}; its compression flag must be 0 or 1"
            ))),
        }
    }
}

/// The messages of a stream.
pub(super) struct Messages {
    body: Body,
    encoding: Encoding,
    limits: BodyLimits,
    share: Share,
    /// Bytes read that belong to the next message.
    rest: Vec<u8>,
}

impl Messages {
    pub(super) fn of(
        headers: &HeaderMap,
        body: Body,
        limits: BodyLimits,
        budget: &Arc<Budget>,
    ) -> Result<Messages, ApiError> {
        Ok(Messages {
            body,
            encoding: encoding(headers)?,
            limits,
            share: budget.take(0)?,
            rest: Vec::new(),
        })
    }

    /// Reads the next message; `None` at the end of the stream. Waits for its first byte without limit; the
    /// rest must arrive within the body timeout.
    pub(super) async fn next(&mut self) -> Result<Option<Packed>, ApiError> {
        while self.rest.is_empty() {
            if !self.read().await? {
                return Ok(None);
            }
        }
        let time = self.limits.time;
        let message = timeout(time, self.finish()).await;
        message.unwrap_or_else(|_| Err(body::slow(time))).map(Some)
    }

    /// Reads the rest of a message that has begun.
    async fn finish(&mut self) -> Result<Packed, ApiError> {
        loop {
            let prefix = Prefix::read(&self.rest);
            if let Some(prefix) = prefix {
                self.check(prefix)?;
                if self.rest.len() - PREFIX >= prefix.length {
                    return self.cut(prefix);
                }
            }
            if !self.read().await? {
                return Err(truncated());
            }
        }
    }

    fn check(&self, prefix: Prefix) -> Result<(), ApiError> {
        if prefix.length <= self.limits.bytes {
            Ok(())
        } else {
            Err(body::too_large(
                &format!("has {} bytes, more", prefix.length),
                self.limits.bytes,
            ))
        }
    }

    /// Takes a complete message from the buffer.
    fn cut(&mut self, prefix: Prefix) -> Result<Packed, ApiError> {
        let encoding = prefix.encoding(self.encoding)?;
        let end = PREFIX + prefix.length;
        self.share.grow(prefix.length)?;
        let share = self.share.split(prefix.length);
        let bytes = share.hold(self.rest[PREFIX..end].to_vec());
        self.rest.drain(..end);
        self.rest.shrink_to_fit();
        self.share.shrink_to(self.rest.len());
        Ok(Packed { encoding, bytes })
    }

    /// Reads a frame of the body; returns false at its end.
    async fn read(&mut self) -> Result<bool, ApiError> {
        let Some(piece) = body::next(&mut self.body).await? else {
            return Ok(false);
        };
        // Twice, since the capacity of the buffer grows ahead of its length.
        self.share.grow(2 * piece.len())?;
        self.rest.extend_from_slice(&piece);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: BodyLimits = BodyLimits {
        bytes: 10,
        time: Duration::from_secs(60),
    };

    fn framed(flag: u8, length: u32, bytes: &[u8]) -> Vec<u8> {
        [&[flag], &length.to_be_bytes()[..], bytes].concat()
    }

    #[tokio::test]
    async fn exactly_one_message_is_read() {
        let budget = Budget::new(1 << 20);
        let read = async |bytes: Vec<u8>| {
            let packed = only(&HeaderMap::new(), bytes.into(), &LIMITS, &budget).await;
            packed.and_then(|packed| packed.unpack(10))
        };
        assert_eq!(read(framed(0, 3, b"abc")).await.unwrap(), &b"abc"[..]);
        assert_eq!(read(framed(0, 0, b"")).await.unwrap(), &b""[..]);
        let check = async |bytes: Vec<u8>, kind: ErrorKind, part: &str| {
            let refusal = read(bytes).await.unwrap_err();
            assert_eq!(refusal.kind, kind, "{refusal}");
            assert!(refusal.message.contains(part), "{refusal}");
        };
        check(vec![], ErrorKind::Invalid, "no message").await;
        check(vec![0, 0], ErrorKind::Invalid, "truncated").await;
        check(framed(0, 4, b"abc"), ErrorKind::Invalid, "truncated").await;
        check(
            framed(0, 3, b"abcd"),
            ErrorKind::Invalid,
            "several messages",
        )
        .await;
        check(
            framed(1, 3, b"abc"),
            ErrorKind::Invalid,
            "send grpc-encoding",
        )
        .await;
        check(framed(7, 3, b"abc"), ErrorKind::Invalid, "begins with 7").await;
        check(framed(0, 11, &[0; 11]), ErrorKind::TooLarge, "15 bytes").await;
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn messages_of_a_stream_are_separated() {
        let budget = Budget::new(1 << 20);
        let bytes = [
            framed(0, 3, b"abc"),
            framed(0, 2, b"de"),
            framed(0, 99, b""),
        ]
        .concat();
        let messages = Messages::of(&HeaderMap::new(), bytes.into(), LIMITS, &budget);
        let mut messages = messages.unwrap();
        for expected in ["abc", "de"] {
            let message = messages.next().await.unwrap().unwrap();
            assert_eq!(message.bytes, expected);
        }
        assert_eq!(messages.next().await.unwrap_err().kind, ErrorKind::TooLarge);
        drop(messages);
        assert_eq!(budget.used(), 0);
        let cut = framed(0, 3, b"ab").into();
        let mut messages = Messages::of(&HeaderMap::new(), cut, LIMITS, &budget).unwrap();
        assert!(
            messages
                .next()
                .await
                .unwrap_err()
                .message
                .contains("truncated")
        );
    }
}
