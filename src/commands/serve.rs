//! `ncs serve`

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ncs_serve::body::BodyLimits;
use ncs_serve::listen::{ConnectionLimits, DrainTimes};
use ncs_serve::queue::Weight;
use ncs_serve::score_log::ScoreLog;
use ncs_serve::server::{Addresses, Server, Settings};
use ncs_serve::telemetry::traces::{self, Traces};
use ncs_serve::telemetry::{Telemetry, logs};
use ncs_serve::wire::Accepts;
use tokio::sync::watch;

use super::{Outcome, print};
use crate::arguments::serve::{LogFormat, ObservabilityArgs, Serve};
use crate::interrupt;
use crate::score_log::ParquetLog;

/// How often the flag of the signals is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Answers until it is asked to end.
///
/// # Errors
/// A model cannot be loaded, a port is taken, a file that is named cannot be read.
pub fn run(arguments: &Serve) -> Outcome {
    let asked = interrupt::flag()?;
    // Lines that wait are written when it is dropped.
    let _logging = logs::start(
        &arguments.telling.log_level,
        format(arguments.telling.log_format),
    )?;
    let settings = settings(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no threads for the network: {error}"))?;
    let ended = runtime.block_on(async {
        let server = Server::new(settings).await?;
        let addresses = server.addresses();
        server.run(stop(asked), || say(addresses)).await
    });
    // What is stuck, on a folder that does not answer, is left behind.
    runtime.shutdown_timeout(LEAVE);
    Ok(ended?)
}

/// How long work that is under way gets once the server has ended.
const LEAVE: Duration = Duration::from_millis(500);

/// One line for whoever started it, once it answers.
fn say(addresses: Addresses) {
    let Addresses { http, grpc, admin } = addresses;
    if let Err(error) = print(&format!("ready http={http} grpc={grpc} admin={admin}\n")) {
        crate::progress::tell(&error.to_string());
    }
}

/// Becomes true once the program was asked to end.
fn stop(asked: &'static AtomicBool) -> watch::Receiver<bool> {
    let (say, hear) = watch::channel(false);
    tokio::spawn(async move {
        while !asked.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
        // Nobody hears it where the server has ended already.
        let _ = say.send(true);
    });
    hear
}

fn settings(arguments: &Serve) -> Result<Settings, String> {
    let (limits, telling) = (&arguments.limits, &arguments.telling);
    if limits.max_total_body < 2 * limits.max_body {
        return Err(format!(
            "--max-total-body {}: all requests and answers together need room for at least two of the \
             largest; give at least twice --max-body, {}",
            limits.max_total_body,
            2 * limits.max_body
        ));
    }
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
            lame_duck: limits.linger,
            finish: limits.drain,
        },
        shadow_waiting: telling.shadow_queue,
        log: log(telling)?,
        log_waiting: Weight {
            count: telling.score_log_queue,
            bytes: telling.score_log_memory << 20,
        },
        telemetry: Telemetry::new(traces(telling)?),
    })
}

/// Where requests and scores are kept, if anywhere.
fn log(telling: &ObservabilityArgs) -> Result<Option<Box<dyn ScoreLog>>, String> {
    let Some(folder) = &telling.score_log else {
        return Ok(None);
    };
    let (rows, age) = (telling.score_log_rows, telling.score_log_seconds);
    let most_held = telling.score_log_memory << 20;
    let log = ParquetLog::open(folder, rows, age, most_held)?;
    Ok(Some(Box::new(log)))
}

/// Where traces go, if anywhere.
fn traces(telling: &ObservabilityArgs) -> Result<Option<Traces>, String> {
    let start = |endpoint: &String| traces::start(endpoint, "ncs4cvr", telling.otlp_share);
    let started = telling.otlp.as_ref().map(start).transpose();
    started.map_err(|error| format!("--otlp: {error}"))
}

fn format(said: LogFormat) -> logs::LogFormat {
    match said {
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    }
}

/// The admin port's token, from its file or the environment.
fn token(arguments: &Serve) -> Result<Option<Arc<str>>, String> {
    const VARIABLE: &str = "NCS_ADMIN_TOKEN";
    let (place, text) = match &arguments.admin_token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            warn_of_readers(path);
            (path.display().to_string(), text)
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) => (VARIABLE.to_owned(), text),
            Err(_) => return Ok(None),
        },
    };
    let token = text.trim();
    match token.len() >= 8 && token.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(Some(token.into())),
        false => Err(format!(
            "{place}: a token has at least 8 characters, none of them blank"
        )),
    }
}

/// Warns of a token that everyone on the machine can read.
fn warn_of_readers(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(0, |found| found.permissions().mode());
        if mode & 0o004 != 0 {
            tracing::warn!(
                "{}: everyone on this machine can read the admin token; chmod o-r, or mount it with mode 0440",
                path.display()
            );
        }
    }
}
