//! HTTP paths: the Open Inference Protocol v2 with the repository, configuration and statistics extensions,
//! and the rank call.
//!
//! ```text
//! GET  /openapi.json
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
use crate::rank_request::{ModelSelector, RankQuery, RankScores, VersionSelector};
use crate::registry::Labels;
use crate::service::{RequestContext, Service};
use crate::telemetry::{Call, Protocol, Stage};
use crate::wire::infer::{InferQuery, model_selector};
use crate::wire::{Accepts, infer_json, rank_json};
use crate::words::shown;
use answers::{EncodedResponse, json, text};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use path::{ModelPath, not_allowed, not_found};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json as value;
use std::collections::HashMap;
use std::time::Duration;

/// Maximum size in bytes of a body other than a rank or infer request.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// Header with the number of bytes at the start of a body that are JSON.
const JSON_LENGTH: &str = "inference-header-content-length";

/// The result of a handler.
type Answer = Result<Response, ApiError>;

/// Routes of a port. Every path may end with a slash; every error is JSON.
pub fn router(api: ApiState) -> Router {
    let mut router = Router::new().fallback(not_found);
    let mut add = |path: &str, allowed: &'static str, methods: MethodRouter<ApiState>| {
        let refuse = move |state, method, uri| not_allowed(allowed, state, method, uri);
        let methods = methods.fallback(refuse);
        let with_slash = format!("{path}/");
        let routed = std::mem::take(&mut router).route(path, methods.clone());
        router = routed.route(&with_slash, methods);
    };
    // The service reports rank and infer requests itself, with more detail.
    let reported = |call, methods: MethodRouter<ApiState>| {
        methods.route_layer(from_fn_with_state((api.clone(), call), report))
    };
    add("/metrics", "GET", reported(Call::Metrics, get(metrics)));
    add("/v2", "GET", reported(Call::Metadata, get(server)));
    add(
        "/openapi.json",
        "GET",
        reported(Call::Metadata, get(openapi)),
    );
    add("/v2/health/live", "GET", reported(Call::Live, get(live)));
    add("/v2/health/ready", "GET", reported(Call::Ready, get(ready)));
    add("/v2/rank", "POST", post(rank_any));
    let all_statistics = reported(Call::ModelStatistics, get(all_statistics));
    add("/v2/models/stats", "GET", all_statistics);
    for of in [
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}",
    ] {
        let mut add = |path: &str, allowed, methods| add(&format!("{of}{path}"), allowed, methods);
        add("", "GET", reported(Call::ModelMetadata, get(model)));
        add(
            "/ready",
            "GET",
            reported(Call::ModelReady, get(model_ready)),
        );
        add("/config", "GET", reported(Call::ModelConfig, get(config)));
        let statistics = reported(Call::ModelStatistics, get(statistics));
        add("/stats", "GET", statistics);
        add("/infer", "POST", post(infer));
        add("/rank", "POST", post(rank));
    }
    let labels = reported(Call::Label, get(labels).put(set_labels));
    add("/v2/models/{model}/labels", "GET or PUT", labels);
    let index = reported(Call::Index, post(index));
    add("/v2/repository/index", "POST", index);
    let of = "/v2/repository/models/{model}";
    let load = reported(Call::Load, post(load));
    add(&format!("{of}/load"), "POST", load);
    let unload = reported(Call::Unload, post(unload));
    add(&format!("{of}/unload"), "POST", unload);
    router.with_state(api)
}

/// Reports a call to the telemetry.
async fn report(
    State((api, call)): State<(ApiState, Call)>,
    request: Request,
    next: Next,
) -> Response {
    let context = RequestContext::now(Protocol::Http, call);
    let mut response = next.run(request).await;
    let refused = response.extensions_mut().remove::<ApiError>();
    api.service.done(&context, refused.as_ref());
    response
}

async fn live() -> Response {
    json(&value!({ "live": true }))
}

async fn ready(State(api): State<ApiState>) -> Answer {
    if !api.service.is_ready() {
        let message = "not ready: models are loading, or the server is shutting down";
        return Err(ErrorKind::Unavailable.error(message));
    }
    Ok(json(&value!({ "ready": true })))
}

