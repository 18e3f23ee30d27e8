//! Metrics in OpenMetrics text, [`logs`] and [`traces`] for operators.
//!
//! Each request produces one [`Record`] when it has been answered; [`Telemetry::done`] turns it into
//! counters, a log line and spans. The counters of a model version are in its [`ServedVersion`], which is
//! created when the version is loaded; when its last owner drops it, its series are removed.
//!
//! ```
//! use ncs_serve::telemetry::*;
//! use std::time::{Instant, SystemTime};
//!
//! let telemetry = Telemetry::new(None);
//! let by = ServedBy { model: "ctcvr".into(), version: 3, hash: "5f3a".into() };
//! let served = telemetry.serve(by, &["ctr", "cvr"], &["user", "item"]);
//! served.scores(0, &[0.02, 0.31]);
//!
//! let mut record = Record::new(Protocol::Http, Call::Rank, SystemTime::now(), Instant::now());
//! record.served = Some(served);
//! record.n_candidates = 2;
//! telemetry.done(&record);
//! let counted = r#"ncs_requests_total{protocol="http",call="rank",model="ctcvr",code="200"} 1"#;
//! assert!(telemetry.metrics().contains(counted));
//! ```

mod histogram;
pub mod logs;
mod models;
mod process;
mod rate_limit;
mod record;
mod requests;
mod served;
pub mod traces;

pub(crate) use process::resident_bytes;
pub use record::{Call, Protocol, Record, Stage, Stages};
pub use served::{ServedBy, ServedVersion};

use models::Models;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use requests::Durations;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traces::Traces;

