//! The scorer in process: no network, no queue, scratch memory for each thread.

use crate::arguments::Flags;
use crate::clock::{cpu_seconds, summary};
use crate::workload::{Form, MODEL, N_CANDIDATES, N_FIELDS, Request, is_user_field};
use ncs_features::{Batch, Encoder};
use ncs_model::{Precision, RankBuffers, Ranker, Scorer};
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::version::Version;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);

/// Measures scoring with `--threads`: of encoded ids, or of columns of integers or strings, which are
/// encoded first.
pub(crate) fn score(flags: &Flags) -> Result<Value, String> {
    let folder: PathBuf = flags.required("model")?;
    let values: String = flags.or("values", "ids".to_owned())?;
    let threads: usize = flags.or("threads", 1)?;
    let pace = Pace {
        seconds: Duration::from_secs_f64(flags.or("seconds", 5.0)?),
        pause: Duration::from_micros(flags.or("pause-us", 0)?),
    };
    let version = Version::load(&folder, &MODEL.into(), 1, Precision::Single);
    let version = version.map_err(|error| error.to_string())?;
    let requests = &Request::all(flags.or("candidates", N_CANDIDATES)?);
    let mut record = match values.as_str() {
        "ids" => run(threads, pace, || on_ids(&version, requests)),
        text => {
            let form: Form = text.parse().map_err(|()| "--values ids|integers|strings")?;
            run(threads, pace, || on_columns(&version, requests, form))
        }
    };
    record["what"] = json!("score");
    record["values"] = json!(values);
    record["threads"] = json!(threads);
    Ok(record)
}

/// Duration of a run, and the pause after each call, since a server's thread also waits for its next
/// request.
#[derive(Clone, Copy)]
struct Pace {
    seconds: Duration,
    pause: Duration,
}

/// Repeats the work on each thread and returns the latencies and the CPU time per call.
fn run<W: FnMut(usize)>(threads: usize, pace: Pace, work: impl Fn() -> W + Sync) -> Value {
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let one = || {
            let mut work = work();
            let warm_up = Pace {
                seconds: WARM_UP,
                ..pace
            };
            repeat(warm_up, &mut work);
            barrier.wait();
            repeat(pace, &mut work)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        barrier.wait();
        let (cpu, began) = (cpu_seconds("self"), Instant::now());
        let latencies = running.into_iter().map(|thread| thread.join());
        let latencies: Vec<Duration> = latencies
            .flat_map(|found| found.expect("it scores"))
            .collect();
        let (n, wall) = (latencies.len() as f64, began.elapsed());
        let mut record = summary(latencies, wall);
        record["cpu_ms"] = json!((cpu_seconds("self") - cpu) * 1e3 / n);
        record
    })
}

fn repeat(pace: Pace, work: &mut impl FnMut(usize)) -> Vec<Duration> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    while began.elapsed() < pace.seconds {
        let one = Instant::now();
        work(latencies.len());
        latencies.push(one.elapsed());
        if !pace.pause.is_zero() {
            std::thread::sleep(pace.pause);
        }
    }
    latencies
}

fn on_ids(version: &Version, requests: &[Request]) -> impl FnMut(usize) + use<> {
    let mut ranker = PreparedRanker::new(version.scorer());
    let batches: Vec<(Batch, Batch)> = requests
        .iter()
        .map(|request| ranker.batches(&request.query(Form::Integers)))
        .collect();
    move |number| {
        let (context, candidates) = &batches[number % batches.len()];
        black_box(ranker.score(context, candidates));
    }
}

fn on_columns<'a>(
    version: &'a Version,
    requests: &[Request],
    form: Form,
) -> impl FnMut(usize) + use<'a> {
    let mut queries: Vec<RankQuery> = requests.iter().map(|one| one.query(form)).collect();
    let mut scratch = WorkerScratch::new();
    move |number| {
        let index = number % queries.len();
        let scores = version.score(&mut queries[index], false, &mut scratch);
        black_box(scores.expect("its own columns"));
    }
}

/// A ranker with its encoder and buffers.
pub(crate) struct PreparedRanker {
    encoder: Encoder,
    ranker: Ranker,
    buffers: RankBuffers,
    scores: Vec<Vec<f32>>,
}

impl PreparedRanker {
    pub(crate) fn new(scorer: &Arc<Scorer>) -> PreparedRanker {
        let user: Vec<usize> = (0..N_FIELDS)
            .filter(|&field| is_user_field(field))
            .collect();
        PreparedRanker {
            encoder: Encoder::new(scorer.schema().clone()),
            ranker: Ranker::new(scorer, &user).expect("a stack of layers"),
            buffers: RankBuffers::default(),
            scores: vec![Vec::new(); scorer.spec().tasks.len()],
        }
    }

    /// Encodes the context and the candidates.
    pub(crate) fn batches(&self, query: &RankQuery) -> (Batch, Batch) {
        let context = self.encoder.encode_some(&query.context, is_user_field);
        let candidates = self
            .encoder
            .encode_some(&query.candidates, |field| !is_user_field(field));
        let known = "columns of the schema";
        (context.expect(known), candidates.expect(known))
    }

    /// Returns the scores `[task][candidate]`.
    pub(crate) fn score(&mut self, context: &Batch, candidates: &Batch) -> &[Vec<f32>] {
        self.ranker
            .score(context, candidates, &mut self.buffers, &mut self.scores);
        &self.scores
    }
}
