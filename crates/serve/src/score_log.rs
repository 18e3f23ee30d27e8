//! What was asked and answered, for whoever wants to train on it or to check it: written by a thread of
//! its own, never in the way of a request.

use crate::compute::ends;
use crate::queue::{Popped, Queue, Weight};
use crate::rank_request::Question;
use crate::version::Identity;
use ncs_features::{Column, Values};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

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

    /// Bytes that it takes while it is held.
    pub fn n_bytes(&self) -> usize {
        let question = &self.question;
        let blocks = [&question.context, &question.candidates];
        let columns = blocks.into_iter().flat_map(|block| &block.columns);
        let blocks: usize = columns.map(column_bytes).sum();
        let scores = self.raw.iter().chain(&*self.said);
        let scores: usize = scores.map(|scores| size_of_val(&scores[..])).sum();
        let user = question.user.as_ref().map_or(0, String::len);
        ENTRY + self.request_id.len() + user + blocks + scores
    }

    /// What it weighs in a queue.
    pub fn weight(&self) -> Weight {
        Weight {
            count: self.n_candidates().max(1),
            bytes: self.n_bytes(),
        }
    }
}

/// Bytes of an entry besides what it holds, and of a column.
const ENTRY: usize = 512;
const COLUMN: usize = 128;

fn column_bytes(column: &Column) -> usize {
    let values = match &column.values {
        Values::Int(numbers) => size_of_val(&numbers[..]),
        Values::Float(numbers) => size_of_val(&numbers[..]),
        Values::Time(times) => size_of_val(&times[..]),
        Values::Text(texts) => {
            let lengths = (0..texts.len()).map(|i| texts.get(i).len() + size_of::<u32>());
            lengths.sum()
        }
    };
    let offsets = column
        .offsets
        .as_ref()
        .map_or(0, |offsets| size_of_val(&offsets[..]));
    COLUMN + column.name.len() + values + offsets + column.nulls.len()
}

/// What became of candidates since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// They are where they can be read.
    pub written: u64,
    /// They never will be.
    pub lost: u64,
    /// Why not.
    pub errors: Vec<String>,
}

impl Kept {
    /// So many are written.
    pub fn written(n: usize) -> Kept {
        Kept {
            written: n as u64,
            ..Kept::default()
        }
    }

    /// So many are lost.
    pub fn lost(n: usize, error: String) -> Kept {
        Kept {
            lost: n as u64,
            errors: vec![error],
            ..Kept::default()
        }
    }

    /// Both.
    pub fn add(&mut self, other: Kept) {
        self.written += other.written;
        self.lost += other.lost;
        self.errors.extend(other.errors);
    }
}

/// Where entries go. Called from one thread. What is kept may be written later: each call tells what became
/// of candidates until now, each of them once.
pub trait ScoreLog: Send {
    /// Keeps an entry. If it cannot be kept, the next one is tried all the same.
    fn write(&mut self, entry: &Entry) -> Kept;

    /// Called now and then, also when nothing is asked: the moment to close a file that is old enough.
    fn tick(&mut self) -> Kept;

    /// The last call: whatever is open is closed.
    fn finish(&mut self) -> Kept;
}

/// Counts of a score log, in candidates.
#[derive(Debug, Default)]
pub struct Counts {
    /// Of answers that were to be kept.
    pub offered: AtomicU64,
    /// Written.
    pub written: AtomicU64,
    /// Lost, because the log was behind or failed.
    pub dropped: AtomicU64,
}

