//! What was asked and answered, for whoever wants to train on it or to check it: written by a thread of
//! its own, never in the way of a request.

use crate::question::Question;
use crate::queue::{Popped, Queue};
use crate::version::Identity;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// One request and what one version said of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request's name.
    pub request_id: Arc<str>,
    /// When it was answered.
    pub time: SystemTime,
    /// Who scored it.
    pub identity: Arc<Identity>,
    /// `stable`, `canary` or `shadow`; `None` where no label led to the version.
    pub role: Option<&'static str>,
    /// What was asked: the features as they came.
    pub question: Arc<Question>,
    /// `raw[task][candidate]`, before calibration.
    pub raw: Arc<[Vec<f32>]>,
    /// `said[output][candidate]`, as answered.
    pub said: Arc<[Vec<f32>]>,
}

impl Entry {
    /// How many candidates it has.
    pub fn n_candidates(&self) -> usize {
        self.question.candidates.n_rows
    }
}

/// Where entries go. Called from one thread.
pub trait ScoreLog: Send {
    /// Keeps an entry.
    ///
    /// # Errors
    /// It cannot be kept; the text says why. The next one is tried all the same.
    fn write(&mut self, entry: &Entry) -> Result<(), String>;

    /// Called now and then, also when nothing is asked: the moment to close a file that is old enough.
    ///
    /// # Errors
    /// As [`ScoreLog::write`].
    fn tick(&mut self) -> Result<(), String>;

    /// The last call: whatever is open is closed.
    ///
    /// # Errors
    /// As [`ScoreLog::write`].
    fn finish(&mut self) -> Result<(), String>;
}

/// Counts of a score log, in candidates.
#[derive(Debug, Default)]
pub struct Counts {
    /// Kept.
    pub written: AtomicU64,
    /// Lost, because the log was behind or failed.
    pub dropped: AtomicU64,
}

impl Counts {
    /// What was written, and what was dropped.
    pub fn get(&self) -> [u64; 2] {
        [&self.written, &self.dropped].map(|count| count.load(Ordering::Relaxed))
    }
}

/// The bounded way to a [`ScoreLog`].
#[derive(Debug)]
pub struct LogQueue {
    queue: Arc<Queue<Entry>>,
    counts: Arc<Counts>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

const TICK: Duration = Duration::from_secs(1);

impl LogQueue {
    /// Starts the thread that writes; at most `waiting` candidates wait for it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(log: Box<dyn ScoreLog>, waiting: usize) -> std::io::Result<LogQueue> {
        let queue = Arc::new(Queue::new(waiting));
        let counts = Arc::new(Counts::default());
        let thread = std::thread::Builder::new().name("score log".to_owned());
        let (its_queue, its_counts) = (queue.clone(), counts.clone());
        let thread = thread.spawn(move || write_all(log, &its_queue, &its_counts))?;
        Ok(LogQueue {
            queue,
            counts,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has an entry written, or counts its candidates as dropped.
    pub fn push(&self, entry: Entry) {
        let n = entry.n_candidates();
        if self.queue.push(entry, n.max(1)).is_err() {
            self.counts.dropped.fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    /// What was written and what was dropped.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Writes what waits and closes the log.
    pub fn stop(&self) {
        self.queue.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the score log's thread panicked; its last file is incomplete");
        }
    }
}

fn write_all(mut log: Box<dyn ScoreLog>, queue: &Queue<Entry>, counts: &Counts) {
    let mut complaint = Complaint::default();
    loop {
        match queue.pop_within(TICK) {
            Popped::Item(entry) => {
                let n = entry.n_candidates() as u64;
                let written = log.write(&entry);
                let counter = match written {
                    Ok(()) => &counts.written,
                    Err(_) => &counts.dropped,
                };
                counter.fetch_add(n, Ordering::Relaxed);
                complaint.about(written);
            }
            Popped::Nothing => complaint.about(log.tick()),
            Popped::Closed => return complaint.about(log.finish()),
        }
    }
}

/// Says what fails, once until it works again: a full disk must not fill the log as well.
#[derive(Default)]
struct Complaint {
    is_open: bool,
}

impl Complaint {
    fn about(&mut self, done: Result<(), String>) {
        match &done {
            Ok(()) if self.is_open => tracing::info!("the score log works again"),
            Err(error) if !self.is_open => tracing::error!("the score log loses rows: {error}"),
            _ => {}
        }
        self.is_open = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::{Block, Schema};
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Gate {
        began: Sender<usize>,
        go_on: Receiver<()>,
    }

    impl ScoreLog for Gate {
        fn write(&mut self, entry: &Entry) -> Result<(), String> {
            self.began.send(entry.n_candidates()).unwrap();
            self.go_on.recv().map_err(|error| error.to_string())
        }
        fn tick(&mut self) -> Result<(), String> {
            Ok(())
        }
        fn finish(&mut self) -> Result<(), String> {
            self.began.send(0).unwrap();
            Ok(())
        }
    }

    fn entry(n: usize) -> Entry {
        let schema = Schema {
            value_rule: ncs_features::ValueRule::CURRENT,
            fields: vec![],
            tables: vec![],
            tasks: vec![],
            group: None,
        };
        Entry {
            request_id: "1".into(),
            time: SystemTime::UNIX_EPOCH,
            identity: Arc::new(Identity {
                model: "m".into(),
                number: 1,
                hash: "".into(),
                schema: Arc::new(schema),
                outputs: [].into(),
            }),
            role: None,
            question: Arc::new(Question {
                candidates: Block {
                    n_rows: n,
                    columns: vec![],
                },
                ..Question::default()
            }),
            raw: [].into(),
            said: [].into(),
        }
    }

    #[test]
    fn a_slow_log_loses_rows_and_counts_them() {
        let (began, begins) = channel();
        let (open, go_on) = channel();
        let log = LogQueue::start(Box::new(Gate { began, go_on }), 10).unwrap();
        log.push(entry(1));
        assert_eq!(begins.recv(), Ok(1));
        log.push(entry(8));
        log.push(entry(3));
        open.send(()).unwrap();
        open.send(()).unwrap();
        log.stop();
        assert_eq!((begins.recv(), begins.recv()), (Ok(8), Ok(0)));
        assert_eq!(log.counts().get(), [9, 3]);
    }
}
