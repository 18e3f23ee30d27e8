//! Cost of serving at the paper's model size: prints one JSON object per line, for
//! `tools/bench_serving/run.py`, which starts the server and runs ONNX Runtime for comparison.
//!
//!     serving_cost model --out DIR                the model, and the same numbers for the peer
//!     serving_cost score --model DIR/model --values strings --threads 2      in process
//!     serving_cost load --to 127.0.0.1:8000 --wire rank-json --connections 4     through the server
//!     serving_cost load --to 127.0.0.1:8001 --wire rank-grpc --rate 500 --seconds 60
//!
//! `load` sends as fast as it can over `--connections`, or with `--rate` at times independent of the
//! responses, and measures each latency from the scheduled time.

mod arguments;
mod bodies;
mod clock;
mod grpc;
mod http;
mod load;
mod model;
mod scorer;
mod workload;

use arguments::Flags;
use serde_json::Value;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(record) => {
            println!("{record}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Value, String> {
    let mut words = std::env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let flags = Flags::parse(words)?;
    match kind.as_str() {
        "model" => model::write(&flags),
        "score" => scorer::score(&flags),
        "load" => load::load(&flags),
        _ => Err("serving_cost model|score|load --flag value ...".to_owned()),
    }
}
