//! The server's log on standard error, one line per event, as JSON or as text.

use super::rate_limit::RateLimit;
use super::{Record, Stage};
use std::time::Instant;
use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

/// Environment variable with a filter that overrides the level given to [`start`].
pub const FILTER_VARIABLE: &str = "NCS_LOG";

/// Maximum number of refused requests logged per second, separately for client errors and server errors.
/// Each line is written before the caller gets its response.
const REFUSALS_PER_SECOND: u32 = 10;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Text,
}

/// Error of starting the log.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// An unknown level.
    #[error("unknown log level {0:?}; use off, error, warn, info, debug, trace, or target=level")]
    Level(String),
    /// An invalid filter.
    #[error("invalid log filter {0:?}: {1}")]
    Filter(String, ParseError),
    /// The log of this process has already been started.
    #[error("the log has already been started")]
    Started,
}

/// Maximum number of lines waiting to be written; more are dropped, so that a stuck reader does not block
/// the server.
const WAITING_LINES: usize = 4096;

/// A started log. On drop it writes waiting lines, for at most a second.
#[derive(Debug)]
#[must_use]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Starts logging of the whole process to standard error: events of `level` or above (`info`, or
/// `warn,ncs_serve=debug`), or as [`FILTER_VARIABLE`] specifies. Times are UTC, RFC 3339.
pub fn start(level: &str, format: LogFormat) -> Result<Logging, LogsError> {
    let variable = std::env::var(FILTER_VARIABLE).ok();
    let variable = variable.filter(|filter| !filter.is_empty());
    let filter = variable.as_deref().unwrap_or(level);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let subscriber = subscriber(filter, format, writer)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::Started)?;
    Ok(Logging { _writer: guard })
}

/// Returns the subscriber that [`start`] installs, with any filter and writer.
pub fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(lines.finish()),
        LogFormat::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogsError> {
    // The library takes an unknown word as a target, so that a misspelled level would log nothing.
    let words = filter.split(',').map(str::trim);
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if let Some(word) = words
        .filter(|word| !word.contains(['=', '[']))
        .find(|word| !is_level(word))
    {
        return Err(LogsError::Level(word.to_owned()));
    }
    let invalid = |error| LogsError::Filter(filter.to_owned(), error);
    EnvFilter::builder().parse(filter).map_err(invalid)
}

/// Logs a request at the given level.
macro_rules! log {
    ($level:expr, $message:literal, $record:expr, $ended:expr) => {
        tracing::event!(
            target: "ncs_serve::requests",
            $level,
            request_id = $record.request_id.as_str(),
            protocol = $record.protocol.as_str(),
            call = $record.call.as_str(),
            code = $record.code().as_str(),
            refusal = $record.refused.as_ref().map(|refusal| refusal.message.as_str()),
            model = $record.served.as_ref().map(|served| &*served.by().model),
            version = $record.served.as_ref().map(|served| served.by().version),
            label = $record.label,
            candidates = $record.n_candidates,
            traceparent = $record.traceparent.as_deref(),
            took_us = microseconds($record.began, $ended),
            receive_us = stage_us($record, Stage::Receive),
            queue_us = stage_us($record, Stage::Queue),
            parse_us = stage_us($record, Stage::Parse),
            encode_us = stage_us($record, Stage::Encode),
            score_us = stage_us($record, Stage::Score),
            answer_us = stage_us($record, Stage::Answer),
            $message
        )
    };
}

/// Rate limits of logged refusals.
#[derive(Debug)]
pub(super) struct Refusals {
    /// Client errors (4xx).
    client_errors: RateLimit,
    /// Server errors (5xx).
    server_errors: RateLimit,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals {
            client_errors: RateLimit::new(REFUSALS_PER_SECOND),
            server_errors: RateLimit::new(REFUSALS_PER_SECOND),
        }
    }
}

impl Refusals {
    /// Logs a request: a success at `debug`, a client error at `info`, a server error at `warn`. Errors are
    /// limited per second; a later line reports how many were suppressed.
    pub(super) fn log(&self, record: &Record, ended: Instant) {
        log_suppressed(
            self.client_errors.suppressed(ended),
            self.server_errors.suppressed(ended),
        );
        match record.kind().map(|kind| kind.status().is_server_error()) {
            None => log!(Level::DEBUG, "answered", record, ended),
            Some(true) if self.server_errors.admits(ended) => {
                log!(Level::WARN, "refused", record, ended)
            }
            Some(false) if self.client_errors.admits(ended) => {
                log!(Level::INFO, "refused", record, ended)
            }
            Some(_) => {}
        }
    }

    /// Logs the number of suppressed lines that has not been reported.
    pub(super) fn close(&self) {
        log_suppressed(self.client_errors.rest(), self.server_errors.rest());
    }
}

fn log_suppressed(client_errors: Option<u64>, server_errors: Option<u64>) {
    if let Some(left_out) = client_errors {
        tracing::info!(left_out, "more requests were refused (client errors)");
    }
    if let Some(left_out) = server_errors {
        tracing::warn!(left_out, "more requests were refused (server errors)");
    }
}

fn stage_us(record: &Record, stage: Stage) -> Option<u64> {
    let (from, until) = record.stages.get(stage)?;
    Some(microseconds(from, until))
}

fn microseconds(from: Instant, until: Instant) -> u64 {
    until.saturating_duration_since(from).as_micros() as u64
}
