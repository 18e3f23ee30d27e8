//! Ranks that are threads of one process.

use crate::{Collective, CollectiveError, Wait};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A rank of a job whose ranks are threads of one process. When it is dropped the rank has ended.
#[derive(Debug)]
pub struct ThreadRank {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    n_ranks: usize,
    timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Messages that are not received yet: `[to][from]`, oldest first.
    messages: Vec<Vec<VecDeque<Vec<u8>>>>,
    /// For each rank, true once it has ended.
    gone: Vec<bool>,
}

/// Creates the ranks of a job of `n_ranks` threads; an exchange fails if a rank does not come within `timeout`.
///
/// # Panics
/// If there are no ranks.
pub fn threads(n_ranks: usize, timeout: Duration) -> Vec<ThreadRank> {
    assert!(n_ranks > 0, "a job has a rank");
    let shared = Arc::new(Shared {
        n_ranks,
        timeout,
        state: Mutex::new(State {
            messages: vec![vec![VecDeque::new(); n_ranks]; n_ranks],
            gone: vec![false; n_ranks],
        }),
        changed: Condvar::new(),
    });
    let rank = |rank| ThreadRank {
        rank,
        shared: shared.clone(),
    };
    (0..n_ranks).map(rank).collect()
}

impl ThreadRank {
    fn state(&self) -> MutexGuard<'_, State> {
        // A rank that panics leaves whole messages.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        self.state().gone[self.rank] = true;
        self.shared.changed.notify_all();
    }

    /// Returns the first rank whose message is missing.
    fn missing(&self, state: &State) -> Option<usize> {
        state.messages[self.rank]
            .iter()
            .position(VecDeque::is_empty)
    }
}

impl Collective for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.shared.n_ranks
    }

    fn exchange(&self, parts: &[&[u8]], wait: Wait) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let Shared {
            n_ranks, timeout, ..
        } = *self.shared;
        assert_eq!(parts.len(), n_ranks, "one part for each rank");
        let copies: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let mut state = self.state();
        for (to, part) in copies.into_iter().enumerate() {
            state.messages[to][self.rank].push_back(part);
        }
        self.shared.changed.notify_all();
        let end = Instant::now() + timeout;
        while let Some(rank) = self.missing(&state) {
            if state.gone[rank] {
                return Err(CollectiveError::Gone { rank, n_ranks });
            }
            let left = match wait {
                Wait::Timeout => end.saturating_duration_since(Instant::now()),
                Wait::Unlimited => timeout,
            };
            if left.is_zero() {
                let seconds = timeout.as_secs();
                return Err(CollectiveError::Stuck {
                    rank,
                    n_ranks,
                    seconds,
                });
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let own = state.messages[self.rank].iter_mut();
        Ok(own.filter_map(VecDeque::pop_front).collect())
    }

    fn abort(&self, _: u8) {
        self.leave();
    }
}

impl Drop for ThreadRank {
    fn drop(&mut self) {
        self.leave();
    }
}
