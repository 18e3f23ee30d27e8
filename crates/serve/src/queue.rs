//! Queues with a bound: what does not fit is handed back, or the oldest makes room.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A queue between threads, bounded by the weight of what waits in it.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// The most weight that waits.
    limit: Weight,
}

/// What an item weighs: in what is counted, such as candidates, and in bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many.
    pub count: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl Weight {
    /// A weight that is counted only.
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

/// What came of waiting for an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<T> {
    /// The oldest item.
    Item(T),
    /// None came in time.
    Nothing,
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
    /// An empty queue in which at most `limit` of weight waits.
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

    /// The most weight that waits.
    pub fn limit(&self) -> Weight {
        self.limit
    }

    /// Appends an item.
    ///
    /// # Errors
    /// It does not fit, or the queue is closed; the item comes back.
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

    /// Appends an item, for which the oldest make room; returns how many were lost, the item itself
    /// where it does not fit into an empty queue or the queue is closed.
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

    /// The oldest item; waits for one. `None` once the queue is closed and empty.
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

    /// As [`Queue::pop`], but waits no longer than `time`.
    pub fn pop_within(&self, time: Duration) -> Popped<T> {
        let until = Instant::now() + time;
        let mut state = self.lock();
        loop {
            if let Some(item) = state.take() {
                return Popped::Item(item);
            }
            let left = until.saturating_duration_since(Instant::now());
            match (state.is_closed, left.is_zero()) {
                (true, _) => return Popped::Closed,
                (false, true) => return Popped::Nothing,
                (false, false) => {}
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no more items; those that wait can still be popped.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes all that waits.
    pub fn drain(&self) -> Vec<T> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.take()).collect()
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether none waits.
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
    fn what_does_not_fit_comes_back_or_the_oldest_goes() {
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
