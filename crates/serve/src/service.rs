//! Processing of requests: from a handler through a worker and back.

mod context;
mod worker;

pub use context::{Clock, RequestContext};

use crate::api_error::{ApiError, ErrorKind};
use crate::budget::Budget;
use crate::compute::{Scratch, WorkerScratch, Workers};
use crate::listen::Counts;
use crate::lookup::Lookups;
use crate::rank_request::{RankQuery, RankScores};
use crate::repository::Repository;
use crate::score_log::{Entry, LogQueue};
use crate::shadow::{ShadowJob, Shadows};
use crate::telemetry::{Record, Stage, Telemetry};
use crate::version::{Scores, Version};
use crate::wire::Accepts;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use worker::WorkerRequest;

/// The service behind all connections.
#[derive(Debug)]
pub struct Service {
    /// Model folders and loaded models.
    pub repository: Repository,
    /// Worker threads.
    pub workers: Workers,
    /// Limits of a request's contents.
    pub accepts: Accepts,
    /// Timeout of a request.
    pub time: Duration,
    /// Metrics, logs and traces.
    pub telemetry: Arc<Telemetry>,
    /// Score log, if any.
    pub log: Option<Arc<LogQueue>>,
    /// Shadow versions.
    pub shadows: Shadows,
    /// Features that are looked up by ids.
    pub lookups: Lookups,
    phase: AtomicU8,
    ports: Mutex<Vec<(&'static str, Arc<Counts>)>>,
    budget: OnceLock<Arc<Budget>>,
}

/// Most bytes of a request that is scored on the thread that received it.
const SMALL: usize = 1 << 18;

/// Phase of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The models are being loaded; requests are refused.
    Loading,
    /// Requests are served.
    Ready,
    /// Requests are still served, but the server is shutting down and reports that it is not ready.
    Draining,
}

/// Outcome of a request for the telemetry.
struct Outcome<A> {
    result: Result<A, ApiError>,
    clock: Clock,
    id: String,
    served: Option<(Arc<Version>, Option<&'static str>)>,
    n_candidates: usize,
}

/// A scored request, to be recorded after its response: metrics, shadows, score log.
struct Completed {
    version: Arc<Version>,
    role: Option<&'static str>,
    id: String,
    query: RankQuery,
    scores: Scores,
}

impl Service {
    /// Creates a service in the phase [`Phase::Loading`].
    pub fn new(
        repository: Repository,
        workers: Workers,
        accepts: Accepts,
        time: Duration,
        telemetry: Arc<Telemetry>,
        log: Option<Arc<LogQueue>>,
        shadows: Shadows,
    ) -> Service {
        Service {
            repository,
            workers,
            accepts,
            time,
            telemetry,
            log,
            shadows,
            lookups: Lookups::default(),
            phase: AtomicU8::new(Phase::Loading as u8),
            ports: Mutex::default(),
            budget: OnceLock::new(),
        }
    }

    /// Returns the service with features that are looked up by ids of the requests.
    pub fn with_lookups(self, lookups: Lookups) -> Service {
        Service { lookups, ..self }
    }

