//! HTTP paths: the Open Inference Protocol v2 with the repository, configuration and statistics extensions,
//! and the rank call.
//!
//! ```text
//! GET  /v2, /v2/health/{live,ready}
//! GET  /v2/models/M[/versions/V], and /ready, /config, /stats of it; /v2/models/stats
//! POST /v2/models/M[/versions/V]/{infer,rank}; /v2/rank for the only model, or the one in the body
//! POST /v2/repository/index
//! admin port: POST /v2/repository/models/M/{load,unload}; GET, PUT /v2/models/M/labels; GET /metrics
//! ```

mod answers;
mod path;

use crate::api_error::{ApiError, ErrorKind};
use crate::api_state::{ApiState, Caller, EXTENSIONS, SERVER, check_name};
use crate::body;
use crate::body::BodyLimits;
use crate::budget::Share;
use crate::grpc;
use crate::rank_request::{ModelSelector, RankQuery, RankScores, VersionSelector};
use crate::registry::Labels;
use crate::service::RequestContext;
use crate::telemetry::{Call, Protocol, Stage};
use crate::wire::infer::{InferQuery, model_selector};
use crate::wire::{Accepts, infer_json, rank_json};
use crate::words::shown;
use answers::{EncodedResponse, json, text};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use path::{ModelPath, Path};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json as value;
use std::collections::HashMap;
use std::time::Duration;

/// Maximum size in bytes of a body other than a rank or infer request.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// Header with the number of bytes at the start of a body that are JSON.
const JSON_LENGTH: &str = "inference-header-content-length";

/// Routes of a port.
pub fn router(api: ApiState) -> Router {
    // A single handler, so that every path, method and error gets a JSON response.
    Router::new().fallback(handle).with_state(api)
}

async fn handle(State(api): State<ApiState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if grpc::is_grpc(&head.headers) {
        let context = RequestContext::now(Protocol::Grpc, Call::Other);
        let refusal = grpc::no_service(head.uri.path());
        return grpc::refusal(&head.headers, api.service.refuse(&context, refusal));
    }
    let path = match Path::parse(&head.method, head.uri.path()) {
        Ok(path) => path,
        Err(refusal) => {
            let context = RequestContext::now(Protocol::Http, Call::Other);
            return api.service.refuse(&context, refusal).into_response();
        }
    };
    let call = path.call();
    let context = RequestContext::now(Protocol::Http, call);
    let answer = api.answer(path, &head, body).await;
    if !matches!(call, Call::Rank | Call::Infer) {
        // The service reports rank and infer requests itself, with more detail.
        api.service.done(&context, answer.as_ref().err());
    }
    answer.unwrap_or_else(IntoResponse::into_response)
}

impl ApiState {
    async fn answer(&self, path: Path<'_>, head: &Parts, body: Body) -> Result<Response, ApiError> {
        let headers = &head.headers;
        match path {
            Path::Infer(of) => self.infer(of, headers, body).await,
            Path::Rank(of) => self.rank(of, headers, body).await,
            Path::Live => Ok(json(&value!({ "live": true }))),
            Path::Ready => match self.service.is_ready() {
                true => Ok(json(&value!({ "ready": true }))),
                false => Err(ErrorKind::Unavailable
                    .error("not ready: models are loading, or the server is shutting down")),
            },
            Path::Server => Ok(json(&value!({
                "name": SERVER,
                "version": env!("CARGO_PKG_VERSION"),
                "extensions": EXTENSIONS,
            }))),
            Path::Model(of) => Ok(json(&self.describe(of.model, of.version)?)),
            Path::ModelReady(of) => {
                self.find(of.model, of.version)?;
                Ok(json(&value!({ "ready": true })))
            }
            Path::Config(of) => Ok(json(&self.describe(of.model, of.version)?.config_json())),
            Path::Statistics(of) => self.statistics(of),
            Path::Metrics => self.metrics(),
            Path::Index => self.index(headers, body).await,
            Path::Load(model) => self.load(model, head, body).await,
            Path::Unload(model) => self.unload(model, head, body).await,
            Path::Labels(model) => self.labels(model, head).await,
            Path::SetLabels(model) => self.set_labels(model, head, body).await,
        }
    }

