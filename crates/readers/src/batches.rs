//! Batches out of a cache, in order, the next ones read meanwhile.

use crate::cache::{Cache, CacheError, PartFile};
use crate::shuffle::{Window, visited_rows, windows};
use ncs_features::{Batch, Pick};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

pub use crate::shuffle::{Order, Rows};

/// Batches that are read ahead, beside the one in use.
const BATCHES_AHEAD: usize = 3;

/// Order of the rows, and the size of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Rows of a batch, at least 1; the last batch may be smaller.
    pub rows_per_batch: usize,
    /// The order of rows.
    pub order: Order,
    /// The rows that are visited; batches are full of them.
    pub rows: Rows,
    /// Read ahead on a thread. The batches are the same.
    pub prefetch: bool,
    /// Number of batches to skip: the stream continues exactly as if they had been read.
    pub skip: u64,
}

impl Default for BatchPlan {
    fn default() -> Self {
        BatchPlan {
            rows_per_batch: 4096,
            order: Order::Sequential,
            rows: Rows::All,
            prefetch: true,
            skip: 0,
        }
    }
}

impl Cache {
    /// Returns the first `n_rows` rows (or all, if fewer), in file order.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn first_rows(&self, n_rows: usize) -> Result<Batch, CacheError> {
        let plan = BatchPlan {
            rows_per_batch: n_rows,
            prefetch: false,
            ..Default::default()
        };
        let first = self.batches(plan).next();
        first.unwrap_or_else(|| Ok(self.part().layout.empty_batch()))
    }

    /// Returns the batches of one pass over the cache.
    ///
    /// Errors (an unreadable or damaged file) come as an item; no item follows one.
    pub fn batches(&self, plan: BatchPlan) -> Batches {
        let left = self.n_batches(&plan).saturating_sub(plan.skip);
        let reader = Reader::new(self.part().clone(), plan);
        let source = if plan.prefetch && left > 1 {
            Source::Ahead(Ahead::start(reader))
        } else {
            Source::Here(Box::new(reader))
        };
        Batches { source, left }
    }

    /// Returns the number of batches of a whole pass, those that `skip` leaves out included.
    pub fn n_batches(&self, plan: &BatchPlan) -> u64 {
        let rows = self
            .part()
            .blocks
            .iter()
            .map(|block| visited_rows(block, plan.rows));
        rows.sum::<u64>()
            .div_ceil(plan.rows_per_batch.max(1) as u64)
    }
}

/// The batches of one pass over a cache: an iterator.
pub struct Batches {
    source: Source,
    left: u64,
}

enum Source {
    Here(Box<Reader>),
    Ahead(Ahead),
}

impl Iterator for Batches {
    type Item = Result<Batch, CacheError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let batch = match &mut self.source {
            Source::Here(reader) => reader.next_batch(),
            Source::Ahead(ahead) => ahead.next_batch(),
        };
        if batch.is_err() {
            self.left = 0;
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

/// A reader on a thread of its own.
struct Ahead {
    part: Arc<PartFile>,
    receiver: Option<Receiver<Result<Batch, CacheError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    fn start(mut reader: Reader) -> Ahead {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let part = reader.part.clone();
        let thread = std::thread::spawn(move || {
            while reader.rows_left > 0 {
                let batch = reader.next_batch();
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        Ahead {
            part,
            receiver: Some(receiver),
            thread: Some(thread),
        }
    }

    fn next_batch(&mut self) -> Result<Batch, CacheError> {
        let received = self
            .receiver
            .as_ref()
            .and_then(|receiver| receiver.recv().ok());
        received.unwrap_or_else(|| {
            Err(CacheError::ReaderStopped {
                path: self.part.path.clone(),
            })
        })
    }
}

impl Drop for Ahead {
    /// Ends the thread: its next send fails.
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to say here: its batch was missed already.
            let _ = thread.join();
        }
    }
}

/// Reads one window after the other and cuts batches out of them.
struct Reader {
    part: Arc<PartFile>,
    plan: BatchPlan,
    file: Option<File>,
    /// The windows still to read.
    windows: std::vec::IntoIter<Window>,
    /// Rows of the first of them to leave out.
    skipped: usize,
    /// Rows that are still to come.
    rows_left: u64,
    /// The blocks of the window in memory.
    blocks: Vec<Batch>,
    /// Its rows, in order.
    picks: Vec<Pick>,
    /// Number of used rows.
    used: usize,
}

impl Reader {
    fn new(part: Arc<PartFile>, plan: BatchPlan) -> Reader {
        let mut windows = windows(&part.blocks, plan.order, plan.rows);
        let rows_skipped = plan.skip.saturating_mul(plan.rows_per_batch.max(1) as u64);
        let skipped = skip_windows(&mut windows, rows_skipped);
        let rows: u64 = windows.iter().map(|window| window.rows).sum();
        Reader {
            part,
            plan,
            file: None,
            windows: windows.into_iter(),
            skipped: skipped as usize,
            rows_left: rows.saturating_sub(skipped),
            blocks: Vec::new(),
            picks: Vec::new(),
            used: 0,
        }
    }

    fn next_batch(&mut self) -> Result<Batch, CacheError> {
        let mut batch = self.part.layout.empty_batch();
        let size = self.plan.rows_per_batch.max(1);
        while batch.n_rows < size && self.rows_left > 0 {
            if self.used == self.picks.len() {
                self.read_window()?;
            }
            let end = self.picks.len().min(self.used + size - batch.n_rows);
            batch.gather(&self.blocks, &self.picks[self.used..end]);
            self.rows_left -= (end - self.used) as u64;
            self.used = end;
        }
        Ok(batch)
    }

    fn read_window(&mut self) -> Result<(), CacheError> {
        let cut = || CacheError::damaged(&self.part.path, "its index counts other rows");
        let window = self.windows.next().ok_or_else(cut)?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.part.reopen()?,
        };
        let blocks = window
            .blocks
            .iter()
            .map(|&block| self.part.read_block(&mut file, block));
        self.blocks = blocks.collect::<Result<_, _>>()?;
        self.file = Some(file);
        self.picks = window.picks(&self.blocks, self.plan.rows);
        if self.picks.len() as u64 != window.rows {
            return Err(CacheError::damaged(
                &self.part.path,
                "its index counts other rows",
            ));
        }
        self.used = std::mem::take(&mut self.skipped);
        Ok(())
    }
}

/// Removes the windows whose rows are all among the first `rows`; returns how many rows of the next
/// one are.
fn skip_windows(windows: &mut Vec<Window>, mut rows: u64) -> u64 {
    let mut whole = 0;
    while let Some(window) = windows.get(whole).filter(|window| window.rows <= rows) {
        rows -= window.rows;
        whole += 1;
    }
    windows.drain(..whole);
    rows
}
