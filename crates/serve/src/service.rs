//! Processing of requests: from a handler through a worker and back.

use crate::api_error::{ApiError, ErrorKind};
use crate::budget::Budget;
use crate::compute::{Job, WorkerScratch, Workers};
use crate::listen::Counts;
use crate::rank_request::{RankQuery, RankScores, Top};
use crate::repository::Repository;
use crate::score_log::{Entry, LogQueue};
use crate::shadow::{ShadowJob, Shadows};
use crate::telemetry::{Call, Protocol, Record, Stage, Stages, Telemetry};
use crate::version::{Scores, Version, only_text};
use crate::wire::{Accepts, nearest};
use crate::words::shown;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

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
    phase: AtomicU8,
    ports: Mutex<Vec<(&'static str, Arc<Counts>)>>,
    budget: OnceLock<Arc<Budget>>,
}

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

/// Context of a request, from before its body is read.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Protocol.
    pub protocol: Protocol,
    /// Call.
    pub call: Call,
    /// Times of its stages.
    pub clock: Clock,
    /// The caller's timeout.
    pub timeout: Option<Duration>,
    /// Request id from the headers, used if the body has none.
    pub id: Option<String>,
    /// Trace that the request belongs to (W3C header `traceparent`).
    pub traceparent: Option<String>,
}

/// Times of a request's stages, which follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: SystemTime,
    began: Instant,
    /// End of the last stage.
    last: Instant,
    stages: Stages,
}

impl Clock {
    /// Starts the clock.
    pub fn start() -> Clock {
        let began = Instant::now();
        Clock {
            started: SystemTime::now(),
            began,
            last: began,
            stages: Stages::default(),
        }
    }

    /// Ends a stage now; it began at the end of the last one.
    pub fn end(&mut self, stage: Stage) {
        self.add(stage, self.last.elapsed());
    }

    /// Adds a stage of this length after the last one.
    pub fn add(&mut self, stage: Stage, length: Duration) {
        let from = self.last;
        self.last += length;
        self.stages.set(stage, from, self.last);
    }

    /// Returns the duration of a stage; zero if it did not happen.
    fn time(&self, stage: Stage) -> Duration {
        self.stages.duration(stage).unwrap_or_default()
    }
}

impl RequestContext {
    /// Creates the context of a request that starts now.
    pub fn now(protocol: Protocol, call: Call) -> RequestContext {
        RequestContext {
            protocol,
            call,
            clock: Clock::start(),
            timeout: None,
            id: None,
            traceparent: None,
        }
    }
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
            phase: AtomicU8::new(Phase::Loading as u8),
            ports: Mutex::default(),
            budget: OnceLock::new(),
        }
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
        if let Some(log) = &self.log {
            let [written, dropped] = log.counts().get();
            let set = |counter: &AtomicU64, n| counter.store(n, Ordering::Relaxed);
            set(telemetry.score_log_rows.inner(), written);
            set(telemetry.score_log_dropped.inner(), dropped);
            telemetry
                .score_log_pending
                .set(log.counts().pending() as i64);
        }
        telemetry.metrics()
    }

    fn submit(&self, job: Job) -> Result<(), ApiError> {
        match self.is_in(Phase::Loading) {
            true => {
                Err(ErrorKind::Unavailable
                    .error("the models are being loaded; try again in a moment"))
            }
            false => self.workers.submit(job),
        }
    }

    /// Has a worker read a request, score it and build the response: `read` and `respond` run on the worker.
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
        let (reply, receiver) = oneshot::channel();
        let (service, worker_context) = (self.clone(), context.clone());
        let job = move |scratch: &mut WorkerScratch| {
            let request = WorkerRequest {
                service: &service,
                context: worker_context,
                deadline,
            };
            let (outcome, completed) = request.process(read, respond, scratch);
            // If the caller has gone, nobody receives it; the scores are recorded all the same.
            let _ = reply.send(outcome);
            if let Some(completed) = completed {
                service.record(completed);
            }
        };
        let refused = |refusal| Outcome {
            result: Err(refusal),
            clock: context.clock,
            id: context.id.clone().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        let outcome = match self.submit(Box::new(job)) {
            Err(refusal) => refused(refusal),
            Ok(()) => match tokio::time::timeout_at(deadline.into(), receiver).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    refused(ErrorKind::Internal.error("the scorer failed; see the server's log"))
                }
                Err(_) => refused(late(time)),
            },
        };
        self.report(&context, outcome)
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

/// A request being processed by a worker.
struct WorkerRequest<'a> {
    service: &'a Service,
    context: RequestContext,
    deadline: Instant,
}

