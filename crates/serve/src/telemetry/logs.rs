//! The log: a line for each thing that happened, on standard error, as JSON or as text.

use super::rate_limit::RateLimit;
use super::{Record, Stage};
use std::time::Instant;
use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

/// Filters the log instead of the level that [`start`] is given, where it is set.
pub const FILTER_VARIABLE: &str = "NCS_LOG";

/// Refused requests that are logged in a second, of those that the caller is to mend and of those that
/// we are. Each line is written while a caller waits.
const REFUSALS_PER_SECOND: u32 = 10;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// A level that there is not.
    #[error("log level {0:?}; there is off, error, warn, info, debug, trace, or target=level")]
    Level(String),
    /// A filter that cannot be read.
    #[error("log filter {0:?}: {1}")]
    Filter(String, ParseError),
    /// This process logs already.
    #[error("the log is started already")]
    Started,
}

/// Lines that wait to be written; more are lost, so that a reader that is stuck holds up nobody.
const WAITING_LINES: usize = 4096;

/// A log that has been started. Dropped, it writes the lines that wait, for a second at most.
#[derive(Debug)]
#[must_use]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Logs the whole process to standard error from now on: what is as important as `level` or more (as
/// `info`, or `warn,ncs_serve=debug`), or what [`FILTER_VARIABLE`] says. Times are UTC, RFC 3339.
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

/// What [`start`] starts, with any filter and writer.
pub fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed(filter)?)
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

fn parsed(filter: &str) -> Result<EnvFilter, LogsError> {
    // To the library a word that is no level is the name of a target: a typing error logs nothing.
    let words = filter.split(',').map(str::trim);
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if let Some(word) = words
        .filter(|word| !word.contains(['=', '[']))
        .find(|word| !is_level(word))
    {
        return Err(LogsError::Level(word.to_owned()));
    }
    let told = |error| LogsError::Filter(filter.to_owned(), error);
    EnvFilter::builder().parse(filter).map_err(told)
}

/// Logs one request at a level.
macro_rules! log {
    ($level:expr, $message:literal, $record:expr, $ended:expr) => {
        tracing::event!(
            target: "ncs_serve::requests",
            $level,
            request_id = $record.request_id.as_str(),
            protocol = $record.protocol.as_str(),
            call = $record.call.as_str(),
            code = $record.code().as_str(),
            refusal = $record.refused.as_ref().map(|refusal| refusal.what.as_str()),
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

/// VersionSelector refusals were logged lately.
#[derive(Debug)]
pub(super) struct Refusals {
    /// 4xx.
    theirs: RateLimit,
    /// 5xx.
    ours: RateLimit,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals {
            theirs: RateLimit::new(REFUSALS_PER_SECOND),
            ours: RateLimit::new(REFUSALS_PER_SECOND),
        }
    }
}

impl Refusals {
    /// Logs a request: an answer at `debug`, a refusal at `info` where the caller is to mend something
    /// and at `warn` where we are. Of refusals there are only so many in a second; then one line says
    /// how many more there were.
    pub(super) fn log(&self, record: &Record, ended: Instant) {
        log_left_out(self.theirs.left_out(ended), self.ours.left_out(ended));
        match record.kind().map(|kind| kind.status().is_server_error()) {
            None => log!(Level::DEBUG, "answered", record, ended),
            Some(true) if self.ours.admits(ended) => {
                log!(Level::WARN, "refused", record, ended)
            }
            Some(false) if self.theirs.admits(ended) => {
                log!(Level::INFO, "refused", record, ended)
            }
            Some(_) => {}
        }
    }

    /// Says how many refusals were not logged and not told of.
    pub(super) fn close(&self) {
        log_left_out(self.theirs.rest(), self.ours.rest());
    }
}

fn log_left_out(theirs: Option<u64>, ours: Option<u64>) {
    if let Some(left_out) = theirs {
        tracing::info!(left_out, "more requests were refused, for callers to mend");
    }
    if let Some(left_out) = ours {
        tracing::warn!(
            left_out,
            "more requests were refused, for the server to mend"
        );
    }
}

fn stage_us(record: &Record, stage: Stage) -> Option<u64> {
    let (from, until) = record.stages.get(stage)?;
    Some(microseconds(from, until))
}

fn microseconds(from: Instant, until: Instant) -> u64 {
    until.saturating_duration_since(from).as_micros() as u64
}
