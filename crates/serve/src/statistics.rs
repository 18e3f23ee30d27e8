//! What a model version did since it was loaded, as the protocol's statistics call tells it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How often, and how long in all.
#[derive(Debug, Default)]
pub struct Total {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Total {
    /// Adds one that took this long.
    pub fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many, and how many nanoseconds in all.
    pub fn get(&self) -> (u64, u64) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (get(&self.count), get(&self.nanoseconds))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Requests that were answered.
    pub success: Total,
    /// Requests that were refused once the model was known.
    pub fail: Total,
    /// Waiting for a thread.
    pub queue: Total,
    /// Reading and encoding.
    pub input: Total,
    /// Scoring.
    pub infer: Total,
    /// Writing the answer.
    pub output: Total,
    candidates: AtomicU64,
    /// Milliseconds since 1970.
    last: AtomicU64,
}

impl Statistics {
    /// Counts the candidates of an answered request.
    pub fn answered(&self, candidates: usize) {
        self.candidates
            .fetch_add(candidates as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis() as u64;
        self.last.store(now, Ordering::Relaxed);
    }

    /// Candidates that were scored.
    pub fn candidates(&self) -> u64 {
        self.candidates.load(Ordering::Relaxed)
    }

    /// When a request was last answered, in milliseconds since 1970; 0 if none was.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}
