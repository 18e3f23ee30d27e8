//! Values erased from models and from everything that was written beside them: tables, optimizer moments, vocabularies,
//! past counts, self-tests, id caches, checkpoints, score logs, reports.
//!
//! First everything is searched, then erased, models last: they say which rows of the other files are those of the
//! values. So the same command completes one that was interrupted. At the end everything is searched again.

mod files;
mod model;
mod places;
mod texts;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ncs_features::IdSpace;
use ncs_features::canonical::canonical_text;
use serde::Serialize;

use crate::error::Error;
use crate::run_folder;
use crate::scoring::{LoadedModel, model_folder};
use crate::stop;
use places::{Place, walk};
use values::KnownValues;

pub use files::Action;

/// What to erase, and where.
#[derive(Clone, Debug)]
pub struct ForgetPlan {
    /// A model: its folder, a run's folder, or the link that `ncs promote` moves.
    pub model: PathBuf,
    /// The column (or feature) whose values are erased.
    pub column: String,
    /// The values, as texts.
    pub values: Vec<String>,
    /// Further folders: runs, models, id caches, score logs.
    pub also: Vec<PathBuf>,
    /// Search only.
    pub dry_run: bool,
}

/// A file or folder that held values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Its kind, such as `model` or `score log`.
    pub kind: &'static str,
    /// What of it held them: `1 table row, 1 vocabulary entry`.
    pub what: String,
    /// What was (or, of a search only, would be) done to it.
    pub action: Action,
}

/// Rows of a hashed table that other values may share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedRows {
    /// The table.
    pub table: String,
    /// Rows that were reset.
    pub rows: usize,
    /// Other values that share such a row, on average, if values spread evenly: `-ln(1 - rows in use / buckets)`.
    pub others: f64,
}

/// Result of an erasure; its JSON is what `ncs forget --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forgotten {
    /// The column.
    pub column: String,
    /// The number of different values.
    pub values: usize,
    /// True if nothing was changed.
    pub dry_run: bool,
    /// Every file and folder that held a value.
    pub found: Vec<Found>,
    /// Those that still hold one, with the reason.
    pub left: Vec<Found>,
    /// Files that cannot be searched, with the reason.
    pub unsearched: Vec<String>,
    /// Files that were searched.
    pub searched: usize,
    /// Hashed tables whose erased rows other values may share.
    pub shared: Vec<SharedRows>,
}

impl Forgotten {
    /// Returns true if the search found nothing and could look at everything.
    pub fn is_complete(&self) -> bool {
        !self.dry_run && self.left.is_empty() && self.unsearched.is_empty()
    }
}

/// Reads values from the lines of a file.
///
/// # Errors
/// The file cannot be read as text, or has no value.
pub fn read_values(path: &Path) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(path).map_err(|error| {
        format!(
            "{}: {error}; it holds the values to erase, one a line",
            path.display()
        )
    })?;
    let values: BTreeSet<String> = text
        .lines()
        .filter(|line| !canonical_text(line).is_empty())
        .map(|line| line.trim_end_matches('\r').to_owned())
        .collect();
    if values.is_empty() {
        return Err(format!("{}: holds no value; write one a line", path.display()).into());
    }
    Ok(values.into_iter().collect())
}

