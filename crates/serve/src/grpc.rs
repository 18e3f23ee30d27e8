//! The gRPC services.
//!
//! Messages are read here, not by a library's server: their bytes are subject to the same limits as HTTP
//! bodies. A worker decompresses them and counts the memory that they would take before they are decoded.

mod answer;
mod message;
mod small;

use crate::api_error::{ApiError, ErrorKind};
use crate::api_state::{ApiState, Caller, check_name, grpc_timeout};
use crate::body::{BodyLimits, Encoding};
use crate::http::{plain_id, plain_trace};
use crate::proto::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::rank_request::RankScores;
use crate::service::RequestContext;
use crate::telemetry::{Call, Protocol, Stage};
use crate::wire::infer::InferQuery;
use crate::wire::{Accepts, infer_proto, rank_proto};
use crate::words::shown;
use answer::{framed, packing, refused, stream, unary};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use message::{Messages, Packed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Maximum time between two requests of a stream.
const STREAM_IDLE: Duration = Duration::from_secs(75);

/// Maximum size in bytes of a message other than a rank or infer request.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// Routes of a port that speaks gRPC only.
pub fn router(api: ApiState) -> Router {
    Router::new().fallback(handle).with_state(api)
}

/// Routes of the gRPC services.
pub fn services(api: ApiState) -> Router {
    Router::new()
        .route("/inference.GRPCInferenceService/{method}", any(handle))
        .route("/ncs4cvr.v1.Ranking/{method}", any(handle))
        .with_state(api)
}

/// True if a request is a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the error of a gRPC call to an unknown service.
pub(crate) fn no_service(path: &str) -> ApiError {
    ErrorKind::Unsupported.error(format!(
        "no service at {}; there are inference.GRPCInferenceService and ncs4cvr.v1.Ranking, on the port \
         for gRPC",
        shown(path)
    ))
}

/// Converts an error to a response in the protocol of the caller.
pub(crate) fn refusal(headers: &HeaderMap, refusal: ApiError) -> Response {
    if is_grpc(headers) {
        refused(refusal)
    } else {
        refusal.into_response()
    }
}

async fn handle(State(api): State<ApiState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if !is_grpc(&head.headers) {
        // A plain HTTP error for a caller that does not speak gRPC.
        let context = RequestContext::now(Protocol::Http, Call::Other);
        let what = "this port serves gRPC only; HTTP has a separate port";
        return api
            .service
            .refuse(&context, ErrorKind::NotFound.error(what))
            .into_response();
    }
    api.call(&head, body).await.unwrap_or_else(refused)
}

/// Returns the scoring call of a path, if it is one.
fn scoring(path: &str) -> Option<Call> {
    match path {
        "ncs4cvr.v1.Ranking/Rank" => Some(Call::Rank),
        "inference.GRPCInferenceService/ModelInfer"
        | "inference.GRPCInferenceService/ModelStreamInfer" => Some(Call::Infer),
        _ => None,
    }
}

impl ApiState {
    async fn call(&self, head: &Parts, body: Body) -> Result<Response, ApiError> {
        let path = head.uri.path().trim_start_matches('/');
        if let Some(call) = scoring(path) {
            let caller = Caller::new(&head.headers, &head.extensions);
            let context = RequestContext::now(Protocol::Grpc, call);
            let checked = self.check_key(&caller);
            checked.map_err(|refusal| self.service.refuse(&context, refusal))?;
        }
        let called = match path.split_once('/') {
            _ if head.method != Method::POST => {
                Err(ErrorKind::Method.error("a gRPC call must be a POST request"))
            }
            Some(("ncs4cvr.v1.Ranking", "Rank")) => {
                return self.rank_by_proto(&head.headers, body).await;
            }
            Some(("inference.GRPCInferenceService", "ModelInfer")) => {
                return self.infer_by_proto(&head.headers, body).await;
            }
            Some(("inference.GRPCInferenceService", "ModelStreamInfer")) => {
                return self.infer_stream(&head.headers, body).await;
            }
            Some(("inference.GRPCInferenceService", method)) => match Call::small(method) {
                Some(call) => return self.small_call(call, head, body).await,
                None => Err(small::unsupported(method)),
            },
            Some(("ncs4cvr.v1.Ranking", method)) => {
                Err(small::no_method(method, "ncs4cvr.v1.Ranking has Rank"))
            }
            _ => Err(no_service(path)),
        };
        let context = RequestContext::now(Protocol::Grpc, Call::Other);
        called.map_err(|refusal| self.service.refuse(&context, refusal))
    }

    async fn rank_by_proto(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let (context, packed) = self.received(Call::Rank, headers, body).await?;
        let limit = self.body.bytes;
        let read = move |accepts: &Accepts| {
            let request = rank_proto::decode(packed.unpack(limit)?, accepts)?;
            Ok((rank_proto::read(request, accepts)?, ()))
        };
        let (api, packing) = (self.clone(), packing(headers));
        let respond = move |answer: RankScores, (): ()| {
            let share = api.reserve(&answer)?;
            Ok(framed(&rank_proto::answer(answer), packing, share))
        };
        let answer = self.service.score(context, read, respond).await?;
        Ok(unary(answer, packing))
    }

    async fn infer_by_proto(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let (context, packed) = self.received(Call::Infer, headers, body).await?;
        let packing = packing(headers);
        let wrap = |response| response;
        let answer = self
            .infer_packed(context, packed, packing, Arc::default(), wrap)
            .await?;
        Ok(unary(answer, packing))
    }

    /// Reads the only message of a rank or infer call; a failure is reported to the telemetry.
    async fn received(
        &self,
        call: Call,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(RequestContext, Packed), ApiError> {
        let mut context = RequestContext::now(Protocol::Grpc, call);
        let received = async {
            context.read_metadata(headers)?;
            message::only(headers, body, &self.body, &self.budget).await
        };
        match received.await {
            Ok(packed) => {
                context.clock.end(Stage::Receive);
                context.n_bytes = packed.size();
                Ok((context, packed))
            }
            Err(refusal) => Err(self.service.refuse(&context, refusal)),
        }
    }

    /// Answers one infer request; `wrap` builds the message from the response. The request's id is stored in
    /// `id`.
    async fn infer_packed<M: prost::Message>(
        &self,
        context: RequestContext,
        packed: Packed,
        packing: Encoding,
        id: Arc<OnceLock<String>>,
        wrap: impl FnOnce(ModelInferResponse) -> M + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let limit = self.body.bytes;
        let read = move |accepts: &Accepts| {
            let request: ModelInferRequest = infer_proto::decode(packed.unpack(limit)?, accepts)?;
            // A request is read once.
            let _ = id.set(request.id.clone());
            check_name(&request.model_name)?;
            let mut query = infer_proto::read(request, accepts)?;
            Ok((std::mem::take(&mut query.rank), query))
        };
        let api = self.clone();
        let respond = move |answer: RankScores, query: InferQuery| {
            let share = api.reserve(&answer)?;
            let response = infer_proto::respond(&answer, query.outputs.as_deref())?;
            Ok(framed(&wrap(response), packing, share))
        };
        self.service.score(context, read, respond).await
    }

    /// Answers the requests of a stream in order: a failed request does not end the stream.
    async fn infer_stream(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let mut first = RequestContext::now(Protocol::Grpc, Call::Infer);
        let begun = first
            .read_metadata(headers)
            .and_then(|()| Messages::of(headers, body, self.body, &self.budget));
        let mut requests = begun.map_err(|refusal| self.service.refuse(&first, refusal))?;
        let (answers, receiver) = mpsc::channel(1);
        let (api, packing) = (self.clone(), packing(headers));
        tokio::spawn(async move {
            // A caller that sends nothing for this long is gone, or holds a connection without use.
            while let Ok(request) = timeout(STREAM_IDLE, requests.next()).await {
                let Some(request) = request.transpose() else {
                    return;
                };
                let answer = match request {
                    Ok(request) => api.next_answer(&first, request, packing).await,
                    Err(refusal) => Err(api.service.refuse(&first, refusal)),
                };
                let is_last = answer.is_err();
                if answers.send(answer).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(stream(receiver, packing))
    }

    /// Returns the next response of a stream; only an internal error ends the stream.
    async fn next_answer(
        &self,
        first: &RequestContext,
        request: Packed,
        packing: Encoding,
    ) -> Result<Bytes, ApiError> {
        let mut context = RequestContext::now(Protocol::Grpc, Call::Infer);
        context.id = first.id.clone();
        context.traceparent = first.traceparent.clone();
        context.n_bytes = request.size();
        let id: Arc<OnceLock<String>> = Arc::default();
        let wrap = |answer| ModelStreamInferResponse {
            infer_response: Some(answer),
            ..ModelStreamInferResponse::default()
        };
        match self
            .infer_packed(context, request, packing, id.clone(), wrap)
            .await
        {
            Err(refusal) if refusal.kind != ErrorKind::Internal => {
                let response = ModelStreamInferResponse {
                    error_message: refusal.message,
                    infer_response: Some(ModelInferResponse {
                        id: id.get().cloned().unwrap_or_default(),
                        ..ModelInferResponse::default()
                    }),
                };
                answer::small(&response, packing, &self.budget)
            }
            answered => answered,
        }
    }

    /// Limits of messages other than rank and infer requests.
    fn small_body(&self) -> BodyLimits {
        BodyLimits {
            bytes: MAX_SMALL_BYTES.min(self.body.bytes),
            ..self.body
        }
    }
}

impl RequestContext {
    /// Reads request id, trace parent and timeout from the metadata of a call.
    fn read_metadata(&mut self, metadata: &HeaderMap) -> Result<(), ApiError> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        self.id = text("x-request-id").and_then(plain_id);
        self.traceparent = text("traceparent").and_then(plain_trace);
        self.timeout = text("grpc-timeout").map(grpc_timeout).transpose()?;
        Ok(())
    }
}
