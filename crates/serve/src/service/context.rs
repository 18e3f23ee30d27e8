//! A request's context and clock.

use crate::telemetry::{Call, Protocol, Stage, Stages};
use std::time::{Duration, Instant, SystemTime};

/// Context of a request, from before its body is read.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Protocol.
    pub protocol: Protocol,
    /// Call.
    pub call: Call,
    /// Times of its stages.
    pub clock: Clock,
    /// The caller's timeout.
    pub timeout: Option<Duration>,
    /// Bytes of its body, decompressed; `None`: not known before it is read.
    pub n_bytes: Option<usize>,
    /// Request id from the headers, used if the body has none.
    pub id: Option<String>,
    /// Trace that the request belongs to (W3C header `traceparent`).
    pub traceparent: Option<String>,
}

/// Times of a request's stages, which follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub(super) started: SystemTime,
    pub(super) began: Instant,
    /// End of the last stage.
    last: Instant,
    pub(super) stages: Stages,
}

impl Clock {
    /// Starts the clock.
    pub fn start() -> Clock {
        let began = Instant::now();
        Clock {
            started: SystemTime::now(),
            began,
            last: began,
            stages: Stages::default(),
        }
    }

    /// Ends a stage now; it began at the end of the last one.
    pub fn end(&mut self, stage: Stage) {
        self.add(stage, self.last.elapsed());
    }

    /// Adds a stage of this length after the last one.
    pub fn add(&mut self, stage: Stage, length: Duration) {
        let from = self.last;
        self.last += length;
        self.stages.set(stage, from, self.last);
    }

    /// Returns the duration of a stage; zero if it did not happen.
    pub(super) fn time(&self, stage: Stage) -> Duration {
        self.stages.duration(stage).unwrap_or_default()
    }
}

impl RequestContext {
    /// Creates the context of a request that starts now.
    pub fn now(protocol: Protocol, call: Call) -> RequestContext {
        RequestContext {
            protocol,
            call,
            clock: Clock::start(),
            timeout: None,
            n_bytes: None,
            id: None,
            traceparent: None,
        }
    }
}
