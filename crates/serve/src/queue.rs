//! Bounded queues: an item that does not fit is returned to the caller, or evicts the oldest.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A queue between threads, bounded by the total weight of its items.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Maximum total weight.
    limit: Weight,
}

/// Weight of an item: a count, for example of candidates, and bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Count.
    pub count: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

impl Weight {
    /// Returns a weight with a count only.
    pub fn counted(count: usize) -> Weight {
        Weight { count, bytes: 0 }
    }

    fn plus(self, other: Weight) -> Weight {
        Weight {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Weight) -> Weight {
        Weight {
            count: self.count - other.count,
            bytes: self.bytes - other.bytes,
        }
    }

    fn fits(self, limit: Weight) -> bool {
        self.count <= limit.count && self.bytes <= limit.bytes
    }
}

/// Result of waiting for an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<T> {
    /// The oldest item.
    Item(T),
    /// No item arrived in time.
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, Weight)>,
    weight: Weight,
    is_closed: bool,
}

impl<T> Queue<T> {
    /// Creates an empty queue of at most `limit` total weight.
    pub fn new(limit: Weight) -> Queue<T> {
        Queue {
            state: Mutex::new(State {
                items: VecDeque::new(),
                weight: Weight::default(),
                is_closed: false,
            }),
            changed: Condvar::new(),
            limit,
        }
    }

    /// Returns the maximum total weight.
    pub fn limit(&self) -> Weight {
        self.limit
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The item does not fit or the queue is closed; it is returned.
    pub fn push(&self, item: T, weight: Weight) -> Result<(), T> {
        let mut state = self.lock();
        if state.is_closed || !state.weight.plus(weight).fits(self.limit) {
            return Err(item);
        }
        state.append(item, weight);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Appends an item and evicts the oldest to make room. Returns the number of items lost; the item itself
    /// is lost if it does not fit into an empty queue or the queue is closed.
    pub fn push_over(&self, item: T, weight: Weight) -> usize {
        let mut state = self.lock();
        if state.is_closed || !weight.fits(self.limit) {
            return 1;
        }
        let mut lost = Vec::new();
        while !state.weight.plus(weight).fits(self.limit) {
            lost.extend(state.take());
        }
        state.append(item, weight);
        drop(state);
        self.changed.notify_one();
        lost.len()
    }

    /// Removes the oldest item, waiting for one. `None` once the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.take() {
                return Some(item);
            }
            if state.is_closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Like [`Queue::pop`], but waits for at most `time`.
    pub fn pop_within(&self, time: Duration) -> Popped<T> {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        loop {
            if let Some(item) = state.take() {
                return Popped::Item(item);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match (state.is_closed, left.is_zero()) {
                (true, _) => return Popped::Closed,
                (false, true) => return Popped::TimedOut,
                (false, false) => {}
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the queue to new items; queued items can still be popped.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Removes all items.
    pub fn drain(&self) -> Vec<T> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.take()).collect()
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Returns true if the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn append(&mut self, item: T, weight: Weight) {
        self.weight = self.weight.plus(weight);
        self.items.push_back((item, weight));
    }

    fn take(&mut self) -> Option<T> {
        let (item, weight) = self.items.pop_front()?;
        self.weight = self.weight.minus(weight);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_items_are_returned_or_evict_the_oldest() {
        let queue = Queue::new(Weight {
            count: 10,
            bytes: 100,
        });
        let weight = |count, bytes| Weight { count, bytes };
        assert_eq!(queue.push("a", weight(6, 50)), Ok(()));
        assert_eq!(queue.push("b", weight(5, 0)), Err("b"));
        assert_eq!(queue.push("b", weight(1, 51)), Err("b"));
        assert_eq!(queue.push("c", weight(4, 0)), Ok(()));
        assert_eq!(queue.push_over("d", weight(5, 60)), 1);
        assert_eq!(queue.push_over("e", weight(11, 0)), 1);
        assert_eq!(queue.push_over("e", weight(1, 101)), 1);
        queue.close();
        assert_eq!(queue.push("f", weight(1, 1)), Err("f"));
        assert_eq!(
            (queue.pop(), queue.pop(), queue.pop()),
            (Some("c"), Some("d"), None)
        );
    }
}
