//! Rate limit of events, with a count of those suppressed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Admits a number of events per second, and counts the others.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: u32,
    second: Mutex<Second>,
    suppressed: AtomicU64,
}

/// One second, which starts with its first admitted event.
#[derive(Debug, Default)]
struct Second {
    from: Option<Instant>,
    n_admitted: u32,
}

impl RateLimit {
    pub(super) fn new(per_second: u32) -> RateLimit {
        RateLimit {
            per_second,
            second: Mutex::default(),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Returns true if one more event is admitted at `now`.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut second = self.lock();
        if second.is_over(now) {
            *second = Second {
                from: Some(now),
                n_admitted: 0,
            };
        }
        let admitted = second.n_admitted < self.per_second;
        if admitted {
            second.n_admitted += 1;
        } else {
            self.suppressed.fetch_add(1, Relaxed);
        }
        admitted
    }

    /// Returns the number of events suppressed in a second that is over at `now`; each is reported once.
    pub(super) fn suppressed(&self, now: Instant) -> Option<u64> {
        // Usually none were; then no lock is taken.
        if self.suppressed.load(Relaxed) == 0 {
            return None;
        }
        let second = self.lock();
        let n = if second.is_over(now) {
            self.suppressed.swap(0, Relaxed)
        } else {
            0
        };
        (n > 0).then_some(n)
    }

    /// Returns the number of suppressed events not reported yet.
    pub(super) fn rest(&self) -> Option<u64> {
        let n = self.suppressed.swap(0, Relaxed);
        (n > 0).then_some(n)
    }

    fn lock(&self) -> MutexGuard<'_, Second> {
        self.second.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Second {
    fn is_over(&self, now: Instant) -> bool {
        let age = |from| now.saturating_duration_since(from);
        self.from
            .is_none_or(|from| age(from) >= Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_events_are_suppressed_and_counted() {
        let limit = RateLimit::new(2);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let admitted = [0, 10, 20, 999].map(|moment| limit.admits(at(moment)));
        assert_eq!(admitted, [true, true, false, false]);
        assert_eq!(limit.suppressed(at(999)), None);
        assert_eq!(limit.suppressed(at(1000)), Some(2));
        assert_eq!(limit.suppressed(at(1000)), None);
        let admitted = [1000, 1001, 1002].map(|moment| limit.admits(at(moment)));
        assert_eq!(admitted, [true, true, false]);
        assert_eq!(limit.rest(), Some(1));
        assert_eq!(limit.rest(), None);
    }
}
