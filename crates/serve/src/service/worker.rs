//! A request on a worker thread: parsed, scored, answered.

use super::{Completed, Outcome, RequestContext, Service, late};
use crate::api_error::{ApiError, ErrorKind};
use crate::compute::WorkerScratch;
use crate::rank_request::{RankQuery, RankScores, Top};
use crate::telemetry::Stage;
use crate::version::{Version, only_text};
use crate::wire::{Accepts, nearest};
use crate::words::shown;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

/// A request being processed by a worker.
pub(super) struct WorkerRequest<'a> {
    pub(super) service: &'a Service,
    pub(super) context: RequestContext,
    pub(super) deadline: Instant,
}

impl WorkerRequest<'_> {
    pub(super) fn process<X, A>(
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
        if Instant::now() >= self.deadline {
            return Err(late(self.deadline - self.context.clock.began));
        }
        Ok(())
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
        let reads = |name: &str| version.reads(name);
        let is_group = |name: &str| version.schema().group.as_deref() == Some(name);
        let stays = |name: &str| reads(name) || is_group(name);
        let telemetry = &self.service.telemetry;
        let lookups = &self.service.lookups;
        lookups.fill(&mut query, reads, stays, telemetry)?;
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
            keep_best(&mut answer, top, version.main_output())?;
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
    static START: OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let text = format!("{now} {}", std::process::id());
        ncs_features::HashFunction::Xxh3.hash(text.as_bytes())
    });
    format!("{start:016x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
