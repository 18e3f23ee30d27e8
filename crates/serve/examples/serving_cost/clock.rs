//! Latencies, and the CPU time of a process on Linux.

use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Clock ticks per second in `/proc`.
const TICKS: f64 = 100.0;

/// Returns the CPU seconds of a process, including ended threads; NaN if the system does not provide them.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain spaces.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => (user + system) / TICKS,
        _ => f64::NAN,
    }
}

/// Reduces the timer slack of threads started from now on, so that they wake within microseconds of their
/// time rather than 50; has no effect if the system refuses.
pub(crate) fn sleep_exactly() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

/// Summarises latencies in milliseconds, and requests per second.
pub(crate) fn summary(mut latencies: Vec<Duration>, wall: Duration) -> Value {
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (share * latencies.len() as f64).ceil() as usize;
        let latency = latencies.get(index.saturating_sub(1));
        latency.map_or(f64::NAN, |latency| milliseconds(*latency))
    };
    json!({
        "n": latencies.len(),
        "seconds": wall.as_secs_f64(),
        "median_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": at(1.0),
        "per_s": latencies.len() as f64 / wall.as_secs_f64(),
    })
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
