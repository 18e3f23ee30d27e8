//! The services of gRPC.
//!
//! Messages are read here, not by a library's server: their bytes come within the limits that HTTP's bodies
//! have, a worker decompresses them and counts what they would take in memory, and only then are they decoded.

mod answer;
mod message;
mod small;

use crate::api_error::{ApiError, Kind};
use crate::api_state::{ApiState, check_name, grpc_timeout};
use crate::body::{BodyLimits, Encoding};
use crate::http::{plain_id, plain_trace};
use crate::proto::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::rank_request::Answer;
use crate::service::RequestContext;
use crate::telemetry::{Call, Protocol, Stage};
use crate::wire::infer::InferQuestion;
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

/// How long a stream may be without a question.
const STREAM_IDLE: Duration = Duration::from_secs(75);

/// The most bytes of a message that asks no question.
const SMALL: usize = 64 << 10;

/// All services of a port that speaks gRPC alone.
pub fn router(api: ApiState) -> Router {
    Router::new().fallback(handle).with_state(api)
}

/// The services, by their paths.
pub fn services(api: ApiState) -> Router {
    Router::new()
        .route("/inference.GRPCInferenceService/{method}", any(handle))
        .route("/ncs4cvr.v1.Ranking/{method}", any(handle))
        .with_state(api)
}

/// Whether a request is a call of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// A call of gRPC that finds no service, in words.
pub(crate) fn no_service(path: &str) -> ApiError {
    Kind::Unsupported.says(format!(
        "no service at {}; there are inference.GRPCInferenceService and ncs4cvr.v1.Ranking, on the port \
         for gRPC",
        shown(path)
    ))
}

/// A refusal as a response that the caller of a request can read.
pub(crate) fn refusal(headers: &HeaderMap, refusal: ApiError) -> Response {
    match is_grpc(headers) {
        true => refused(refusal),
        false => refusal.into_response(),
    }
}

async fn handle(State(api): State<ApiState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if !is_grpc(&head.headers) {
        // Words for a caller that speaks no gRPC.
        let asked = RequestContext::now(Protocol::Http, Call::Other);
        let what = "this port speaks gRPC; HTTP has a port of its own";
        return api
            .service
            .refuse(&asked, Kind::NotFound.says(what))
            .into_response();
    }
    api.call(&head, body).await.unwrap_or_else(refused)
}

