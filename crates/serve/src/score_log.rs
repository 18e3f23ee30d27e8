//! Score log: requests and their scores, for training or checks, written by a thread of its own that never
//! blocks a request.

use crate::background::Background;
use crate::queue::{Popped, Queue, Weight};
use crate::rank_request::RankQuery;
use crate::version::Identity;
use ncs_features::{Column, Values};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A request and the scores of one version.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Request id.
    pub request_id: Arc<str>,
    /// Time of the response.
    pub time: SystemTime,
    /// The version that scored it.
    pub identity: Arc<Identity>,
    /// `stable`, `canary` or `shadow`; `None` if no label selected the version.
    pub role: Option<&'static str>,
    /// The request, with its features as they arrived.
    pub question: Arc<RankQuery>,
    /// Uncalibrated scores `raw[task][candidate]`.
    pub raw: Arc<[Vec<f32>]>,
    /// Calibrated scores `calibrated[output][candidate]`, as returned.
    pub calibrated: Arc<[Vec<f32>]>,
}

impl Entry {
    /// Returns the number of candidates.
    pub fn n_candidates(&self) -> usize {
        self.question.candidates.n_rows
    }

    /// Returns the bytes of memory that the entry takes.
    pub fn n_bytes(&self) -> usize {
        let question = &self.question;
        let blocks = [&question.context, &question.candidates];
        let columns = blocks.into_iter().flat_map(|block| &block.columns);
        let blocks: usize = columns.map(column_bytes).sum();
        let scores = self.raw.iter().chain(&*self.calibrated);
        let scores: usize = scores.map(|scores| size_of_val(&scores[..])).sum();
        let user = question.user.as_ref().map_or(0, String::len);
        ENTRY + self.request_id.len() + user + blocks + scores
    }

    /// Returns its weight in a queue.
    pub fn weight(&self) -> Weight {
        Weight {
            count: self.n_candidates().max(1),
            bytes: self.n_bytes(),
        }
    }
}

/// Bytes of an entry besides its contents, and of a column besides its values.
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

/// Candidates written and lost since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Candidates that are in a closed file and can be read.
    pub written: u64,
    /// Candidates that are lost.
    pub lost: u64,
    /// Errors that caused the loss.
    pub errors: Vec<String>,
}

impl Kept {
    /// Returns a result with `n` written candidates.
    pub fn written(n: usize) -> Kept {
        Kept {
            written: n as u64,
            ..Kept::default()
        }
    }

    /// Returns a result with `n` lost candidates.
    pub fn lost(n: usize, error: String) -> Kept {
        Kept {
            lost: n as u64,
            errors: vec![error],
            ..Kept::default()
        }
    }

    /// Adds another result.
    pub fn add(&mut self, other: Kept) {
        self.written += other.written;
        self.lost += other.lost;
        self.errors.extend(other.errors);
    }
}

/// Destination of entries, called from one thread. Writing may be delayed: each call returns the candidates
/// whose fate was decided since the last one; each candidate is counted once.
pub trait ScoreLog: Send {
    /// Writes an entry. After a failure the next entry is tried again.
    fn write(&mut self, entry: &Entry) -> Kept;

    /// Called periodically, also without requests: closes files that are old enough.
    fn tick(&mut self) -> Kept;

    /// Closes all files. This is the last call.
    fn finish(&mut self) -> Kept;
}

/// Counters of a score log, in candidates.
#[derive(Debug, Default)]
pub struct Counts {
    /// Offered to the log.
    pub offered: AtomicU64,
    /// Written.
    pub written: AtomicU64,
    /// Dropped, because the queue was full or writing failed.
    pub dropped: AtomicU64,
}

