//! `ncs serve` and `ncs replay`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ncs_serve::repository::Source;

/// Maximum number of worker threads; more would only take memory.
const MAX_THREADS: usize = 1024;

/// Maximum of counts: connections, requests, candidates.
const MAX_COUNT: usize = 10_000_000;

/// Maximum MiB of one request: a gRPC message has a length of 32 bits.
const MAX_BODY: usize = 2047;

/// Maximum MiB of any memory limit.
const MAX_MEMORY: usize = 1 << 20;

/// `ncs serve`
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Folders written by ncs train, or folders whose subfolders are numbered versions of a model; the
    /// folder's name is the model's name, or use NAME=DIR.
    #[arg(value_name = "MODEL_DIR", required = true, value_parser = Source::parse)]
    pub models: Vec<Source>,
    /// Address to listen on for HTTP and gRPC; 0.0.0.0 for all interfaces.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// HTTP port; 0 picks a free one.
    #[arg(long, default_value_t = 8000)]
    pub http_port: u16,
    /// gRPC port; 0 picks a free one.
    #[arg(long, default_value_t = 8001)]
    pub grpc_port: u16,
    /// Address of the admin port: metrics, load, unload, labels.
    #[arg(long, default_value = "127.0.0.1")]
    pub admin_host: IpAddr,
    /// Admin port; 0 picks a free one.
    #[arg(long, default_value_t = 8002)]
    pub admin_port: u16,
    /// File with the token for load, unload and labels (or set NCS_ADMIN_TOKEN). Without a token these calls are
    /// refused.
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// File with API keys, one a line (or set NCS_API_KEYS); scoring calls then need one. Without it they need none.
    #[arg(long, value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// File with features by id: columns that a request leaves out are looked up by the ids in its column COLUMN. Read again
    /// when it changes, with --watch. Can be given several times.
    #[arg(long = "lookup", value_name = "COLUMN=FILE", value_parser = crate::commands::lookup_file::parse)]
    pub lookups: Vec<(String, PathBuf)>,
    /// Column of a --lookup file with the moment from which on a record is known: an id may then have several records, and
    /// requests get the newest that is not in the future. Can be given several times.
    #[arg(long = "lookup-time", value_name = "COLUMN=TIME", value_parser = crate::commands::lookup_file::parse_time)]
    pub lookup_times: Vec<(String, String)>,
    /// Certificate chain (PEM); enables TLS on all ports.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Worker threads (default: all cores).
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Poll the folders for new versions every N seconds.
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub watch: Option<Duration>,
    /// Ignore unknown columns; treat missing ones as null.
    #[arg(long)]
    pub lenient: bool,
    /// Score more than 32 candidates in half precision (bfloat16): faster, and scores differ in the third digit. A
    /// model whose self-test differs by more than 0.002 is refused.
    #[arg(long)]
    pub half: bool,
    /// Leave the vectors of tables in the files of the models, which are mapped: memory may be smaller than the tables. Scores are
    /// the same; rows that are not in memory take a read of the disk.
    #[arg(long)]
    pub map_tables: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub limits: Limits,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub observability: ObservabilityArgs,
}

/// Limits of a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Maximum candidates in one request.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive_count)]
    pub max_candidates: usize,
    /// Maximum size of one request in MiB, decompressed.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = body)]
    pub max_body: usize,
    /// Maximum size of all requests and responses in progress, in MiB; more get 503. At least twice --max-body.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = memory)]
    pub max_total_body: usize,
    /// Requests that may wait for a worker thread; more get 503.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive_count)]
    pub max_queue: usize,
    /// Memory in MiB for the contexts of recent requests: a context that comes again, such as a user who turns a page, is
    /// not computed again. Without it none are kept.
    #[arg(long, value_name = "MIB", value_parser = memory)]
    pub context_cache: Option<usize>,
    /// Maximum connections per port.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = positive_count)]
    pub max_connections: usize,
    /// Deadline of a request in milliseconds; requests beyond it get 504.
    #[arg(long, value_name = "MS", default_value = "1000", value_parser = milliseconds)]
    pub timeout_ms: Duration,
    /// Timeout in seconds to receive the headers of a request, and then its body.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = positive_seconds)]
    pub receive_timeout: Duration,
    /// Seconds after SIGTERM in which new connections are still accepted while the server reports that it is not
    /// ready, so that a load balancer stops sending requests.
    #[arg(long, value_name = "SECONDS", default_value = "0", alias = "linger", value_parser = seconds)]
    pub shutdown_delay: Duration,
    /// Seconds that requests in progress may then take to finish.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub drain: Duration,
}