impl ApiState {
    async fn call(&self, head: &Parts, body: Body) -> Result<Response, ApiError> {
        let path = head.uri.path().trim_start_matches('/');
        let called = match path.split_once('/') {
            _ if head.method != Method::POST => Err(Kind::Method.says("a call of gRPC is a POST")),
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
                None => Err(small::not_had(method)),
            },
            Some(("ncs4cvr.v1.Ranking", method)) => {
                Err(small::no_method(method, "ncs4cvr.v1.Ranking has Rank"))
            }
            _ => Err(no_service(path)),
        };
        let asked = RequestContext::now(Protocol::Grpc, Call::Other);
        called.map_err(|refusal| self.service.refuse(&asked, refusal))
    }

    async fn rank_by_proto(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let (asked, packed) = self.received(Call::Rank, headers, body).await?;
        let limit = self.body.bytes;
        let read = move |accepts: &Accepts| {
            let request = rank_proto::decode(packed.unpack(limit)?, accepts)?;
            Ok((rank_proto::question(request, accepts)?, ()))
        };
        let (api, packing) = (self.clone(), packing(headers));
        let say = move |answer: Answer, (): ()| {
            let share = api.room_for(&answer)?;
            Ok(framed(&rank_proto::answer(answer), packing, share))
        };
        let answer = self.service.ask(asked, read, say).await?;
        Ok(unary(answer, packing))
    }

    async fn infer_by_proto(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let (asked, packed) = self.received(Call::Infer, headers, body).await?;
        let packing = packing(headers);
        let whole = |response| response;
        let answer = self
            .infer_packed(asked, packed, packing, Arc::default(), whole)
            .await?;
        Ok(unary(answer, packing))
    }

    /// The only message of a call that asks a question; why it is refused is told.
    async fn received(
        &self,
        call: Call,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(RequestContext, Packed), ApiError> {
        let mut asked = RequestContext::now(Protocol::Grpc, call);
        let received = async {
            asked.said_by(headers)?;
            message::only(headers, body, &self.body, &self.budget).await
        };
        match received.await {
            Ok(packed) => {
                asked.clock.end(Stage::Receive);
                Ok((asked, packed))
            }
            Err(refusal) => Err(self.service.refuse(&asked, refusal)),
        }
    }

    /// The answer to an infer question, in what `wrap` makes of it. The question's id is kept in `id`.
    async fn infer_packed<M: prost::Message>(
        &self,
        asked: RequestContext,
        packed: Packed,
        packing: Encoding,
        id: Arc<OnceLock<String>>,
        wrap: impl FnOnce(ModelInferResponse) -> M + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let limit = self.body.bytes;
        let read = move |accepts: &Accepts| {
            let request: ModelInferRequest = infer_proto::decode(packed.unpack(limit)?, accepts)?;
            // A question is read once.
            let _ = id.set(request.id.clone());
            check_name(&request.model_name)?;
            let mut asked = infer_proto::read(request, accepts)?;
            Ok((std::mem::take(&mut asked.question), asked))
        };
        let api = self.clone();
        let say = move |answer: Answer, asked: InferQuestion| {
            let share = api.room_for(&answer)?;
            let response = infer_proto::say(&answer, asked.outputs.as_deref())?;
            Ok(framed(&wrap(response), packing, share))
        };
        self.service.ask(asked, read, say).await
    }

    /// Questions and answers in turn: an answer that fails does not end the stream.
    async fn infer_stream(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let mut first = RequestContext::now(Protocol::Grpc, Call::Infer);
        let begun = first
            .said_by(headers)
            .and_then(|()| Messages::of(headers, body, self.body, &self.budget));
        let mut questions = begun.map_err(|refusal| self.service.refuse(&first, refusal))?;
        let (answers, receiver) = mpsc::channel(1);
        let (api, packing) = (self.clone(), packing(headers));
        tokio::spawn(async move {
            // A caller that says nothing for long is gone, or holds a place for nothing.
            while let Ok(question) = timeout(STREAM_IDLE, questions.next()).await {
                let Some(question) = question.transpose() else {
                    return;
                };
                let answer = match question {
                    Ok(question) => api.next_answer(&first, question, packing).await,
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

    /// The next answer of a stream; only a fault of the server ends it.
    async fn next_answer(
        &self,
        first: &RequestContext,
        question: Packed,
        packing: Encoding,
    ) -> Result<Bytes, ApiError> {
        let mut asked = RequestContext::now(Protocol::Grpc, Call::Infer);
        asked.id = first.id.clone();
        asked.traceparent = first.traceparent.clone();
        let id: Arc<OnceLock<String>> = Arc::default();
        let wrap = |answer| ModelStreamInferResponse {
            infer_response: Some(answer),
            ..ModelStreamInferResponse::default()
        };
        match self
            .infer_packed(asked, question, packing, id.clone(), wrap)
            .await
        {
            Err(refusal) if refusal.kind != Kind::Internal => {
                let said = ModelStreamInferResponse {
                    error_message: refusal.what,
                    infer_response: Some(ModelInferResponse {
                        id: id.get().cloned().unwrap_or_default(),
                        ..ModelInferResponse::default()
                    }),
                };
                answer::small(&said, packing, &self.budget)
            }
            answered => answered,
        }
    }

    /// The limits of a message that asks no question.
    fn small_body(&self) -> BodyLimits {
        BodyLimits {
            bytes: SMALL.min(self.body.bytes),
            ..self.body
        }
    }
}

impl RequestContext {
    /// Takes what the metadata of a call say of it.
    fn said_by(&mut self, metadata: &HeaderMap) -> Result<(), ApiError> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        self.id = text("x-request-id").and_then(plain_id);
        self.traceparent = text("traceparent").and_then(plain_trace);
        self.timeout = text("grpc-timeout").map(grpc_timeout).transpose()?;
        Ok(())
    }
}
