//! The memory that all requests and answers under way may take together.
//!
//! Each of them has a limit of its own, and there are thousands of connections: what bounds their sum is a
//! [`Budget`]. Heads, bodies and answers take a [`Share`] of it before they take memory, and give it back
//! when their bytes are freed, wherever these are then: in a queue, at a worker's, or in a connection that
//! its peer does not read.

use crate::api_error::{ApiError, Kind};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A share above this is large: a quarter of the budget is left to those that are not, so that a few large
/// bodies do not shut out everyone else.
const LARGE: usize = 1 << 20;

/// Bytes for all requests and answers under way.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    n_bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// All bytes that there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes so many bytes for a request's head. A part of the budget is left to heads, so that bodies do not
    /// shut out those who only ask whether the server lives.
    ///
    /// # Errors
    /// So many are not left: [`Kind::Overloaded`].
    pub fn admit(self: &Arc<Self>, n_bytes: usize) -> Result<Share, ApiError> {
        self.add(n_bytes, self.limit)?;
        Ok(Share {
            budget: self.clone(),
            n_bytes,
        })
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// So many are not left: [`Kind::Overloaded`].
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
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| self.refusal())
    }

    fn refusal(&self) -> ApiError {
        Kind::Overloaded.says(format!(
            "requests and answers under way take the {} MiB that this server has for them \
             (--max-total-body); ask again in a moment",
            self.limit >> 20
        ))
    }
}

impl Share {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// So many are not left: [`Kind::Overloaded`]; the share stays as it is.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), ApiError> {
        let is_large = self.n_bytes.saturating_add(n_bytes) > LARGE;
        let all = self.budget.limit;
        let left = if is_large { all / 4 } else { all / 16 };
        self.budget.add(n_bytes, all - left)?;
        self.n_bytes += n_bytes;
        Ok(())
    }

    /// Gives so many bytes back.
    pub fn shrink(&mut self, n_bytes: usize) {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        self.budget.used.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, n_bytes: usize) {
        self.shrink(self.n_bytes.saturating_sub(n_bytes));
    }

    /// Takes so many bytes out of this share, into one of their own.
    pub fn split(&mut self, n_bytes: usize) -> Share {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        Share {
            budget: self.budget.clone(),
            n_bytes,
        }
    }

    /// Bytes whose share is given back when the last view of them is dropped.
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
    fn what_is_held_counts_until_its_last_view_is_gone() {
        let budget = Budget::new(10);
        let mut share = budget.take(4).unwrap();
        assert_eq!(share.grow(7).unwrap_err().kind, Kind::Overloaded);
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
