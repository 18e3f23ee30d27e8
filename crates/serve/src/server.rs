//! Startup, operation and graceful shutdown of a server.

use crate::api_keys::ApiKeys;
use crate::api_state::{Admin, ApiState, MAX_INDEX_CALLS};
use crate::body::BodyLimits;
use crate::budget::Budget;
use crate::compute::Workers;
use crate::context_cache::ContextCache;
use crate::guesses::TokenThrottle;
use crate::listen::{self, ConnectionLimits, Drain, DrainTimes, Port};
use crate::lookup::Lookups;
use crate::queue::Weight;
use crate::repository::{Repository, Source, Watcher};
use crate::score_log::{LogQueue, ScoreLog};
pub use crate::serve_error::ServeError;
use crate::service::{Phase, Service};
use crate::shadow::Shadows;
use crate::telemetry::{LoadOutcome, Telemetry, resident_bytes};
use crate::version::Version;
use crate::wire::Accepts;
use crate::worst_case::WorstCase;
use crate::{grpc, http};
use axum::Router;
use ncs_model::Precision;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Maximum time for sending the last traces.
const FLUSH: Duration = Duration::from_secs(3);

/// Minimum time for closing the score log.
const MIN_LOG_FLUSH: Duration = Duration::from_secs(1);

/// Settings of a server.
pub struct Settings {
    /// Model folders.
    pub models: Vec<Source>,
    /// Address of the HTTP port.
    pub http: SocketAddr,
    /// Address of the gRPC port.
    pub grpc: SocketAddr,
    /// Address of the admin port, which serves both protocols.
    pub admin: SocketAddr,
    /// Certificate and key of all ports, as PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Token for load, unload and labels; `None`: these calls are refused.
    pub admin_token: Option<Arc<str>>,
    /// Keys of which scoring calls need one; `None`: they need none.
    pub api_keys: Option<ApiKeys>,
    /// Precision of scoring.
    pub precision: Precision,
    /// Leaves the vectors of tables in their files, which are mapped.
    pub map_tables: bool,
    /// Memory in bytes of the contexts of recent requests; `None`: none are kept.
    pub context_cache: Option<usize>,
    /// Number of worker threads.
    pub threads: usize,
    /// Maximum number of requests waiting for a worker.
    pub waiting: usize,
    /// Limits of a request's contents.
    pub accepts: Accepts,
    /// Limits of a request body.
    pub body: BodyLimits,
    /// Maximum bytes of all requests and responses in progress.
    pub total_bytes: usize,
    /// Timeout of a request.
    pub time: Duration,
    /// Limits of the connections of each port.
    pub connections: ConnectionLimits,
    /// Interval of polling the folders for new versions; `None`: never.
    pub watch: Option<Duration>,
    /// Durations of the graceful shutdown.
    pub drain: DrainTimes,
    /// Maximum number of candidates waiting for the shadows.
    pub shadow_waiting: usize,
    /// Destination of the score log, if any.
    pub log: Option<Box<dyn ScoreLog>>,
    /// Maximum weight of entries waiting for the score log.
    pub log_waiting: Weight,
    /// Features that are looked up by ids of the requests.
    pub lookups: Lookups,
    /// Metrics, logs and traces.
    pub telemetry: Arc<Telemetry>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// Addresses that a server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Admin port (both protocols).
    pub admin: SocketAddr,
}

/// A server with bound ports whose models are not loaded yet.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    ports: Vec<(&'static str, Port, Router)>,
    addresses: Addresses,
    connections: ConnectionLimits,
    budget: Arc<Budget>,
    worst_case: WorstCase,
    watch: Option<Duration>,
    drain: DrainTimes,
}

