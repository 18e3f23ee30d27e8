//! CPU time, wall time and memory of this process, as Linux reports them.

use std::fs;
use std::time::Instant;

/// Medians of `n` samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Of all threads; NaN (in JSON: null) if the system does not report it.
    pub(crate) cpu_ms: f64,
    pub(crate) wall_ms: f64,
    pub(crate) n: usize,
}

/// The median cost of one call; short calls need several in a sample.
pub(crate) fn median_cost(
    mut work: impl FnMut(),
    samples: usize,
    warm_up: usize,
    calls_per_sample: usize,
) -> Cost {
    (0..warm_up).for_each(|_| work());
    let sample = || once(|| (0..calls_per_sample).for_each(|_| work()));
    let costs: Vec<Cost> = std::iter::repeat_with(sample).take(samples).collect();
    let (whole, calls) = (middle(&costs), calls_per_sample as f64);
    Cost {
        cpu_ms: whole.cpu_ms / calls,
        wall_ms: whole.wall_ms / calls,
        n: samples,
    }
}

/// The medians of some samples.
pub(crate) fn middle(costs: &[Cost]) -> Cost {
    Cost {
        cpu_ms: median(costs.iter().map(|cost| cost.cpu_ms)),
        wall_ms: median(costs.iter().map(|cost| cost.wall_ms)),
        n: costs.len(),
    }
}

/// The cost of one call, without warm-up.
pub(crate) fn once(work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (cpu_ms(), Instant::now());
    work();
    Cost {
        cpu_ms: cpu_ms() - cpu,
        wall_ms: wall.elapsed().as_secs_f64() * 1e3,
        n: 1,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// CPU time of all living threads so far.
fn cpu_ms() -> f64 {
    // The kernel adds up the time of a running thread at its ticks, and when the thread gives way.
    std::thread::yield_now();
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let ns = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    match ns.sum::<u64>() {
        0 => f64::NAN,
        ns => ns as f64 / 1e6,
    }
}

/// Returns the peak memory of this process, MB (10^6 bytes); NaN if the system does not report it.
pub(crate) fn peak_rss_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = peak.and_then(|peak| peak.split_ascii_whitespace().next()?.parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb * 1024.0 / 1e6)
}
