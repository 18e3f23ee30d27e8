//! Statistics of a model version since it was loaded, for the protocol's statistics call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A count and a total time.
#[derive(Debug, Default)]
pub struct Total {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Total {
    /// Adds one event of this duration.
    pub fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the count and the total nanoseconds.
    pub fn get(&self) -> (u64, u64) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (get(&self.count), get(&self.nanoseconds))
    }
}

/// Statistics of a model version.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Requests that succeeded.
    pub success: Total,
    /// Requests that failed after the model was selected.
    pub fail: Total,
    /// Time waiting for a worker thread.
    pub queue: Total,
    /// Time parsing and encoding.
    pub input: Total,
    /// Time scoring.
    pub infer: Total,
    /// Time writing the response.
    pub output: Total,
    candidates: AtomicU64,
    /// Milliseconds since 1970 of the last success.
    last: AtomicU64,
}

impl Statistics {
    /// Counts the candidates of a successful request.
    pub fn answered(&self, candidates: usize) {
        self.candidates
            .fetch_add(candidates as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis() as u64;
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns the number of scored candidates.
    pub fn candidates(&self) -> u64 {
        self.candidates.load(Ordering::Relaxed)
    }

    /// Returns the time of the last success in milliseconds since 1970; 0 if there was none.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}
