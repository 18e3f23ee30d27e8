//! Comparison of methods (`ncs compare`): data sets, methods and seeds to results with intervals and
//! verdicts.
//!
//! A plan lists cells, one method on one data set each. A cell first runs its trials, with one or more seeds,
//! and selects the settings with the best validation score; then it runs every seed with these settings. Every
//! run is an `ncs train` process of its own, in a folder whose name contains the hash of its settings: finished
//! runs are not repeated, and changed settings get new folders. Changes to the rows behind a run file, or to
//! the program, are not detected: start a new folder after them.
//!
//! ```text
//! DIR/data/SET/seed-S/  runs/SET/METHOD/seed-S-HASH/  cache/  locks/
//!     comparison.json  comparison.md  report.html
//! ```

mod figures;
mod gather;
mod plan;
mod problems;
mod run_table;
mod score_table;
mod scores;
mod sizes;
mod toml_types;
mod trials;
mod work;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_eval::comparison::Comparison;
use ncs_eval::{comparison_markdown, render_comparison_html};
use ncs_model::tensor_file;

use crate::error::Error;
use crate::progress::Progress;
use plan::Plan;
use run_table::RunTable;
use scores::Scored;

pub use toml_types::Match;

/// Options of a comparison.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Number of concurrent runs; 0: number of cores divided by the threads of a run.
    pub jobs: usize,
    /// Budget to equalise across networks (overrides the file).
    pub matching: Option<Match>,
    /// True to run nothing and only report the finished runs.
    pub only_report: bool,
    /// Folder that relative paths of score files start at; default: the folder of the comparison file.
    pub scores: Option<PathBuf>,
}

/// Outcome of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// Results, differences and verdicts.
    pub comparison: Comparison,
    /// Failed runs with their reasons: `folder: reason`.
    pub failed: Vec<String>,
}

/// Returns the JSON schema of a comparison file, ending in a newline, as printed by `ncs schema compare` and
/// shipped with the project.
pub fn json_schema() -> String {
    ncs_config::schema_of::<toml_types::CompareFile>()
}

/// Checks a comparison against its data without running anything, and returns the number of checked methods on
/// data sets. Synthetic logs, which do not exist yet, are left out.
///
/// Fails with all errors in the file, or in the settings of the first invalid method.
pub fn check(path: &Path) -> Result<usize, Error> {
    let plan = Plan::open(path, Path::new(""), None)?;
    run_table::check_files(&plan)
}

/// Runs all unfinished runs of the file at `path`, and writes the report into `folder`.
///
/// Fails if the file or the settings of a method are invalid, the folder cannot be written, or the process is
/// interrupted.
pub fn run(
    path: &Path,
    folder: &Path,
    options: CompareOptions,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Compared, Error> {
    let mut plan = Plan::open(path, folder, options.matching)?;
    if let Some(scores) = options.scores {
        plan.scores = scores;
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        format!(
            "{}: cannot create this folder: {error}; choose another with --out",
            folder.display()
        )
    })?;
    if !options.only_report {
        work::generate_logs(&plan, progress, stop)?;
    }
    let mut table = RunTable::new(&plan)?;
    let scored = scores::read_all(&plan, progress, stop)?;
    if !options.only_report {
        let jobs = match options.jobs {
            0 => {
                std::thread::available_parallelism().map_or(1, usize::from)
                    / plan.file.threads as usize
            }
            jobs => jobs,
        };
        let outcome = work::run(&mut table, jobs.max(1), progress, stop);
        if outcome.is_err() {
            // Report the finished runs before returning the error.
            write(&mut table, &scored)?;
        }
        outcome?;
    }
    let comparison = write(&mut table, &scored)?;
    let failed = table.failed.iter();
    let failed = failed.map(|(folder, reason)| format!("{}: {reason}", folder.display()));
    Ok(Compared {
        comparison,
        failed: failed.collect(),
    })
}

/// Writes the report of the finished runs.
fn write(table: &mut RunTable<'_>, scored: &Scored) -> Result<Comparison, Error> {
    let folder = table.plan.folder.clone();
    let comparison = Comparison::of(gather::gather(table, scored)?);
    let mut json = serde_json::to_string_pretty(&comparison)?;
    json.push('\n');
    // Comparisons that share a folder use the same temporary files: the lock serialises their writes.
    let locks = folder.join("locks");
    std::fs::create_dir_all(&locks)?;
    let lock = std::fs::File::create(locks.join("report.lock"))?;
    lock.lock()?;
    for (name, text) in [
        ("comparison.json", json),
        ("comparison.md", comparison_markdown(&comparison)),
        ("report.html", render_comparison_html(&comparison)),
    ] {
        tensor_file::write_bytes(&folder.join(name), text.as_bytes())?;
    }
    Ok(comparison)
}
