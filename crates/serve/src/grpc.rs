//! The services of gRPC.

use crate::door::{Door, EXTENSIONS, SERVER, check_name, grpc_timeout};
use crate::http::plain_id;
use crate::proto::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use crate::proto::inference::*;
use crate::proto::ranking::ranking_server::{Ranking, RankingServer};
use crate::proto::ranking::{RankRequest, RankResponse};
use crate::question::Answer;
use crate::refusal::{Kind, Refusal};
use crate::service::Asked;
use crate::telemetry::{Call, Protocol, Stage};
use crate::wire::infer::InferQuestion;
use crate::wire::{Accepts, infer_proto, rank_proto};
use axum::Router;
use axum::middleware::{Next, from_fn, map_request};
use axum::response::IntoResponse;
use axum::routing::any;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// How long a stream may be without a question.
const STREAM_IDLE: Duration = Duration::from_secs(75);

/// All services of a port that speaks gRPC alone.
pub fn router(door: Door) -> Router {
    services(door).fallback(unknown)
}

/// The services, by their paths.
pub fn services(door: Door) -> Router {
    let most = door.body.bytes;
    let most_time = door.body.time + door.service.time;
    let inference = GrpcInferenceServiceServer::new(door.clone())
        .max_decoding_message_size(most)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let ranking = RankingServer::new(door)
        .max_decoding_message_size(most)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let router = Router::new()
        .route_service("/inference.GRPCInferenceService/{method}", inference)
        .route_service("/ncs4cvr.v1.Ranking/{method}", ranking)
        .layer(map_request(as_the_caller_packs))
        .layer(from_fn(move |request, next| {
            within(most_time, request, next)
        }));
    let paths = NOT_HAD.map(|call| format!("/inference.GRPCInferenceService/{call}"));
    paths
        .iter()
        .fold(router, |router, path| router.route(path, any(not_had)))
}

/// Calls of the protocol that the server does not have, and clients do.
const NOT_HAD: [&str; 8] = [
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
];

async fn not_had(uri: http::Uri) -> axum::response::Response {
    let what = match uri.path().rsplit('/').next() {
        Some("TraceSetting") => "trace settings; start it with --otlp",
        Some("LogSettings") => "log settings; set NCS_LOG when it starts",
        _ => "shared memory",
    };
    Status::from(Kind::Unsupported.says(format!("not supported: this server has no {what}")))
        .into_http()
}

/// A message must arrive and be answered within this time; a stream must begin to.
async fn within(
    time: Duration,
    request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    let late = |_| {
        let what = format!("no whole message within {} ms", time.as_millis());
        Status::from(Kind::Late.says(what)).into_http()
    };
    timeout(time, next.run(request)).await.unwrap_or_else(late)
}

/// Answers are packed for callers who pack their questions. Nearly all clients say that they can unpack,
/// and to pack scores takes longer than to send them.
async fn as_the_caller_packs(mut request: axum::extract::Request) -> axum::extract::Request {
    let headers = request.headers_mut();
    let encoding = headers.get("grpc-encoding");
    if encoding.is_none_or(|encoding| encoding == "identity") {
        headers.remove("grpc-accept-encoding");
    }
    request
}

/// A service that is not there; a caller that speaks no gRPC gets words that it can read.
async fn unknown(request: axum::extract::Request) -> axum::response::Response {
    let content = request.headers().get(http::header::CONTENT_TYPE);
    let is_grpc =
        content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"));
    let refusal = match is_grpc {
        true => {
            Kind::Unsupported.says("no such service; there are GRPCInferenceService and Ranking")
        }
        false => Kind::NotFound.says("this port speaks gRPC; HTTP has a port of its own"),
    };
    match is_grpc {
        true => Status::from(refusal).into_http(),
        false => refusal.into_response(),
    }
}

