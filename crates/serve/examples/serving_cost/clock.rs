//! Latencies, and the CPU time of a process as Linux tells it.

use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Ticks a second in `/proc`, on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far, ended threads included; NaN where the system does not tell.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold blanks.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => (user + system) / TICKS,
        _ => f64::NAN,
    }
}

/// Lets threads that are started from now on wake within microseconds of the time they sleep until,
/// rather than the usual 50; where the system refuses, they are that late.
pub(crate) fn sleep_exactly() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

/// What the latencies of all requests say: milliseconds, and requests a second.
pub(crate) fn summary(mut latencies: Vec<Duration>, wall: Duration) -> Value {
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (share * latencies.len() as f64).ceil() as usize;
        let latency = latencies.get(place.saturating_sub(1));
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
