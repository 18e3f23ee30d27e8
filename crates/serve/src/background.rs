//! Threads that work off a bounded queue.

use crate::queue::{Queue, Weight};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A bounded queue and the threads that work it off. Dropping it closes the queue.
#[derive(Debug)]
pub(crate) struct Background<T> {
    pub(crate) queue: Arc<Queue<T>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts threads, each with its name and its work, which runs until the queue is closed and empty.
    ///
    /// # Errors
    /// A thread cannot be created.
    pub(crate) fn start<W: FnOnce(&Queue<T>) + Send + 'static>(
        limit: Weight,
        threads: impl IntoIterator<Item = (String, W)>,
    ) -> io::Result<Background<T>> {
        let queue = Arc::new(Queue::new(limit));
        let thread = |(name, work): (String, W)| {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(move || work(&queue))
        };
        let threads = threads.into_iter().map(thread).collect::<Result<_, _>>()?;
        Ok(Background {
            queue,
            threads: Mutex::new(threads),
        })
    }
}

impl<T> Background<T> {
    /// Closes the queue and waits until `deadline` for the threads to finish it, so that a stuck thread cannot
    /// block the shutdown. Returns true if they did.
    pub(crate) fn stop(&self, deadline: Instant) -> bool {
        self.queue.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.drain(..).all(|thread| {
            while !thread.is_finished() {
                if Instant::now() >= deadline {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            true
        })
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}
