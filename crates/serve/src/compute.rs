//! Where requests are scored: on the thread that received them while fewer run than may, else on worker threads.

use crate::api_error::{ApiError, ErrorKind};
use crate::background::Background;
use crate::queue::{Queue, Weight};
use ncs_model::{RankBuffers, Workspace};
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    /// The key of its context in the cache.
    pub context_key: Vec<u8>,
}

impl WorkerScratch {
    /// Creates empty buffers.
    pub fn new() -> WorkerScratch {
        WorkerScratch {
            workspace: Workspace::new(1),
            rank_buffers: RankBuffers::default(),
            deadline: None,
            context_key: Vec::new(),
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

/// Scratch memory for as many jobs as may run at a time, and worker threads with their queue.
pub struct Workers {
    background: Background<Job>,
    scratches: Arc<Scratches>,
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
    /// Starts `n_threads` threads with a queue of at most `waiting` jobs. No more than `n_threads` jobs run at a time,
    /// wherever they run.
    ///
    /// # Errors
    /// A thread cannot be created.
    pub fn start(n_threads: usize, waiting: usize) -> io::Result<Workers> {
        let n_threads = n_threads.max(1);
        let scratches = Arc::new(Scratches::new(n_threads));
        let threads = (0..n_threads).map(|number| {
            let scratches = scratches.clone();
            let work = move |queue: &Queue<Job>| work(queue, &scratches);
            (format!("compute {number}"), work)
        });
        Ok(Workers {
            background: Background::start(Weight::counted(waiting), threads)?,
            scratches,
        })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The queue is full: [`ErrorKind::Overloaded`]; the job is dropped.
    pub fn submit(&self, job: Job) -> Result<(), ApiError> {
        let queue = &self.background.queue;
        let full = |_| {
            ErrorKind::Overloaded.error(format!(
                "the queue is full ({} waiting, the maximum of this server); try again in a moment",
                queue.limit().count
            ))
        };
        queue.push(job, Weight::counted(1)).map_err(full)
    }

    /// Queues a job that needs no scratch memory, or runs it here if the queue is full.
    pub fn submit_or_run(&self, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(move |_| job());
        if let Err(job) = self.background.queue.push(job, Weight::counted(1)) {
            job(&mut WorkerScratch::new());
        }
    }

    /// Returns scratch memory for a job that the calling thread runs itself, which saves handing it over to a worker.
    /// `None` if as many jobs run as may, or if others wait, whose turn is first.
    pub fn idle(&self) -> Option<Scratch<'_>> {
        let has_waiting = !self.background.queue.is_empty();
        (!has_waiting).then(|| self.scratches.take_idle()).flatten()
    }

    /// Returns the number of queued jobs.
    pub fn waiting(&self) -> usize {
        self.background.queue.len()
    }

    /// Closes the queue and waits until `deadline` for the threads to finish it. Returns true if they did.
    pub fn stop(&self, deadline: Instant) -> bool {
        self.background.stop(deadline)
    }
}

/// Scratch memory that is not in use.
#[derive(Debug)]
struct Scratches {
    state: Mutex<ScratchState>,
    returned: Condvar,
}

#[derive(Debug)]
struct ScratchState {
    idle: Vec<WorkerScratch>,
    /// Number of worker threads with a job that waits for scratch memory.
    n_waiting: usize,
}

impl Scratches {
    fn new(n: usize) -> Scratches {
        Scratches {
            state: Mutex::new(ScratchState {
                idle: (0..n).map(|_| WorkerScratch::new()).collect(),
                n_waiting: 0,
            }),
            returned: Condvar::new(),
        }
    }

    /// Returns scratch memory, if some is idle and no worker thread waits for it.
    fn take_idle(&self) -> Option<Scratch<'_>> {
        let mut state = self.lock();
        let scratch = (state.n_waiting == 0).then(|| state.idle.pop());
        scratch.flatten().map(|scratch| self.lend(scratch))
    }

    /// Waits for scratch memory.
    fn take(&self) -> Scratch<'_> {
        let mut state = self.lock();
        state.n_waiting += 1;
        loop {
            if let Some(scratch) = state.idle.pop() {
                state.n_waiting -= 1;
                return self.lend(scratch);
            }
            let waited = self.returned.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lend(&self, scratch: WorkerScratch) -> Scratch<'_> {
        Scratch {
            scratch: Some(scratch),
            scratches: self,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ScratchState> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scratch memory in use; it is idle again when this is dropped.
#[derive(Debug)]
pub struct Scratch<'a> {
    scratch: Option<WorkerScratch>,
    scratches: &'a Scratches,
}

impl Scratch<'_> {
    /// Runs a job. `None` if it panicked, which is logged: its buffers are replaced, and other jobs are unaffected.
    pub fn run<R>(&mut self, job: impl FnOnce(&mut WorkerScratch) -> R) -> Option<R> {
        let scratch = self.scratch.get_or_insert_default();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| job(scratch)));
        if result.is_err() {
            tracing::error!("a request made the scorer panic; others continue with fresh buffers");
            self.scratch = None;
        }
        result.ok()
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let scratch = self.scratch.take().unwrap_or_default();
        self.scratches.lock().idle.push(scratch);
        self.scratches.returned.notify_one();
    }
}

fn work(queue: &Queue<Job>, scratches: &Scratches) {
    while let Some(job) = queue.pop() {
        // The caller of a job that panics gets an internal error.
        let _ = scratches.take().run(job);
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

    #[test]
    fn no_more_jobs_run_than_threads_and_those_that_wait_come_first() {
        let workers = Workers::start(1, 2).unwrap();
        let mut scratch = workers.idle().expect("nothing runs");
        assert!(workers.idle().is_none());
        let (sender, receiver) = mpsc::channel();
        let job = move |_: &mut WorkerScratch| sender.send("queued").unwrap();
        workers.submit(Box::new(job)).unwrap();
        let soon = Duration::from_millis(50);
        assert_eq!(
            receiver.recv_timeout(soon),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        assert_eq!(scratch.run(|_| 7), Some(7));
        assert_eq!(scratch.run(|_| -> u8 { panic!("on purpose") }), None);
        drop(scratch);
        assert_eq!(receiver.recv(), Ok("queued"));
        while workers.idle().is_none() {
            std::thread::yield_now();
        }
        assert!(workers.stop(Instant::now() + Duration::from_secs(60)));
    }
}
