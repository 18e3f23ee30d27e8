//! Construction of HTTP responses.

use super::JSON_LENGTH;
use crate::body;
use crate::budget::Share;
use axum::response::Response;
use http::{HeaderValue, header};

/// The body of a response, and the number of its bytes that are JSON if tensors follow.
pub(super) struct EncodedResponse {
    pub(super) body: Vec<u8>,
    pub(super) json_length: Option<usize>,
}

impl EncodedResponse {
    /// Converts to a response, compressed if the caller accepts it and it pays off. `share` is the maximum
    /// size, reserved before.
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

/// Returns a value as a JSON response.
pub(super) fn json(value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("it is plain data");
    typed(body.into(), "application/json")
}

/// Returns metrics as a response.
pub(super) fn text(text: String) -> Response {
    typed(text.into(), crate::telemetry::METRICS_CONTENT_TYPE)
}

fn typed(body: axum::body::Body, content: &'static str) -> Response {
    let mut response = Response::new(body);
    let content = HeaderValue::from_static(content);
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}
