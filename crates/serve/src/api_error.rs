//! Errors of requests, with their codes in HTTP and gRPC.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use std::fmt::Display;
use tonic::{Code, Status};

/// Error of a refused request: a kind, which fixes the codes, and a message that states what is wrong,
/// where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Message for the caller.
    pub message: String,
}

/// Maximum number of characters of an error message, including text of the caller that it repeats.
pub const MAX_MESSAGE_CHARS: usize = 2000;

/// Kinds of errors, each with its code in HTTP and in gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is invalid. 400, `INVALID_ARGUMENT`.
    Invalid,
    /// The token is missing or wrong. 401, `UNAUTHENTICATED`.
    Unauthenticated,
    /// The call is not allowed on this port. 403, `PERMISSION_DENIED`.
    Forbidden,
    /// There is no such model, version or path. 404, `NOT_FOUND`.
    NotFound,
    /// The path does not allow this method. 405, `UNIMPLEMENTED`.
    Method,
    /// The body did not arrive in time. 408, `DEADLINE_EXCEEDED`.
    Slow,
    /// The request exceeds a limit on bytes or candidates. 413, `RESOURCE_EXHAUSTED`.
    TooLarge,
    /// The content encoding of the body is not supported. 415, `UNIMPLEMENTED`.
    Encoding,
    /// The server is at its capacity. 503 with `Retry-After`, `RESOURCE_EXHAUSTED`.
    Overloaded,
    /// The server is not ready or is shutting down. 503, `UNAVAILABLE`.
    Unavailable,
    /// The caller's timeout or the server's limit is exceeded. 504, `DEADLINE_EXCEEDED`.
    Late,
    /// An unsupported protocol feature. 501, `UNIMPLEMENTED`.
    Unsupported,
    /// A fault of the server. 500, `INTERNAL`.
    Internal,
}

impl ErrorKind {
    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Method => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::Slow => StatusCode::REQUEST_TIMEOUT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::Overloaded | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Late => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the gRPC code.
    pub fn code(self) -> Code {
        match self {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::Forbidden => Code::PermissionDenied,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Slow | ErrorKind::Late => Code::DeadlineExceeded,
            ErrorKind::TooLarge | ErrorKind::Overloaded => Code::ResourceExhausted,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Method | ErrorKind::Encoding | ErrorKind::Unsupported => Code::Unimplemented,
            ErrorKind::Internal => Code::Internal,
        }
    }

    /// Returns an error of this kind with this message, cut to [`MAX_MESSAGE_CHARS`] characters.
    pub fn error(self, message: impl Into<String>) -> ApiError {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
            message.truncate(end);
            message.push_str("...");
            message.shrink_to_fit();
        }
        ApiError {
            kind: self,
            message,
        }
    }
}

impl ApiError {
    /// Returns the error of an invalid request.
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        ErrorKind::Invalid.error(message)
    }

    /// Returns this error with the place of what is wrong before its message.
    pub(crate) fn at(self, place: impl Display) -> ApiError {
        self.kind.error(format!("{place}: {}", self.message))
    }

    /// Returns the JSON body of this error: `{"error": "..."}`.
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({ "error": self.message })
            .to_string()
            .into_bytes()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = Response::new(self.body().into());
        *response.status_mut() = self.kind.status();
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        let more = match self.kind {
            ErrorKind::Overloaded => Some((header::RETRY_AFTER, "1")),
            ErrorKind::Unauthenticated => Some((header::WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = more {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        // For the telemetry.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ApiError> for Status {
    fn from(refusal: ApiError) -> Status {
        Status::new(refusal.kind.code(), refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_same_message_in_both_protocols() {
        let refusal = ErrorKind::Overloaded.error("the queue is full (\"64\")");
        assert_eq!(refusal.body(), br#"{"error":"the queue is full (\"64\")"}"#);
        let status = Status::from(refusal.clone());
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), refusal.message);
        let response = refusal.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }
}
