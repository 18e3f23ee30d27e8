//! Threads that only compute, so that a heavy request never holds up the network's threads.

use crate::api_error::{ApiError, Kind};
use crate::queue::{Queue, Weight};
use ncs_model::{RankBuffers, Workspace};
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a thread computes with: buffers that grow to the largest request and are used again.
#[derive(Debug)]
pub struct WorkerScratch {
    /// For whole rows.
    pub pass: Workspace,
    /// For a context and its candidates.
    pub ranks: RankBuffers,
    /// When the work that is under way is of no more use.
    pub until: Option<Instant>,
}

impl WorkerScratch {
    /// Empty buffers.
    pub fn new() -> WorkerScratch {
        WorkerScratch {
            pass: Workspace::new(1),
            ranks: RankBuffers::default(),
            until: None,
        }
    }

    /// Refuses to go on with what nobody waits for any more.
    ///
    /// # Errors
    /// Its time is over.
    pub fn check_time(&self) -> Result<(), ApiError> {
        match self.until.is_some_and(|until| Instant::now() >= until) {
            true => Err(Kind::Late.says("no answer in time")),
            false => Ok(()),
        }
    }
}

impl Default for WorkerScratch {
    fn default() -> WorkerScratch {
        WorkerScratch::new()
    }
}

/// Something to compute.
pub type Job = Box<dyn FnOnce(&mut WorkerScratch) + Send>;

/// Threads with a scratch each, and the queue before them.
pub struct Workers {
    queue: Arc<Queue<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting();
        f.debug_struct("Workers")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts `n_threads` threads, before which at most `waiting` jobs wait.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(n_threads: usize, waiting: usize) -> io::Result<Workers> {
        let queue = Arc::new(Queue::new(Weight::counted(waiting)));
        let thread = |number| {
            let queue = queue.clone();
            let name = format!("compute {number}");
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(move || work(&queue))
        };
        let threads = (0..n_threads.max(1))
            .map(thread)
            .collect::<Result<_, _>>()?;
        Ok(Workers {
            queue,
            threads: Mutex::new(threads),
        })
    }

    /// Has a job done as soon as a thread is free.
    ///
    /// # Errors
    /// The queue is full: [`Kind::Overloaded`]; the job is dropped.
    pub fn submit(&self, job: Job) -> Result<(), ApiError> {
        let full = |_| {
            Kind::Overloaded.says(format!(
                "the queue is full ({} waiting, the most that this server lets wait); ask again in a moment",
                self.queue.limit().count
            ))
        };
        self.queue.push(job, Weight::counted(1)).map_err(full)
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Lets the threads finish what waits, and waits for them until then; whether they did.
    pub fn stop(&self, until: Instant) -> bool {
        self.queue.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // A job that panics is caught in `work`.
        threads.drain(..).all(|thread| ends(&thread, until))
    }
}

/// Waits for a thread's end, but not for ever: one that is stuck must not hold up the server's end.
pub(crate) fn ends(thread: &JoinHandle<()>, until: Instant) -> bool {
    while !thread.is_finished() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn work(queue: &Queue<Job>) {
    let mut scratch = WorkerScratch::new();
    while let Some(job) = queue.pop() {
        // The job's caller sees that no answer comes, and says so; the others must not suffer.
        if std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut scratch))).is_err() {
            tracing::error!(
                "a request made the scorer panic; the thread goes on with fresh buffers"
            );
            scratch = WorkerScratch::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_panic_costs_one_job_and_a_full_queue_refuses() {
        let workers = Workers::start(1, 1).unwrap();
        let (say, hear) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        workers.submit(Box::new(|_| panic!("on purpose"))).unwrap();
        while workers.waiting() > 0 {
            std::thread::yield_now();
        }
        let waits = say.clone();
        let job = move |_: &mut WorkerScratch| {
            waits.send("began").unwrap();
            gate.recv().unwrap();
        };
        workers.submit(Box::new(job)).unwrap();
        assert_eq!(hear.recv(), Ok("began"));
        let last = move |_: &mut WorkerScratch| say.send("last").unwrap();
        workers.submit(Box::new(last)).unwrap();
        let refusal = workers.submit(Box::new(|_| ())).unwrap_err();
        assert_eq!(refusal.kind, Kind::Overloaded);
        open.send(()).unwrap();
        assert!(workers.stop(Instant::now() + Duration::from_secs(60)));
        assert_eq!(hear.recv(), Ok("last"));
    }
}
