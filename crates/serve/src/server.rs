//! From settings to a server that answers, and to its end.

use crate::api_state::{Admin, ApiState, LOOKERS};
use crate::body::BodyLimits;
use crate::budget::Budget;
use crate::compute::Workers;
use crate::guesses::Guesses;
use crate::listen::{self, ConnectionLimits, Drain, DrainTimes, Port};
use crate::queue::Weight;
use crate::repository::{Repository, Source, Watcher};
use crate::score_log::{LogQueue, ScoreLog};
use crate::service::{Phase, Service};
use crate::shadow::Shadows;
use crate::telemetry::{LoadOutcome, Telemetry, resident_bytes};
use crate::version::Version;
use crate::wire::Accepts;
use crate::worst_case::WorstCase;
use crate::{grpc, http};
use axum::Router;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::rustls::ServerConfig;

/// How long the last traces may take to be sent.
const FLUSH: Duration = Duration::from_secs(3);

/// How long the score log gets to be closed at least.
const LEAST_FLUSH: Duration = Duration::from_secs(1);

/// Everything that a server is told when it starts.
pub struct Settings {
    /// The models.
    pub models: Vec<Source>,
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// Where gRPC is spoken.
    pub grpc: SocketAddr,
    /// Where models are loaded and metrics read, over both protocols.
    pub admin: SocketAddr,
    /// Certificate and key, as PEM files, of all ports.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who says it may load and unload; `None`: nobody may.
    pub admin_token: Option<Arc<str>>,
    /// Threads that compute.
    pub threads: usize,
    /// Requests that wait for them.
    pub waiting: usize,
    /// What a request may hold.
    pub accepts: Accepts,
    /// How long and how large a body may be.
    pub body: BodyLimits,
    /// Bytes that all requests and answers under way may take together.
    pub total_bytes: usize,
    /// A request is answered within this time, or refused.
    pub time: Duration,
    /// Of each port.
    pub connections: ConnectionLimits,
    /// How often the folders are looked at for new versions; `None`: never.
    pub watch: Option<Duration>,
    /// How it ends.
    pub drain: DrainTimes,
    /// Candidates that wait for the shadows.
    pub shadow_waiting: usize,
    /// Where requests and scores are kept.
    pub log: Option<Box<dyn ScoreLog>>,
    /// What waits to be logged.
    pub log_waiting: Weight,
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

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Both, for operators.
    pub admin: SocketAddr,
}