impl Server {
    /// Binds the ports and starts the threads.
    ///
    /// # Errors
    /// A port is in use, a certificate cannot be read, or two models have the same name.
    pub async fn new(settings: Settings) -> Result<Server, ServeError> {
        let tls = settings.tls.as_ref();
        let tls = tls.map(|(certificate, key)| listen::tls(certificate, key));
        let tls = tls.transpose()?;
        let http_port = Port::bind(settings.http, tls.clone()).await?;
        let grpc_port = Port::bind(settings.grpc, tls.clone()).await?;
        let admin_port = Port::bind(settings.admin, tls).await?;
        let worst_case = WorstCase::of(&settings);
        let budget = Budget::new(settings.total_bytes);
        let (body, token) = (settings.body, settings.admin_token.clone());
        let keys = settings.api_keys.clone().map(Arc::new);
        let (connections, watch, drain) =
            (settings.connections.clone(), settings.watch, settings.drain);
        let service = start_service(settings)?;
        service.register_budget(&budget);
        let index_permits = Arc::new(Semaphore::new(MAX_INDEX_CALLS));
        let api = |admin| ApiState {
            service: service.clone(),
            body,
            budget: budget.clone(),
            index_permits: index_permits.clone(),
            keys: keys.clone(),
            admin,
        };
        let admin = api(Some(Admin {
            token,
            throttle: Arc::new(TokenThrottle::default()),
        }));
        let addresses = Addresses {
            http: http_port.address(),
            grpc: grpc_port.address(),
            admin: admin_port.address(),
        };
        let both = grpc::services(admin.clone()).merge(http::router(admin));
        let ports = vec![
            ("http", http_port, http::router(api(None))),
            ("grpc", grpc_port, grpc::router(api(None))),
            ("admin", admin_port, both),
        ];
        Ok(Server {
            service,
            ports,
            addresses,
            connections,
            budget,
            worst_case,
            watch,
            drain,
        })
    }

    /// Returns the addresses of the ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns the service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Loads the models while listening, calls `on_ready`, and serves until `stop` is true; then shuts down
    /// gracefully.
    ///
    /// # Errors
    /// A model has no valid version.
    pub async fn run(
        self,
        mut stop: watch::Receiver<bool>,
        on_ready: impl FnOnce(),
    ) -> Result<(), ServeError> {
        let drain = Drain::new(self.drain);
        let mut listening = tokio::task::JoinSet::new();
        for (name, port, router) in self.ports {
            tracing::debug!(port = name, address = %port.address(), "listening");
            self.service.register_port(name, port.counts());
            let (limits, budget) = (self.connections.clone(), self.budget.clone());
            let serving = listen::serve(port, router, limits, budget, drain.clone());
            listening.spawn(serving);
        }
        let service = self.service.clone();
        let loaded = tokio::task::spawn_blocking(move || service.repository.load_all()).await;
        loaded.map_err(|_| ServeError::Panicked("the models could not be loaded"))??;
        report_memory(&self.worst_case, &self.service);
        warn_of_lookups(&self.service);
        self.service.enter(Phase::Ready);
        on_ready();
        let watching = self
            .watch
            .map(|every| tokio::spawn(poll(self.service.clone(), every)));
        // An error means that the sender is gone: then the server stops as well.
        let _ = stop.wait_for(|stop| *stop).await;
        self.service.enter(Phase::Draining);
        tracing::info!(
            seconds = self.drain.shutdown_delay.as_secs_f64(),
            "shutting down: no longer ready, still serving"
        );
        drain.begin();
        let ended = listening.join_all().await;
        if let Some(watching) = watching {
            watching.abort();
        }
        let n_aborted: usize = ended.iter().map(|ended| ended.n_aborted).sum();
        if n_aborted > 0 {
            tracing::warn!(
                connections = n_aborted,
                "connections were aborted: their time to finish is over"
            );
        }
        let (service, finish) = (self.service, self.drain.finish);
        let ended = tokio::task::spawn_blocking(move || end(&service, finish)).await;
        ended.map_err(|_| ServeError::Panicked("the shutdown failed"))
    }
}

