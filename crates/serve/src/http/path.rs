//! Models in request paths, and responses to paths and methods that there are not.

use crate::api_error::{ApiError, ErrorKind};
use crate::api_state::{ApiState, check_name};
use crate::grpc;
use crate::service::RequestContext;
use crate::telemetry::{Call, Protocol};
use crate::words::shown;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Uri};
use std::convert::Infallible;

/// A model and optionally one of its versions, as a path names them: not checked.
pub(super) struct ModelPath {
    pub(super) model: String,
    pub(super) version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<ModelPath, Infallible> {
        // A name that is not UTF-8 is refused like an empty one.
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let named = |name: &str| {
            let found = params.iter().flatten().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned())
        };
        Ok(ModelPath {
            model: named("model").unwrap_or_default(),
            version: named("version"),
        })
    }
}

/// Parts of the protocol that this server does not have, by a segment of their paths.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("systemsharedmemory", "shared memory"),
    ("cudasharedmemory", "shared memory"),
    ("trace", "trace settings; start it with --otlp"),
    ("logging", "log settings; set NCS_LOG when it starts"),
    ("generate", "the generate extension"),
    ("generate_stream", "the generate extension"),
];

/// Refuses a path that no route has, in the protocol of the caller.
pub(super) async fn not_found(State(api): State<ApiState>, request: Request) -> Response {
    let path = request.uri().path();
    let is_grpc = grpc::is_grpc(request.headers());
    let (protocol, error) = if is_grpc {
        (Protocol::Grpc, grpc::no_service(path))
    } else {
        (Protocol::Http, no_path(path))
    };
    let context = RequestContext::now(protocol, Call::Other);
    grpc::refusal(request.headers(), api.service.refuse(&context, error))
}

fn no_path(path: &str) -> ApiError {
    if let Some(rest) = path.strip_prefix("/v2/") {
        let unsupported = |segment| UNSUPPORTED.iter().find(|(name, _)| *name == segment);
        if let Some((_, feature)) = rest.split('/').find_map(unsupported) {
            let message = format!("not supported: this server has no {feature}");
            return ErrorKind::Unsupported.error(message);
        }
        // No route has an empty name.
        if rest.starts_with("models//")
            && let Err(error) = check_name("")
        {
            return error;
        }
    }
    ErrorKind::NotFound.error(format!(
        "nothing at {}; send requests to /v2/models/MODEL/rank or /v2/models/MODEL/infer",
        shown(path)
    ))
}

/// Refuses a method that a path does not have. (axum adds the header `Allow`.)
pub(super) async fn not_allowed(
    allowed: &'static str,
    State(api): State<ApiState>,
    method: Method,
    uri: Uri,
) -> Response {
    let (method, path) = (shown(method.as_str()), shown(uri.path()));
    let error = ErrorKind::Method.error(format!("{method} {path}: use {allowed}"));
    let context = RequestContext::now(Protocol::Http, Call::Other);
    api.service.refuse(&context, error).into_response()
}