/// Erases values; `note` is called after each file and folder. Interrupted at any point, it can be run again.
///
/// # Errors
/// The model cannot be read or has no ids of this column, a process works in a run's folder, a file cannot be written, or
/// `stop` was set.
pub fn forget(
    plan: &ForgetPlan,
    note: &mut dyn FnMut(String),
    stop: &AtomicBool,
) -> Result<Forgotten, Error> {
    let loaded = LoadedModel::open(&plan.model)?;
    let roots = roots(plan)?;
    let mut known = KnownValues::new(loaded.schema(), &plan.column, &plan.values)?;
    let places = walk(&roots)?;
    refuse_held(&places)?;
    let mut search = Search::default();
    search.look(&places, &mut known, false, stop)?;
    let mut forgotten = Forgotten {
        column: plan.column.clone(),
        values: known.main().len(),
        dry_run: plan.dry_run,
        shared: shared_rows(&loaded, &known),
        searched: search.n_files,
        unsearched: search.unsearched,
        found: search
            .found
            .iter()
            .map(|(_, found)| found.clone())
            .collect(),
        left: Vec::new(),
    };
    if plan.dry_run {
        return Ok(forgotten);
    }
    for (place, found) in &search.found {
        stop::refuse(stop, "run the same command again to erase the rest")?;
        files::erase(place, found, &mut known)?;
        note(format!("{}: {}", found.path.display(), found.action.past()));
    }
    let mut again = Search::default();
    again.look(&walk(&roots)?, &mut known, true, stop)?;
    forgotten.left = again.found.into_iter().map(|(_, found)| found).collect();
    forgotten.unsearched = again.unsearched;
    Ok(forgotten)
}

/// Returns the folders to search, none within another.
fn roots(plan: &ForgetPlan) -> Result<Vec<PathBuf>, Error> {
    let real = |path: &Path| {
        fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let folder = real(&model_folder(&plan.model))?;
    let above = folder.parent().unwrap_or(&folder);
    // What `ncs promote` keeps beside the live version.
    let has_versions = above.extension().is_some_and(|end| end == "versions");
    let own = if has_versions || above.join("run.id").is_file() {
        above.to_owned()
    } else {
        folder
    };
    let mut roots = vec![own];
    for path in &plan.also {
        roots.push(real(path)?);
    }
    let all = roots.clone();
    let within = |root: &PathBuf| {
        all.iter()
            .any(|other| root != other && root.starts_with(other))
    };
    roots.retain(|root| !within(root));
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Refuses to change the folder of a run that a process works in.
fn refuse_held(places: &[Place]) -> Result<(), Error> {
    let runs: BTreeSet<&PathBuf> = places
        .iter()
        .filter_map(|place| place.run.as_ref())
        .collect();
    match runs.into_iter().find(|run| run_folder::is_held(run)) {
        None => Ok(()),
        Some(run) => Err(format!(
            "{}: a process works in this folder; wait until it has ended, or stop it, and run this again",
            run.display()
        )
        .into()),
    }
}

/// What a search found.
#[derive(Default)]
struct Search {
    /// In the order in which they are erased.
    found: Vec<(Place, Found)>,
    unsearched: Vec<String>,
    n_files: usize,
}

impl Search {
    /// Looks at every place; `thoroughly`: also for the values' bytes in files of which the contents are known.
    fn look(
        &mut self,
        places: &[Place],
        known: &mut KnownValues,
        thoroughly: bool,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        for place in places {
            stop::refuse(stop, "run the same command again to erase the rest")?;
            self.n_files += place.files.len();
            match files::look(place, known, thoroughly) {
                Ok(found) => self.found.extend(found.map(|found| (place.clone(), found))),
                Err(error) => self.unsearched.push(error.to_string()),
            }
        }
        self.found.sort_by_key(|(place, _)| place.kind);
        Ok(())
    }
}

/// Counts the values that may share rows with the erased ones.
fn shared_rows(loaded: &LoadedModel, known: &KnownValues) -> Vec<SharedRows> {
    let artifact = &loaded.artifact;
    let of_table = |(table, ids): (usize, &BTreeSet<u32>)| {
        let about = &artifact.schema.tables[table];
        let IdSpace::Hash { buckets, .. } = about.ids else {
            return None;
        };
        let sets = artifact.weight_sets.iter();
        let in_use = sets.map(|set| set.weights.tables[table].ids.len()).max()?;
        let free = 1.0 - in_use as f64 / (f64::from(buckets) + 2.0);
        Some(SharedRows {
            table: about.name.clone(),
            rows: ids.len(),
            others: -free.ln(),
        })
    };
    known.main().tables().filter_map(of_table).collect()
}
