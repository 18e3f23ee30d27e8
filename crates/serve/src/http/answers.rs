//! Answers as responses.

use super::JSON_LENGTH;
use crate::body;
use crate::budget::Share;
use axum::response::Response;
use http::{HeaderValue, header};

/// The body of an answer, and how much of it is JSON where tensors follow.
pub(super) struct Said {
    pub(super) body: Vec<u8>,
    pub(super) json_length: Option<usize>,
}

impl Said {
    /// The response, in an encoding that the caller reads, where that is worth it. The share is what it
    /// takes at most.
    pub(super) fn into_response(
        self,
        accepts_encoding: Option<&HeaderValue>,
        mut share: Share,
    ) -> Response {
        let content = match self.json_length {
            None => "application/json",
            Some(_) => "application/octet-stream",
        };
        let (bytes, encoding) = body::encode(accepts_encoding, self.body);
        share.shrink_to(bytes.capacity());
        let mut response = typed(share.hold(bytes).into(), content);
        let headers = response.headers_mut();
        if let Some(length) = self.json_length {
            headers.insert(JSON_LENGTH, length.into());
        }
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding);
        }
        response
    }
}

/// A value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("it is plain data");
    typed(body.into(), "application/json")
}

/// Metrics.
pub(super) fn text(text: String) -> Response {
    typed(text.into(), crate::telemetry::METRICS_CONTENT_TYPE)
}

fn typed(body: axum::body::Body, content: &'static str) -> Response {
    let mut response = Response::new(body);
    let content = HeaderValue::from_static(content);
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}