    /// Returns true if the service accepts new requests.
    pub fn is_ready(&self) -> bool {
        self.is_in(Phase::Ready)
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.telemetry.ready.set((phase == Phase::Ready).into());
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    /// Registers the connection counters of a port for the metrics.
    pub fn register_port(&self, port: &'static str, counts: Arc<Counts>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.push((port, counts));
    }

    /// Registers the memory budget for the metrics.
    pub fn register_budget(&self, budget: &Arc<Budget>) {
        self.budget.get_or_init(|| budget.clone());
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn metrics(&self) -> String {
        let telemetry = &self.telemetry;
        telemetry.queue_depth.set(self.workers.waiting() as i64);
        for (port, counts) in &*self.ports.lock().unwrap_or_else(PoisonError::into_inner) {
            telemetry.connections(port).set(counts.n_open() as i64);
        }
        if let Some(budget) = self.budget.get() {
            telemetry.body_bytes.set(budget.used() as i64);
        }
        let set = |counter: &AtomicU64, n| counter.store(n, Ordering::Relaxed);
        if let Some(cache) = self.repository.context_cache() {
            let [hits, misses] = cache.counts();
            set(telemetry.context_hits.inner(), hits);
            set(telemetry.context_misses.inner(), misses);
            telemetry.context_bytes.set(cache.n_bytes() as i64);
        }
        if let Some(log) = &self.log {
            let [written, dropped] = log.counts().get();
            set(telemetry.score_log_rows.inner(), written);
            set(telemetry.score_log_dropped.inner(), dropped);
            telemetry
                .score_log_pending
                .set(log.counts().pending() as i64);
        }
        telemetry.metrics()
    }

    /// Reads a request, scores it and builds the response. `read` and `respond` run where the request is scored: on this
    /// thread if fewer requests are being scored than there are workers, else on a worker.
    ///
    /// # Errors
    /// The request is invalid, the queue is full, or the timeout is exceeded.
    pub async fn score<X, A>(
        self: &Arc<Self>,
        context: RequestContext,
        read: impl FnOnce(&Accepts) -> Result<(RankQuery, X), ApiError> + Send + 'static,
        respond: impl FnOnce(RankScores, X) -> Result<A, ApiError> + Send + 'static,
    ) -> Result<A, ApiError>
    where
        X: Send + 'static,
        A: Send + 'static,
    {
        let time = context
            .timeout
            .map_or(self.time, |time| time.min(self.time));
        let deadline = context.clock.began + time;
        let (service, worker_context) = (self.clone(), context.clone());
        let process = move |scratch: &mut WorkerScratch| {
            let request = WorkerRequest {
                service: &service,
                context: worker_context,
                deadline,
            };
            request.process(read, respond, scratch)
        };
        let outcome = if self.is_in(Phase::Loading) {
            let message = "the models are being loaded; try again in a moment";
            Err(ErrorKind::Unavailable.error(message))
        } else if let Some(scratch) = self.idle_here(&context) {
            self.score_here(process, scratch, deadline, time)
        } else {
            self.score_by_worker(process, deadline, time).await
        };
        let outcome = outcome.unwrap_or_else(|refusal| Outcome {
            result: Err(refusal),
            clock: context.clock,
            id: context.id.clone().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        });
        self.report(&context, outcome)
    }

    /// Returns scratch memory if this thread may score a request itself: handing it over and back costs two wake-ups of a
    /// thread. Large requests go to the workers, which are few: what a request took stays with the thread's allocator. A
    /// runtime of one thread would stop serving all other connections meanwhile.
    fn idle_here(&self, context: &RequestContext) -> Option<Scratch<'_>> {
        let is_small = context.n_bytes.is_some_and(|n_bytes| n_bytes <= SMALL);
        let flavor = Handle::current().runtime_flavor();
        let others_go_on = flavor == RuntimeFlavor::MultiThread;
        (is_small && others_go_on)
            .then(|| self.workers.idle())
            .flatten()
    }

    /// Scores a request on this thread, while another thread takes over the connections.
    fn score_here<A>(
        self: &Arc<Self>,
        process: impl FnOnce(&mut WorkerScratch) -> (Outcome<A>, Option<Completed>),
        mut scratch: Scratch<'_>,
        deadline: Instant,
        time: Duration,
    ) -> Result<Outcome<A>, ApiError> {
        let processed = tokio::task::block_in_place(|| scratch.run(process));
        drop(scratch);
        let (outcome, completed) = processed.ok_or_else(panicked)?;
        if let Some(completed) = completed {
            let service = self.clone();
            self.workers
                .submit_or_run(move || service.record(completed));
        }
        if Instant::now() >= deadline {
            return Err(late(time));
        }
        Ok(outcome)
    }

    /// Has a worker score a request.
    async fn score_by_worker<A: Send + 'static>(
        self: &Arc<Self>,
        process: impl FnOnce(&mut WorkerScratch) -> (Outcome<A>, Option<Completed>) + Send + 'static,
        deadline: Instant,
        time: Duration,
    ) -> Result<Outcome<A>, ApiError> {
        let (reply, receiver) = oneshot::channel();
        let service = self.clone();
        self.workers.submit(Box::new(move |scratch| {
            let (outcome, completed) = process(scratch);
            // If the caller has gone, nobody receives it; the scores are recorded all the same.
            let _ = reply.send(outcome);
            if let Some(completed) = completed {
                service.record(completed);
            }
        }))?;
        match tokio::time::timeout_at(deadline.into(), receiver).await {
            Ok(outcome) => outcome.map_err(|_| panicked()),
            Err(_) => Err(late(time)),
        }
    }