impl Counts {
    /// Returns the counts of written and dropped candidates.
    pub fn get(&self) -> [u64; 2] {
        [&self.written, &self.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the number of candidates that are neither written nor dropped yet.
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

/// The bounded queue of a [`ScoreLog`] and its thread.
#[derive(Debug)]
pub struct LogQueue {
    background: Background<Entry>,
    counts: Arc<Counts>,
}

const TICK: Duration = Duration::from_secs(1);

impl LogQueue {
    /// Memory of the writer besides the rows in bytes: dictionaries, pages.
    pub const WRITER: usize = 32 << 20;

    /// Starts the writer thread, with a queue of at most `waiting` candidates and bytes.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(log: Box<dyn ScoreLog>, waiting: Weight) -> std::io::Result<LogQueue> {
        let counts = Arc::new(Counts::default());
        let thread_counts = counts.clone();
        let work = move |queue: &Queue<Entry>| write_all(log, queue, &thread_counts);
        Ok(LogQueue {
            background: Background::start(waiting, [("score log".to_owned(), work)])?,
            counts,
        })
    }

    /// Queues an entry, or counts its candidates as dropped.
    pub fn push(&self, entry: Entry) {
        let (n, weight) = (entry.n_candidates() as u64, entry.weight());
        self.counts.offered.fetch_add(n, Ordering::Relaxed);
        if self.background.queue.push(entry, weight).is_err() {
            self.counts.dropped.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Returns the counters.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Closes the queue and waits until `deadline` for it to be written. Returns true if it was. A log that
    /// is stuck, on a disk that does not respond, is abandoned: its unwritten candidates count as dropped.
    pub fn stop(&self, deadline: Instant) -> bool {
        let has_ended = self.background.stop(deadline);
        let pending = self.counts.pending();
        self.counts.dropped.fetch_add(pending, Ordering::Relaxed);
        if pending > 0 {
            tracing::error!(
                rows = pending,
                "the score log did not end in time: rows that were not written are lost"
            );
        }
        has_ended
    }
}

fn write_all(mut log: Box<dyn ScoreLog>, queue: &Queue<Entry>, counts: &Counts) {
    let mut failures = FailureLog::default();
    let mut record = |kept: Kept| {
        counts.add(&kept);
        failures.record(&kept);
    };
    loop {
        match queue.pop_within(TICK) {
            Popped::Item(entry) => record(log.write(&entry)),
            Popped::TimedOut => record(log.tick()),
            Popped::Closed => return record(log.finish()),
        }
    }
}

/// Logs the first error and the recovery, but not the errors between, so that a full disk does not fill the
/// server's log as well.
#[derive(Default)]
struct FailureLog {
    is_failing: bool,
    /// Rows lost since the logged error.
    lost: u64,
}

impl FailureLog {
    fn record(&mut self, kept: &Kept) {
        let error = kept.errors.join("; ");
        match (self.is_failing, error.is_empty()) {
            (false, false) => {
                self.is_failing = true;
                tracing::error!("the score log loses rows: {error}");
            }
            (true, false) => self.lost += kept.lost,
            // Recovered once rows have been written again.
            (true, true) if kept.written > 0 => {
                let lost = std::mem::take(&mut self.lost);
                self.is_failing = false;
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
        proceed: Receiver<()>,
    }

    impl ScoreLog for Gate {
        fn write(&mut self, entry: &Entry) -> Kept {
            self.began.send(entry.n_candidates()).unwrap();
            match self.proceed.recv() {
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
            question: Arc::new(RankQuery {
                candidates: Block {
                    n_rows: n,
                    columns: vec![],
                },
                ..RankQuery::default()
            }),
            raw: [].into(),
            calibrated: [].into(),
        }
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    const WAITING: Weight = Weight {
        count: 10,
        bytes: 100_000,
    };

    #[test]
    fn a_slow_log_loses_rows_and_counts_them() {
        let (began, begins) = channel();
        let (open, proceed) = channel();
        let log = LogQueue::start(Box::new(Gate { began, proceed }), WAITING).unwrap();
        log.push(entry(1));
        assert_eq!(begins.recv(), Ok(1));
        log.push(entry(8));
        log.push(entry(3));
        assert_eq!((log.counts().get(), log.counts().pending()), ([0, 3], 9));
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert!(log.stop(in_a_minute()));
        assert_eq!((begins.recv(), begins.recv()), (Ok(8), Ok(0)));
        assert_eq!(log.counts().get(), [9, 3]);
    }

    #[test]
    fn long_ids_and_texts_have_weight() {
        let (began, begins) = channel();
        let (_open, proceed) = channel();
        let log = LogQueue::start(Box::new(Gate { began, proceed }), WAITING).unwrap();
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
    fn a_stuck_log_is_abandoned_and_its_rows_count_as_lost() {
        let (began, begins) = channel();
        let (_never, proceed) = channel();
        let log = LogQueue::start(Box::new(Gate { began, proceed }), WAITING).unwrap();
        log.push(entry(2));
        log.push(entry(3));
        assert_eq!(begins.recv(), Ok(2));
        assert!(!log.stop(Instant::now() + Duration::from_millis(10)));
        assert_eq!((log.counts().get(), log.counts().pending()), ([0, 5], 0));
    }
}
