//! The record of a completed request.

use super::ServedVersion;
use crate::{ApiError, ErrorKind};
use http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tonic::Code;

/// A request that was answered or refused.
#[derive(Clone, Debug)]
pub struct Record {
    /// Protocol.
    pub protocol: Protocol,
    /// Call.
    pub call: Call,
    /// Request id, from the caller or generated.
    pub request_id: String,
    /// The header `traceparent` (W3C Trace Context), as received.
    pub traceparent: Option<String>,
    /// The selected version, if any.
    pub served: Option<Arc<ServedVersion>>,
    /// The label that selected the version, if any.
    pub label: Option<&'static str>,
    /// Number of candidates.
    pub n_candidates: usize,
    /// The error, if it was refused.
    pub refused: Option<ApiError>,
    /// Wall-clock time of the first byte.
    pub started: SystemTime,
    /// The same time on the monotonic clock of the stages.
    pub began: Instant,
    /// Times of the stages.
    pub stages: Stages,
}

impl Record {
    /// Creates a record with no other information yet.
    pub fn new(protocol: Protocol, call: Call, started: SystemTime, began: Instant) -> Record {
        Record {
            protocol,
            call,
            request_id: String::new(),
            traceparent: None,
            served: None,
            label: None,
            n_candidates: 0,
            refused: None,
            started,
            began,
            stages: Stages::default(),
        }
    }

    /// Returns the code of the response: the status in HTTP, the name of the code in gRPC.
    pub fn code(&self) -> String {
        code(self.protocol, self.kind())
    }

    /// Returns the kind of its error, if any.
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        self.refused.as_ref().map(|refusal| refusal.kind)
    }

    /// Returns the wall-clock time of a moment of this request.
    pub(super) fn wall_clock(&self, moment: Instant) -> SystemTime {
        self.started + moment.saturating_duration_since(self.began)
    }
}

/// Protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP with JSON or binary tensors.
    Http,
    /// gRPC.
    Grpc,
}

impl Protocol {
    /// All variants, in the order of their indices.
    pub(super) const ALL: [Protocol; 2] = [Protocol::Http, Protocol::Grpc];

    /// Returns the name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        }
    }
}

/// Call of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Score the candidates of one user (rank call).
    Rank,
    /// Score candidates with the infer call of the Open Inference Protocol.
    Infer,
    /// Liveness of the server.
    Live,
    /// Readiness of the server.
    Ready,
    /// Readiness of a model.
    ModelReady,
    /// Metrics.
    Metrics,
    /// Metadata of the server.
    Metadata,
    /// Metadata of a model.
    ModelMetadata,
    /// Configuration of a model.
    ModelConfig,
    /// Statistics of models.
    ModelStatistics,
    /// Index of the repository.
    Index,
    /// Load a model.
    Load,
    /// Unload a model.
    Unload,
    /// Read or set the labels of a model.
    Label,
    /// Anything else.
    Other,
}

impl Call {
    /// All variants, in the order of their indices.
    pub(super) const ALL: [Call; 15] = [
        Call::Rank,
        Call::Infer,
        Call::Live,
        Call::Ready,
        Call::ModelReady,
        Call::Metrics,
        Call::Metadata,
        Call::ModelMetadata,
        Call::ModelConfig,
        Call::ModelStatistics,
        Call::Index,
        Call::Load,
        Call::Unload,
        Call::Label,
        Call::Other,
    ];

    /// Returns the name in metrics, logs and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Call::Rank => "rank",
            Call::Infer => "infer",
            Call::Live => "live",
            Call::Ready => "ready",
            Call::ModelReady => "model_ready",
            Call::Metrics => "metrics",
            Call::Metadata => "metadata",
            Call::ModelMetadata => "model_metadata",
            Call::ModelConfig => "model_config",
            Call::ModelStatistics => "model_statistics",
            Call::Index => "index",
            Call::Load => "load",
            Call::Unload => "unload",
            Call::Label => "label",
            Call::Other => "other",
        }
    }

    /// Returns true for calls that monitoring makes every few seconds; they are not traced.
    pub(super) fn is_probe(self) -> bool {
        matches!(
            self,
            Call::Live | Call::Ready | Call::ModelReady | Call::Metrics
        )
    }
}

/// Stage of processing a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Receiving the body.
    Receive,
    /// Waiting for a worker thread.
    Queue,
    /// Parsing bytes into columns.
    Parse,
    /// Encoding columns into ids.
    Encode,
    /// Scoring.
    Score,
    /// Writing the response.
    Answer,
}

impl Stage {
    /// All variants, in the order of their indices.
    pub(super) const ALL: [Stage; 6] = [
        Stage::Receive,
        Stage::Queue,
        Stage::Parse,
        Stage::Encode,
        Stage::Score,
        Stage::Answer,
    ];

    /// Returns the name in metrics, logs and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Queue => "queue",
            Stage::Parse => "parse",
            Stage::Encode => "encode",
            Stage::Score => "score",
            Stage::Answer => "answer",
        }
    }
}

/// Start and end of each [`Stage`] that happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages([Option<(Instant, Instant)>; Stage::ALL.len()]);

impl Stages {
    /// Sets the start and end of `stage`.
    pub fn set(&mut self, stage: Stage, from: Instant, until: Instant) {
        self.0[stage as usize] = Some((from, until));
    }

    /// Returns the start and end of `stage`, if it happened.
    pub fn get(&self, stage: Stage) -> Option<(Instant, Instant)> {
        self.0[stage as usize]
    }

    /// Returns the duration of `stage`, if it happened.
    pub fn duration(&self, stage: Stage) -> Option<Duration> {
        let (from, until) = self.get(stage)?;
        Some(until.saturating_duration_since(from))
    }
}

/// Returns the code of a success (`None`) or of an error of this kind.
pub(super) fn code(protocol: Protocol, refused: Option<ErrorKind>) -> String {
    match protocol {
        Protocol::Http => refused
            .map_or(StatusCode::OK, ErrorKind::status)
            .as_str()
            .to_owned(),
        Protocol::Grpc => grpc_name(refused.map_or(Code::Ok, ErrorKind::code)).to_owned(),
    }
}

/// Returns a code's name as gRPC spells it.
fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_indices() {
        let check = |indices: &[usize]| {
            assert!(
                indices.iter().copied().eq(0..indices.len()),
                "{indices:?} is out of order"
            );
        };
        check(&Protocol::ALL.map(|protocol| protocol as usize));
        check(&Call::ALL.map(|call| call as usize));
        check(&Stage::ALL.map(|stage| stage as usize));
    }
}
