//! What is known of a request when it has been answered.

use super::ServedVersion;
use crate::{ApiError, Kind};
use http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tonic::Code;

/// One request that was answered or refused.
#[derive(Clone, Debug)]
pub struct Record {
    /// The protocol it came in.
    pub protocol: Protocol,
    /// What was called.
    pub call: Call,
    /// The request's name, the caller's or ours.
    pub request_id: String,
    /// The header `traceparent` (W3C Trace Context), as it came.
    pub traceparent: Option<String>,
    /// The version that answered, or that would have.
    pub served: Option<Arc<ServedVersion>>,
    /// The label under which that version was asked, where under one.
    pub label: Option<&'static str>,
    /// How many candidates were to be scored.
    pub n_candidates: usize,
    /// Why it was refused, where it was.
    pub refused: Option<ApiError>,
    /// When its first byte was read, by the calendar.
    pub started: SystemTime,
    /// The same moment, by the clock that stages are measured with.
    pub began: Instant,
    /// What took how long.
    pub stages: Stages,
}

impl Record {
    /// A request of which nothing else is known yet.
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

    /// The code of the answer: the status in HTTP, the name of the code in gRPC.
    pub fn code(&self) -> String {
        code(self.protocol, self.kind())
    }

    /// What kind of refusal it got, if it did.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.refused.as_ref().map(|refusal| refusal.kind)
    }

    /// The calendar's time of a moment of this request.
    pub(super) fn calendar(&self, moment: Instant) -> SystemTime {
        self.started + moment.saturating_duration_since(self.began)
    }
}

/// A protocol that requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP with JSON or binary tensors.
    Http,
    /// gRPC.
    Grpc,
}

impl Protocol {
    /// All of them, each at its place.
    pub(super) const ALL: [Protocol; 2] = [Protocol::Http, Protocol::Grpc];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        }
    }
}

/// What a request calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Score the candidates of one user.
    Rank,
    /// The same in the words of the Open Inference Protocol.
    Infer,
    /// Is the server alive?
    Live,
    /// Is it ready?
    Ready,
    /// Is a model ready?
    ModelReady,
    /// The metrics themselves.
    Metrics,
    /// What the server is.
    Metadata,
    /// What a model takes and gives.
    ModelMetadata,
    /// A model's settings.
    ModelConfig,
    /// A model's statistics.
    ModelStatistics,
    /// VersionSelector models there are.
    Index,
    /// Load a model.
    Load,
    /// Unload a model.
    Unload,
    /// Move a label to another version.
    Label,
    /// Anything else.
    Other,
}

impl Call {
    /// All of them, each at its place.
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

    /// The name in metrics, logs and traces.
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

    /// Whether this is asked every few seconds by those who watch the server, and so not traced.
    pub(super) fn is_probe(self) -> bool {
        matches!(
            self,
            Call::Live | Call::Ready | Call::ModelReady | Call::Metrics
        )
    }
}

/// A part of the work on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body arrives.
    Receive,
    /// It waits for a worker.
    Queue,
    /// Bytes become columns.
    Parse,
    /// Columns become ids.
    Encode,
    /// Ids become scores.
    Score,
    /// Scores become bytes.
    Answer,
}

impl Stage {
    /// All of them, each at its place.
    pub(super) const ALL: [Stage; 6] = [
        Stage::Receive,
        Stage::Queue,
        Stage::Parse,
        Stage::Encode,
        Stage::Score,
        Stage::Answer,
    ];

    /// The name in metrics, logs and traces.
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

/// From when until when each [`Stage`] lasted, of those that happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages([Option<(Instant, Instant)>; Stage::ALL.len()]);

impl Stages {
    /// `stage` lasted from `from` until `until`.
    pub fn set(&mut self, stage: Stage, from: Instant, until: Instant) {
        self.0[stage as usize] = Some((from, until));
    }

    /// From when until when `stage` lasted, if it happened.
    pub fn get(&self, stage: Stage) -> Option<(Instant, Instant)> {
        self.0[stage as usize]
    }

    /// How long `stage` lasted, if it happened.
    pub fn duration(&self, stage: Stage) -> Option<Duration> {
        let (from, until) = self.get(stage)?;
        Some(until.saturating_duration_since(from))
    }
}

/// The code of an answer, or of a refusal of some kind.
pub(super) fn code(protocol: Protocol, refused: Option<Kind>) -> String {
    match protocol {
        Protocol::Http => refused
            .map_or(StatusCode::OK, Kind::status)
            .as_str()
            .to_owned(),
        Protocol::Grpc => grpc_name(refused.map_or(Code::Ok, Kind::code)).to_owned(),
    }
}

/// A code's name in gRPC's own spelling.
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
    fn all_stand_at_their_places() {
        let check = |places: &[usize]| {
            assert!(
                places.iter().copied().eq(0..places.len()),
                "{places:?} is out of order"
            );
        };
        check(&Protocol::ALL.map(|protocol| protocol as usize));
        check(&Call::ALL.map(|call| call as usize));
        check(&Stage::ALL.map(|stage| stage as usize));
    }
}
