//! `ncs serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ncs_experiments::error::Error;
use ncs_model::Precision;
use ncs_score_log::ParquetLog;
use ncs_serve::api_keys::ApiKeys;
use ncs_serve::body::BodyLimits;
use ncs_serve::listen::{ConnectionLimits, DrainTimes};
use ncs_serve::lookup::{FeatureSource, Lookups};
use ncs_serve::queue::Weight;
use ncs_serve::score_log::ScoreLog;
use ncs_serve::server::{Addresses, Server, Settings};
use ncs_serve::telemetry::traces::{self, Traces};
use ncs_serve::telemetry::{Telemetry, logs};
use ncs_serve::wire::Accepts;
use tokio::sync::watch;

use super::lookup_file::LookupFile;
use super::{Outcome, print};
use crate::arguments::serve::{Limits, LogFormat, ObservabilityArgs, Serve};
use crate::interrupt;

/// Interval of checking the flag set by the signal handler.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Serves until a signal requests the shutdown.
///
/// # Errors
/// A model cannot be loaded, a port is in use, or a file given cannot be read.
pub fn run(arguments: &Serve) -> Outcome {
    let shutdown_requested = interrupt::flag()?;
    // Buffered log lines are flushed when it is dropped.
    let _logging = logs::start(
        &arguments.observability.log_level,
        format(arguments.observability.log_format),
    )?;
    let settings = settings(arguments)?;
    serve(settings, || stop(shutdown_requested), print_ready)
}

/// Serves until the receiver of `stop` is set; calls `ready` with the addresses once the server is ready.
fn serve(
    settings: Settings,
    stop: impl FnOnce() -> watch::Receiver<bool>,
    ready: impl FnOnce(Addresses),
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the network threads: {error}"))?;
    let ended = runtime.block_on(async {
        let server = Server::new(settings).await?;
        let addresses = server.addresses();
        Ok(server.run(stop(), || ready(addresses)).await?)
    });
    // Work that is stuck, on a folder that does not respond, is abandoned.
    runtime.shutdown_timeout(ABANDON_AFTER);
    ended
}

