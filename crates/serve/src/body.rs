//! Request bodies, read and decoded within [`BodyLimits`], and encoding of response bodies.
//!
//! [`read`] does all of it. A route that decodes on its own threads calls [`Encoding::of`], [`read_raw`]
//! and, on those threads, [`decode`].

mod capped;
mod encoding;

pub use encoding::{Encoding, decode, encode, pack};

use crate::api_error::{ApiError, ErrorKind};
use crate::budget::{Budget, Share};
use axum::body::Body;
use bytes::Bytes;
use capped::Capped;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Limits of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Maximum size in bytes, both as sent and as decoded.
    pub bytes: usize,
    /// Maximum time from the first read until the last byte has arrived.
    pub time: Duration,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits {
            bytes: 32 << 20,
            time: Duration::from_secs(10),
        }
    }
}

/// Reads a body and decodes it by its `Content-Encoding`, on a blocking thread.
///
/// # Errors
/// The body exceeds the limit ([`ErrorKind::TooLarge`]; before any byte is read if the declared length does),
/// takes too long ([`ErrorKind::Slow`]), has an unknown encoding ([`ErrorKind::Encoding`]), or is damaged or truncated
/// ([`ErrorKind::Invalid`]).
pub async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Bytes, ApiError> {
    let encoding = Encoding::of(headers)?;
    let bytes = read_raw(headers, body, limits, budget).await?;
    if encoding == Encoding::Identity {
        return Ok(bytes);
    }
    let limit = limits.bytes;
    let decoding = tokio::task::spawn_blocking(move || decode(encoding, bytes, limit));
    decoding.await.unwrap_or_else(|error| {
        tracing::error!(%error, "decoding a body failed");
        Err(ErrorKind::Internal.error("the server could not decode the body; see its log"))
    })
}

/// Reads a body as it was sent, into one contiguous buffer. Its bytes are taken from the budget as they
/// arrive and returned when the last reference to them is dropped.
pub async fn read_raw(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Bytes, ApiError> {
    let declared = declared_length(headers).unwrap_or(0);
    let declared = declared.max(body.size_hint().lower());
    if usize::try_from(declared).map_or(true, |declared| declared > limits.bytes) {
        return Err(too_large(
            &format!("has {declared} bytes, more"),
            limits.bytes,
        ));
    }
    let end = Instant::now() + limits.time;
    timeout_at(end, gather(body, limits.bytes, budget.take(0)?))
        .await
        .unwrap_or_else(|_| Err(slow(limits.time)))
}

async fn gather(mut body: Body, limit: usize, share: Share) -> Result<Bytes, ApiError> {
    let mut gathered = Capped::sharing(limit, share);
    while let Some(piece) = next(&mut body).await? {
        gathered.push(&piece)?;
    }
    Ok(gathered.into_bytes())
}

/// Returns the next data frame of a body, skipping trailers.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| truncated(&error))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// Returns the declared `Content-Length`. (hyper rejects a header that is not a number.)
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    value.trim().parse().ok()
}

pub(crate) fn too_large(what: &str, limit: usize) -> ApiError {
    ErrorKind::TooLarge.error(format!(
        "the body {what} than the {limit} bytes that this server reads here; split the request into \
         smaller ones, or start the server with a higher --max-body"
    ))
}

pub(crate) fn slow(time: Duration) -> ApiError {
    ErrorKind::Slow.error(format!(
        "the body did not arrive in {} ms; send it at once, or split the request into smaller ones",
        time.as_millis()
    ))
}

fn truncated(error: &axum::Error) -> ApiError {
    ErrorKind::Invalid.error(format!(
        "the body is truncated or malformed ({error}); send as many bytes as its headers declare"
    ))
}