/// What the metadata of a call say of it.
fn asked(call: Call, metadata: &MetadataMap) -> Result<Asked, Refusal> {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    let mut asked = Asked::now(Protocol::Grpc, call);
    asked.clock.end(Stage::Receive);
    asked.id = text("x-request-id").and_then(plain_id);
    asked.traceparent = text("traceparent").map(str::to_owned);
    asked.timeout = text("grpc-timeout").map(grpc_timeout).transpose()?;
    Ok(asked)
}

fn authorization(metadata: &MetadataMap) -> Option<&str> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
}

impl Door {
    async fn infer_by_proto(
        &self,
        asked: Asked,
        request: ModelInferRequest,
    ) -> Result<ModelInferResponse, Refusal> {
        let read = move |accepts: &Accepts| {
            check_name(&request.model_name)?;
            let mut asked = infer_proto::read(request, accepts)?;
            Ok((std::mem::take(&mut asked.question), asked))
        };
        let say = |answer: Answer, asked: InferQuestion| {
            infer_proto::say(&answer, asked.outputs.as_deref())
        };
        self.service.ask(asked, read, say).await
    }
}

/// A version that a message names; an empty text names none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

#[tonic::async_trait]
impl Ranking for Door {
    async fn rank(&self, request: Request<RankRequest>) -> Result<Response<RankResponse>, Status> {
        let asked = asked(Call::Rank, request.metadata())?;
        let request = request.into_inner();
        let read = move |accepts: &Accepts| Ok((rank_proto::question(request, accepts)?, ()));
        let say = |answer: Answer, (): ()| Ok(rank_proto::answer(answer));
        Ok(Response::new(self.service.ask(asked, read, say).await?))
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Door {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        self.tell(Call::Live, async { Ok(ServerLiveResponse { live: true }) })
            .await
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.service.is_ready();
        self.tell(Call::Ready, async { Ok(ServerReadyResponse { ready }) })
            .await
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let request = request.into_inner();
        let is_ready = async {
            match self.find(&request.name, named(&request.version)) {
                Ok(_) => Ok(ModelReadyResponse { ready: true }),
                Err(refusal) if refusal.kind == Kind::NotFound => {
                    Ok(ModelReadyResponse { ready: false })
                }
                Err(refusal) => Err(refusal),
            }
        };
        self.tell(Call::ModelReady, is_ready).await
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        let metadata = ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).into(),
        };
        self.tell(Call::Metadata, async { Ok(metadata) }).await
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let request = request.into_inner();
        let describe = async {
            let description = self.describe(&request.name, named(&request.version))?;
            Ok(description.to_proto())
        };
        self.tell(Call::ModelMetadata, describe).await
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let asked = asked(Call::Infer, request.metadata())?;
        let answer = self.infer_by_proto(asked, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    type ModelStreamInferStream = Answers;

    /// Questions and answers in turn: an answer that fails does not end the stream.
    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let first = asked(Call::Infer, request.metadata())?;
        let mut questions = request.into_inner();
        let (answers, receiver) = mpsc::channel(1);
        let door = self.clone();
        tokio::spawn(async move {
            // A caller that says nothing for long is gone, or holds a place for nothing.
            while let Ok(question) = timeout(STREAM_IDLE, questions.message()).await {
                let Some(question) = question.transpose() else {
                    return;
                };
                let answer = match question {
                    Ok(question) => door.next_answer(&first, question).await,
                    Err(status) => Err(status),
                };
                let is_last = answer.is_err();
                if answers.send(answer).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(Answers(receiver)))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let request = request.into_inner();
        let describe = async {
            let description = self.describe(&request.name, named(&request.version))?;
            let config = Some(description.config_proto());
            Ok(ModelConfigResponse { config })
        };
        self.tell(Call::ModelConfig, describe).await
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let request = request.into_inner();
        let count = async {
            let model_stats = self.statistics(named(&request.name), named(&request.version))?;
            Ok(ModelStatisticsResponse { model_stats })
        };
        self.tell(Call::ModelStatistics, count).await
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let ready = request.into_inner().ready;
        let model = |entry: crate::repository::Entry| repository_index_response::ModelIndex {
            name: entry.name,
            version: entry.version,
            state: entry.state.to_owned(),
            reason: entry.reason,
        };
        let index = async {
            let entries = self.off_the_network(move |service| Ok(service.repository.index(ready)));
            let models = entries.await?.into_iter().map(model).collect();
            Ok(RepositoryIndexResponse { models })
        };
        self.tell(Call::Index, index).await
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let load = async {
            self.check_admin(authorization(request.metadata()))?;
            let request = request.get_ref();
            if !request.parameters.is_empty() {
                let what =
                    "models are loaded from their folders as they are; leave the parameters out";
                return Err(Kind::Unsupported.says(what));
            }
            let name = request.model_name.clone();
            self.off_the_network(move |service| service.repository.load(&name))
                .await?;
            Ok(RepositoryModelLoadResponse {})
        };
        self.tell(Call::Load, load).await
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        let unload = async {
            self.check_admin(authorization(request.metadata()))?;
            let name = request.get_ref().model_name.clone();
            self.off_the_network(move |service| service.repository.unload(&name))
                .await?;
            Ok(RepositoryModelUnloadResponse {})
        };
        self.tell(Call::Unload, unload).await
    }
}

impl Door {
    /// Does something that no worker is needed for, and tells of it.
    async fn tell<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<Response<T>, Status> {
        let asked = Asked::now(Protocol::Grpc, call);
        let said = work.await;
        self.service.done(&asked, said.as_ref().err());
        Ok(Response::new(said?))
    }

    /// The next answer of a stream; only a fault of the server ends it.
    async fn next_answer(
        &self,
        first: &Asked,
        question: ModelInferRequest,
    ) -> Result<ModelStreamInferResponse, Status> {
        let id = question.id.clone();
        let mut asked = Asked::now(Protocol::Grpc, Call::Infer);
        asked.id = first.id.clone();
        asked.traceparent = first.traceparent.clone();
        match self.infer_by_proto(asked, question).await {
            Ok(answer) => Ok(ModelStreamInferResponse {
                infer_response: Some(answer),
                ..ModelStreamInferResponse::default()
            }),
            Err(refusal) if refusal.kind == Kind::Internal => Err(refusal.into()),
            Err(refusal) => Ok(ModelStreamInferResponse {
                error_message: refusal.what,
                infer_response: Some(ModelInferResponse {
                    id,
                    ..ModelInferResponse::default()
                }),
            }),
        }
    }
}

/// The answers of a stream.
#[derive(Debug)]
pub struct Answers(mpsc::Receiver<Result<ModelStreamInferResponse, Status>>);

impl tonic::codegen::tokio_stream::Stream for Answers {
    type Item = Result<ModelStreamInferResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_server_does_not_have_is_said_in_words() {
        let check = async |call: &str, expected: &str| {
            let path = format!("/inference.GRPCInferenceService/{call}");
            let response = not_had(path.parse().unwrap()).await;
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), tonic::Code::Unimplemented);
            assert!(status.message().contains(expected), "{status}");
        };
        check("CudaSharedMemoryRegister", "no shared memory").await;
        check("TraceSetting", "start it with --otlp").await;
        check("LogSettings", "set NCS_LOG").await;
    }

    #[tokio::test]
    async fn answers_are_packed_for_callers_who_pack() {
        let check = async |encoding: Option<&str>, is_packed: bool| {
            let mut request = axum::extract::Request::new(axum::body::Body::empty());
            let headers = request.headers_mut();
            headers.insert("grpc-accept-encoding", "gzip".parse().unwrap());
            if let Some(encoding) = encoding {
                headers.insert("grpc-encoding", encoding.parse().unwrap());
            }
            let request = as_the_caller_packs(request).await;
            let accepts = request.headers().contains_key("grpc-accept-encoding");
            assert_eq!(accepts, is_packed, "{encoding:?}");
        };
        check(None, false).await;
        check(Some("identity"), false).await;
        check(Some("gzip"), true).await;
    }
}
