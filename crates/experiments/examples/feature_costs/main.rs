//! Costs of the kinds of features and networks, side by side on one synthetic log: the time of a training step and of a
//! request with one candidate and with 500, as ratios to a model of eight ids. Prints a table in Markdown.
//!
//!     cargo run --release -p ncs-experiments --example feature_costs -- [ROUNDS]
//!
//! In each round every variant is trained once, and its steps are compared with those of `base` in the same round;
//! requests of all variants take turns. One thread.

mod log;
mod variants;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ncs_config::{RunFile, RunSource};
use ncs_experiments::error::Error;
use ncs_experiments::progress::Progress;
use ncs_experiments::run_folder::RunFolder;
use ncs_experiments::training;
use ncs_model::Precision;
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::version::Version;
use ncs_train::{Event, Listener};
use variants::{Variant, variants};

const CANDIDATES: [usize; 2] = [500, 1];

/// Requests of each variant and number of candidates.
const REQUESTS: usize = 150;

/// Requests of one candidate that are timed together.
const TOGETHER: usize = 20;

/// Times of a variant.
#[derive(Default)]
struct Times {
    /// Median step of each round, and that of `base`, in ms.
    steps: Vec<[f64; 2]>,
    /// Requests by number of candidates, in ms.
    requests: [Vec<f64>; 2],
}

fn main() -> Result<(), Error> {
    let rounds = std::env::args().nth(1);
    let rounds = rounds.map_or(Ok(3), |text| text.parse::<usize>());
    let rounds = rounds.map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("feature-costs-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    log::write(&folder.join("log.parquet"))?;
    let variants = variants();
    let mut times: Vec<Times> = variants.iter().map(|_| Times::default()).collect();
    for round in 0..rounds {
        let mut base = 0.0;
        for (variant, times) in variants.iter().zip(&mut times) {
            let step = train(variant, &folder)?;
            if variant.name == "base" {
                base = step;
            }
            times.steps.push([step, base]);
            eprintln!("round {}: {} {step:.2} ms a step", round + 1, variant.name);
        }
    }
    request(&variants, &folder, &mut times)?;
    println!("{}", table(&variants, &times));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Remembers when steps ended.
#[derive(Default)]
struct Steps(Vec<Instant>);

impl Listener for Steps {
    fn on_event(&mut self, event: &Event<'_>) {
        if let Event::Stepped { .. } = event {
            self.0.push(Instant::now());
        }
    }
}

/// Trains a variant and returns its median step in ms.
fn train(variant: &Variant, folder: &Path) -> Result<f64, Error> {
    let settings = toml::from_str(&variant.settings()).map_err(|error| error.to_string())?;
    let source = RunSource::Settings {
        name: variant.name.to_owned(),
        table: settings,
        root: folder.to_owned(),
    };
    let file = RunFile::of(&source, &[], &ncs_config::list_columns)?;
    let out = folder.join(variant.name);
    let held = RunFolder::hold(&out)?;
    held.forget()?;
    let (mut steps, stop) = (Steps::default(), AtomicBool::new(false));
    training::run_with_listener(&file, &held, Progress::Quiet, &stop, &mut steps)?;
    let ends = steps.0.windows(2);
    let lengths = ends.map(|ends| (ends[1] - ends[0]).as_secs_f64() * 1e3);
    Ok(median(lengths.collect()))
}

/// Times requests of all variants in turn.
fn request(variants: &[Variant], folder: &Path, times: &mut [Times]) -> Result<(), Error> {
    let load = |variant: &Variant| {
        let model = folder.join(variant.name).join("model");
        Version::load(&model, &Arc::from(variant.name), 1, Precision::Single)
            .map_err(|error| error.to_string())
    };
    let versions: Vec<Version> = variants.iter().map(load).collect::<Result<_, _>>()?;
    let mut scratch = WorkerScratch::new();
    for (place, n_candidates) in CANDIDATES.into_iter().enumerate() {
        let together = if n_candidates == 1 { TOGETHER } else { 1 };
        for turn in 0..REQUESTS {
            for (version, times) in versions.iter().zip(&mut *times) {
                let query = log::query(turn as u64, n_candidates, |column| version.reads(column));
                let queries: Vec<RankQuery> = vec![query; together];
                let began = Instant::now();
                for mut query in queries {
                    let scored = version.score(&mut query, false, &mut scratch);
                    scored.map_err(|error| error.message.clone())?;
                }
                let ms = began.elapsed().as_secs_f64() * 1e3 / together as f64;
                times.requests[place].push(ms);
            }
        }
    }
    Ok(())
}

fn table(variants: &[Variant], times: &[Times]) -> String {
    let header = "| variant | step | ms | 500 candidates | ms | 1 candidate | ms |\n|---|---|---|---|---|---|---|\n";
    let base = times[0]
        .requests
        .each_ref()
        .map(|times| median(times.clone()));
    let row = |(variant, times): (&Variant, &Times)| {
        let ratios = times.steps.iter().map(|[own, base]| own / base);
        let steps = median(times.steps.iter().map(|[own, _]| *own).collect());
        let [many, one] = times.requests.each_ref().map(|times| median(times.clone()));
        format!(
            "| {} | {:.2} | {steps:.2} | {:.2} | {many:.3} | {:.2} | {one:.4} |\n",
            variant.about,
            median(ratios.collect()),
            many / base[0],
            one / base[1]
        )
    };
    let rows: String = variants.iter().zip(times).map(row).collect();
    format!("{header}{rows}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