/// A server whose ports are bound and whose models are not loaded yet.
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
    /// A port is taken, a certificate cannot be read, two models have one name.
    pub async fn new(settings: Settings) -> Result<Server, String> {
        let tls = settings.tls.as_ref();
        let tls = tls.map(|(certificate, key)| listen::tls(certificate, key));
        let tls = tls.transpose().map_err(|error| error.to_string())?;
        let http_port = bind(settings.http, &tls).await?;
        let grpc_port = bind(settings.grpc, &tls).await?;
        let admin_port = bind(settings.admin, &tls).await?;
        let worst_case = WorstCase::of(&settings);
        let telemetry = settings.telemetry;
        let watcher = Box::new(MetricsWatcher(telemetry.clone()));
        let repository = Repository::new(settings.models, watcher)?;
        let no_thread = |error: std::io::Error| format!("no thread: {error}");
        let workers = Workers::start(settings.threads, settings.waiting).map_err(no_thread)?;
        let log = settings
            .log
            .map(|log| LogQueue::start(log, settings.log_waiting));
        let log = log.transpose().map_err(no_thread)?.map(Arc::new);
        let shadows = Shadows::start(settings.shadow_waiting, telemetry.clone(), log.clone());
        let service = Arc::new(Service::new(
            repository,
            workers,
            settings.accepts,
            settings.time,
            telemetry,
            log,
            shadows.map_err(no_thread)?,
        ));
        let budget = Budget::new(settings.total_bytes);
        let lookers = Arc::new(Semaphore::new(LOOKERS));
        service.budgets(&budget);
        let api = |admin| ApiState {
            service: service.clone(),
            body: settings.body,
            budget: budget.clone(),
            lookers: lookers.clone(),
            admin,
        };
        let admin = api(Some(Admin {
            token: settings.admin_token,
            guesses: Arc::new(Guesses::default()),
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
            connections: settings.connections,
            budget,
            worst_case,
            watch: settings.watch,
            drain: settings.drain,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What answers.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Listens, loads the models, says `on_ready`, and answers until `stop` is set; then ends in order.
    ///
    /// # Errors
    /// A model has no good version.
    pub async fn run(
        self,
        mut stop: watch::Receiver<bool>,
        on_ready: impl FnOnce(),
    ) -> Result<(), String> {
        let drain = Drain::new(self.drain);
        let mut listening = tokio::task::JoinSet::new();
        for (name, port, router) in self.ports {
            tracing::debug!(port = name, address = %port.address(), "listening");
            self.service.listens(name, port.counts());
            let (limits, budget) = (self.connections.clone(), self.budget.clone());
            let serving = listen::serve(port, router, limits, budget, drain.clone());
            listening.spawn(serving);
        }
        let service = self.service.clone();
        let loaded = tokio::task::spawn_blocking(move || service.repository.load_all()).await;
        loaded.map_err(|_| "the models could not be loaded; the log says why".to_owned())??;
        state(&self.worst_case, &self.service);
        self.service.enter(Phase::Ready);
        on_ready();
        let watching = self
            .watch
            .map(|every| tokio::spawn(look(self.service.clone(), every)));
        // An error means that nobody can ask any more: then it ends as well.
        let _ = stop.wait_for(|stop| *stop).await;
        self.service.enter(Phase::Ending);
        tracing::info!(
            seconds = self.drain.lame_duck.as_secs_f64(),
            "no longer ready; still answering"
        );
        drain.begin();
        let ended = listening.join_all().await;
        if let Some(watching) = watching {
            watching.abort();
        }
        let n_cut: usize = ended.iter().map(|ended| ended.n_cut).sum();
        if n_cut > 0 {
            tracing::warn!(
                connections = n_cut,
                "were cut: their time to finish is over"
            );
        }
        let (service, finish) = (self.service, self.drain.finish);
        // What is stuck is left behind: nothing holds up the end.
        let end = move || {
            let until = Instant::now() + finish;
            let have_ended = [service.workers.stop(until), service.shadows.stop(until)];
            if let Some(log) = &service.log {
                log.stop(until.max(Instant::now() + LEAST_FLUSH));
            }
            if have_ended.contains(&false) {
                tracing::warn!("requests were still being scored when the time to finish was over");
            }
            service.telemetry.close(FLUSH);
        };
        tokio::task::spawn_blocking(end)
            .await
            .map_err(|error| error.to_string())
    }
}

/// Says how much memory the server takes at most.
fn state(worst_case: &WorstCase, service: &Service) {
    let in_use = resident_bytes().unwrap_or(0.0) as usize;
    let models = service.repository.registry().models();
    let versions = models.values().flat_map(|model| model.versions.values());
    let worst_case = worst_case.with_models(in_use, versions.map(|version| &**version));
    service
        .telemetry
        .memory_bound
        .set(worst_case.total() as i64);
    tracing::info!("memory: {worst_case}; while a version is swapped, its own once more");
}

async fn bind(address: SocketAddr, tls: &Option<Arc<ServerConfig>>) -> Result<Port, String> {
    let bound = Port::bind(address, tls.clone()).await;
    bound.map_err(|error| error.to_string())
}

/// Looks for new versions now and then.
async fn look(service: Arc<Service>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let service = service.clone();
        // What fails is told to the watcher.
        let _ = tokio::task::spawn_blocking(move || service.repository.look()).await;
    }
}

/// Passes on to the metrics what happens to models.
struct MetricsWatcher(Arc<Telemetry>);

impl Watcher for MetricsWatcher {
    fn loaded(&self, version: &Version) {
        version.count_by(&self.0);
        self.0.loaded(&version.identity.model, LoadOutcome::Loaded);
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
