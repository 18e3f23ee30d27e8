//! Bodies of requests, read and decoded within [`BodyLimits`], and bodies of answers, encoded.
//!
//! [`read`] does all of it. A route that decodes on threads of its own asks [`Encoding::of`] first, then
//! [`read_raw`], then [`decode`] over there.

mod capped;
mod encoding;

pub use encoding::{Encoding, decode, encode, pack};

use crate::api_error::{ApiError, Kind};
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

/// What the body of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Its size, as sent and as decoded.
    pub bytes: usize,
    /// Until its last byte has come, from when it is first read.
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

/// Reads a body and decodes it, by its `Content-Encoding`, on a thread that may block.
///
/// Refused are a body over the limit ([`Kind::TooLarge`], before any byte is read if its length is told),
/// one that takes too long ([`Kind::Slow`]), an encoding that is not known ([`Kind::Encoding`]), and a body
/// that is damaged or breaks off ([`Kind::Invalid`]).
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
        Err(Kind::Internal.says("the server could not decode the body; its log says why"))
    })
}

/// Reads a body as it was sent. Its bytes are taken from the budget while they come, and given back when the
/// last view of them is gone.
///
/// They are gathered in one buffer, however small their pieces are.
pub async fn read_raw(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Bytes, ApiError> {
    let told = told_length(headers).unwrap_or(0);
    let told = told.max(body.size_hint().lower());
    if usize::try_from(told).map_or(true, |told| told > limits.bytes) {
        return Err(too_large(&format!("has {told} bytes, more"), limits.bytes));
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

/// The next piece of a body; trailers are passed over.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_off(&error))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// What the header says that the body has. (A header that is no number does not come through hyper.)
fn told_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    value.trim().parse().ok()
}

pub(crate) fn too_large(what: &str, limit: usize) -> ApiError {
    Kind::TooLarge.says(format!(
        "the body {what} than the {limit} bytes that this server reads here; divide the request into \
         smaller ones, or start the server with a higher --max-body"
    ))
}

pub(crate) fn slow(time: Duration) -> ApiError {
    Kind::Slow.says(format!(
        "the body did not arrive in {} ms; send it at once, or divide the request into smaller ones",
        time.as_millis()
    ))
}

fn broken_off(error: &axum::Error) -> ApiError {
    Kind::Invalid.says(format!(
        "the body breaks off or is malformed ({error}); send as many bytes as its headers say"
    ))
}
