//! Why a request gets no scores, in the words of HTTP and of gRPC.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tonic::{Code, Status};

/// A request that is refused: its kind says who is to act, its text what is wrong, where, and what to
/// do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ApiError {
    /// What kind of refusal.
    pub kind: Kind,
    /// For the caller to read.
    pub what: String,
}

/// The most characters of a refusal, whatever it repeats.
pub const MOST_WORDS: usize = 2000;

/// Kinds of refusals, each with its code in HTTP and in gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request says something that cannot be. 400, `INVALID_ARGUMENT`.
    Invalid,
    /// No token, or a wrong one. 401, `UNAUTHENTICATED`.
    Unauthenticated,
    /// This port does not do that. 403, `PERMISSION_DENIED`.
    Forbidden,
    /// No such model, version or path. 404, `NOT_FOUND`.
    NotFound,
    /// The path is there, but not for this method. 405, `UNIMPLEMENTED`.
    Method,
    /// The body did not arrive in time. 408, `DEADLINE_EXCEEDED`.
    Slow,
    /// More bytes or candidates than the server takes. 413, `RESOURCE_EXHAUSTED`.
    TooLarge,
    /// An encoding of the body that the server does not read. 415, `UNIMPLEMENTED`.
    Encoding,
    /// More work than the server can do now. 503 and `Retry-After`, `RESOURCE_EXHAUSTED`.
    Overloaded,
    /// Not ready, or about to end. 503, `UNAVAILABLE`.
    Unavailable,
    /// The caller's time, or the server's limit, ran out. 504, `DEADLINE_EXCEEDED`.
    Late,
    /// A part of the protocol that the server does not have. 501, `UNIMPLEMENTED`.
    Unsupported,
    /// A mistake of the server. 500, `INTERNAL`.
    Internal,
}

impl Kind {
    /// The status in HTTP.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Slow => StatusCode::REQUEST_TIMEOUT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Overloaded | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Late => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code in gRPC.
    pub fn code(self) -> Code {
        match self {
            Kind::Invalid => Code::InvalidArgument,
            Kind::Unauthenticated => Code::Unauthenticated,
            Kind::Forbidden => Code::PermissionDenied,
            Kind::NotFound => Code::NotFound,
            Kind::Slow | Kind::Late => Code::DeadlineExceeded,
            Kind::TooLarge | Kind::Overloaded => Code::ResourceExhausted,
            Kind::Unavailable => Code::Unavailable,
            Kind::Method | Kind::Encoding | Kind::Unsupported => Code::Unimplemented,
            Kind::Internal => Code::Internal,
        }
    }

    /// The refusal of this kind with these words, at most [`MOST_WORDS`] characters of them.
    pub fn says(self, what: impl Into<String>) -> ApiError {
        let mut what = what.into();
        if let Some((end, _)) = what.char_indices().nth(MOST_WORDS) {
            what.truncate(end);
            what.push_str("...");
            what.shrink_to_fit();
        }
        ApiError { kind: self, what }
    }
}

impl ApiError {
    /// The JSON body of this refusal: `{"error": "..."}`.
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({ "error": self.what })
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
        let (name, value) = match self.kind {
            Kind::Overloaded => (header::RETRY_AFTER, "1"),
            Kind::Unauthenticated => (header::WWW_AUTHENTICATE, "Bearer"),
            _ => return response,
        };
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
        response
    }
}

impl From<ApiError> for Status {
    fn from(refusal: ApiError) -> Status {
        Status::new(refusal.kind.code(), refusal.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_the_same_in_both_protocols() {
        let refusal = Kind::Overloaded.says("the queue is full (\"64\")");
        assert_eq!(refusal.body(), br#"{"error":"the queue is full (\"64\")"}"#);
        let status = Status::from(refusal.clone());
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), refusal.what);
        let response = refusal.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }
}