    async fn rank(
        &self,
        of: Option<ModelPath<'_>>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let model = match of {
            Some(of) => Some(self.named(Call::Rank, of)?),
            None => None,
        };
        let read = move |body: &[u8], accepts: &Accepts| {
            let mut query = rank_json::read(body, accepts)?;
            if let Some(model) = model {
                query.model = merged(model, query.model)?;
            }
            Ok((query, ()))
        };
        let respond = |answer: RankScores, (): ()| {
            Ok(EncodedResponse {
                body: rank_json::answer(&answer),
                json_length: None,
            })
        };
        self.handle(Call::Rank, headers, body, read, respond).await
    }

    async fn infer(
        &self,
        of: ModelPath<'_>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        self.named(Call::Infer, of)?;
        let refuse = |refusal| {
            self.service
                .refuse(&RequestContext::now(Protocol::Http, Call::Infer), refusal)
        };
        let json_length = json_length(headers).map_err(refuse)?;
        let (model, version) = (of.model.to_owned(), of.version.map(str::to_owned));
        let read = move |body: &[u8], accepts: &Accepts| {
            let path = (model.as_str(), version.as_deref());
            let mut query = infer_json::read(body, json_length, path, accepts)?;
            Ok((std::mem::take(&mut query.rank), query))
        };
        let respond = |answer: RankScores, query: InferQuery| {
            let (body, json_length) = infer_json::respond(&answer, &query)?;
            Ok(EncodedResponse { body, json_length })
        };
        self.handle(Call::Infer, headers, body, read, respond).await
    }

    /// Returns the model that a path names; a failure is reported to the telemetry.
    fn named(&self, call: Call, of: ModelPath<'_>) -> Result<ModelSelector, ApiError> {
        let selector = check_name(of.model).and_then(|()| model_selector(of.model, of.version));
        selector.map_err(|refusal| {
            self.service
                .refuse(&RequestContext::now(Protocol::Http, call), refusal)
        })
    }

    /// Reads the body here; a worker does the rest.
    async fn handle<X: Send + 'static>(
        &self,
        call: Call,
        headers: &HeaderMap,
        body: Body,
        read: impl FnOnce(&[u8], &Accepts) -> Result<(RankQuery, X), ApiError> + Send + 'static,
        respond: impl FnOnce(RankScores, X) -> Result<EncodedResponse, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let mut context = RequestContext::now(Protocol::Http, call);
        let begun = self.begin(&mut context, headers, body).await;
        let (encoding, bytes) = begun.map_err(|refusal| self.service.refuse(&context, refusal))?;
        let limit = self.body.bytes;
        let accepts_encoding = headers.get(http::header::ACCEPT_ENCODING).cloned();
        let read = move |accepts: &Accepts| {
            let body = body::decode(encoding, bytes, limit)?;
            read(&body, accepts)
        };
        let api = self.clone();
        let respond = move |answer: RankScores, rest: X| {
            let share: Share = api.reserve(&answer)?;
            Ok(respond(answer, rest)?.into_response(accepts_encoding.as_ref(), share))
        };
        self.service.score(context, read, respond).await
    }

    async fn begin(
        &self,
        context: &mut RequestContext,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(body::Encoding, Bytes), ApiError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        context.id = header("x-request-id").and_then(plain_id);
        context.traceparent = header("traceparent").and_then(plain_trace);
        context.timeout = timeout(headers)?;
        let encoding = body::Encoding::of(headers)?;
        let bytes = body::read_raw(headers, body, &self.body, &self.budget).await?;
        context.clock.end(Stage::Receive);
        Ok((encoding, bytes))
    }

    fn statistics(&self, of: Option<ModelPath<'_>>) -> Result<Response, ApiError> {
        let versions = match of {
            Some(of) => self.versions(Some(of.model), of.version)?,
            None => self.versions(None, None)?,
        };
        let versions = versions.iter();
        let all: Vec<serde_json::Value> = versions
            .map(|(model, version)| crate::description::statistics_json(model, version))
            .collect();
        Ok(json(&value!({ "model_stats": all })))
    }

    fn metrics(&self) -> Result<Response, ApiError> {
        match self.admin {
            Some(_) => Ok(text(self.service.metrics())),
            None => Err(ErrorKind::NotFound.error("metrics are on the admin port, under /metrics")),
        }
    }

    async fn index(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let options: Index = self.small(headers, body).await?;
        let entries = self.index_of(options.ready.unwrap_or(false)).await?;
        Ok(json(&entries))
    }

    async fn load(&self, model: &str, head: &Parts, body: Body) -> Result<Response, ApiError> {
        self.check_admin(&Caller::of(head)).await?;
        let options: Load = self.small(&head.headers, body).await?;
        if options
            .parameters
            .is_some_and(|parameters| !parameters.is_empty())
        {
            return Err(ErrorKind::Unsupported.error(
                "models are loaded from their folders as they are; leave \"parameters\" out",
            ));
        }
        let model = model.to_owned();
        self.run_blocking(move |service| service.repository.load(&model))
            .await?;
        Ok(json(&value!({})))
    }

    async fn unload(&self, model: &str, head: &Parts, body: Body) -> Result<Response, ApiError> {
        self.check_admin(&Caller::of(head)).await?;
        let Unload {} = self.small(&head.headers, body).await?;
        let model = model.to_owned();
        self.run_blocking(move |service| service.repository.unload(&model))
            .await?;
        Ok(json(&value!({})))
    }

    async fn labels(&self, model: &str, head: &Parts) -> Result<Response, ApiError> {
        self.check_admin(&Caller::of(head)).await?;
        let model = self.service.repository.registry().model(Some(model))?;
        Ok(json(&model.labels))
    }

    async fn set_labels(
        &self,
        model: &str,
        head: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        self.check_admin(&Caller::of(head)).await?;
        let labels: Labels = self.small(&head.headers, body).await?;
        let model = model.to_owned();
        let set = move |service: &crate::service::Service| {
            service.repository.set_labels(&model, &labels)?;
            Ok(labels)
        };
        Ok(json(&self.run_blocking(set).await?))
    }

    /// Reads a body that is an object or empty. It is small, so it is decoded and parsed here.
    async fn small<T: DeserializeOwned + Default>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, ApiError> {
        let encoding = body::Encoding::of(headers)?;
        let limits = BodyLimits {
            bytes: MAX_SMALL_BYTES.min(self.body.bytes),
            ..self.body
        };
        let bytes = body::read_raw(headers, body, &limits, &self.budget).await?;
        let bytes = body::decode(encoding, bytes, limits.bytes)?;
        let text = bytes.trim_ascii();
        match text.first() {
            None => Ok(T::default()),
            // serde would accept a list of the object's values.
            Some(b'[') => {
                Err(ErrorKind::Invalid.error("the request's body: expected a JSON object"))
            }
            Some(_) => serde_json::from_slice(text).map_err(|error| {
                let what = ncs_features::json::explained(text, &error);
                ErrorKind::Invalid.error(format!("the request's body: {what}"))
            }),
        }
    }
}

