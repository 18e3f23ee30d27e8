//! Placeholder of bodies.
use crate::refusal::{Kind, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use std::time::Duration;

/// Limits.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes.
    pub bytes: usize,
    /// Time.
    pub time: Duration,
}

/// Encoding.
#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    /// None.
    Identity,
}

/// The encoding.
///
/// # Errors
/// Unknown.
pub fn encoding(_headers: &HeaderMap) -> Result<Encoding, Refusal> {
    Ok(Encoding::Identity)
}

/// Reads.
///
/// # Errors
/// Too large.
pub async fn read_raw(
    _headers: &HeaderMap,
    body: axum::body::Body,
    _limits: &BodyLimits,
) -> Result<Bytes, Refusal> {
    let body = body.collect().await;
    Ok(body
        .map_err(|error| Kind::Invalid.says(error.to_string()))?
        .to_bytes())
}

/// Decodes.
///
/// # Errors
/// Damaged.
pub fn decode(_encoding: Encoding, bytes: Bytes, _limit: usize) -> Result<Bytes, Refusal> {
    Ok(bytes)
}

/// Encodes.
pub fn encode(_accepts: Option<&HeaderValue>, bytes: Vec<u8>) -> (Bytes, Option<&'static str>) {
    (bytes.into(), None)
}
