//! Versions that score what others answered, to be compared with them: after the answer, on a thread of
//! their own, and only as far as it keeps up.

use crate::compute::{WorkerScratch, ends};
use crate::queue::{Queue, Weight};
use crate::rank_request::Question;
use crate::score_log::{Entry, LogQueue};
use crate::telemetry::Telemetry;
use crate::version::Version;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// The part that a shadow's rows have in the score log.
pub const SHADOW: &str = "shadow";

/// A request takes no longer than this.
const MOST_TIME: Duration = Duration::from_secs(10);

/// Bytes of requests that wait for the shadows.
pub const MOST_BYTES: usize = 32 << 20;

/// An answered request, and a version that is to score it as well.
#[derive(Debug)]
pub struct ShadowJob {
    /// The shadow.
    pub by: Arc<Version>,
    /// What was asked, and what was answered.
    pub entry: Entry,
}

/// The thread of the shadows, and the queue before it: what is oldest is lost where it falls behind.
#[derive(Debug)]
pub struct Shadows {
    queue: Arc<Queue<ShadowJob>>,
    telemetry: Arc<Telemetry>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shadows {
    /// Starts the thread; at most `waiting` candidates, of [`MOST_BYTES`], wait for it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        waiting: usize,
        telemetry: Arc<Telemetry>,
        log: Option<Arc<LogQueue>>,
    ) -> std::io::Result<Shadows> {
        let limit = Weight {
            count: waiting,
            bytes: MOST_BYTES,
        };
        let queue = Arc::new(Queue::new(limit));
        let thread = std::thread::Builder::new().name("shadow".to_owned());
        let its_queue = queue.clone();
        let thread = thread.spawn(move || score_all(&its_queue, log.as_deref()))?;
        Ok(Shadows {
            queue,
            telemetry,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has a request scored by its shadow, as soon as the thread comes to it.
    pub fn push(&self, seen: ShadowJob) {
        let weight = seen.entry.weight();
        let lost = self.queue.push_over(seen, weight);
        self.telemetry.shadow_dropped.inc_by(lost as u64);
    }

    /// Scores what waits until then, and ends; whether it did.
    pub fn stop(&self, until: Instant) -> bool {
        self.queue.close();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // A panic is caught in `score_all`.
        let is_over = thread.take().is_none_or(|thread| ends(&thread, until));
        self.telemetry
            .shadow_dropped
            .inc_by(self.queue.drain().len() as u64);
        is_over
    }
}

fn score_all(queue: &Queue<ShadowJob>, log: Option<&LogQueue>) {
    let mut scratch = WorkerScratch::new();
    while let Some(seen) = queue.pop() {
        let scored = std::panic::catch_unwind(AssertUnwindSafe(|| score(&seen, &mut scratch)));
        match scored {
            Ok(Ok(entry)) => {
                compare(&seen, &entry);
                if let Some(log) = log {
                    log.push(entry);
                }
            }
            Ok(Err(what)) => tracing::debug!(model = %seen.by.identity.model, "shadow: {what}"),
            Err(_) => {
                tracing::error!("a request made a shadow's scorer panic");
                scratch = WorkerScratch::new();
            }
        }
    }
}

/// Counts by how much the shadow differs from what was answered, output by output as they are called.
fn compare(seen: &ShadowJob, by_shadow: &Entry) {
    let Some(served) = seen.by.served() else {
        return;
    };
    let answered = &seen.entry.identity.outputs;
    for (place, output) in by_shadow.identity.outputs.iter().enumerate() {
        let said = answered.iter().position(|other| other == output);
        if let Some(said) = said.and_then(|said| seen.entry.said.get(said)) {
            served.shadow_differences(place, said, &by_shadow.said[place]);
        }
    }
}

/// What the shadow says of the same request. It reads what columns it can: those of another version may be
/// others.
fn score(seen: &ShadowJob, scratch: &mut WorkerScratch) -> Result<Entry, String> {
    let mut question = Question::clone(&seen.entry.question);
    scratch.until = Some(Instant::now() + MOST_TIME);
    let scores = seen.by.score(&mut question, true, scratch);
    let scores = scores.map_err(|refusal| refusal.what)?;
    Ok(Entry {
        request_id: seen.entry.request_id.clone(),
        time: SystemTime::now(),
        identity: seen.by.identity.clone(),
        role: Some(SHADOW),
        question: seen.entry.question.clone(),
        raw: scores.raw.into(),
        said: scores.said.into(),
    })
}
