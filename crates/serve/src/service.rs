//! The way of a request: in at a api, over a worker's scratch, and out again.

use crate::api_error::{ApiError, Kind};
use crate::budget::Budget;
use crate::compute::{Job, WorkerScratch, Workers};
use crate::listen::Counts;
use crate::rank_request::{Answer, Question, Top};
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

/// Everything that answers, shared by all connections.
#[derive(Debug)]
pub struct Service {
    /// The models.
    pub repository: Repository,
    /// The threads that compute.
    pub workers: Workers,
    /// What a request may hold.
    pub accepts: Accepts,
    /// A request is answered within this time, or refused.
    pub time: Duration,
    /// Metrics, logs and traces.
    pub telemetry: Arc<Telemetry>,
    /// Where requests and scores are kept.
    pub log: Option<Arc<LogQueue>>,
    /// Who else scores what is asked.
    pub shadows: Shadows,
    phase: AtomicU8,
    ports: Mutex<Vec<(&'static str, Arc<Counts>)>>,
    budget: OnceLock<Arc<Budget>>,
}

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Its models are being loaded; questions are refused.
    Loading,
    /// It answers.
    Ready,
    /// It still answers, but whoever can should ask another.
    Ending,
}

/// How a request came, before its body is read.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Over which protocol.
    pub protocol: Protocol,
    /// What is asked.
    pub call: Call,
    /// Its time so far.
    pub clock: Clock,
    /// The caller's limit.
    pub timeout: Option<Duration>,
    /// The caller's name for it, where the body has none.
    pub id: Option<String>,
    /// The trace that it is a part of, as W3C's header says.
    pub traceparent: Option<String>,
}

/// Where the time of a request goes: one stage after another.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: SystemTime,
    began: Instant,
    /// When the last stage ended.
    last: Instant,
    stages: Stages,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        let began = Instant::now();
        Clock {
            started: SystemTime::now(),
            began,
            last: began,
            stages: Stages::default(),
        }
    }

    /// A stage ended now, which began where the last one ended.
    pub fn end(&mut self, stage: Stage) {
        self.add(stage, self.last.elapsed());
    }

    /// A stage that took so long, from where the last one ended.
    pub fn add(&mut self, stage: Stage, length: Duration) {
        let from = self.last;
        self.last += length;
        self.stages.set(stage, from, self.last);
    }

    /// How long a stage took; zero if it was not reached.
    fn time(&self, stage: Stage) -> Duration {
        self.stages.duration(stage).unwrap_or_default()
    }
}

impl RequestContext {
    /// A request that begins now.
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

/// What is known of a request when its work ends, well or not.
struct Outcome<A> {
    said: Result<A, ApiError>,
    clock: Clock,
    id: String,
    served: Option<(Arc<Version>, Option<&'static str>)>,
    n_candidates: usize,
}

/// What is left of an answered request: for the log, the shadows and the metrics.
struct Completed {
    version: Arc<Version>,
    role: Option<&'static str>,
    id: String,
    question: Question,
    scores: Scores,
}

impl Service {
    /// A service that is not ready yet.
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

    /// Whether new requests are welcome.
    pub fn is_ready(&self) -> bool {
        self.is_in(Phase::Ready)
    }

    /// Goes on to the next phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.telemetry.ready.set((phase == Phase::Ready).into());
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    /// The connections of a port are to be told with the metrics.
    pub fn listens(&self, port: &'static str, counts: Arc<Counts>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.push((port, counts));
    }

    /// What is taken of this budget is to be told with the metrics.
    pub fn budgets(&self, budget: &Arc<Budget>) {
        self.budget.get_or_init(|| budget.clone());
    }

