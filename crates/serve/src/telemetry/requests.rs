//! Requests by how they ended, and how long they took.

use super::histogram::{CANDIDATES, Histogram, REQUEST_SECONDS, STAGE_SECONDS};
use super::record::code;
use super::{Call, Protocol, Record, Stage};
use crate::Kind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Requests of all models by how long they took.
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

/// Requests of one model, whatever the version; or those that found none.
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

    /// Calls `each` with how many requests of a protocol and call ended with a code, where some did.
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

    /// Several kinds of refusal can share a code.
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

const KINDS: [Kind; 13] = [
    Kind::Invalid,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::Method,
    Kind::Slow,
    Kind::TooLarge,
    Kind::Encoding,
    Kind::Overloaded,
    Kind::Unavailable,
    Kind::Late,
    Kind::Unsupported,
    Kind::Internal,
];

const N_OUTCOMES: usize = KINDS.len() + 1;

/// The place of an outcome: 0 for an answer, then the refusals in the order of [`KINDS`].
fn outcome(refused: Option<Kind>) -> usize {
    match refused {
        None => 0,
        Some(Kind::Invalid) => 1,
        Some(Kind::Unauthenticated) => 2,
        Some(Kind::Forbidden) => 3,
        Some(Kind::NotFound) => 4,
        Some(Kind::Method) => 5,
        Some(Kind::Slow) => 6,
        Some(Kind::TooLarge) => 7,
        Some(Kind::Encoding) => 8,
        Some(Kind::Overloaded) => 9,
        Some(Kind::Unavailable) => 10,
        Some(Kind::Late) => 11,
        Some(Kind::Unsupported) => 12,
        Some(Kind::Internal) => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_places() {
        assert!(
            KINDS
                .map(|kind| outcome(Some(kind)))
                .into_iter()
                .eq(1..N_OUTCOMES)
        );
    }
}
