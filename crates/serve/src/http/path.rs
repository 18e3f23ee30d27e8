//! Paths and what they mean.

use crate::api_error::{ApiError, Kind};
use crate::telemetry::Call;
use crate::words::shown;
use http::Method;

/// A model, and maybe one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of<'a> {
    pub(super) model: &'a str,
    pub(super) version: Option<&'a str>,
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    Server,
    Live,
    Ready,
    Metrics,
    Model(Of<'a>),
    ModelReady(Of<'a>),
    Config(Of<'a>),
    Statistics(Option<Of<'a>>),
    Infer(Of<'a>),
    Rank(Option<Of<'a>>),
    Index,
    Load(&'a str),
    Unload(&'a str),
    Labels(&'a str),
    SetLabels(&'a str),
}

impl<'a> Path<'a> {
    /// What it counts as.
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

    /// Reads a path.
    ///
    /// # Errors
    /// There is nothing there, or not for this method, or a part of the protocol that we do not have.
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
            _ => return Err(nothing(path)),
        };
        let is_allowed = match allowed {
            "GET" => Path::GET.contains(method),
            other => method.as_str() == other,
        };
        match is_allowed {
            true => Ok(found),
            false => Err(Kind::Method.says(format!(
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
            let of = Of {
                model,
                version: Some(version),
            };
            of_model(of, rest)?
        }
        ["models", model, ref rest @ ..] => {
            let of = Of {
                model,
                version: None,
            };
            of_model(of, rest)?
        }
        ["systemsharedmemory" | "cudasharedmemory", ..] => return Err(not_had("shared memory")),
        ["trace", ..] => {
            return Err(not_had("trace settings; start it with --otlp"));
        }
        ["logging", ..] => {
            return Err(not_had("log settings; set NCS_LOG when it starts"));
        }
        _ => return Err(nothing(&format!("/v2/{}", rest.join("/")))),
    })
}

fn of_model<'a>(of: Of<'a>, rest: &[&str]) -> Result<(&'static str, Path<'a>), ApiError> {
    Ok(match *rest {
        [] => ("GET", Path::Model(of)),
        ["ready"] => ("GET", Path::ModelReady(of)),
        ["config"] => ("GET", Path::Config(of)),
        ["stats"] => ("GET", Path::Statistics(Some(of))),
        ["infer"] => ("POST", Path::Infer(of)),
        ["rank"] => ("POST", Path::Rank(Some(of))),
        ["trace", ..] => return Err(not_had("trace settings; start it with --otlp")),
        ["generate" | "generate_stream"] => return Err(not_had("the generate extension")),
        _ => {
            return Err(nothing(&format!(
                "/v2/models/{}/{}",
                of.model,
                rest.join("/")
            )));
        }
    })
}

fn not_had(what: &str) -> ApiError {
    Kind::Unsupported.says(format!("not supported: this server has no {what}"))
}

fn nothing(path: &str) -> ApiError {
    Kind::NotFound.says(format!(
        "nothing at {}; questions go to /v2/models/MODEL/rank or /v2/models/MODEL/infer",
        shown(path)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_have_their_meaning() {
        let check = |method: Method, path: &str, expected: Result<Path<'_>, Kind>| {
            let found = Path::parse(&method, path).map_err(|refusal| refusal.kind);
            assert_eq!(found, expected, "{method} {path}");
        };
        let of = |version| Of {
            model: "m",
            version,
        };
        check(Method::GET, "/v2", Ok(Path::Server));
        check(Method::GET, "/v2/", Ok(Path::Server));
        check(Method::HEAD, "/v2/health/live", Ok(Path::Live));
        check(Method::POST, "/v2/health/live", Err(Kind::Method));
        check(Method::GET, "/v2/models/m", Ok(Path::Model(of(None))));
        check(Method::GET, "/v2/models/stats", Ok(Path::Statistics(None)));
        check(
            Method::POST,
            "/v2/models/m/infer",
            Ok(Path::Infer(of(None))),
        );
        check(Method::GET, "/v2/models/m/infer", Err(Kind::Method));
        let path = "/v2/models/m/versions/3/infer";
        check(Method::POST, path, Ok(Path::Infer(of(Some("3")))));
        check(Method::PUT, "/v2/models/m/labels", Ok(Path::SetLabels("m")));
        check(Method::GET, "/v2/models/m/labels", Ok(Path::Labels("m")));
        check(
            Method::GET,
            "/v2/systemsharedmemory/status",
            Err(Kind::Unsupported),
        );
        check(Method::POST, "/v2/trace/setting", Err(Kind::Unsupported));
        check(Method::GET, "/", Err(Kind::NotFound));
        check(Method::GET, "//v2", Err(Kind::NotFound));
        check(Method::GET, "/v2/models/m/else", Err(Kind::NotFound));
        check(Method::GET, "/v3", Err(Kind::NotFound));
    }
}