async fn server() -> Response {
    json(&value!({
        "name": SERVER,
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))
}

/// The description of these paths, from which clients are generated.
async fn openapi() -> Response {
    let mut response = text(include_str!("../openapi.json").to_owned());
    let json = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

async fn metrics(State(api): State<ApiState>) -> Answer {
    if api.admin.is_none() {
        return Err(ErrorKind::NotFound.error("metrics are on the admin port, under /metrics"));
    }
    Ok(text(api.service.metrics()))
}

async fn model(State(api): State<ApiState>, of: ModelPath) -> Answer {
    Ok(json(&api.describe(&of.model, of.version.as_deref())?))
}

async fn model_ready(State(api): State<ApiState>, of: ModelPath) -> Answer {
    api.find(&of.model, of.version.as_deref())?;
    Ok(json(&value!({ "ready": true })))
}

async fn config(State(api): State<ApiState>, of: ModelPath) -> Answer {
    let description = api.describe(&of.model, of.version.as_deref())?;
    Ok(json(&description.config_json()))
}

async fn statistics(State(api): State<ApiState>, of: ModelPath) -> Answer {
    api.statistics(Some(&of.model), of.version.as_deref())
}

async fn all_statistics(State(api): State<ApiState>) -> Answer {
    api.statistics(None, None)
}

async fn index(State(api): State<ApiState>, request: Request) -> Answer {
    let options: Index = api.small(request).await?;
    Ok(json(&api.index_of(options.ready.unwrap_or(false)).await?))
}

async fn load(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    let options: Load = api.admin_call(request).await?;
    if options
        .parameters
        .is_some_and(|parameters| !parameters.is_empty())
    {
        return Err(ErrorKind::Unsupported
            .error("models are loaded from their folders as they are; leave \"parameters\" out"));
    }
    api.run_blocking(move |service| service.repository.load(&of.model))
        .await?;
    Ok(json(&value!({})))
}

async fn unload(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    let Unload {} = api.admin_call(request).await?;
    api.run_blocking(move |service| service.repository.unload(&of.model))
        .await?;
    Ok(json(&value!({})))
}

async fn labels(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    let caller = Caller::new(request.headers(), request.extensions());
    api.check_admin(&caller).await?;
    let model = api.service.repository.registry().model(Some(&of.model))?;
    Ok(json(&model.labels))
}

async fn set_labels(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    let labels: Labels = api.admin_call(request).await?;
    let set = move |service: &Service| {
        service.repository.set_labels(&of.model, &labels)?;
        Ok(labels)
    };
    Ok(json(&api.run_blocking(set).await?))
}

async fn rank_any(State(api): State<ApiState>, request: Request) -> Answer {
    api.rank(None, request).await
}

async fn rank(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    let model = api.named(Call::Rank, &of)?;
    api.rank(Some(model), request).await
}

async fn infer(State(api): State<ApiState>, of: ModelPath, request: Request) -> Answer {
    api.named(Call::Infer, &of)?;
    api.infer(of, request).await
}

impl ApiState {
    async fn rank(&self, model: Option<ModelSelector>, request: Request) -> Answer {
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
        self.score(Call::Rank, request, read, respond).await
    }

    async fn infer(&self, of: ModelPath, request: Request) -> Answer {
        let json_length = json_length(request.headers()).map_err(|error| {
            let context = RequestContext::now(Protocol::Http, Call::Infer);
            self.service.refuse(&context, error)
        })?;
        let read = move |body: &[u8], accepts: &Accepts| {
            let path = (of.model.as_str(), of.version.as_deref());
            let mut query = infer_json::read(body, json_length, path, accepts)?;
            Ok((std::mem::take(&mut query.rank), query))
        };
        let respond = |answer: RankScores, query: InferQuery| {
            let (body, json_length) = infer_json::respond(&answer, &query)?;
            Ok(EncodedResponse { body, json_length })
        };
        self.score(Call::Infer, request, read, respond).await
    }

    /// Returns the model that a path names; a failure is reported to the telemetry.
    fn named(&self, call: Call, of: &ModelPath) -> Result<ModelSelector, ApiError> {
        let named = check_name(&of.model);
        let selector = named.and_then(|()| model_selector(&of.model, of.version.as_deref()));
        let context = RequestContext::now(Protocol::Http, call);
        selector.map_err(|error| self.service.refuse(&context, error))
    }

    /// Reads the body here; a worker does the rest.
    async fn score<X: Send + 'static>(
        &self,
        call: Call,
        request: Request,
        read: impl FnOnce(&[u8], &Accepts) -> Result<(RankQuery, X), ApiError> + Send + 'static,
        respond: impl FnOnce(RankScores, X) -> Result<EncodedResponse, ApiError> + Send + 'static,
    ) -> Answer {
        let mut context = RequestContext::now(Protocol::Http, call);
        let (head, body) = request.into_parts();
        let headers = &head.headers;
        let begun = match self.check_key(&Caller::new(headers, &head.extensions)) {
            Ok(()) => self.begin(&mut context, headers, body).await,
            Err(refusal) => Err(refusal),
        };
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
        context.n_bytes = encoding.decoded_size(bytes.len());
        Ok((encoding, bytes))
    }

    fn statistics(&self, model: Option<&str>, version: Option<&str>) -> Answer {
        let versions = self.versions(model, version)?;
        let versions = versions.iter();
        let all: Vec<serde_json::Value> = versions
            .map(|(model, version)| crate::description::statistics_json(model, version))
            .collect();
        Ok(json(&value!({ "model_stats": all })))
    }

    /// Checks the caller of an admin call, then reads its body.
    async fn admin_call<T: DeserializeOwned + Default>(
        &self,
        request: Request,
    ) -> Result<T, ApiError> {
        let caller = Caller::new(request.headers(), request.extensions());
        self.check_admin(&caller).await?;
        self.small(request).await
    }

    /// Reads a body that is an object or empty. It is small, so it is decoded and parsed here.
    async fn small<T: DeserializeOwned + Default>(&self, request: Request) -> Result<T, ApiError> {
        let (head, body) = request.into_parts();
        let headers = &head.headers;
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
            ErrorKind::Invalid.error(format!("{JSON_LENGTH}: {value} is not a number of bytes"))
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
            ErrorKind::Invalid.error(format!("{NAME}: {value} is not a number of milliseconds"))
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