/// Body of an index call; unknown keys are ignored.
#[derive(Default, serde::Deserialize)]
struct Index {
    #[serde(default)]
    ready: Option<bool>,
}

/// Body of a load call.
#[derive(Default, serde::Deserialize)]
struct Load {
    #[serde(default)]
    parameters: Option<HashMap<String, IgnoredAny>>,
}

/// Body of an unload call.
#[derive(Default, serde::Deserialize)]
struct Unload {}

/// Combines the model of the path with the version or label of the body.
fn merged(path: ModelSelector, body: ModelSelector) -> Result<ModelSelector, ApiError> {
    if body.name.is_some() && body.name != path.name {
        return Err(ErrorKind::Invalid.error("the body names another model than the path"));
    }
    let version = match (path.version, body.version) {
        (version, VersionSelector::Routed) => version,
        (VersionSelector::Routed, version) => version,
        (one, other) if one == other => one,
        _ => return Err(ErrorKind::Invalid.error("the body names another version than the path")),
    };
    Ok(ModelSelector {
        name: path.name,
        version,
    })
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let number = |value: &HeaderValue| {
        let text = value.to_str().ok().map(str::trim);
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| {
            let value = format!("{value:?}");
            let value = shown(&value);
            ErrorKind::Invalid.error(format!("{JSON_LENGTH}: {value} is no number of bytes"))
        })
    };
    headers.get(JSON_LENGTH).map(number).transpose()
}

/// Parses the header `x-request-timeout-ms`.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    const NAME: &str = "x-request-timeout-ms";
    let time = |value: &HeaderValue| {
        let number = value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let time = number.map(Duration::from_millis);
        time.ok_or_else(|| {
            let value = format!("{value:?}");
            let value = shown(&value);
            ErrorKind::Invalid.error(format!("{NAME}: {value} is no number of milliseconds"))
        })
    };
    headers.get(NAME).map(time).transpose()
}

/// Returns a request id that is safe to log: at most 128 printable ASCII characters.
pub(crate) fn plain_id(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_graphic();
    let is_id = !text.is_empty() && text.len() <= 128 && text.chars().all(is_plain);
    is_id.then(|| text.to_owned())
}

/// Returns the header `traceparent`; it has 55 characters, more in future versions.
pub(crate) fn plain_trace(text: &str) -> Option<String> {
    (text.len() <= crate::words::MAX_SHOWN).then(|| text.to_owned())
}

impl Path<'_> {
    /// Methods allowed where a path requires GET.
    pub(super) const GET: [Method; 2] = [Method::GET, Method::HEAD];
}
