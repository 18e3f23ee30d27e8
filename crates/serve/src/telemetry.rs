//! Placeholder of the facade.
use crate::refusal::Refusal;
use crate::score_log::Entry;
use crate::stages::Stages;
use crate::version::{Identity, Scores, Version};
use std::sync::Arc;

/// Content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Over which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Rank.
    Rank,
    /// Infer.
    Infer,
}

/// A request.
#[derive(Debug)]
pub struct Record {
    /// Protocol.
    pub protocol: Protocol,
    /// Call.
    pub call: Call,
    /// Name.
    pub request_id: String,
    /// W3C.
    pub traceparent: Option<String>,
    /// Model.
    pub served: Option<Arc<Identity>>,
    /// Label.
    pub label: Option<&'static str>,
    /// Candidates.
    pub n_candidates: usize,
    /// Refusal.
    pub refused: Option<Refusal>,
    /// Stages.
    pub stages: Stages,
}

/// Telemetry.
#[derive(Debug, Default)]
pub struct Telemetry {}

impl Telemetry {
    /// Ready or not.
    pub fn set_ready(&self, _is_ready: bool) {}
    /// A request.
    pub fn done(&self, _record: &Record) {}
    /// Scores.
    pub fn scored(&self, _version: &Version, _scores: &Scores) {}
    /// Shadow dropped.
    pub fn shadow_dropped(&self, _n: u64) {}
    /// Compared.
    pub fn compared(&self, _shadow: &Version, _served: &Entry, _by_shadow: &Entry) {}
    /// Loaded.
    pub fn loaded(&self, _version: &Version) {}
    /// Unloaded.
    pub fn unloaded(&self, _version: &Version) {}
    /// Failed.
    pub fn failed(&self, _model: &str, _number: u64, _reason: &str) {}
    /// Listens.
    pub fn listens(&self, _port: &'static str, _counts: Arc<crate::listen::Counts>) {}
    /// Flush.
    pub fn flush(&self) {}
    /// Text.
    pub fn metrics(&self) -> String {
        String::new()
    }
}
