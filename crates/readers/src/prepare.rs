//! Raw rows to cached ids: one pass to fit the schema, where something needs fitting, and one to
//! encode. A data set that is in the cache already is not read again.

mod again;
mod filter;
mod key;
mod late;
mod passes;
mod past;
mod sampling;
mod tally;
mod variation;
mod writers;

use crate::cache::{Cache, CacheError, Folder};
use crate::find::files;
use crate::plan::{DataPlan, Split};
use crate::remote::is_remote;
use crate::rows::{FileState, Rows, RowsBlock};
use crate::source::ReadError;
use crate::split::{LatestError, Part};
use ncs_features::{Field, FitError, Schema, SchemaPlan, Task};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::report::{FileReport, PartReport, Report};
pub use again::rows_of_part;

/// A data set as ids in the cache.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The fitted schema.
    pub schema: Arc<Schema>,
    /// Report on the rows that were read.
    pub report: Report,
    /// The training part.
    pub train: Cache,
    /// The validation part; `None` where it has no rows.
    pub valid: Option<Cache>,
    /// The test part; `None` where it has no rows.
    pub test: Option<Cache>,
    /// The key of the data set in the cache.
    pub key: [u8; 32],
    /// True if it was in the cache already.
    pub was_cached: bool,
}

/// Progress of a pass over the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The pass.
    pub stage: Stage,
    /// Rows that were read so far.
    pub rows: u64,
    /// Bytes on disk that were read so far.
    pub bytes: u64,
    /// Bytes on disk of all files of the pass.
    pub total_bytes: u64,
}

/// A pass over the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Search for the beginning of the latest shares of the rows; only if the split is by shares of time.
    Times,
    /// Vocabularies and scales are learned from the training rows.
    Fit,
    /// Counts and rates of the past are gathered from the training rows; only where some are features.
    Past,
    /// Rows become ids.
    Encode,
}

/// Data that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file, or too many of its rows, cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The training rows do not suffice.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The cache cannot be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The plan names no training file.
    #[error("no training files: `train` is empty; name files, globs or folders")]
    NoTrainingFiles,
    /// One file under two keys: its rows would be used for both training and evaluation.
    #[error(
        "{}: the file is named by `{first}` and by `{second}`; name it in one of them, or have \
         `split` divide it", path.display()
    )]
    FileInTwoParts {
        /// The file, without symbolic links.
        path: PathBuf,
        /// The key that names it first.
        first: &'static str,
        /// The other key.
        second: &'static str,
    },
    /// The caller asked to stop.
    #[error(
        "stopped before all rows were in the id cache; nothing is lost: run the same command again, \
         and the rows are read from the first one"
    )]
    Stopped,
    /// The split leaves a part with no rows, or nearly none.
    #[error("{0}")]
    Split(String),
    /// The training files left nothing to learn from.
    #[error(
        "none of the {rows} rows of the training files is in the training part; look at the split: \
         its shares, its column, its times"
    )]
    NoTrainingRows {
        /// The rows of the files.
        rows: u64,
    },
}