/// Starts what scores and logs the requests of all ports.
fn start_service(settings: Settings) -> Result<Arc<Service>, ServeError> {
    let telemetry = settings.telemetry;
    let watcher = Box::new(MetricsWatcher(telemetry.clone()));
    let repository = Repository::new(settings.models, settings.precision, watcher)?;
    let repository = match settings.map_tables {
        true => repository.with_mapped_tables(),
        false => repository,
    };
    let repository = match settings.context_cache {
        Some(n_bytes) => repository.with_context_cache(Arc::new(ContextCache::new(n_bytes))),
        None => repository,
    };
    let workers = Workers::start(settings.threads, settings.waiting);
    let workers = workers.map_err(ServeError::Thread)?;
    let log = settings
        .log
        .map(|log| LogQueue::start(log, settings.log_waiting));
    let log = log.transpose().map_err(ServeError::Thread)?.map(Arc::new);
    let shadows = Shadows::start(settings.shadow_waiting, telemetry.clone(), log.clone());
    let service = Service::new(
        repository,
        workers,
        settings.accepts,
        settings.time,
        telemetry,
        log,
        shadows.map_err(ServeError::Thread)?,
    );
    Ok(Arc::new(service.with_lookups(settings.lookups)))
}

/// Ends what scores and logs, within `finish`. Anything that is stuck is abandoned, so that it cannot block the
/// shutdown.
fn end(service: &Service, finish: Duration) {
    let deadline = Instant::now() + finish;
    let ended_in_time = [
        service.workers.stop(deadline),
        service.shadows.stop(deadline),
    ];
    if let Some(log) = &service.log {
        log.stop(deadline.max(Instant::now() + MIN_LOG_FLUSH));
    }
    if ended_in_time.contains(&false) {
        tracing::warn!("requests were still being scored when the time to finish was over");
    }
    service.telemetry.close(FLUSH);
}

/// Logs the upper bound of the server's memory and sets its metric.
fn report_memory(worst_case: &WorstCase, service: &Service) {
    let in_use = resident_bytes().unwrap_or(0.0) as usize;
    let models = service.repository.registry().models();
    let versions = models.values().flat_map(|model| model.versions.values());
    let worst_case = worst_case.with_models(in_use, versions.map(|version| &**version));
    service
        .telemetry
        .memory_bound
        .set(worst_case.total() as i64);
    tracing::info!("memory: {worst_case}; while a version is replaced, its size once more");
}

/// Warns of columns that models looked up in training and that this server does not look up.
fn warn_of_lookups(service: &Service) {
    for model in service.repository.registry().models().values() {
        for version in model.versions.values() {
            let records = version.looked_up().iter();
            for record in records.filter(|record| !service.lookups.has(&record.key)) {
                tracing::warn!(
                    model = %version.identity.model,
                    version = version.identity.number,
                    "the training looked up {} by {key}: requests have to send these columns, or start the server with \
                     --lookup {key}=FILE",
                    record.columns.join(", "),
                    key = record.key
                );
            }
        }
    }
}

/// Polls the folders for new versions.
async fn poll(service: Arc<Service>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let service = service.clone();
        // Failures are reported to the watcher, and logged.
        let look = move || {
            service.repository.poll();
            service.lookups.refresh();
        };
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

/// Reports changes of models to the metrics.
struct MetricsWatcher(Arc<Telemetry>);

impl Watcher for MetricsWatcher {
    fn loaded(&self, version: &Version) {
        version.count_by(&self.0);
        let outcome = match version.is_from_delta() {
            true => LoadOutcome::Updated,
            false => LoadOutcome::Loaded,
        };
        self.0.loaded(&version.identity.model, outcome);
    }

    fn delta_failed(&self, model: &str) {
        self.0.loaded(model, LoadOutcome::DeltaFailed);
    }

    fn labelled(&self, version: &Version, labels: &[&str]) {
        if let Some(served) = version.served() {
            served.set_labels(labels);
        }
    }

    fn failed(&self, model: &str) {
        self.0.loaded(model, LoadOutcome::Failed);
    }
}