/// The content type of [`Telemetry::metrics`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics, logs and traces, shared by the whole server.
#[derive(Debug)]
pub struct Telemetry {
    /// Requests waiting for a worker.
    pub queue_depth: Gauge,
    /// Bytes of requests and responses in progress.
    pub body_bytes: Gauge,
    /// Upper bound of the server's memory in bytes, computed from its limits.
    pub memory_bound: Gauge,
    /// 1 if the server is ready, else 0.
    pub ready: Gauge,
    /// Rows in closed files of the score log.
    pub score_log_rows: Counter,
    /// Rows lost by the score log because its queue was full or writing failed.
    pub score_log_dropped: Counter,
    /// Rows that are neither written nor lost yet.
    pub score_log_pending: Gauge,
    /// Requests that the shadows skipped because their queue was full.
    pub shadow_dropped: Counter,
    /// Requests whose context was kept from an earlier one.
    pub context_hits: Counter,
    /// Requests whose context was computed, with a cache of contexts.
    pub context_misses: Counter,
    /// Memory of the contexts that are kept, in bytes.
    pub context_bytes: Gauge,
    connections: Family<[(&'static str, String); 1], Gauge>,
    loads: Family<[(&'static str, String); 2], Counter>,
    looked_up: Family<[(&'static str, String); 2], Counter>,
    durations: Arc<Durations>,
    models: Arc<Models>,
    registry: Registry,
    refusals: logs::Refusals,
    traces: Option<Traces>,
}

/// Result of loading a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The version was read whole, and is valid.
    Loaded,
    /// The version was made from a delta and the version that it is against, and is valid.
    Updated,
    /// A delta could not be applied; the version was read whole.
    DeltaFailed,
    /// The version is invalid; the versions being served are unchanged.
    Failed,
}

impl Telemetry {
    /// Creates the telemetry with all counters at zero; spans are sent to `traces`, if given.
    pub fn new(traces: Option<Traces>) -> Arc<Telemetry> {
        let mut telemetry = Telemetry {
            queue_depth: Gauge::default(),
            body_bytes: Gauge::default(),
            memory_bound: Gauge::default(),
            ready: Gauge::default(),
            score_log_rows: Counter::default(),
            score_log_dropped: Counter::default(),
            score_log_pending: Gauge::default(),
            shadow_dropped: Counter::default(),
            context_hits: Counter::default(),
            context_misses: Counter::default(),
            context_bytes: Gauge::default(),
            connections: Family::default(),
            loads: Family::default(),
            looked_up: Family::default(),
            durations: Arc::default(),
            models: Arc::default(),
            registry: Registry::default(),
            refusals: logs::Refusals::default(),
            traces,
        };
        telemetry.register();
        Arc::new(telemetry)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge(
            "ncs_queue_depth",
            "Requests waiting for a worker",
            &self.queue_depth,
        );
        gauge(
            "ncs_body_bytes",
            "Bytes of requests and responses in progress",
            &self.body_bytes,
        );
        gauge(
            "ncs_memory_bound_bytes",
            "Upper bound of the server's memory, computed from its limits",
            &self.memory_bound,
        );
        gauge(
            "ncs_ready",
            "1 if the server is ready for requests",
            &self.ready,
        );
        gauge(
            "ncs_score_log_pending_rows",
            "Rows waiting for the score log or in its open files",
            &self.score_log_pending,
        );
        gauge(
            "ncs_context_cache_bytes",
            "Memory of the contexts of recent requests",
            &self.context_bytes,
        );
        self.register_counters();
        let registry = &mut self.registry;
        registry.register("ncs_build", "Version and platform of the server", build());
        registry.register_collector(Box::new(self.durations.clone()));
        registry.register_collector(Box::new(self.models.clone()));
        registry.register_collector(Box::new(process::Process));
    }

    fn register_counters(&mut self) {
        let registry = &mut self.registry;
        let mut count = |name, help, count: &Counter| registry.register(name, help, count.clone());
        count(
            "ncs_score_log_rows",
            "Rows in closed files of the score log",
            &self.score_log_rows,
        );
        count(
            "ncs_score_log_dropped",
            "Rows lost by the score log: its queue was full, or writing failed",
            &self.score_log_dropped,
        );
        count(
            "ncs_shadow_dropped",
            "Requests skipped by the shadows: their queue was full",
            &self.shadow_dropped,
        );
        count(
            "ncs_context_cache_hits",
            "Requests whose context was kept from an earlier one",
            &self.context_hits,
        );
        count(
            "ncs_context_cache_misses",
            "Requests whose context was computed and kept",
            &self.context_misses,
        );
        registry.register(
            "ncs_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "ncs_model_loads",
            "Attempts to load a version",
            self.loads.clone(),
        );
        registry.register(
            "ncs_lookup_values",
            "Ids of requests by which features were looked up, found or unknown",
            self.looked_up.clone(),
        );
    }

    /// Registers a version: its outputs (the tasks, then their product) and its columns, in the order of the
    /// later indices. Its series exist as long as it does; if the same version is registered again, they
    /// start from zero.
    pub fn serve(
        &self,
        by: ServedBy,
        tasks: &[impl AsRef<str>],
        columns: &[impl AsRef<str>],
    ) -> Arc<ServedVersion> {
        self.models.serve(by, tasks, columns)
    }

    /// Returns the gauge of open connections of a port. Call it once per port.
    pub fn connections(&self, port: &str) -> Gauge {
        self.connections
            .get_or_create_owned(&[("port", port.to_owned())])
    }

    /// Counts the result of loading a version of `model`. Call it for the server's own models only, since
    /// each name is kept.
    pub fn loaded(&self, model: &str, outcome: LoadOutcome) {
        let outcome = match outcome {
            LoadOutcome::Loaded => "loaded",
            LoadOutcome::Updated => "updated",
            LoadOutcome::DeltaFailed => "delta_failed",
            LoadOutcome::Failed => "failed",
        };
        let labels = [("model", model.to_owned()), ("outcome", outcome.to_owned())];
        self.loads.get_or_create(&labels).inc();
    }

    /// Counts the ids of a request by which features were looked up in the column `key`.
    pub fn looked_up(&self, key: &str, found: u64, unknown: u64) {
        for (outcome, n) in [("found", found), ("unknown", unknown)] {
            let labels = [("key", key.to_owned()), ("outcome", outcome.to_owned())];
            self.looked_up.get_or_create(&labels).inc_by(n);
        }
    }

    /// Counts, logs and traces a request that has just been answered.
    pub fn done(&self, record: &Record) {
        self.done_at(record, Instant::now());
    }

    /// Like [`done`](Self::done), for a request that was answered at `ended`.
    pub fn done_at(&self, record: &Record, ended: Instant) {
        self.durations.count(record, ended);
        match &record.served {
            Some(served) => served.requests.count(record),
            None => self.models.unmatched.count(record),
        }
        if let Some(traces) = &self.traces {
            traces.record(record, ended);
        }
        self.refusals.log(record, ended);
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn metrics(&self) -> String {
        let mut output = String::new();
        text::encode(&mut output, &self.registry).expect("writing to a string does not fail");
        output
    }

    /// Logs the number of suppressed log lines and sends waiting spans, for at most `bound`. Blocks; must be
    /// the last call.
    pub fn close(&self, bound: Duration) {
        self.refusals.close();
        if let Some(traces) = &self.traces {
            traces.shutdown(bound);
        }
    }
}

fn build() -> Info<[(&'static str, &'static str); 3]> {
    Info::new([
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("architecture", std::env::consts::ARCH),
    ])
}
