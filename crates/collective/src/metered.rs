//! Counts what a rank sends, and how long it waits.

use crate::{Collective, CollectiveError, Wait};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rank whose exchanges are counted.
pub struct Metered<'a> {
    rank: &'a dyn Collective,
    exchanges: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What a rank has exchanged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Exchanges.
    pub exchanges: u64,
    /// Bytes sent to other ranks.
    pub bytes: u64,
    /// Time in exchanges, most of it waiting for other ranks and for the network.
    pub time: Duration,
}

impl<'a> Metered<'a> {
    /// Begins to count the exchanges of a rank.
    pub fn new(rank: &'a dyn Collective) -> Metered<'a> {
        Metered {
            rank,
            exchanges: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Returns what has been exchanged.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            exchanges: self.exchanges.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

impl Collective for Metered<'_> {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn n_ranks(&self) -> usize {
        self.rank.n_ranks()
    }

    fn exchange(&self, parts: &[&[u8]], wait: Wait) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let begun = Instant::now();
        let received = self.rank.exchange(parts, wait)?;
        let others = parts
            .iter()
            .enumerate()
            .filter(|(to, _)| *to != self.rank());
        let bytes: usize = others.map(|(_, part)| part.len()).sum();
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        Ok(received)
    }

    fn abort(&self, code: u8) {
        self.rank.abort(code);
    }
}