impl Counts {
    /// What was written, and what was dropped.
    pub fn get(&self) -> [u64; 2] {
        [&self.written, &self.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// What is neither yet.
    pub fn pending(&self) -> u64 {
        let [written, dropped] = self.get();
        let offered = self.offered.load(Ordering::Relaxed);
        offered.saturating_sub(written + dropped)
    }

    fn add(&self, kept: &Kept) {
        self.written.fetch_add(kept.written, Ordering::Relaxed);
        self.dropped.fetch_add(kept.lost, Ordering::Relaxed);
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
    /// What writing takes besides the rows: dictionaries, pages.
    pub const WRITER: usize = 32 << 20;

    /// Starts the thread that writes; at most so many candidates, of so many bytes, wait for it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(log: Box<dyn ScoreLog>, waiting: Weight) -> std::io::Result<LogQueue> {
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
        let (n, weight) = (entry.n_candidates() as u64, entry.weight());
        self.counts.offered.fetch_add(n, Ordering::Relaxed);
        if self.queue.push(entry, weight).is_err() {
            self.counts.dropped.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// What was written and what was dropped.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Writes what waits and closes the log, until then; whether it could. A log that is stuck, on a disk that
    /// does not answer, is left: what it has not written counts as dropped.
    pub fn stop(&self, until: Instant) -> bool {
        self.queue.close();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = thread.take().is_none_or(|thread| ends(&thread, until));
        let pending = self.counts.pending();
        self.counts.dropped.fetch_add(pending, Ordering::Relaxed);
        if pending > 0 {
            tracing::error!(
                rows = pending,
                "the score log did not end in time: rows that were not written are lost"
            );
        }
        is_over
    }
}

fn write_all(mut log: Box<dyn ScoreLog>, queue: &Queue<Entry>, counts: &Counts) {
    let mut complaint = Complaint::default();
    let mut tell = |kept: Kept| {
        counts.add(&kept);
        complaint.about(&kept);
    };
    loop {
        match queue.pop_within(TICK) {
            Popped::Item(entry) => tell(log.write(&entry)),
            Popped::Nothing => tell(log.tick()),
            Popped::Closed => return tell(log.finish()),
        }
    }
}

/// Says what fails, once until it works again: a full disk must not fill the log as well.
#[derive(Default)]
struct Complaint {
    is_open: bool,
    /// Rows that were lost and not told of.
    lost: u64,
}

impl Complaint {
    fn about(&mut self, kept: &Kept) {
        let error = kept.errors.join("; ");
        match (self.is_open, error.is_empty()) {
            (false, false) => {
                self.is_open = true;
                tracing::error!("the score log loses rows: {error}");
            }
            (true, false) => self.lost += kept.lost,
            // It works again where rows are where they should be.
            (true, true) if kept.written > 0 => {
                let lost = std::mem::take(&mut self.lost);
                self.is_open = false;
                tracing::info!(more_lost = lost, "the score log works again");
            }
            _ => {}
        }
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
        fn write(&mut self, entry: &Entry) -> Kept {
            self.began.send(entry.n_candidates()).unwrap();
            match self.go_on.recv() {
                Ok(()) => Kept::written(entry.n_candidates()),
                Err(error) => Kept::lost(entry.n_candidates(), error.to_string()),
            }
        }
        fn tick(&mut self) -> Kept {
            Kept::default()
        }
        fn finish(&mut self) -> Kept {
            self.began.send(0).unwrap();
            Kept::default()
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

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    const WAITING: Weight = Weight {
        count: 10,
        bytes: 100_000,
    };

    #[test]
    fn a_slow_log_loses_rows_and_counts_them() {
        let (began, begins) = channel();
        let (open, go_on) = channel();
        let log = LogQueue::start(Box::new(Gate { began, go_on }), WAITING).unwrap();
        log.push(entry(1));
        assert_eq!(begins.recv(), Ok(1));
        log.push(entry(8));
        log.push(entry(3));
        assert_eq!((log.counts().get(), log.counts().pending()), ([0, 3], 9));
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert!(log.stop(soon()));
        assert_eq!((begins.recv(), begins.recv()), (Ok(8), Ok(0)));
        assert_eq!(log.counts().get(), [9, 3]);
    }

    #[test]
    fn long_ids_and_texts_weigh() {
        let (began, begins) = channel();
        let (_open, go_on) = channel();
        let log = LogQueue::start(Box::new(Gate { began, go_on }), WAITING).unwrap();
        log.push(entry(1));
        assert_eq!(begins.recv(), Ok(1));
        let long = Entry {
            request_id: "i".repeat(100_000).into(),
            ..entry(1)
        };
        log.push(long);
        assert_eq!(log.counts().get(), [0, 1]);
    }

    #[test]
    fn a_stuck_log_is_left_and_its_rows_count_as_lost() {
        let (began, begins) = channel();
        let (_never, go_on) = channel();
        let log = LogQueue::start(Box::new(Gate { began, go_on }), WAITING).unwrap();
        log.push(entry(2));
        log.push(entry(3));
        assert_eq!(begins.recv(), Ok(2));
        assert!(!log.stop(Instant::now() + Duration::from_millis(10)));
        assert_eq!((log.counts().get(), log.counts().pending()), ([0, 5], 0));
    }
}
