//! Cost of a step, a search, a request and a pass over a log, at the paper's size: one JSON object
//! a line, for `tools/bench/run.py`, which runs PyTorch and ONNX Runtime beside it.
//!
//!     cargo run --release -p ncs-train --example cost -- step --density 0.3 0.2 --threads 2
//!     cargo run --release -p ncs-train --example cost -- score --candidates 1 64 500

mod arguments;
mod clock;
mod paper;
mod reading;
mod scoring;
mod searching;

use arguments::Arguments;
use clock::{Cost, median_cost, peak_rss_mb};
use ncs_features::Batch;
use paper::{N_BATCHES, Training};
use serde_json::{Value, json};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(records) => {
            records.iter().for_each(|record| println!("{record}"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Vec<Value>, String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.size.threads);
    pool.build_global().map_err(|error| error.to_string())?;
    match arguments.kind.as_str() {
        "step" => Ok(vec![step(&arguments)]),
        "forward" => Ok(vec![forward(&arguments)]),
        "search" => Ok(vec![searching::search(&arguments)]),
        "score" => Ok(scoring::score(&arguments)),
        "read" => Ok(vec![reading::read(&arguments)]),
        "memory" => Ok(vec![memory(&arguments)]),
        kind => Err(format!("no kind `{kind}`; {}", arguments::USAGE)),
    }
}

/// A joint step: CTR on all rows, CVR on the clicked ones, embeddings and optimizers included.
fn step(arguments: &Arguments) -> Value {
    run_over_batches(arguments, Training::step)
}

/// The forward half, of the same two tasks.
fn forward(arguments: &Arguments) -> Value {
    run_over_batches(arguments, Training::forward)
}

fn run_over_batches(arguments: &Arguments, work: fn(&mut Training, &Batch)) -> Value {
    let size = arguments.size;
    let batches = paper::batches(size);
    let model = paper::model(size, arguments.density);
    let mut training = Training::new(size, model, &[0, 1]);
    // Initialises the rows that forward passes look up, and touches fresh memory.
    batches.iter().for_each(|batch| training.step(batch));
    let mut turn = batches.iter().cycle();
    let next = || work(&mut training, turn.next().expect("a cycle has no end"));
    let cost = median_cost(next, arguments.samples, N_BATCHES, 1);
    let mut record = base(arguments, cost, size.batch);
    record["n_initialised_rows"] = json!(training.n_initialised_rows());
    record
}

/// The most memory held over many batches of fresh rows, and what the touched rows need.
fn memory(arguments: &Arguments) -> Value {
    let size = arguments.size;
    let model = paper::model(size, arguments.density);
    let mut training = Training::new(size, model, &[0, 1]);
    for number in 0..arguments.steps {
        training.step(&paper::batch(size, number));
    }
    // A row and its two moments.
    let needed = training.n_initialised_rows() * paper::DIM * size_of::<f32>() * 3;
    json!({
        "what": "memory",
        "engine": "ours",
        "density": arguments.density,
        "threads": size.threads,
        "batch": size.batch,
        "table_rows": size.table_rows,
        "steps": arguments.steps,
        "n_initialised_rows": training.n_initialised_rows(),
        "needed_mb": needed as f64 / 1e6,
        "peak_rss_mb": peak_rss_mb(),
    })
}

/// Returns the common fields of every cost record; `rows` are those of one call.
fn base(arguments: &Arguments, cost: Cost, rows: usize) -> Value {
    json!({
        "what": arguments.kind,
        "engine": "ours",
        "density": arguments.density,
        "threads": arguments.size.threads,
        "batch": arguments.size.batch,
        "width": arguments.size.width,
        "table_rows": arguments.size.table_rows,
        "cpu_ms": cost.cpu_ms,
        "wall_ms": cost.wall_ms,
        "rows_per_s": rows as f64 / cost.wall_ms * 1e3,
        "peak_rss_mb": peak_rss_mb(),
        "n": cost.n,
    })
}