    /// Reports a request to the metrics, log and traces, and returns its result.
    fn report<A>(&self, context: &RequestContext, outcome: Outcome<A>) -> Result<A, ApiError> {
        let refused = outcome.result.as_ref().err().cloned();
        if let Some((version, _)) = &outcome.served {
            count(
                version,
                &outcome.clock,
                outcome.n_candidates,
                refused.is_none(),
            );
        }
        let served = outcome.served.as_ref();
        self.telemetry.done(&Record {
            protocol: context.protocol,
            call: context.call,
            request_id: outcome.id,
            traceparent: context.traceparent.clone(),
            served: served.and_then(|(version, _)| version.served().cloned()),
            label: served.and_then(|(_, label)| *label),
            n_candidates: outcome.n_candidates,
            refused,
            started: context.clock.started,
            began: context.clock.began,
            stages: outcome.clock.stages,
        });
        outcome.result
    }

    /// Reports a request that was refused before it reached a worker, and returns the error.
    pub fn refuse(&self, context: &RequestContext, refusal: ApiError) -> ApiError {
        self.done(context, Some(&refusal));
        refusal
    }

    /// Reports a request that needed no worker.
    pub fn done(&self, context: &RequestContext, refused: Option<&ApiError>) {
        let outcome = Outcome {
            result: refused.cloned().map_or(Ok(()), Err),
            clock: context.clock,
            id: context.id.clone().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        // The result is returned unchanged.
        let _ = self.report(context, outcome);
    }

    /// Records a scored request after its response: score metrics, shadows, score log.
    fn record(&self, completed: Completed) {
        let Completed {
            version,
            role,
            id,
            query,
            scores,
        } = completed;
        version.count_scores(&scores);
        let entry = Entry {
            request_id: id.into(),
            time: SystemTime::now(),
            identity: version.identity.clone(),
            role,
            question: Arc::new(query),
            raw: scores.raw.into(),
            calibrated: scores.calibrated.into(),
        };
        self.push_to_shadows(&version, &entry);
        if let Some(log) = &self.log {
            log.push(entry);
        }
    }

    fn push_to_shadows(&self, version: &Arc<Version>, entry: &Entry) {
        let models = self.repository.registry().models();
        let Some(model) = models.get(&version.identity.model) else {
            return;
        };
        for number in &model.labels.shadow {
            let shadow = model.versions.get(number);
            if let Some(shadow) = shadow.filter(|shadow| !Arc::ptr_eq(shadow, version)) {
                self.shadows.push(ShadowJob {
                    by: shadow.clone(),
                    entry: entry.clone(),
                });
            }
        }
    }
}

fn panicked() -> ApiError {
    ErrorKind::Internal.error("the scorer failed; see the server's log")
}

fn late(time: Duration) -> ApiError {
    ErrorKind::Late.error(format!("no answer within {} ms", time.as_millis()))
}

fn count(version: &Version, clock: &Clock, n_candidates: usize, is_answered: bool) {
    let statistics = &version.statistics;
    let all = clock.began.elapsed();
    if !is_answered {
        return statistics.fail.add(all);
    }
    statistics.success.add(all);
    statistics.queue.add(clock.time(Stage::Queue));
    statistics
        .input
        .add(clock.time(Stage::Parse) + clock.time(Stage::Encode));
    statistics.infer.add(clock.time(Stage::Score));
    statistics.output.add(clock.time(Stage::Answer));
    statistics.answered(n_candidates);
}
