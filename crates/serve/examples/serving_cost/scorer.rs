//! The scorer in process: no network, no queue, a scratch for each thread.

use crate::arguments::Flags;
use crate::clock::{cpu_seconds, summary};
use crate::workload::{Form, MODEL, N_FIELDS, Request, is_of_user};
use ncs_features::{Batch, Encoder};
use ncs_model::{RankBuffers, Ranker, Scorer};
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::Question;
use ncs_serve::version::Version;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);

/// Scores as fast as `--threads` can: ids that are ready, or columns of integers or strings, which are
/// encoded first.
pub(crate) fn score(flags: &Flags) -> Result<Value, String> {
    let folder: PathBuf = flags.needed("model")?;
    let values: String = flags.or("values", "ids".to_owned())?;
    let threads: usize = flags.or("threads", 1)?;
    let pace = Pace {
        seconds: Duration::from_secs_f64(flags.or("seconds", 5.0)?),
        pause: Duration::from_micros(flags.or("pause-us", 0)?),
    };
    let version = Version::load(&folder, &MODEL.into(), 1)?;
    let mut record = match values.as_str() {
        "ids" => run(threads, pace, || on_ids(&version)),
        text => {
            let form: Form = text.parse().map_err(|()| "--values ids|integers|strings")?;
            run(threads, pace, || on_columns(&version, form))
        }
    };
    record["what"] = json!("score");
    record["values"] = json!(values);
    record["threads"] = json!(threads);
    Ok(record)
}

/// How long, and with which pause after each call: a server's thread waits for its next request, too.
#[derive(Clone, Copy)]
struct Pace {
    seconds: Duration,
    pause: Duration,
}

/// Has each thread do its work over and over, and says what one call takes.
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

fn on_ids(version: &Version) -> impl FnMut(usize) {
    let mut ready = Ready::new(version.scorer());
    let batches: Vec<(Batch, Batch)> = Request::all()
        .iter()
        .map(|request| ready.batches(&request.question(Form::Integers)))
        .collect();
    move |number| {
        let (context, candidates) = &batches[number % batches.len()];
        black_box(ready.score(context, candidates));
    }
}

fn on_columns(version: &Version, form: Form) -> impl FnMut(usize) {
    let requests = Request::all();
    let mut questions: Vec<Question> = requests.iter().map(|one| one.question(form)).collect();
    let mut scratch = WorkerScratch::new();
    move |number| {
        let place = number % questions.len();
        let scores = version.score(&mut questions[place], false, &mut scratch);
        black_box(scores.expect("its own columns"));
    }
}

/// A ranker with its buffers.
pub(crate) struct Ready {
    encoder: Encoder,
    ranker: Ranker,
    buffers: RankBuffers,
    scores: Vec<Vec<f32>>,
}

impl Ready {
    pub(crate) fn new(scorer: &Arc<Scorer>) -> Ready {
        let user: Vec<usize> = (0..N_FIELDS).filter(|&field| is_of_user(field)).collect();
        Ready {
            encoder: Encoder::new(scorer.schema().clone()),
            ranker: Ranker::new(scorer, &user).expect("a stack of layers"),
            buffers: RankBuffers::default(),
            scores: vec![Vec::new(); scorer.spec().tasks.len()],
        }
    }

    /// The ids of the context and of the candidates.
    pub(crate) fn batches(&self, question: &Question) -> (Batch, Batch) {
        let context = self.encoder.encode_some(&question.context, is_of_user);
        let candidates = self
            .encoder
            .encode_some(&question.candidates, |field| !is_of_user(field));
        let known = "columns of the schema";
        (context.expect(known), candidates.expect(known))
    }

    /// `[task][candidate]`.
    pub(crate) fn score(&mut self, context: &Batch, candidates: &Batch) -> &[Vec<f32>] {
        self.ranker
            .score(context, candidates, &mut self.buffers, &mut self.scores);
        &self.scores
    }
}
