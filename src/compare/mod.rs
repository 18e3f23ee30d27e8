//! `ncs compare`: data sets, methods and seeds to results with intervals and verdicts.
//!
//! A plan lists cells, a method on a data set each. A cell first runs its trials, with one seed
//! or a few, and picks the settings that are best on the validation rows; then it runs every seed with these.
//! Every run is an `ncs train` of its own, in a folder whose name holds the hash of its settings: what is
//! there is not run again, and settings that were changed get new folders. A run does not notice that the
//! rows behind its run file, or the program, have changed since: then start a new folder.
//!
//! ```text
//! DIR/data/SET/seed-S/  runs/SET/METHOD/seed-S-HASH/  cache/  locks/
//!     comparison.json  comparison.md  report.html
//! ```

mod bench;
mod gather;
mod plan;
mod score_table;
mod scores;
mod sizes;
mod toml_types;
mod trials;
mod work;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_eval::comparison::Comparison;
use ncs_eval::{comparison_markdown, render_comparison_html};
use ncs_model::tensor_file;

use crate::progress::Progress;
use bench::RunTable;
use plan::Plan;
use scores::Scored;

pub use toml_types::Match;

/// How a comparison is run.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Runs at a time; 0: one for each core that a run does not share.
    pub jobs: usize,
    /// What is made equal between networks, where it is not what the file says.
    pub matching: Option<Match>,
    /// Whether nothing is run: the report is of what is there.
    pub only_report: bool,
    /// Where relative paths of score files start, if not at the comparison.
    pub scores: Option<PathBuf>,
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// Results, differences and verdicts.
    pub comparison: Comparison,
    /// Runs that failed, and why: `data set, method, seed: reason`.
    pub failed: Vec<String>,
}

/// The JSON schema of a comparison, as a text that ends in a line break: what `ncs schema compare` prints and
/// the project ships.
pub fn json_schema() -> String {
    crate::run_file::schema_of::<toml_types::CompareFile>()
}

/// Checks a comparison against its data without running anything; made-up logs, which are not there
/// yet, are left out. The number of methods on data sets that were checked.
///
/// # Errors
/// Everything that is wrong with the file, or with the settings of the first wrong method.
pub fn check(path: &Path) -> Result<usize, Box<dyn Error>> {
    let plan = Plan::open(path, Path::new(""), None)?;
    bench::check_files(&plan)
}

/// Runs what the file at `path` says and is not finished yet, and writes the report into `folder`.
///
/// # Errors
/// The file or the settings of a method are wrong, the folder cannot be written, or it was asked to stop.
pub fn run(
    path: &Path,
    folder: &Path,
    manner: Manner,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Compared, Box<dyn Error>> {
    let mut plan = Plan::open(path, folder, manner.matching)?;
    if let Some(scores) = manner.scores {
        plan.scores = scores;
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        format!(
            "{}: cannot make this folder: {error}; choose another with --out",
            folder.display()
        )
    })?;
    if !manner.only_report {
        work::make_logs(&plan, progress, stop)?;
    }
    let mut bench = RunTable::new(&plan)?;
    let scored = scores::read_all(&plan, progress, stop)?;
    if !manner.only_report {
        let jobs = match manner.jobs {
            0 => {
                std::thread::available_parallelism().map_or(1, usize::from)
                    / plan.file.threads as usize
            }
            jobs => jobs,
        };
        let ran = work::run(&mut bench, jobs.max(1), progress, stop);
        if ran.is_err() {
            // What is finished is worth a look, and the reason is told below.
            write(&mut bench, &scored)?;
        }
        ran?;
    }
    let comparison = write(&mut bench, &scored)?;
    let failed = bench.failed.iter();
    let failed = failed.map(|(folder, why)| format!("{}: {why}", folder.display()));
    Ok(Compared {
        comparison,
        failed: failed.collect(),
    })
}

/// Writes the report of what is finished.
fn write(bench: &mut RunTable<'_>, scored: &Scored) -> Result<Comparison, Box<dyn Error>> {
    let folder = bench.plan.folder.clone();
    let comparison = Comparison::of(gather::gather(bench, scored)?);
    let mut json = serde_json::to_string_pretty(&comparison)?;
    json.push('\n');
    // Comparisons that share a folder and end at once have the same drafts: one writes after the other.
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
