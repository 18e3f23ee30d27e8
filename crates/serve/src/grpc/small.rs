//! Calls other than rank and infer: about the server, a model, or the repository.

use super::answer::{packing, small, unary};
use super::message::only;
use crate::api_error::{ApiError, ErrorKind};
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

/// Returns the error of a method of the protocol that this server does not support.
pub(super) fn unsupported(method: &str) -> ApiError {
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
    ErrorKind::Unsupported.error(format!("not supported: this server has no {what}"))
}

/// Returns the error of a method that a service does not have.
pub(super) fn no_method(method: &str, hint: &str) -> ApiError {
    ErrorKind::Unsupported.error(format!("no method \"{}\"; {hint}", shown(method)))
}

impl Call {
    /// Returns the call of `GRPCInferenceService` with this name, other than infer.
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

/// Returns the version that a message names; `None` for an empty text.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

impl ApiState {
    /// Answers a call that needs no worker, and reports it to the telemetry.
    pub(super) async fn small_call(
        &self,
        call: Call,
        head: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        let context = RequestContext::now(Protocol::Grpc, call);
        let response = match call {
            Call::Live | Call::Ready | Call::Metadata => self.server_call(call, head, body).await,
            Call::Index | Call::Load | Call::Unload => self.repository_call(call, head, body).await,
            _ => self.model_call(call, head, body).await,
        };
        self.service.done(&context, response.as_ref().err());
        response
    }

    async fn server_call(
        &self,
        call: Call,
        head: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
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

    async fn model_call(&self, call: Call, head: &Parts, body: Body) -> Result<Response, ApiError> {
        match call {
            Call::ModelReady => {
                let request: ModelReadyRequest = self.read(head, body).await?;
                let ready = match self.find(&request.name, named(&request.version)) {
                    Ok(_) => true,
                    Err(refusal) if refusal.kind == ErrorKind::NotFound => false,
                    Err(refusal) => return Err(refusal),
                };
                self.reply(head, &ModelReadyResponse { ready })
            }
            Call::ModelMetadata => {
                let request: ModelMetadataRequest = self.read(head, body).await?;
                let description = self.describe(&request.name, named(&request.version))?;
                self.reply(head, &description.to_proto())
            }
            Call::ModelConfig => {
                let request: ModelConfigRequest = self.read(head, body).await?;
                let description = self.describe(&request.name, named(&request.version))?;
                let config = Some(description.config_proto());
                self.reply(head, &ModelConfigResponse { config })
            }
            _ => {
                let request: ModelStatisticsRequest = self.read(head, body).await?;
                let versions = self.versions(named(&request.name), named(&request.version))?;
                let model_stats = versions
                    .iter()
                    .map(|(model, version)| statistics(model, version))
                    .collect();
                self.reply(head, &ModelStatisticsResponse { model_stats })
            }
        }
    }

    async fn repository_call(
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
                self.check_admin(&Caller::new(&head.headers, &head.extensions))
                    .await?;
                let request: RepositoryModelLoadRequest = self.read(head, body).await?;
                if !request.parameters.is_empty() {
                    let what = "models are loaded from their folders as they are; leave the \
                                parameters out";
                    return Err(ErrorKind::Unsupported.error(what));
                }
                let name = request.model_name;
                self.run_blocking(move |service| service.repository.load(&name))
                    .await?;
                self.reply(head, &RepositoryModelLoadResponse {})
            }
            _ => {
                self.check_admin(&Caller::new(&head.headers, &head.extensions))
                    .await?;
                let request: RepositoryModelUnloadRequest = self.read(head, body).await?;
                let name = request.model_name;
                self.run_blocking(move |service| service.repository.unload(&name))
                    .await?;
                self.reply(head, &RepositoryModelUnloadResponse {})
            }
        }
    }

    /// Reads the message of a call. It is small, so it is decoded here.
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
    fn unsupported_methods_are_explained() {
        let check = |method: &str, expected: &str| {
            let refusal = unsupported(method);
            assert_eq!(refusal.kind.code(), tonic::Code::Unimplemented);
            assert!(refusal.message.contains(expected), "{refusal}");
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