impl WorkerRequest<'_> {
    fn process<X, A>(
        mut self,
        read: impl FnOnce(&Accepts) -> Result<(RankQuery, X), ApiError>,
        respond: impl FnOnce(RankScores, X) -> Result<A, ApiError>,
        scratch: &mut WorkerScratch,
    ) -> (Outcome<A>, Option<Completed>) {
        self.context.clock.end(Stage::Queue);
        let mut outcome = Outcome {
            result: Err(ErrorKind::Internal.error("")),
            clock: self.context.clock,
            id: self.context.id.take().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        let mut completed = None;
        outcome.result = self.check_time().and_then(|()| {
            let (query, rest) = read(&self.service.accepts)?;
            outcome.clock.end(Stage::Parse);
            let (answer, scored) = self.score(query, scratch, &mut outcome)?;
            let response = respond(answer, rest);
            outcome.clock.end(Stage::Answer);
            completed = response.is_ok().then_some(scored);
            response
        });
        (outcome, completed)
    }

    fn check_time(&self) -> Result<(), ApiError> {
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(late(self.deadline - self.context.clock.began)),
        }
    }

    fn score<A>(
        &mut self,
        mut query: RankQuery,
        scratch: &mut WorkerScratch,
        outcome: &mut Outcome<A>,
    ) -> Result<(RankScores, Completed), ApiError> {
        if let Some(time) = query.timeout {
            let time = time.min(self.service.time);
            self.deadline = self.deadline.min(self.context.clock.began + time);
        }
        self.check_time()?;
        let body_id = std::mem::take(&mut query.id);
        outcome.id = match (body_id.is_empty(), outcome.id.is_empty()) {
            (false, _) => body_id,
            (true, false) => std::mem::take(&mut outcome.id),
            (true, true) => new_id(),
        };
        outcome.n_candidates = query.candidates.n_rows;
        let registry = self.service.repository.registry();
        let user = |version: &Version| user(&query, version);
        let (version, label) = registry.find(&query.model, user)?;
        outcome.served = Some((version.clone(), label));
        let lenient = self.service.accepts.lenient;
        scratch.deadline = Some(self.deadline);
        let scores = version.score(&mut query, lenient, scratch)?;
        outcome.clock.add(Stage::Encode, scores.encode);
        outcome.clock.add(Stage::Score, scores.score);
        let mut answer = RankScores {
            id: outcome.id.clone(),
            model: version.identity.model.clone(),
            version: version.identity.number,
            hash: version.identity.hash.clone(),
            label,
            outputs: version.identity.outputs.clone(),
            scores: scores.calibrated.clone(),
            best: None,
        };
        if let Some(top) = &query.top {
            // The product is last; without one, the first task is used.
            let n_tasks = version.schema().tasks.len();
            let by_default = (answer.outputs.len() > n_tasks).then_some(n_tasks);
            keep_best(&mut answer, top, by_default.unwrap_or(0))?;
        }
        let completed = Completed {
            version,
            role: label,
            id: outcome.id.clone(),
            query,
            scores,
        };
        Ok((answer, completed))
    }
}

/// Returns the user: as given by the request, or from the schema's group column.
fn user(query: &RankQuery, version: &Version) -> Option<String> {
    let from_column = || {
        let group = version.schema().group.as_deref()?;
        let blocks = [&query.context, &query.candidates];
        let rows = blocks.into_iter().filter(|block| block.n_rows > 0);
        rows.filter_map(|block| only_text(block, group)).next()
    };
    query.user.clone().or_else(from_column)
}

/// Keeps the best candidates, best first; ties in the order of the request.
fn keep_best(answer: &mut RankScores, top: &Top, by_default: usize) -> Result<(), ApiError> {
    let by = match &top.by {
        Some(name) => {
            let index = answer.outputs.iter().position(|output| output == name);
            index.ok_or_else(|| {
                let hint = nearest(name, answer.outputs.iter().map(String::as_str));
                ErrorKind::Invalid.error(format!("\"top_by\": no output \"{}\"{hint}", shown(name)))
            })?
        }
        None => by_default,
    };
    let scores = &answer.scores[by];
    let better = |a: &u32, b: &u32| {
        let (x, y) = (scores[*a as usize], scores[*b as usize]);
        y.total_cmp(&x).then(a.cmp(b))
    };
    let mut best: Vec<u32> = (0..scores.len() as u32).collect();
    if top.n < best.len() && top.n > 0 {
        best.select_nth_unstable_by(top.n - 1, better);
        best.truncate(top.n);
    }
    best.sort_unstable_by(better);
    for scores in &mut answer.scores {
        *scores = best.iter().map(|&i| scores[i as usize]).collect();
    }
    answer.best = Some(best);
    Ok(())
}

/// Generates a request id that is unique in this process and, by its start time, among others.
fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let text = format!("{now} {}", std::process::id());
        ncs_features::HashFunction::Xxh3.hash(text.as_bytes())
    });
    format!("{start:016x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
