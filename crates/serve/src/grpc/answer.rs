//! gRPC responses: framed messages and the status in the trailers.

use super::message::{ENCODING, PREFIX};
use crate::api_error::{ApiError, ErrorKind};
use crate::body::{Encoding, pack};
use crate::budget::{Budget, Share};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::Status;

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Chooses the compression of responses: that of the caller's messages, if the caller accepts it. Nearly all
/// clients accept compression, but compressing scores takes longer than sending them.
pub(super) fn packing(headers: &HeaderMap) -> Encoding {
    let sent = Encoding::named(headers, &ENCODING).unwrap_or(Encoding::Identity);
    let accepted = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    let mut accepted = accepted.unwrap_or_default().split(',').map(str::trim);
    if accepted.any(|name| name == sent.name()) {
        sent
    } else {
        Encoding::Identity
    }
}

/// Frames a message; `share` is at least as large as it needs.
pub(super) fn framed(message: &impl Message, packing: Encoding, mut share: Share) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX + message.encoded_len());
    bytes.extend_from_slice(&[0; PREFIX]);
    message.encode(&mut bytes).expect("a buffer grows");
    if let Some(packed) = pack(packing, &bytes[PREFIX..]) {
        bytes.clear();
        bytes.extend_from_slice(&[1; PREFIX]);
        bytes.extend_from_slice(&packed);
    }
    let length = u32::try_from(bytes.len() - PREFIX).expect("an answer has a limit");
    bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    share.shrink_to(bytes.capacity());
    share.hold(bytes)
}

/// Frames a small message, with a new share of the budget.
pub(super) fn small(
    message: &impl Message,
    packing: Encoding,
    budget: &Arc<Budget>,
) -> Result<Bytes, ApiError> {
    let share = budget.take(2 * (PREFIX + message.encoded_len()))?;
    Ok(framed(message, packing, share))
}

/// Builds the response of a call with one message.
pub(super) fn unary(answer: Bytes, packing: Encoding) -> Response {
    let end = std::future::ready(Some(Ok(trailers(&Status::ok("")))));
    respond(Body::new(Full::new(answer).with_trailers(end)), packing)
}

/// Builds the response of a streaming call.
pub(super) fn stream(
    answers: mpsc::Receiver<Result<Bytes, ApiError>>,
    packing: Encoding,
) -> Response {
    let answers = Answers {
        answers,
        is_over: false,
    };
    respond(Body::new(answers), packing)
}

/// Builds the response of a failed call.
pub(super) fn refused(refusal: ApiError) -> Response {
    let is_encoding_error = refusal.kind == ErrorKind::Encoding;
    let mut response: Response = Status::from(refusal).into_http();
    if is_encoding_error {
        let known = HeaderValue::from_static("identity,gzip,deflate");
        response.headers_mut().insert(ACCEPT_ENCODING, known);
    }
    response
}

fn respond(body: Body, packing: Encoding) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if packing != Encoding::Identity {
        headers.insert(ENCODING, HeaderValue::from_static(packing.name()));
    }
    response
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Only metadata can be invalid, and there is none.
    let _ = status.add_header(&mut trailers);
    trailers
}

/// The body of a streaming response: its messages, then the status.
struct Answers {
    answers: mpsc::Receiver<Result<Bytes, ApiError>>,
    is_over: bool,
}

impl hyper::body::Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let status = match ready!(self.answers.poll_recv(cx)) {
            Some(Ok(answer)) => return Poll::Ready(Some(Ok(Frame::data(answer)))),
            Some(Err(refusal)) => refusal.into(),
            None => Status::ok(""),
        };
        self.is_over = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::inference::ServerMetadataResponse;

    #[test]
    fn responses_are_compressed_if_requests_are() {
        let check = |encoding: Option<&'static str>, accepted: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            if let Some(encoding) = encoding {
                headers.insert(ENCODING, HeaderValue::from_static(encoding));
            }
            assert_eq!(packing(&headers), expected, "{encoding:?} {accepted}");
        };
        check(None, "gzip", Encoding::Identity);
        check(Some("identity"), "gzip", Encoding::Identity);
        check(Some("gzip"), "identity, deflate, gzip", Encoding::Gzip);
        check(Some("gzip"), "deflate", Encoding::Identity);
        check(Some("snappy"), "snappy", Encoding::Identity);
    }

    #[test]
    fn a_frame_has_its_length_and_compression_flag() {
        let budget = Budget::new(1 << 20);
        let message = ServerMetadataResponse {
            name: "n".repeat(1000),
            ..ServerMetadataResponse::default()
        };
        let plain = small(&message, Encoding::Identity, &budget).unwrap();
        assert_eq!((plain[0], plain.len()), (0, PREFIX + message.encoded_len()));
        let packed = small(&message, Encoding::Gzip, &budget).unwrap();
        assert_eq!(packed[0], 1);
        let length = u32::from_be_bytes(packed[1..PREFIX].try_into().unwrap());
        assert_eq!(length as usize, packed.len() - PREFIX);
        let unpacked = crate::body::decode(Encoding::Gzip, packed.slice(PREFIX..), 2000).unwrap();
        assert_eq!(unpacked, message.encode_to_vec());
        drop((plain, packed));
        assert_eq!(budget.used(), 0);
    }
}
