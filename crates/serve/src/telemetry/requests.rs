//! Counts of requests by outcome, and their durations.

use super::histogram::{CANDIDATES, Histogram, REQUEST_SECONDS, STAGE_SECONDS};
use super::record::code;
use super::{Call, Protocol, Record, Stage};
use crate::ErrorKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Durations of the requests of all models.
#[derive(Debug)]
pub(super) struct Durations {
    calls: [Histogram; Call::ALL.len()],
    stages: [Histogram; Stage::ALL.len()],
}

impl Default for Durations {
    fn default() -> Self {
        Durations {
            calls: Call::ALL.map(|_| Histogram::new(REQUEST_SECONDS)),
            stages: Stage::ALL.map(|_| Histogram::new(STAGE_SECONDS)),
        }
    }
}

impl Durations {
    pub(super) fn count(&self, record: &Record, ended: Instant) {
        let took = ended.saturating_duration_since(record.began);
        self.calls[record.call as usize].observe_duration(took);
        for stage in Stage::ALL {
            if let Some(took) = record.stages.duration(stage) {
                self.stages[stage as usize].observe_duration(took);
            }
        }
    }
}

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let calls = Call::ALL.map(|call| ("call", call.as_str()));
        let help = "Time from a request's first byte to its answer.";
        encode_seconds(&mut encoder, "ncs_request", help, &calls, &self.calls)?;
        let stages = Stage::ALL.map(|stage| ("stage", stage.as_str()));
        let help = "Time that parts of requests take.";
        encode_seconds(&mut encoder, "ncs_stage", help, &stages, &self.stages)
    }
}

fn encode_seconds(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    labels: &[(&str, &str)],
    histograms: &[Histogram],
) -> Result<(), Error> {
    let seconds = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
    for (label, histogram) in labels.iter().zip(histograms) {
        if !histogram.is_empty() {
            histogram.encode(family.encode_family(&[*label])?)?;
        }
    }
    Ok(())
}

/// Requests of one model, of all versions; or those that matched no model.
#[derive(Debug)]
pub(super) struct Requests {
    ended: Box<[AtomicU64]>, // [protocol, call, outcome]
    pub(super) candidates: Histogram,
}

impl Default for Requests {
    fn default() -> Self {
        let n = Protocol::ALL.len() * Call::ALL.len() * N_OUTCOMES;
        Requests {
            ended: (0..n).map(|_| AtomicU64::new(0)).collect(),
            candidates: Histogram::new(CANDIDATES),
        }
    }
}

impl Requests {
    pub(super) fn count(&self, record: &Record) {
        let refused = record.kind();
        self.ended(record.protocol, record.call, outcome(refused))
            .fetch_add(1, Relaxed);
        if refused.is_none() && record.n_candidates > 0 {
            self.candidates.observe(record.n_candidates as f64);
        }
    }

    fn ended(&self, protocol: Protocol, call: Call, outcome: usize) -> &AtomicU64 {
        let call = protocol as usize * Call::ALL.len() + call as usize;
        &self.ended[call * N_OUTCOMES + outcome]
    }

    /// Calls `each` with every non-zero count of requests by protocol, call and code.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(Protocol, Call, &str, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for protocol in Protocol::ALL {
            for call in Call::ALL {
                for (code, n) in self.by_code(protocol, call) {
                    each(protocol, call, &code, n)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the counts by code. Several kinds of errors can share a code.
    fn by_code(&self, protocol: Protocol, call: Call) -> BTreeMap<String, u64> {
        let mut by_code = BTreeMap::new();
        for refused in [None].into_iter().chain(KINDS.map(Some)) {
            let n = self.ended(protocol, call, outcome(refused)).load(Relaxed);
            if n > 0 {
                *by_code.entry(code(protocol, refused)).or_default() += n;
            }
        }
        by_code
    }
}

const KINDS: [ErrorKind; 13] = [
    ErrorKind::Invalid,
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::Method,
    ErrorKind::Slow,
    ErrorKind::TooLarge,
    ErrorKind::Encoding,
    ErrorKind::Overloaded,
    ErrorKind::Unavailable,
    ErrorKind::Late,
    ErrorKind::Unsupported,
    ErrorKind::Internal,
];

const N_OUTCOMES: usize = KINDS.len() + 1;

/// Returns the index of an outcome: 0 for a success, then the kinds in the order of [`KINDS`].
fn outcome(refused: Option<ErrorKind>) -> usize {
    match refused {
        None => 0,
        Some(ErrorKind::Invalid) => 1,
        Some(ErrorKind::Unauthenticated) => 2,
        Some(ErrorKind::Forbidden) => 3,
        Some(ErrorKind::NotFound) => 4,
        Some(ErrorKind::Method) => 5,
        Some(ErrorKind::Slow) => 6,
        Some(ErrorKind::TooLarge) => 7,
        Some(ErrorKind::Encoding) => 8,
        Some(ErrorKind::Overloaded) => 9,
        Some(ErrorKind::Unavailable) => 10,
        Some(ErrorKind::Late) => 11,
        Some(ErrorKind::Unsupported) => 12,
        Some(ErrorKind::Internal) => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_the_order_of_their_indices() {
        assert!(
            KINDS
                .map(|kind| outcome(Some(kind)))
                .into_iter()
                .eq(1..N_OUTCOMES)
        );
    }
}
