//! Calls that ask no question: of the server, of a model, of the repository.

use super::answer::{packing, small, unary};
use super::message::only;
use crate::api_error::{ApiError, Kind};
use crate::api_state::{ApiState, Caller, EXTENSIONS, SERVER};
use crate::description::statistics;
use crate::proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelMetadataRequest, ModelReadyRequest,
    ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse, repository_index_response::ModelIndex,
};
use crate::repository::Entry;
use crate::service::RequestContext;
use crate::telemetry::{Call, Protocol};
use crate::wire::proto_malformed;
use crate::words::shown;
use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use prost::Message;

/// Calls of the protocol that the server does not have, and clients do; what it has not.
pub(super) fn not_had(method: &str) -> ApiError {
    let what = match method {
        "TraceSetting" => "trace settings; start it with --otlp",
        "LogSettings" => "log settings; set NCS_LOG when it starts",
        "SystemSharedMemoryStatus"
        | "SystemSharedMemoryRegister"
        | "SystemSharedMemoryUnregister"
        | "CudaSharedMemoryStatus"
        | "CudaSharedMemoryRegister"
        | "CudaSharedMemoryUnregister" => "shared memory",
        _ => return no_method(method, "see crates/serve/proto/inference.proto"),
    };
    Kind::Unsupported.says(format!("not supported: this server has no {what}"))
}

/// A method that a service does not have.
pub(super) fn no_method(method: &str, hint: &str) -> ApiError {
    Kind::Unsupported.says(format!("no method \"{}\"; {hint}", shown(method)))
}

impl Call {
    /// The call of `GRPCInferenceService` with this name, among those that ask no question.
    pub(super) fn small(method: &str) -> Option<Call> {
        Some(match method {
            "ServerLive" => Call::Live,
            "ServerReady" => Call::Ready,
            "ServerMetadata" => Call::Metadata,
            "ModelReady" => Call::ModelReady,
            "ModelMetadata" => Call::ModelMetadata,
            "ModelConfig" => Call::ModelConfig,
            "ModelStatistics" => Call::ModelStatistics,
            "RepositoryIndex" => Call::Index,
            "RepositoryModelLoad" => Call::Load,
            "RepositoryModelUnload" => Call::Unload,
            _ => return None,
        })
    }
}

/// A version that a message names; an empty text names none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

impl ApiState {
    /// Does something that no worker is needed for, and tells of it.
    pub(super) async fn small_call(
        &self,
        call: Call,
        head: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        let asked = RequestContext::now(Protocol::Grpc, call);
        let answered = match call {
            Call::Live | Call::Ready | Call::Metadata => self.of_server(call, head, body).await,
            Call::Index | Call::Load | Call::Unload => self.of_repository(call, head, body).await,
            _ => self.of_model(call, head, body).await,
        };
        self.service.done(&asked, answered.as_ref().err());
        answered
    }

    async fn of_server(&self, call: Call, head: &Parts, body: Body) -> Result<Response, ApiError> {
        match call {
            Call::Live => {
                self.read::<ServerLiveRequest>(head, body).await?;
                self.reply(head, &ServerLiveResponse { live: true })
            }
            Call::Ready => {
                self.read::<ServerReadyRequest>(head, body).await?;
                let ready = self.service.is_ready();
                self.reply(head, &ServerReadyResponse { ready })
            }
            _ => {
                self.read::<ServerMetadataRequest>(head, body).await?;
                let metadata = ServerMetadataResponse {
                    name: SERVER.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    extensions: EXTENSIONS.map(str::to_owned).into(),
                };
                self.reply(head, &metadata)
            }
        }
    }

    async fn of_model(&self, call: Call, head: &Parts, body: Body) -> Result<Response, ApiError> {
        match call {
            Call::ModelReady => {
                let asked: ModelReadyRequest = self.read(head, body).await?;
                let ready = match self.find(&asked.name, named(&asked.version)) {
                    Ok(_) => true,
                    Err(refusal) if refusal.kind == Kind::NotFound => false,
                    Err(refusal) => return Err(refusal),
                };
                self.reply(head, &ModelReadyResponse { ready })
            }
            Call::ModelMetadata => {
                let asked: ModelMetadataRequest = self.read(head, body).await?;
                let description = self.describe(&asked.name, named(&asked.version))?;
                self.reply(head, &description.to_proto())
            }
            Call::ModelConfig => {
                let asked: ModelConfigRequest = self.read(head, body).await?;
                let description = self.describe(&asked.name, named(&asked.version))?;
                let config = Some(description.config_proto());
                self.reply(head, &ModelConfigResponse { config })
            }
            _ => {
                let asked: ModelStatisticsRequest = self.read(head, body).await?;
                let versions = self.versions(named(&asked.name), named(&asked.version))?;
                let model_stats = versions
                    .iter()
                    .map(|(model, version)| statistics(model, version))
                    .collect();
                self.reply(head, &ModelStatisticsResponse { model_stats })
            }
        }
    }

    async fn of_repository(
        &self,
        call: Call,
        head: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        match call {
            Call::Index => {
                let ready = self.read::<RepositoryIndexRequest>(head, body).await?.ready;
                let entries = self.index_of(ready).await?;
                let models = entries.into_iter().map(indexed).collect();
                self.reply(head, &RepositoryIndexResponse { models })
            }
            Call::Load => {
                self.check_admin(&Caller::of(head)).await?;
                let asked: RepositoryModelLoadRequest = self.read(head, body).await?;
                if !asked.parameters.is_empty() {
                    let what = "models are loaded from their folders as they are; leave the \
                                parameters out";
                    return Err(Kind::Unsupported.says(what));
                }
                let name = asked.model_name;
                self.off_the_network(move |service| service.repository.load(&name))
                    .await?;
                self.reply(head, &RepositoryModelLoadResponse {})
            }
            _ => {
                self.check_admin(&Caller::of(head)).await?;
                let asked: RepositoryModelUnloadRequest = self.read(head, body).await?;
                let name = asked.model_name;
                self.off_the_network(move |service| service.repository.unload(&name))
                    .await?;
                self.reply(head, &RepositoryModelUnloadResponse {})
            }
        }
    }

    /// The message of a call. It is small, so it is decoded here.
    async fn read<M: Message + Default>(&self, head: &Parts, body: Body) -> Result<M, ApiError> {
        let limits = self.small_body();
        let packed = only(&head.headers, body, &limits, &self.budget).await?;
        let message = packed.unpack(limits.bytes)?;
        M::decode(message).map_err(|error| proto_malformed(&error.to_string()))
    }

    fn reply(&self, head: &Parts, message: &impl Message) -> Result<Response, ApiError> {
        let packing = packing(&head.headers);
        Ok(unary(small(message, packing, &self.budget)?, packing))
    }
}

fn indexed(entry: Entry) -> ModelIndex {
    ModelIndex {
        name: entry.name,
        version: entry.version,
        state: entry.state.to_owned(),
        reason: entry.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_not_have_is_said_in_words() {
        let check = |method: &str, expected: &str| {
            let refusal = not_had(method);
            assert_eq!(refusal.kind.code(), tonic::Code::Unimplemented);
            assert!(refusal.what.contains(expected), "{refusal}");
        };
        check("CudaSharedMemoryRegister", "no shared memory");
        check("TraceSetting", "start it with --otlp");
        check("LogSettings", "set NCS_LOG");
        check(
            "ModelTrain",
            "no method \"ModelTrain\"; see crates/serve/proto",
        );
    }
}