/// Server on a background thread, embedded in another program.
#[derive(Debug)]
pub struct Serving {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Serving {
    /// Starts the server and waits until it is ready. It does not log, since a process has one logger.
    ///
    /// # Errors
    /// As [`run`].
    pub fn start(arguments: &Serve) -> Result<Serving, Error> {
        let settings = settings(arguments)?;
        let (stop, stopped) = watch::channel(false);
        let (told, ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name("server".to_owned());
        let thread = thread.spawn(move || {
            serve(
                settings,
                || stopped,
                |addresses| {
                    // Whoever started it waits for this.
                    let _ = told.send(addresses);
                },
            )
        });
        let thread = thread.map_err(|error| format!("cannot start the server thread: {error}"))?;
        match ready.recv() {
            Ok(addresses) => Ok(Serving {
                addresses,
                stop,
                thread: Some(thread),
            }),
            // It ended before it answered.
            Err(_) => Err(joined(thread)
                .err()
                .unwrap_or_else(|| "the server ended".into())),
        }
    }

    /// Listening addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Shuts down gracefully, and waits until the server has ended.
    ///
    /// # Errors
    /// It failed meanwhile.
    pub fn stop(&mut self) -> Result<(), Error> {
        let _ = self.stop.send(true);
        self.thread.take().map_or(Ok(()), joined)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn joined(thread: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    let ended = thread.join();
    ended.unwrap_or_else(|_| Err("the server panicked; please report this".into()))
}

/// Time for blocking work to end after the server has stopped.
const ABANDON_AFTER: Duration = Duration::from_millis(500);

/// Prints the addresses on one line once the server is ready.
fn print_ready(addresses: Addresses) {
    let Addresses { http, grpc, admin } = addresses;
    if let Err(error) = print(&format!("ready http={http} grpc={grpc} admin={admin}\n")) {
        ncs_experiments::progress::tell(&error.to_string());
    }
}

/// Returns a receiver that becomes true once a signal requests the shutdown.
fn stop(shutdown_requested: &'static AtomicBool) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while !shutdown_requested.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        // The receiver is gone if the server has already ended.
        let _ = sender.send(true);
    });
    receiver
}

fn settings(arguments: &Serve) -> Result<Settings, Error> {
    let (limits, observability) = (&arguments.limits, &arguments.observability);
    check_limits(limits)?;
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let tls = arguments
        .tls_certificate
        .clone()
        .zip(arguments.tls_key.clone());
    Ok(Settings {
        models: arguments.models.clone(),
        http: SocketAddr::new(arguments.host, arguments.http_port),
        grpc: SocketAddr::new(arguments.host, arguments.grpc_port),
        admin: SocketAddr::new(arguments.admin_host, arguments.admin_port),
        tls,
        admin_token: token(arguments)?,
        api_keys: api_keys(arguments)?,
        precision: if arguments.half {
            Precision::Half
        } else {
            Precision::Single
        },
        map_tables: arguments.map_tables,
        context_cache: limits.context_cache.map(|mib| mib << 20),
        threads: arguments.threads.unwrap_or_else(cores),
        waiting: limits.max_queue,
        accepts: Accepts {
            candidates: limits.max_candidates,
            bytes: limits.max_body << 20,
            lenient: arguments.lenient,
        },
        body: BodyLimits {
            bytes: limits.max_body << 20,
            time: limits.receive_timeout,
        },
        total_bytes: limits.max_total_body << 20,
        time: limits.timeout_ms,
        connections: ConnectionLimits {
            connections: limits.max_connections,
            header_time: limits.receive_timeout,
            ..ConnectionLimits::default()
        },
        watch: arguments.watch,
        drain: DrainTimes {
            shutdown_delay: limits.shutdown_delay,
            finish: limits.drain,
        },
        shadow_waiting: observability.shadow_queue,
        log: log(observability)?,
        log_waiting: Weight {
            count: observability.score_log_queue,
            bytes: observability.score_log_memory << 20,
        },
        lookups: lookups(arguments)?,
        telemetry: Telemetry::new(traces(observability)?),
    })
}

/// Opens the score log, if requested.
fn log(observability: &ObservabilityArgs) -> Result<Option<Box<dyn ScoreLog>>, Error> {
    let Some(folder) = &observability.score_log else {
        return Ok(None);
    };
    let (rows, age) = (
        observability.score_log_rows,
        observability.score_log_seconds,
    );
    let max_held = observability.score_log_memory << 20;
    let log = ParquetLog::open(folder, rows, age, max_held).map_err(|error| error.to_string())?;
    Ok(Some(Box::new(log)))
}

/// Starts traces, if requested.
fn traces(observability: &ObservabilityArgs) -> Result<Option<Traces>, Error> {
    let start = |endpoint: &String| traces::start(endpoint, "ncs4cvr", observability.otlp_share);
    let started = observability.otlp.as_ref().map(start).transpose();
    Ok(started.map_err(|error| format!("--otlp: {error}"))?)
}

fn format(format: LogFormat) -> logs::LogFormat {
    match format {
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    }
}

fn check_limits(limits: &Limits) -> Result<(), Error> {
    if limits.max_total_body >= 2 * limits.max_body {
        return Ok(());
    }
    Err(format!(
        "--max-total-body {}: the requests and responses in progress need room for at least two of the \
         largest; give at least twice --max-body, {}",
        limits.max_total_body,
        2 * limits.max_body
    )
    .into())
}

/// Reads the files of features by id.
fn lookups(arguments: &Serve) -> Result<Lookups, Error> {
    let is_looked_up = |key: &String| arguments.lookups.iter().any(|(known, _)| known == key);
    if let Some((key, _)) = arguments
        .lookup_times
        .iter()
        .find(|(key, _)| !is_looked_up(key))
    {
        let text = format!("--lookup-time {key}: no --lookup {key}=FILE, whose records have times");
        return Err(text.into());
    }
    let open = |(key, path): &(String, PathBuf)| {
        let mut times = arguments.lookup_times.iter();
        let time = times.find(|(of, _)| of == key);
        let file = LookupFile::open(key, path, time.map(|(_, time)| &**time))?;
        Ok(Arc::new(file) as Arc<dyn FeatureSource>)
    };
    let sources: Result<Vec<_>, Error> = arguments.lookups.iter().map(open).collect();
    Ok(Lookups::new(sources?))
}

/// Reads the admin port's token from its file or the environment.
fn token(arguments: &Serve) -> Result<Option<Arc<str>>, Error> {
    let secret = secret(arguments.admin_token_file.as_deref(), "NCS_ADMIN_TOKEN")?;
    let Some((source, text)) = secret else {
        return Ok(None);
    };
    let token = text.trim();
    if token.len() < 8 || !token.chars().all(|c| c.is_ascii_graphic()) {
        let message = format!("{source}: a token must have at least 8 characters and no spaces");
        return Err(message.into());
    }
    Ok(Some(token.into()))
}

/// Reads the keys of scoring calls from their file or the environment.
fn api_keys(arguments: &Serve) -> Result<Option<ApiKeys>, Error> {
    let secret = secret(arguments.api_keys_file.as_deref(), "NCS_API_KEYS")?;
    let Some((source, text)) = secret else {
        return Ok(None);
    };
    let keys = ApiKeys::parse(&text).map_err(|error| format!("{source}: {error}"))?;
    Ok(Some(keys))
}

/// Reads a secret from its file, or without one from an environment variable. Returns its source and text.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<(String, String)>, Error> {
    let Some(path) = file else {
        let text = std::env::var(variable).ok();
        return Ok(text.map(|text| (variable.to_owned(), text)));
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    warn_if_world_readable(path);
    Ok(Some((path.display().to_string(), text)))
}

/// Warns if every user of the machine can read a file of secrets.
fn warn_if_world_readable(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o004 != 0 {
            tracing::warn!(
                "{}: everyone on this machine can read this secret; chmod o-r, or mount it with mode 0440",
                path.display()
            );
        }
    }
}
