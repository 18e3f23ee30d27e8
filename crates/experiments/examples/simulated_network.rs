//! Steps of 1 to 16 ranks over a network of 10 Gbit/s and 0.1 ms, in simulated time, beside the model of `ncs plan`:
//!
//!     ncs synth --rows 200000 --out log
//!     cargo run --release -p ncs-experiments --example simulated_network -- log/run.toml 'distributed.tables="sharded"'
//!
//! `tools/simulated_network/draw.py` draws the table. Each rank is a thread that computes on its own clock (`Simulated`), so the cores of the machine do not matter.

use ncs_collective::{Network, Simulated, threads};
use ncs_config::RunFile;
use ncs_experiments::distributed_plan::{Cluster, Measuring, Prediction, Steps, measure};
use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_experiments::training::prepare_rows;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const GBIT: f64 = 10.0;
const LATENCY: Duration = Duration::from_micros(100);

/// Steps that each number of ranks makes.
const STEPS: u64 = 29;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let run = arguments
        .next()
        .ok_or("the path of a run file is missing")?;
    // A rank computes on one thread, whose time is counted.
    let sets = arguments
        .chain(["threads=1".to_owned()])
        .collect::<Vec<_>>();
    let file = RunFile::open(Path::new(&run), &sets)?;
    let (stop, folder) = (AtomicBool::new(false), std::env::temp_dir());
    let folder = folder.join(format!("simulated-network-{}", std::process::id()));
    let measuring = Measuring {
        time: Duration::from_secs(5),
        steps: u64::MAX,
    };
    let costs = measure(&file, measuring, Progress::Quiet, &stop)?;
    let mut plan = file.plan.clone();
    plan.data.cache = folder.join("rows");
    let data = prepare_rows(&plan, Progress::Quiet, &stop)?;
    let steps = Steps {
        plan: &plan,
        data: &data,
        rows: costs.batch,
        measuring: Measuring {
            time: Duration::MAX,
            steps: STEPS,
        },
        folder: &folder,
    };
    let cluster = Cluster {
        ranks: 16,
        gbit: GBIT,
        latency_ms: LATENCY.as_secs_f64() * 1e3,
        rows: costs.log_rows,
        table_rows: None,
    };
    println!("| ranks | simulated ms a step | model ms a step | of it exchanges | MB sent |");
    println!("|---|---|---|---|---|");
    for predicted in costs.predict(&cluster) {
        let step = simulated(steps, predicted.ranks)?;
        let Prediction {
            ranks,
            step_ms,
            exchange_ms,
            sent_mb,
            ..
        } = predicted;
        println!(
            "| {ranks} | {:.2} | {step_ms:.2} | {exchange_ms:.2} | {sent_mb:.3} |",
            1e3 * step
        );
    }
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(())
}

/// Returns the seconds of a step of some ranks, the median.
fn simulated(steps: Steps<'_>, n_ranks: usize) -> Result<f64, Error> {
    let network = Network {
        bits_per_second: GBIT * 1e9,
        latency: LATENCY,
    };
    let ranks = threads(n_ranks, Duration::from_secs(600));
    let times = std::thread::scope(|scope| {
        let work = |rank| {
            let rank = Simulated::new(rank, network, processor_time);
            let shared = || rank.elapsed()[0];
            let clock: &(dyn Fn() -> Duration + Sync) = match n_ranks {
                1 => &processor_time_of_process,
                _ => &shared,
            };
            steps.run_as(&rank, clock)
        };
        let started: Vec<_> = ranks
            .iter()
            .map(|rank| scope.spawn(move || work(rank)))
            .collect();
        let ended = started
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ended.collect::<Result<Vec<_>, Error>>()
    })?;
    let mut own = times.into_iter().next().ok_or("no rank")?;
    own.sort_by(f64::total_cmp);
    Ok(own.get(own.len() / 2).copied().unwrap_or(0.0))
}

fn processor_time() -> Duration {
    time_of(rustix::time::ClockId::ThreadCPUTime)
}

/// One rank has no exchanges, by which its own thread's clock could be read.
fn processor_time_of_process() -> Duration {
    time_of(rustix::time::ClockId::ProcessCPUTime)
}

fn time_of(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