    /// All metrics, as OpenMetrics text.
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
                Err(Kind::Unavailable.says("the models are being loaded; ask again in a moment"))
            }
            false => self.workers.submit(job),
        }
    }

    /// Has a worker read a question, score it, and say the answer: `read` and `say` run on the worker.
    ///
    /// # Errors
    /// Whatever is wrong with the request; too many wait; the time is over.
    pub async fn ask<X, A>(
        self: &Arc<Self>,
        asked: RequestContext,
        read: impl FnOnce(&Accepts) -> Result<(Question, X), ApiError> + Send + 'static,
        say: impl FnOnce(Answer, X) -> Result<A, ApiError> + Send + 'static,
    ) -> Result<A, ApiError>
    where
        X: Send + 'static,
        A: Send + 'static,
    {
        let time = asked.timeout.map_or(self.time, |time| time.min(self.time));
        let deadline = asked.clock.began + time;
        let (reply, heard) = oneshot::channel();
        let (service, its) = (self.clone(), asked.clone());
        let job = move |scratch: &mut WorkerScratch| {
            let reading = Reading {
                service: &service,
                asked: its,
                deadline,
            };
            let (outcome, left) = reading.answer(read, say, scratch);
            // Where the caller has gone, nobody hears it; the log keeps what was scored all the same.
            let _ = reply.send(outcome);
            if let Some(left) = left {
                service.keep(left);
            }
        };
        let refused = |refusal| Outcome {
            said: Err(refusal),
            clock: asked.clock,
            id: asked.id.clone().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        let outcome = match self.submit(Box::new(job)) {
            Err(refusal) => refused(refusal),
            Ok(()) => match tokio::time::timeout_at(deadline.into(), heard).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    refused(Kind::Internal.says("the scorer failed; the server's log says how"))
                }
                Err(_) => refused(late(time)),
            },
        };
        self.tell(&asked, outcome)
    }

    /// Tells the metrics, the log and the traces of a request, and passes its result on.
    fn tell<A>(&self, asked: &RequestContext, outcome: Outcome<A>) -> Result<A, ApiError> {
        let refused = outcome.said.as_ref().err().cloned();
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
            protocol: asked.protocol,
            call: asked.call,
            request_id: outcome.id,
            traceparent: asked.traceparent.clone(),
            served: served.and_then(|(version, _)| version.served().cloned()),
            label: served.and_then(|(_, label)| *label),
            n_candidates: outcome.n_candidates,
            refused,
            started: asked.clock.started,
            began: asked.clock.began,
            stages: outcome.clock.stages,
        });
        outcome.said
    }

    /// A request that was refused before a worker saw it.
    pub fn refuse(&self, asked: &RequestContext, refusal: ApiError) -> ApiError {
        self.done(asked, Some(&refusal));
        refusal
    }

    /// A request that no worker saw is done.
    pub fn done(&self, asked: &RequestContext, refused: Option<&ApiError>) {
        let outcome = Outcome {
            said: refused.cloned().map_or(Ok(()), Err),
            clock: asked.clock,
            id: asked.id.clone().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        // It comes back as it went in.
        let _ = self.tell(asked, outcome);
    }

    /// After the answer: the metrics of its scores, the shadows, the score log.
    fn keep(&self, left: Completed) {
        let Completed {
            version,
            role,
            id,
            question,
            scores,
        } = left;
        version.count_scores(&scores);
        let entry = Entry {
            request_id: id.into(),
            time: SystemTime::now(),
            identity: version.identity.clone(),
            role,
            question: Arc::new(question),
            raw: scores.raw.into(),
            said: scores.said.into(),
        };
        self.look_in_shadows(&version, &entry);
        if let Some(log) = &self.log {
            log.push(entry);
        }
    }

    fn look_in_shadows(&self, version: &Arc<Version>, entry: &Entry) {
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
    Kind::Late.says(format!("no answer within {} ms", time.as_millis()))
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

/// A request on a worker's scratch.
struct Reading<'a> {
    service: &'a Service,
    asked: RequestContext,
    deadline: Instant,
}

impl Reading<'_> {
    fn answer<X, A>(
        mut self,
        read: impl FnOnce(&Accepts) -> Result<(Question, X), ApiError>,
        say: impl FnOnce(Answer, X) -> Result<A, ApiError>,
        scratch: &mut WorkerScratch,
    ) -> (Outcome<A>, Option<Completed>) {
        self.asked.clock.end(Stage::Queue);
        let mut outcome = Outcome {
            said: Err(Kind::Internal.says("")),
            clock: self.asked.clock,
            id: self.asked.id.take().unwrap_or_default(),
            served: None,
            n_candidates: 0,
        };
        let mut left = None;
        outcome.said = self.check_time().and_then(|()| {
            let (question, rest) = read(&self.service.accepts)?;
            outcome.clock.end(Stage::Parse);
            let (answer, scored) = self.score(question, scratch, &mut outcome)?;
            let said = say(answer, rest);
            outcome.clock.end(Stage::Answer);
            left = said.is_ok().then_some(scored);
            said
        });
        (outcome, left)
    }

    fn check_time(&self) -> Result<(), ApiError> {
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(late(self.deadline - self.asked.clock.began)),
        }
    }

    fn score<A>(
        &mut self,
        mut question: Question,
        scratch: &mut WorkerScratch,
        outcome: &mut Outcome<A>,
    ) -> Result<(Answer, Completed), ApiError> {
        if let Some(time) = question.timeout {
            let time = time.min(self.service.time);
            self.deadline = self.deadline.min(self.asked.clock.began + time);
        }
        self.check_time()?;
        let given = std::mem::take(&mut question.id);
        outcome.id = match (given.is_empty(), outcome.id.is_empty()) {
            (false, _) => given,
            (true, false) => std::mem::take(&mut outcome.id),
            (true, true) => new_id(),
        };
        outcome.n_candidates = question.candidates.n_rows;
        let registry = self.service.repository.registry();
        let user = |version: &Version| user(&question, version);
        let (version, label) = registry.find(&question.model, user)?;
        outcome.served = Some((version.clone(), label));
        let lenient = self.service.accepts.lenient;
        scratch.until = Some(self.deadline);
        let scores = version.score(&mut question, lenient, scratch)?;
        outcome.clock.add(Stage::Encode, scores.encode);
        outcome.clock.add(Stage::Score, scores.score);
        let mut answer = Answer {
            id: outcome.id.clone(),
            model: version.identity.model.clone(),
            version: version.identity.number,
            hash: version.identity.hash.clone(),
            label,
            outputs: version.identity.outputs.clone(),
            scores: scores.said.clone(),
            best: None,
        };
        if let Some(top) = &question.top {
            // The product is last; without one, the first task decides.
            let n_tasks = version.schema().tasks.len();
            let by_default = (answer.outputs.len() > n_tasks).then_some(n_tasks);
            keep_best(&mut answer, top, by_default.unwrap_or(0))?;
        }
        let left = Completed {
            version,
            role: label,
            id: outcome.id.clone(),
            question,
            scores,
        };
        Ok((answer, left))
    }
}

/// Who asks: as the request says, or by the column that groups rows.
fn user(question: &Question, version: &Version) -> Option<String> {
    let of_column = || {
        let group = version.schema().group.as_deref()?;
        let blocks = [&question.context, &question.candidates];
        let rows = blocks.into_iter().filter(|block| block.n_rows > 0);
        rows.filter_map(|block| only_text(block, group)).next()
    };
    question.user.clone().or_else(of_column)
}

/// Leaves the best candidates, best first; of equals, the first in the request.
fn keep_best(answer: &mut Answer, top: &Top, by_default: usize) -> Result<(), ApiError> {
    let by = match &top.by {
        Some(name) => {
            let place = answer.outputs.iter().position(|output| output == name);
            place.ok_or_else(|| {
                let hint = nearest(name, answer.outputs.iter().map(String::as_str));
                Kind::Invalid.says(format!("\"top_by\": no output \"{}\"{hint}", shown(name)))
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

/// A name for a request that has none: unlike any other of this process, and of others by their start.
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
