//! Parsing of request paths.

use crate::api_error::{ApiError, ErrorKind};
use crate::telemetry::Call;
use crate::words::shown;
use http::Method;

/// A model and optionally one of its versions, as a path names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelPath<'a> {
    pub(super) model: &'a str,
    pub(super) version: Option<&'a str>,
}

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    Server,
    Live,
    Ready,
    Metrics,
    Model(ModelPath<'a>),
    ModelReady(ModelPath<'a>),
    Config(ModelPath<'a>),
    Statistics(Option<ModelPath<'a>>),
    Infer(ModelPath<'a>),
    Rank(Option<ModelPath<'a>>),
    Index,
    Load(&'a str),
    Unload(&'a str),
    Labels(&'a str),
    SetLabels(&'a str),
}

impl<'a> Path<'a> {
    /// Returns the call that the request counts as in the telemetry.
    pub(super) fn call(&self) -> Call {
        match self {
            Path::Server => Call::Metadata,
            Path::Live => Call::Live,
            Path::Ready => Call::Ready,
            Path::Metrics => Call::Metrics,
            Path::Model(_) => Call::ModelMetadata,
            Path::ModelReady(_) => Call::ModelReady,
            Path::Config(_) => Call::ModelConfig,
            Path::Statistics(_) => Call::ModelStatistics,
            Path::Infer(_) => Call::Infer,
            Path::Rank(_) => Call::Rank,
            Path::Index => Call::Index,
            Path::Load(_) => Call::Load,
            Path::Unload(_) => Call::Unload,
            Path::Labels(_) | Path::SetLabels(_) => Call::Label,
        }
    }

    /// Parses a path.
    ///
    /// # Errors
    /// There is no such path, the method is not allowed, or it is an unsupported protocol feature.
    pub(super) fn parse(method: &Method, path: &'a str) -> Result<Path<'a>, ApiError> {
        let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
        let first = parts.next();
        let mut rest: Vec<&str> = parts.collect();
        if rest.last() == Some(&"") {
            rest.pop();
        }
        let (allowed, found) = match (first, rest.as_slice()) {
            (Some("metrics"), []) => ("GET", Path::Metrics),
            (Some("v2"), rest) => under_v2(method, rest)?,
            _ => return Err(not_found(path)),
        };
        let is_allowed = match allowed {
            "GET" => Path::GET.contains(method),
            other => method.as_str() == other,
        };
        match is_allowed {
            true => Ok(found),
            false => Err(ErrorKind::Method.error(format!(
                "{} {}: use {allowed}",
                shown(method.as_str()),
                shown(path)
            ))),
        }
    }
}

fn under_v2<'a>(method: &Method, rest: &[&'a str]) -> Result<(&'static str, Path<'a>), ApiError> {
    Ok(match *rest {
        [] => ("GET", Path::Server),
        ["health", "live"] => ("GET", Path::Live),
        ["health", "ready"] => ("GET", Path::Ready),
        ["rank"] => ("POST", Path::Rank(None)),
        ["repository", "index"] => ("POST", Path::Index),
        ["repository", "models", model, "load"] => ("POST", Path::Load(model)),
        ["repository", "models", model, "unload"] => ("POST", Path::Unload(model)),
        ["models", "stats"] => ("GET", Path::Statistics(None)),
        ["models", model, "labels"] => match *method {
            Method::PUT => ("PUT", Path::SetLabels(model)),
            _ => ("GET", Path::Labels(model)),
        },
        ["models", model, "versions", version, ref rest @ ..] => {
            let target = ModelPath {
                model,
                version: Some(version),
            };
            model_path(target, rest)?
        }
        ["models", model, ref rest @ ..] => {
            let target = ModelPath {
                model,
                version: None,
            };
            model_path(target, rest)?
        }
        ["systemsharedmemory" | "cudasharedmemory", ..] => {
            return Err(unsupported("shared memory"));
        }
        ["trace", ..] => {
            return Err(unsupported("trace settings; start it with --otlp"));
        }
        ["logging", ..] => {
            return Err(unsupported("log settings; set NCS_LOG when it starts"));
        }
        _ => return Err(not_found(&format!("/v2/{}", rest.join("/")))),
    })
}

fn model_path<'a>(
    target: ModelPath<'a>,
    rest: &[&str],
) -> Result<(&'static str, Path<'a>), ApiError> {
    Ok(match *rest {
        [] => ("GET", Path::Model(target)),
        ["ready"] => ("GET", Path::ModelReady(target)),
        ["config"] => ("GET", Path::Config(target)),
        ["stats"] => ("GET", Path::Statistics(Some(target))),
        ["infer"] => ("POST", Path::Infer(target)),
        ["rank"] => ("POST", Path::Rank(Some(target))),
        ["trace", ..] => return Err(unsupported("trace settings; start it with --otlp")),
        ["generate" | "generate_stream"] => return Err(unsupported("the generate extension")),
        _ => {
            return Err(not_found(&format!(
                "/v2/models/{}/{}",
                target.model,
                rest.join("/")
            )));
        }
    })
}

fn unsupported(what: &str) -> ApiError {
    ErrorKind::Unsupported.error(format!("not supported: this server has no {what}"))
}

fn not_found(path: &str) -> ApiError {
    ErrorKind::NotFound.error(format!(
        "nothing at {}; send requests to /v2/models/MODEL/rank or /v2/models/MODEL/infer",
        shown(path)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_parsed() {
        let check = |method: Method, path: &str, expected: Result<Path<'_>, ErrorKind>| {
            let found = Path::parse(&method, path).map_err(|refusal| refusal.kind);
            assert_eq!(found, expected, "{method} {path}");
        };
        let of = |version| ModelPath {
            model: "m",
            version,
        };
        check(Method::GET, "/v2", Ok(Path::Server));
        check(Method::GET, "/v2/", Ok(Path::Server));
        check(Method::HEAD, "/v2/health/live", Ok(Path::Live));
        check(Method::POST, "/v2/health/live", Err(ErrorKind::Method));
        check(Method::GET, "/v2/models/m", Ok(Path::Model(of(None))));
        check(Method::GET, "/v2/models/stats", Ok(Path::Statistics(None)));
        check(
            Method::POST,
            "/v2/models/m/infer",
            Ok(Path::Infer(of(None))),
        );
        check(Method::GET, "/v2/models/m/infer", Err(ErrorKind::Method));
        let path = "/v2/models/m/versions/3/infer";
        check(Method::POST, path, Ok(Path::Infer(of(Some("3")))));
        check(Method::PUT, "/v2/models/m/labels", Ok(Path::SetLabels("m")));
        check(Method::GET, "/v2/models/m/labels", Ok(Path::Labels("m")));
        check(
            Method::GET,
            "/v2/systemsharedmemory/status",
            Err(ErrorKind::Unsupported),
        );
        check(
            Method::POST,
            "/v2/trace/setting",
            Err(ErrorKind::Unsupported),
        );
        check(Method::GET, "/", Err(ErrorKind::NotFound));
        check(Method::GET, "//v2", Err(ErrorKind::NotFound));
        check(Method::GET, "/v2/models/m/else", Err(ErrorKind::NotFound));
        check(Method::GET, "/v3", Err(ErrorKind::NotFound));
    }
}
