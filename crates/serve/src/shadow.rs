//! Shadow versions: they score requests that another version answered, for comparison, on a thread of their
//! own after the response and only as far as it keeps up.

use crate::api_error::ApiError;
use crate::background::Background;
use crate::compute::WorkerScratch;
use crate::queue::{Queue, Weight};
use crate::rank_request::RankQuery;
use crate::score_log::{Entry, LogQueue};
use crate::telemetry::Telemetry;
use crate::version::Version;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Role of a shadow's rows in the score log.
pub const SHADOW: &str = "shadow";

/// Maximum time for one request.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Maximum bytes of requests waiting for the shadows.
pub const MAX_BYTES: usize = 32 << 20;

/// An answered request, and a version that is to score it too.
#[derive(Debug)]
pub struct ShadowJob {
    /// The shadow version.
    pub by: Arc<Version>,
    /// The request and its scores.
    pub entry: Entry,
}

/// The thread of the shadows and its queue, which drops its oldest items if the thread falls behind.
#[derive(Debug)]
pub struct Shadows {
    background: Background<ShadowJob>,
    telemetry: Arc<Telemetry>,
}

impl Shadows {
    /// Starts the thread, with a queue of at most `waiting` candidates and [`MAX_BYTES`].
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(
        waiting: usize,
        telemetry: Arc<Telemetry>,
        log: Option<Arc<LogQueue>>,
    ) -> std::io::Result<Shadows> {
        let limit = Weight {
            count: waiting,
            bytes: MAX_BYTES,
        };
        let work = move |queue: &Queue<ShadowJob>| score_all(queue, log.as_deref());
        Ok(Shadows {
            background: Background::start(limit, [("shadow".to_owned(), work)])?,
            telemetry,
        })
    }

    /// Queues a request for its shadow.
    pub fn push(&self, job: ShadowJob) {
        let weight = job.entry.weight();
        let lost = self.background.queue.push_over(job, weight);
        self.telemetry.shadow_dropped.inc_by(lost as u64);
    }

    /// Closes the queue and waits until `deadline` for the thread to finish it. Returns true if it did.
    pub fn stop(&self, deadline: Instant) -> bool {
        let has_ended = self.background.stop(deadline);
        let lost = self.background.queue.drain().len();
        self.telemetry.shadow_dropped.inc_by(lost as u64);
        has_ended
    }
}

fn score_all(queue: &Queue<ShadowJob>, log: Option<&LogQueue>) {
    let mut scratch = WorkerScratch::new();
    while let Some(job) = queue.pop() {
        let scored = std::panic::catch_unwind(AssertUnwindSafe(|| score(&job, &mut scratch)));
        match scored {
            Ok(Ok(entry)) => {
                compare(&job, &entry);
                if let Some(log) = log {
                    log.push(entry);
                }
            }
            Ok(Err(error)) => tracing::debug!(model = %job.by.identity.model, "shadow: {error}"),
            Err(_) => {
                tracing::error!("a request made a shadow's scorer panic");
                scratch = WorkerScratch::new();
            }
        }
    }
}

/// Records the differences between the shadow's scores and those returned, for outputs of the same name.
fn compare(job: &ShadowJob, by_shadow: &Entry) {
    let Some(served) = job.by.served() else {
        return;
    };
    let answered = &job.entry.identity.outputs;
    for (i, output) in by_shadow.identity.outputs.iter().enumerate() {
        let position = answered.iter().position(|other| other == output);
        if let Some(scores) = position.and_then(|position| job.entry.calibrated.get(position)) {
            served.shadow_differences(i, scores, &by_shadow.calibrated[i]);
        }
    }
}

/// Scores the request with the shadow. Lenient, since another version may read other columns.
fn score(job: &ShadowJob, scratch: &mut WorkerScratch) -> Result<Entry, ApiError> {
    let mut query = RankQuery::clone(&job.entry.question);
    scratch.deadline = Some(Instant::now() + MAX_TIME);
    let scores = job.by.score(&mut query, true, scratch)?;
    Ok(Entry {
        request_id: job.entry.request_id.clone(),
        time: SystemTime::now(),
        identity: job.by.identity.clone(),
        role: Some(SHADOW),
        question: job.entry.question.clone(),
        raw: scores.raw.into(),
        calibrated: scores.calibrated.into(),
    })
}