/// Reads, fits, splits and encodes the files of `plan` into its cache if it does not hold them. The key of a
/// data set depends on its files (paths, sizes and modification times), the settings for reading and
/// splitting, and `schema`. `on` receives the progress after every block of about 8192 rows; its `Break` ends
/// the work with [`PrepareError::Stopped`].
///
/// Rows that cannot be read or encoded are left out and counted, up to
/// [`max_broken_share`](crate::plan::Reading::max_broken_share). The result does not depend on the speed of
/// the threads that read and encode.
///
/// # Errors
/// See [`PrepareError`]. Nothing is left in the cache.
pub fn prepare(
    plan: &DataPlan,
    schema: &SchemaPlan,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, PrepareError> {
    let files = PlanFiles::find(plan)?;
    let key = key::key(plan, schema, &files)?;
    let what = passes::What {
        schema,
        base: None,
        files: &files,
    };
    cached(plan, what, key, on)
}

/// Returns the content of the cache for `key`, and creates it if it is missing.
fn cached(
    plan: &DataPlan,
    what: passes::What<'_>,
    key: [u8; 32],
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, PrepareError> {
    let folder = Folder::new(&plan.cache, key);
    if let Some(record) = folder.record()? {
        return opened(&folder, record, key, true);
    }
    let states = what.files.states()?;
    let record = passes::run(plan, what, &folder, &states, on)?;
    opened(&folder, record, key, false)
}

/// Prepares the same data set with its validation rows among the training rows, for training on all of them.
/// `base` is the result of [`prepare`] for the same plan, or of [`prepare_from`] with the schema `earlier`. Values that only validation rows hold are appended
/// to the vocabularies; every other id and every number is the same as in `base`. The test rows are encoded
/// again.
///
/// # Errors
/// The same as [`prepare`].
pub fn prepare_all(
    plan: &DataPlan,
    schema: &SchemaPlan,
    base: &Prepared,
    earlier: Option<&Schema>,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, PrepareError> {
    let files = PlanFiles::find(plan)?;
    let mut key = blake3::Hasher::new();
    key.update(b"training and validation rows")
        .update(&base.key);
    let key = *key.finalize().as_bytes();
    let base = passes::Base {
        schema: &base.schema,
        joins_validation: true,
        earlier,
    };
    let what = passes::What {
        schema,
        base: Some(base),
        files: &files,
    };
    cached(plan, what, key, on)
}

/// Prepares `plan` for training that continues from a model of the schema `earlier`: its vocabularies are
/// extended by the values of the training rows, and all ids, scales and knots are unchanged. The caller has
/// checked that the plan fits ([`ncs_features::continued::misfits`]).
///
/// # Errors
/// The same as [`prepare`].
pub fn prepare_from(
    plan: &DataPlan,
    schema: &SchemaPlan,
    earlier: &Schema,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, PrepareError> {
    let files = PlanFiles::find(plan)?;
    let json = serde_json::to_vec(earlier).expect("a schema is plain data");
    let mut key = blake3::Hasher::new();
    key.update(b"extended schema")
        .update(&key::key(plan, schema, &files)?)
        .update(blake3::hash(&json).as_bytes());
    let key = *key.finalize().as_bytes();
    let base = passes::Base {
        schema: earlier,
        joins_validation: false,
        earlier: Some(earlier),
    };
    let what = passes::What {
        schema,
        base: Some(base),
        files: &files,
    };
    cached(plan, what, key, on)
}

impl From<LatestError> for PrepareError {
    fn from(error: LatestError) -> PrepareError {
        match error {
            LatestError::Read(error) => PrepareError::Read(error),
            LatestError::NoBoundary(what) => PrepareError::Split(what),
            LatestError::Stopped => PrepareError::Stopped,
        }
    }
}

/// Finds the files of a plan.
///
/// # Errors
/// There is no file for training, or a file is in two parts; see [`PrepareError`].
pub fn check_files(plan: &DataPlan) -> Result<(), PrepareError> {
    PlanFiles::find(plan).map(drop)
}

/// Finds what [`prepare`] would give (or [`prepare_from`], with an earlier schema), without anything written: it fails
/// exactly where that would fail, but for the disk.
///
/// # Errors
/// See [`PrepareError`].
pub fn rehearse(
    plan: &DataPlan,
    schema: &SchemaPlan,
    earlier: Option<&Schema>,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Schema, Report), PrepareError> {
    let files = PlanFiles::find(plan)?;
    let base = earlier.map(|schema| passes::Base {
        schema,
        joins_validation: false,
        earlier: Some(schema),
    });
    let record = passes::rehearse(plan, schema, base, &files, on)?;
    Ok((record.schema, record.report))
}

fn opened(
    folder: &Folder,
    record: crate::cache::Record,
    key: [u8; 32],
    was_cached: bool,
) -> Result<Prepared, PrepareError> {
    let part = |part| {
        let has_rows = record.report.parts.iter().any(|report| report.part == part);
        has_rows.then(|| folder.part(part)).transpose()
    };
    Ok(Prepared {
        train: folder.part(Part::Train)?,
        valid: part(Part::Valid)?,
        test: part(Part::Test)?,
        schema: Arc::new(record.schema),
        report: record.report,
        key,
        was_cached,
    })
}

/// The files of a plan, part by part: training, validation, test.
struct PlanFiles {
    parts: [Vec<PathBuf>; 3],
    /// Files of features by id.
    lookups: Vec<PathBuf>,
}

impl PlanFiles {
    fn find(plan: &DataPlan) -> Result<PlanFiles, PrepareError> {
        let parts = [
            files(&plan.train, &plan.root)?,
            files(&plan.valid, &plan.root)?,
            files(&plan.test, &plan.root)?,
        ];
        if parts[0].is_empty() {
            return Err(PrepareError::NoTrainingFiles);
        }
        let mut lookups = Vec::new();
        for lookup in &plan.reading.lookups {
            lookups.extend(lookup.paths()?);
        }
        let files = PlanFiles { parts, lookups };
        files.refuse_a_file_in_two_parts()?;
        Ok(files)
    }

    fn refuse_a_file_in_two_parts(&self) -> Result<(), PrepareError> {
        let mut seen: HashMap<PathBuf, Part> = HashMap::new();
        for (part, file) in self.iter() {
            let look = ReadError::io(file, "look at the file");
            let path = match is_remote(file) {
                true => file.clone(),
                false => std::fs::canonicalize(file).map_err(look)?,
            };
            let first = *seen.entry(path.clone()).or_insert(part);
            if first != part {
                return Err(PrepareError::FileInTwoParts {
                    path,
                    first: first.name(),
                    second: part.name(),
                });
            }
        }
        Ok(())
    }

    /// Returns the current state of the files.
    fn states(&self) -> Result<Vec<FileState>, ReadError> {
        self.all().map(|file| FileState::of(file)).collect()
    }

    /// Refuses files that are not as they were.
    fn refuse_changed(&self, states: &[FileState]) -> Result<(), ReadError> {
        let mut files = self.all().zip(states);
        files.try_for_each(|(file, state)| state.check(file))
    }

    /// Returns all files of rows and of features by id.
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.iter().map(|(_, file)| file).chain(&self.lookups)
    }

    /// Returns all files with the parts under which the plan lists them.
    fn iter(&self) -> impl Iterator<Item = (Part, &PathBuf)> {
        let parts = Part::ALL.into_iter().zip(&self.parts);
        parts.flat_map(|(part, files)| files.iter().map(move |file| (part, file)))
    }
}

/// Returns the columns of the log that a run reads, each once: those of the features, the labels, the true
/// probabilities, the group and the split.
pub fn columns_of(plan: &DataPlan, schema: &SchemaPlan) -> Vec<String> {
    let mut columns = columns_read(&schema.fields, &schema.tasks, schema.group.as_ref());
    columns.extend(plan.split.column().map(str::to_owned));
    without_repeats(columns)
}

/// Returns the columns of features, labels, true probabilities and the group, each once.
pub(crate) fn columns_read(
    fields: &[Field],
    tasks: &[Task],
    group: Option<&String>,
) -> Vec<String> {
    let fields = fields.iter().flat_map(Field::columns);
    let labels = tasks.iter().map(|task| &task.label);
    let truths = tasks.iter().filter_map(|task| task.truth.as_ref());
    let rules = tasks.iter().flat_map(|task| task.row_rules.columns());
    without_repeats(
        fields
            .chain(labels)
            .chain(truths)
            .chain(rules)
            .chain(group)
            .cloned()
            .collect(),
    )
}

fn without_repeats(mut names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The first rows of the training files.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstRows {
    /// Block by block.
    pub blocks: Vec<RowsBlock>,
    /// True if the files hold no other rows.
    pub are_all: bool,
    /// Notes about what was read.
    pub notes: Vec<String>,
}

/// Memory limit of [`first_rows`], which may be exceeded by one block.
const FIRST_ROWS_BYTES: usize = 32 << 20;

/// Reads the first `n` rows of the training files, for a preview before a run; fewer if the rows are wide or
/// the files hold fewer. Files without rows are skipped.
///
/// # Errors
/// There is no such file, one cannot be read or lacks a column, or rows are broken.
pub fn first_rows(plan: &DataPlan, columns: &[String], n: usize) -> Result<FirstRows, ReadError> {
    let files = files(&plan.train, &plan.root)?;
    let mut source = Rows::open(files, &plan.reading, columns.to_vec());
    let mut blocks: Vec<RowsBlock> = Vec::new();
    let (mut left, mut n_bytes) = (n, 0);
    let mut are_all = true;
    while let Some(mut rows) = source.next_block()? {
        if left == 0 || n_bytes >= FIRST_ROWS_BYTES {
            are_all = false;
            break;
        }
        let is_cut = rows.block.n_rows > left;
        if is_cut {
            rows.block = rows.block.select(&(0..left).collect::<Vec<_>>());
        }
        left -= rows.block.n_rows;
        n_bytes += rows.block.n_bytes();
        blocks.push(rows);
        if is_cut {
            are_all = false;
            break;
        }
    }
    Ok(FirstRows {
        blocks,
        are_all,
        notes: source.looked_up(),
    })
}

/// Returns the split for training files; `None` for other files, which keep their part.
pub(crate) fn split_of(part: Part, split: &Split) -> Option<&Split> {
    (part == Part::Train).then_some(split)
}
