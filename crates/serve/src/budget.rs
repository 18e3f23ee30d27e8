//! Memory budget of all requests and responses in progress.
//!
//! Each request is limited on its own, but there can be thousands of connections; the [`Budget`] limits
//! their sum. Heads, bodies and responses take a [`Share`] before they allocate, and return it when their
//! bytes are freed, wherever that happens: in a queue, in a worker, or in a connection whose peer does not
//! read.

use crate::api_error::{ApiError, ErrorKind};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shares above this size are large: they may use three quarters of the budget only, so that a few large
/// bodies do not lock out all other requests.
const LARGE: usize = 1 << 20;

/// Budget of bytes for all requests and responses in progress.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A part of a [`Budget`], returned on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    n_bytes: usize,
}

impl Budget {
    /// Creates a budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// Returns the size of the budget in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the number of bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes bytes for the head of a request. Heads may use the whole budget, bodies only a part of it, so
    /// that bodies do not lock out health checks.
    ///
    /// # Errors
    /// Too few bytes are left: [`ErrorKind::Overloaded`].
    pub fn admit(self: &Arc<Self>, n_bytes: usize) -> Result<Share, ApiError> {
        self.add(n_bytes, self.limit)?;
        Ok(Share {
            budget: self.clone(),
            n_bytes,
        })
    }

    /// Takes bytes for a body or response.
    ///
    /// # Errors
    /// Too few bytes are left: [`ErrorKind::Overloaded`].
    pub fn take(self: &Arc<Self>, n_bytes: usize) -> Result<Share, ApiError> {
        let mut share = Share {
            budget: self.clone(),
            n_bytes: 0,
        };
        share.grow(n_bytes)?;
        Ok(share)
    }

    fn add(&self, n_bytes: usize, limit: usize) -> Result<(), ApiError> {
        let more = |used: usize| used.checked_add(n_bytes).filter(|used| *used <= limit);
        let updated = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        updated.map(drop).map_err(|_| self.refusal())
    }

    fn refusal(&self) -> ApiError {
        ErrorKind::Overloaded.error(format!(
            "requests and responses in progress take all of the {} MiB that this server has for them \
             (--max-total-body); try again in a moment",
            self.limit >> 20
        ))
    }
}

impl Share {
    /// Takes more bytes.
    ///
    /// # Errors
    /// Too few bytes are left: [`ErrorKind::Overloaded`]; the share is unchanged.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), ApiError> {
        let is_large = self.n_bytes.saturating_add(n_bytes) > LARGE;
        let all = self.budget.limit;
        let left = if is_large { all / 4 } else { all / 16 };
        self.budget.add(n_bytes, all - left)?;
        self.n_bytes += n_bytes;
        Ok(())
    }

    /// Returns `n_bytes` to the budget.
    pub fn shrink(&mut self, n_bytes: usize) {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        self.budget.used.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    /// Returns all but `n_bytes` to the budget.
    pub fn shrink_to(&mut self, n_bytes: usize) {
        self.shrink(self.n_bytes.saturating_sub(n_bytes));
    }

    /// Moves `n_bytes` of this share into a new share.
    pub fn split(&mut self, n_bytes: usize) -> Share {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        Share {
            budget: self.budget.clone(),
            n_bytes,
        }
    }

    /// Wraps bytes so that the share is returned when the last reference to them is dropped.
    pub fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.n_bytes);
    }
}

struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_bytes_count_until_their_last_reference_is_dropped() {
        let budget = Budget::new(10);
        let mut share = budget.take(4).unwrap();
        assert_eq!(share.grow(7).unwrap_err().kind, ErrorKind::Overloaded);
        share.grow(6).unwrap();
        share.shrink(5);
        assert_eq!(budget.used(), 5);
        let bytes = share.hold(vec![7; 5]);
        let view = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((budget.used(), &view[..]), (5, &[7][..]));
        drop(view);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn large_shares_leave_a_quarter_to_the_others() {
        let budget = Budget::new(16 << 20);
        let _large = budget.take(12 << 20).unwrap();
        assert!(budget.take(2 << 20).is_err());
        let small: Vec<Share> = (0..3).map(|_| budget.take(1 << 20).unwrap()).collect();
        assert!(budget.take(1).is_err());
        assert!(budget.admit(1 << 20).is_ok());
        drop(small);
    }
}
