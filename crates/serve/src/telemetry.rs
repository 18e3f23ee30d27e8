//! What the server tells those who run it: metrics in OpenMetrics text, [`logs`] and [`traces`].
//!
//! A request leaves one [`Record`] when it has been answered; [`Telemetry::done`] turns it into
//! counters, a line in the log and spans. What is counted for a version of a model stands in its
//! [`ServedVersion`], which is made when the version is loaded; when the last owner drops it, its
//! series are gone.
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

/// All that is counted, logged and traced. Shared by the whole server.
#[derive(Debug)]
pub struct Telemetry {
    /// Requests that wait for a worker.
    pub queue_depth: Gauge,
    /// Bytes that requests and answers under way take.
    pub body_bytes: Gauge,
    /// The most memory that the server takes, by its limits.
    pub memory_bound: Gauge,
    /// 1 while the server is ready for requests, else 0.
    pub ready: Gauge,
    /// Rows in files of the score log that are closed.
    pub score_log_rows: Counter,
    /// Rows that the score log lost: its queue was full, or a file failed.
    pub score_log_dropped: Counter,
    /// Rows of which neither is known yet.
    pub score_log_pending: Gauge,
    /// Requests that the shadow left out, because its queue was full.
    pub shadow_dropped: Counter,
    connections: Family<[(&'static str, String); 1], Gauge>,
    loads: Family<[(&'static str, String); 2], Counter>,
    durations: Arc<Durations>,
    models: Arc<Models>,
    registry: Registry,
    refusals: logs::Refusals,
    traces: Option<Traces>,
}

/// How the loading of a version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// It can answer.
    Loaded,
    /// It cannot; what was served before is served still.
    Failed,
}

impl Telemetry {
    /// Nothing counted yet; spans go to `traces`, where there are some.
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
            connections: Family::default(),
            loads: Family::default(),
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
            "Requests that wait for a worker",
            &self.queue_depth,
        );
        gauge(
            "ncs_body_bytes",
            "Bytes that requests and answers under way take",
            &self.body_bytes,
        );
        gauge(
            "ncs_memory_bound_bytes",
            "The most memory that the server takes, by its limits",
            &self.memory_bound,
        );
        gauge(
            "ncs_ready",
            "1 while the server is ready for requests",
            &self.ready,
        );
        gauge(
            "ncs_score_log_pending_rows",
            "Rows that wait for the score log, or for its open files to be closed",
            &self.score_log_pending,
        );
        let mut count = |name, help, count: &Counter| registry.register(name, help, count.clone());
        count(
            "ncs_score_log_rows",
            "Rows in closed files of the score log",
            &self.score_log_rows,
        );
        count(
            "ncs_score_log_dropped",
            "Rows that the score log lost: its queue was full, or a file failed",
            &self.score_log_dropped,
        );
        count(
            "ncs_shadow_dropped",
            "Requests left out by the shadow, whose queue was full",
            &self.shadow_dropped,
        );
        registry.register(
            "ncs_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "ncs_model_loads",
            "Versions loaded, or tried",
            self.loads.clone(),
        );
        registry.register("ncs_build", "The server that this is", build());
        registry.register_collector(Box::new(self.durations.clone()));
        registry.register_collector(Box::new(self.models.clone()));
        registry.register_collector(Box::new(process::Process));
    }

    /// A version that is served from now on: its outputs (the tasks, then their product) and its
    /// columns, in the order in which they are counted later. Its series live as long as it does; where
    /// the same version is served anew, they start from zero.
    pub fn serve(
        &self,
        by: ServedBy,
        tasks: &[impl AsRef<str>],
        columns: &[impl AsRef<str>],
    ) -> Arc<ServedVersion> {
        self.models.serve(by, tasks, columns)
    }

    /// The open connections of one port: `inc` for each that opens, `dec` when it closes. Ask once.
    pub fn connections(&self, port: &str) -> Gauge {
        self.connections
            .get_or_create_owned(&[("port", port.to_owned())])
    }

    /// Counts a version of `model` that was loaded, or could not be. Only for models that the server
    /// knows, since each name is kept.
    pub fn loaded(&self, model: &str, outcome: LoadOutcome) {
        let outcome = match outcome {
            LoadOutcome::Loaded => "loaded",
            LoadOutcome::Failed => "failed",
        };
        let labels = [("model", model.to_owned()), ("outcome", outcome.to_owned())];
        self.loads.get_or_create(&labels).inc();
    }

    /// Counts, logs and traces a request that was answered just now.
    pub fn done(&self, record: &Record) {
        self.done_at(record, Instant::now());
    }

    /// As [`done`](Self::done), for a request that was answered at `ended`.
    pub fn done_at(&self, record: &Record, ended: Instant) {
        self.durations.count(record, ended);
        match &record.served {
            Some(served) => served.requests.count(record),
            None => self.models.nameless.count(record),
        }
        if let Some(traces) = &self.traces {
            traces.record(record, ended);
        }
        self.refusals.log(record, ended);
    }

    /// All metrics, as OpenMetrics text.
    pub fn metrics(&self) -> String {
        let mut written = String::new();
        text::encode(&mut written, &self.registry).expect("text takes all that is written");
        written
    }

    /// Logs what was left out of the log, and sends the spans that wait, for `bound` at most. The last
    /// thing that a server does; it blocks.
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