/// Logs, metrics and traces of a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs and traces")]
pub struct ObservabilityArgs {
    /// Folder for the score log: Parquet files with features and scores.
    #[arg(long, value_name = "DIR")]
    pub score_log: Option<PathBuf>,
    /// Candidates per file of the score log.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = positive_count)]
    pub score_log_rows: usize,
    /// Seconds after which a file of the score log is closed.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = positive_seconds)]
    pub score_log_seconds: Duration,
    /// Candidates that may wait to be logged; more are dropped and counted.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = positive_count)]
    pub score_log_queue: usize,
    /// MiB that may wait to be logged, and as much that may wait to be written; more are dropped and counted.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = memory)]
    pub score_log_memory: usize,
    /// Candidates that may wait for shadow versions; beyond that the oldest are dropped and counted.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = positive_count)]
    pub shadow_queue: usize,
    /// Format of the server's log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Level of the server's log: error, warn, info, debug or trace. NCS_LOG sets it per module.
    #[arg(long, default_value = "info", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log_level: String,
    /// Send OpenTelemetry traces to this address (OTLP over gRPC), such as http://localhost:4317.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Share of requests to trace if the caller does not decide.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = super::share)]
    pub otlp_share: f64,
}

/// A format of the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `ncs replay`
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// A file of the score log, or its folder.
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// A folder written by ncs train, or the model in it.
    #[arg(value_name = "MODEL_DIR")]
    pub model: PathBuf,
    /// Maximum accepted difference of a probability; of a value more, by its unit.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub tolerance: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Parses a whole number from 1 to `most`.
fn within(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {most}"))
}

fn positive_count(text: &str) -> Result<usize, String> {
    within(text, MAX_COUNT)
}

fn threads(text: &str) -> Result<usize, String> {
    within(text, MAX_THREADS)
}

fn body(text: &str) -> Result<usize, String> {
    within(text, MAX_BODY)
}

fn memory(text: &str) -> Result<usize, String> {
    within(text, MAX_MEMORY)
}

/// Maximum seconds of any setting: a day.
const MAX_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("expected a number of seconds, from 0 to {MAX_SECONDS}"))
}

/// Parses seconds, greater than zero.
fn positive_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    let is_positive = time >= Duration::from_millis(1);
    is_positive
        .then_some(time)
        .ok_or_else(|| format!("expected a number of seconds, from 0.001 to {MAX_SECONDS}"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let most = MAX_SECONDS as usize * 1000;
    within(text, most).map(|number| Duration::from_millis(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_limited() {
        let check = |parsed: Result<usize, String>, expected: Option<usize>| {
            assert_eq!(parsed.ok(), expected);
        };
        check(threads("16"), Some(16));
        check(threads("0"), None);
        check(threads("1025"), None);
        check(threads("99999999999999999999"), None);
        check(body("2048"), None);
        check(positive_count("-1"), None);
        let check = |parsed: Result<Duration, String>, expected: Option<u64>| {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(parsed.ok(), expected);
        };
        check(seconds("0"), Some(0));
        check(seconds("0.5"), Some(500));
        check(seconds("86401"), None);
        check(seconds("-1"), None);
        check(seconds("NaN"), None);
        check(seconds("inf"), None);
        check(positive_seconds("0"), None);
        check(positive_seconds("1e-9"), None);
        check(positive_seconds("5"), Some(5000));
        check(milliseconds("0"), None);
        check(milliseconds("18446744073709551615"), None);
        check(milliseconds("1000"), Some(1000));
    }
}
