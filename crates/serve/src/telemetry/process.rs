//! Metrics of the process, with Prometheus' standard names. Only available with `/proc`.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt::Error;
use std::fs;

/// Clock ticks per second in `/proc` on Linux (`USER_HZ`), independent of the kernel's own clock.
const TICKS: f64 = 100.0;

/// Reads the metrics of the process at each scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Some(seconds) = cpu_seconds() {
            let (help, unit) = ("CPU time spent.", Some(&Unit::Seconds));
            let counter =
                encoder.encode_descriptor("process_cpu", help, unit, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(counter)?;
        }
        let bytes = Some(&Unit::Bytes);
        let help = "Memory in use.";
        gauge(
            &mut encoder,
            "process_resident_memory",
            help,
            bytes,
            resident_bytes(),
        )?;
        let help = "When the process started, in seconds since 1970.";
        let seconds = Some(&Unit::Seconds);
        gauge(
            &mut encoder,
            "process_start_time",
            help,
            seconds,
            start_seconds(),
        )?;
        gauge(
            &mut encoder,
            "process_open_fds",
            "Open file descriptors.",
            None,
            open_files(),
        )
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<f64>,
) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let gauge = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(value).encode(gauge)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some((field(&stat, 14)? + field(&stat, 15)?) / TICKS)
}

fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let booted = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(booted + field(&stat, 22)? / TICKS)
}

/// Returns the resident memory in bytes, if available.
pub(crate) fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(number_after(&status, "VmRSS:")? * 1024.0)
}

fn open_files() -> Option<f64> {
    // One of them is the folder being read.
    let n = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(n.saturating_sub(1) as f64)
}

/// Returns a field of `/proc/self/stat`, counted from 1 as in proc(5). The second is the program's name in
/// parentheses, which may contain any character.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

/// Returns the number in the line that starts with `name`.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_contain_any_character() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 9000 0 0";
        assert_eq!(field(stat, 14), Some(250.0));
        assert_eq!(field(stat, 15), Some(50.0));
        assert_eq!(field(stat, 22), Some(9000.0));
        assert_eq!(field("", 14), None);
    }

    #[test]
    fn a_line_is_found_by_its_name() {
        let status = "VmHWM:\t 900 kB\nVmRSS:\t 812 kB\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(812.0));
        assert_eq!(number_after(status, "VmSwap:"), None);
    }
}
