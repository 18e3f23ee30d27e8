//! Quick start: a synthetic log for each seed, three networks trained on each, and their comparison.

use crate::comparison::{self, NetworkFigures};
use crate::error::Error;
use crate::progress::Progress;
use crate::synthetic::{self, SyntheticFiles};
use crate::training::{self, Finished};
use ncs_config::RunFile;
use ncs_eval::report::Note;
use ncs_eval::{RunReport, render_html};
use ncs_model::tensor_file;
use ncs_readers::Format;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{FurtherLabels, SyntheticPlan, write_log};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const NETWORKS: [&str; 3] = ["single_task", "shared_bottom", "sparse_sharing"];

/// Impressions of each part: enough for a few hundred conversions, few enough for two minutes.
const ROWS: [(Part, u64); 3] = [
    (Part::Train, 90_000),
    (Part::Valid, 30_000),
    (Part::Test, 60_000),
];

/// Share of the true conversion function that is that of clicks.
const SHARE: f64 = 0.5;

/// Generates a log for each of `seeds` seeds in `folder`, trains every network on each, and returns the report with means,
/// intervals and verdicts, which `report.html` in the folder shows too. Called again, it resumes.
///
/// # Errors
/// The folder cannot be written, a training fails, or `stop` was set.
pub fn run(
    folder: &Path,
    seeds: u32,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<RunReport, Error> {
    let mut figures = NETWORKS.map(|network| NetworkFigures {
        network: network.to_owned(),
        seeds: Vec::new(),
    });
    let mut first: Vec<RunReport> = Vec::new();
    for seed in 1..=u64::from(seeds) {
        let log = folder.join(format!("seed-{seed}"));
        let files = make_log(&log, seed, progress)?;
        for figures in &mut figures {
            progress.log(&format!("seed {seed} of {seeds}: {}", figures.network));
            let finished = train(&log, &files, (&figures.network, seed), progress, stop)?;
            figures.seeds.push(finished.evaluated[0].metrics.clone());
            if seed == 1 {
                first.push(finished.report);
            }
        }
    }
    let report = report(seeds, &figures, first);
    let path = folder.join("report.html");
    tensor_file::write_bytes(&path, render_html(&report).as_bytes())?;
    Ok(report)
}

/// The log of a seed: made once, found again by a quick start that goes on.
fn make_log(folder: &Path, seed: u64, progress: Progress) -> Result<SyntheticFiles, Error> {
    let job = progress.job(&format!("generate the log of seed {seed}"), None, "rows");
    let plan = SyntheticPlan {
        seed,
        share: SHARE,
        ..SyntheticPlan::default()
    };
    let done = folder.join("log.done");
    let settings = format!("{plan:?} {ROWS:?}");
    let known = std::fs::read_to_string(&done).is_ok_and(|text| text == settings);
    if !known {
        let written = write_log(&plan, folder, Format::Parquet, &ROWS)?;
        tensor_file::write_bytes(&done, settings.as_bytes())?;
        let mut job = job;
        job.advance(written.iter().map(|file| file.rows).sum());
        job.finish();
    }
    let file = |name: &str| format!("{name}.parquet");
    Ok(SyntheticFiles {
        train: file("train"),
        valid: Some(file("valid")),
        test: Some(file("test")),
        separator: None,
        late: None,
        further: FurtherLabels::None,
    })
}

fn train(
    log: &Path,
    files: &SyntheticFiles,
    (network, seed): (&str, u64),
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Finished, Error> {
    let path: PathBuf = log.join(format!("{network}.toml"));
    let text = synthetic::run_toml(files, network, seed);
    tensor_file::write_bytes(&path, text.as_bytes())?;
    // Two threads wherever it runs, so that everybody sees the same figures.
    // All networks have the same features: by default only those with masks have past rates.
    let sets = [
        "data.cache=\"cache\"",
        "threads=2",
        "features.rates=\"none\"",
    ]
    .map(str::to_owned);
    let file = RunFile::open(&path, &sets)?;
    let quiet = match progress {
        Progress::Lines => Progress::Quiet,
        other => other,
    };
    training::run(&file, &log.join(network), quiet, stop)
}

fn report(seeds: u32, figures: &[NetworkFigures; 3], first: Vec<RunReport>) -> RunReport {
    let title = format!("Test rows: mean over {seeds} seeds, 95 % interval");
    let [single, shared, sparse] = figures;
    let others = [single.clone(), shared.clone()];
    let fact = |text: String| Note {
        warning: false,
        text,
    };
    let mut notes = vec![fact(format!(
        "Every seed makes its own log and its own initial weights; half of what makes people \
         convert (share {SHARE}) is what makes them click, the rest is in conflict with it."
    ))];
    notes.extend(comparison::verdicts(sparse, &others).into_iter().map(fact));
    let mut report = RunReport {
        title: "Quick start: three networks on synthetic logs".to_owned(),
        subtitle: "Curves, masks and calibration are those of seed 1.".to_owned(),
        notes,
        results: vec![comparison::table(&title, figures)],
        ..RunReport::default()
    };
    for (one, network) in first.into_iter().zip(NETWORKS) {
        report.learning.extend(one.learning);
        report.calibration.extend(one.calibration);
        report.search.extend(one.search);
        if network == "sparse_sharing" {
            report.sharing = one.sharing;
            report.inputs = one.inputs;
            report.features = one.features;
            report.settings = one.settings;
            report.version = one.version;
        }
        report.data = one.data;
    }
    report
}
