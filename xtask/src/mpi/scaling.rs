//! What exchanging costs: two ranks of one thread on twice the rows, beside two processes on the rows of one each, which share
//! the machine's memory as the ranks do but exchange nothing.

use super::processes::{ended, text};
use super::{Job, MOST, SHARDED, Start, succeed};
use std::process::Command;
use std::time::Instant;

/// Rows of a process: enough that starting and testing are little beside the steps.
const ROWS: u32 = 200_000;

/// Rows of a batch of one process.
const BATCH: u32 = 2048;

/// Settings of a training that is nearly nothing but steps.
const STEPS: [&str; 8] = [
    "training.epochs=2",
    "training.evaluations_per_epoch=1",
    "training.checkpoint_steps=100000",
    "training.keep=\"last\"",
    "training.steps=\"joint\"",
    "training.embedding_evidence=\"none\"",
    "network.hidden=[512,256]",
    "network.kind=\"shared_bottom\"",
];

impl Job {
    /// Measures and prints the efficiency of two ranks, with whole tables and with shards: the time of two processes without
    /// exchanges over that of two ranks, of the steps with validation and of the whole command, in which one rank alone reads
    /// the log, tests the model and writes the report. Each is measured `repeats` times, in turns.
    pub(super) fn scaling(&self, repeats: u64) -> Result<(), String> {
        for (name, rows) in [("small", ROWS), ("large", 2 * ROWS)] {
            let rows = rows.to_string();
            let mut synth = Command::new(&self.binary);
            synth.args([
                "--quiet",
                "synth",
                "--rows",
                &rows,
                "--click-rate",
                "0.3",
                "--out",
            ]);
            succeed(synth.arg(self.folder.join(name)))?;
        }
        let [one, two] = [BATCH, 2 * BATCH].map(|rows| format!("training.batch={rows}"));
        let with = |more: &[&'static str]| [&STEPS[..], more].concat();
        let (alone, whole, shards) = (with(&[]), with(&[]), with(&[SHARDED]));
        let alone: Vec<&str> = alone.iter().copied().chain([one.as_str()]).collect();
        let whole: Vec<&str> = whole.iter().copied().chain([two.as_str()]).collect();
        let shards: Vec<&str> = shards.iter().copied().chain([two.as_str()]).collect();
        let mut times = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        // The first round fills the id caches.
        for round in 0..=repeats {
            let measured = [
                self.time(&[("small", Start::new(1, "scaling-0", &alone))])?,
                self.time(&[
                    ("small", Start::new(1, "scaling-0", &alone)),
                    ("small", Start::new(1, "scaling-1", &alone)),
                ])?,
                self.time(&[("large", Start::new(2, "scaling-2", &whole))])?,
                self.time(&[("large", Start::new(2, "scaling-3", &shards))])?,
            ];
            if round > 0 {
                let pairs = times.iter_mut().zip(measured);
                pairs.for_each(|(times, time)| times.push(time));
            }
        }
        for (place, what) in ["steps", "whole command"].into_iter().enumerate() {
            let seconds = |times: &Vec<[f64; 2]>| median(times.iter().map(|time| time[place]));
            let [one, two, whole, shards] = times.each_ref().map(seconds);
            println!("{what}: one process {one:.2} s; two without exchanges {two:.2} s");
            for (name, ranks) in [("whole tables", whole), ("shards", shards)] {
                println!(
                    "{what}: two ranks, {name}: {ranks:.2} s, efficiency {:.2}",
                    two / ranks
                );
            }
        }
        Ok(())
    }

    /// Runs jobs at once, each anew but with its rows cached, and returns the seconds of the steps of the slowest, and until
    /// the last has ended.
    fn time(&self, jobs: &[(&str, Start<'_>)]) -> Result<[f64; 2], String> {
        let begun = Instant::now();
        let started: Result<Vec<_>, String> = jobs
            .iter()
            .map(|&(log, start)| {
                let rank_timeout = MOST;
                let start = Start {
                    rank_timeout,
                    is_verbose: true,
                    ..start
                };
                self.start_on(log, "--fresh", start)
            })
            .collect();
        let mut of_steps: f64 = 0.0;
        for job in started? {
            let output = ended(job)?;
            if !output.status.success() {
                return Err(text(&output));
            }
            of_steps = of_steps.max(seconds_of_steps(&text(&output))?);
        }
        Ok([of_steps, begun.elapsed().as_secs_f64()])
    }
}

/// Returns the seconds in `train: 118 steps in 5.4 s, 21 steps/s`.
fn seconds_of_steps(log: &str) -> Result<f64, String> {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("train: ")?.split_once(" steps in "));
    let seconds = line.and_then(|(_, rest)| rest.split_once(" s")?.0.parse().ok());
    seconds.ok_or_else(|| format!("the seconds of the steps are not printed:\n{log}"))
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
