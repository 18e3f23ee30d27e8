//! Worker threads, which keep heavy computation off the async threads.

use crate::api_error::{ApiError, ErrorKind};
use crate::background::Background;
use crate::queue::{Queue, Weight};
use ncs_model::{RankBuffers, Workspace};
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Scratch memory of a worker thread: buffers that grow to the largest request and are reused.
#[derive(Debug)]
pub struct WorkerScratch {
    /// Workspace for scoring whole rows.
    pub workspace: Workspace,
    /// Buffers for scoring a context with its candidates.
    pub rank_buffers: RankBuffers,
    /// Deadline of the request in progress.
    pub deadline: Option<Instant>,
}

impl WorkerScratch {
    /// Creates empty buffers.
    pub fn new() -> WorkerScratch {
        WorkerScratch {
            workspace: Workspace::new(1),
            rank_buffers: RankBuffers::default(),
            deadline: None,
        }
    }

    /// Checks the deadline of the request in progress.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn check_time(&self) -> Result<(), ApiError> {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Err(ErrorKind::Late.error("the deadline of the request has passed"));
        }
        Ok(())
    }
}

impl Default for WorkerScratch {
    fn default() -> WorkerScratch {
        WorkerScratch::new()
    }
}

/// A unit of work for a worker thread.
pub type Job = Box<dyn FnOnce(&mut WorkerScratch) + Send>;

/// Worker threads, each with its scratch memory, and their queue.
pub struct Workers(Background<Job>);

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting();
        f.debug_struct("Workers")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts `n_threads` threads with a queue of at most `waiting` jobs.
    ///
    /// # Errors
    /// A thread cannot be created.
    pub fn start(n_threads: usize, waiting: usize) -> io::Result<Workers> {
        let threads = (0..n_threads.max(1)).map(|number| (format!("compute {number}"), work));
        Background::start(Weight::counted(waiting), threads).map(Workers)
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The queue is full: [`ErrorKind::Overloaded`]; the job is dropped.
    pub fn submit(&self, job: Job) -> Result<(), ApiError> {
        let queue = &self.0.queue;
        let full = |_| {
            ErrorKind::Overloaded.error(format!(
                "the queue is full ({} waiting, the maximum of this server); try again in a moment",
                queue.limit().count
            ))
        };
        queue.push(job, Weight::counted(1)).map_err(full)
    }

    /// Returns the number of queued jobs.
    pub fn waiting(&self) -> usize {
        self.0.queue.len()
    }

    /// Closes the queue and waits until `deadline` for the threads to finish it. Returns true if they did.
    pub fn stop(&self, deadline: Instant) -> bool {
        self.0.stop(deadline)
    }
}

fn work(queue: &Queue<Job>) {
    let mut scratch = WorkerScratch::new();
    while let Some(job) = queue.pop() {
        // The caller of this job gets an internal error; other requests are unaffected.
        if std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut scratch))).is_err() {
            tracing::error!(
                "a request made the scorer panic; the thread continues with fresh buffers"
            );
            scratch = WorkerScratch::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_panic_costs_one_job_and_a_full_queue_refuses() {
        let workers = Workers::start(1, 1).unwrap();
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        workers.submit(Box::new(|_| panic!("on purpose"))).unwrap();
        while workers.waiting() > 0 {
            std::thread::yield_now();
        }
        let waits = sender.clone();
        let job = move |_: &mut WorkerScratch| {
            waits.send("began").unwrap();
            gate.recv().unwrap();
        };
        workers.submit(Box::new(job)).unwrap();
        assert_eq!(receiver.recv(), Ok("began"));
        let last = move |_: &mut WorkerScratch| sender.send("last").unwrap();
        workers.submit(Box::new(last)).unwrap();
        let refusal = workers.submit(Box::new(|_| ())).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Overloaded);
        open.send(()).unwrap();
        assert!(workers.stop(Instant::now() + Duration::from_secs(60)));
        assert_eq!(receiver.recv(), Ok("last"));
    }
}
