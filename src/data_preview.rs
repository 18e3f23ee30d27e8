//! What the first rows show: for `ncs check`, before anything is trained.

use std::ops::ControlFlow;
use std::path::PathBuf;

use indexmap::IndexMap;
use ncs_eval::PartColumns;
use ncs_features::labels::{labels, truths};
use ncs_features::{Block, Encoder, Fit, FitError, IdSpacePlan, Schema, SchemaPlan, TablePlan};
use ncs_readers::split::{Part, SplitError};
use ncs_readers::{
    BrokenRow, DataPlan, LatestError, ReadError, Resolved, RowsBlock, Split, columns_of, files,
    first_rows, resolve,
};
use serde::Serialize;

pub(crate) use column::ColumnLook;
pub(crate) use tasks::TaskLook;

use crate::memory;
use crate::progress::{Progress, grouped};
use crate::run_file::{RunFile, RunPlan};
use column::Sight;
use tasks::{labels_of, tasks, unclicked, ungrouped};

mod column;
mod coverage;
mod doubts;
mod gathered;
mod leak;
mod list_texts;
mod parts;
mod rehearsal;
mod tasks;

/// The files of a run and what its first training rows hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FirstLook {
    /// The files of each part.
    pub(crate) files: Vec<FilesLook>,
    /// Rows that were read and can be used.
    pub(crate) rows: u64,
    /// Whether the training files hold no others.
    pub(crate) all_rows: bool,
    /// Rows that cannot be used.
    pub(crate) broken_rows: u64,
    /// How the split divides the rows that were read.
    pub(crate) parts: IndexMap<&'static str, u64>,
    /// The features.
    pub(crate) columns: Vec<ColumnLook>,
    /// The columns of each part, against the first training rows.
    pub(crate) coverage: Vec<PartColumns>,
    /// The tasks.
    pub(crate) tasks: Vec<TaskLook>,
    /// Bytes of the tables and their moments, were every row of them seen.
    pub(crate) table_bytes: u64,
    /// Bytes that a training takes at least.
    pub(crate) training_bytes: u64,
    /// Vocabularies that do not count in `table_bytes`: the rows decide how large they are.
    pub(crate) open_tables: Vec<String>,
    /// What is worth a second look.
    pub(crate) warnings: Vec<String>,
    /// What is worth knowing, such as files without rows.
    pub(crate) notes: Vec<String>,
    /// Why training would refuse the data, though every row can be read: all rows were looked at.
    #[serde(skip)]
    pub(crate) refusal: Option<String>,
    /// Whether every row of every part was read, as training reads it before its first step.
    #[serde(skip)]
    pub(crate) rehearsed: bool,
    /// For each feature, whether it differs between training rows, where every row was read.
    #[serde(skip)]
    pub(crate) varies: Vec<bool>,
    /// What was looked at: `the first 10,000 rows of train`.
    #[serde(skip)]
    pub(crate) seen: Vec<String>,
}

/// The files of a part.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FilesLook {
    /// `train`, `valid` or `test`.
    pub(crate) part: &'static str,
    /// How many there are.
    pub(crate) files: usize,
    /// Their size together, on disk.
    pub(crate) bytes: u64,
}

/// Reads the first rows of the training files, fits and encodes them; and where `which` says so, does with
/// every row what training does before its first step.
///
/// # Errors
/// A file cannot be read, or a row cannot be used where none may be broken; it names file and row. Or what
/// training would refuse.
pub(crate) fn look(
    file: &RunFile,
    which: Which,
    progress: Progress,
) -> Result<FirstLook, Box<dyn std::error::Error>> {
    let (file, notes) = divided(file)?;
    let (file, plan) = (&file, &file.plan);
    let n_rows = which.rows.unwrap_or(ROWS);
    let (data, schema) = (&plan.data, &plan.schema);
    let columns = columns_of(data, schema);
    let first = first_rows(data, &columns, n_rows)?;
    let all_rows = first.are_all;
    let mut rows = Usable::new(data.reading.max_broken_share > 0.0, first.blocks);
    let fitted = sift(plan, Some(&data.split), &mut rows)?;
    let mut look = FirstLook {
        files: files_of(data)?,
        rows: rows.n_rows(),
        all_rows,
        broken_rows: rows.n_broken,
        parts: parts(data, &rows)?,
        columns: Vec::new(),
        coverage: Vec::new(),
        table_bytes: memory::needed(plan, None),
        training_bytes: memory::least(plan),
        notes,
        open_tables: open_tables(schema),
        tasks: tasks(&schema.tasks, &rows.blocks)?,
        warnings: rows.warning(),
        refusal: None,
        rehearsed: false,
        varies: Vec::new(),
        seen: vec![seen(rows.n_rows(), all_rows, Part::Train)],
    };
    let (parts, are_whole) = parts::look(plan, n_rows, &rows, &mut look)?;
    let n_bytes: u64 = look.files.iter().map(|files| files.bytes).sum();
    let is_small = which.rows.is_none() && n_bytes <= SMALL_BYTES;
    let fitted = match all_rows && are_whole || is_small || which.all {
        true => {
            let fitted = rehearsal::run(file, progress, &mut look)?;
            look.table_bytes = memory::needed(plan, Some(&fitted));
            look.open_tables.clear();
            Some(fitted)
        }
        false => {
            if let Some(fault) = parts::split_fault(data, &rows, all_rows)? {
                return Err(fault.into());
            }
            rehearsal::forecast(plan, fitted, &mut look)?
        }
    };
    look.warnings
        .extend(unclicked(&schema.tasks, &rows.blocks)?);
    let which = match all_rows {
        true => "on all rows",
        false => "in these rows",
    };
    look.warnings
        .extend(ungrouped(schema.group.as_deref(), &rows.blocks, which));
    let labels = labels_of(&schema.tasks, &rows.blocks)?;
    let sight = Sight {
        plan: schema,
        fitted: fitted.as_ref(),
        labels: &labels,
        varies: look.varies.clone(),
        later: later(data, &rows.blocks)?,
        which,
    };
    look.columns = sight.looks(rows.blocks.iter().map(|rows| &rows.block));
    let advice = look
        .columns
        .iter()
        .filter_map(|column| column.advice.clone());
    look.notes.extend(advice);
    let of_columns = look.columns.iter().flat_map(|column| &column.warnings);
    look.warnings.extend(of_columns.cloned());
    look.warnings.extend(rows.doubts());
    look.coverage = coverage::of_parts(schema, &parts);
    for part in &look.coverage {
        // The first rows show where their own numbers stand far off, and not yet the range of all.
        let is_train = part.part == Part::Train.name();
        let remarks = part.remarks().into_iter();
        let remarks = remarks.filter(|note| note.warning || is_train);
        look.warnings.extend(remarks.map(|note| note.text));
    }
    Ok(look)
}

/// The run file with a split that divides rows, and what is worth knowing of the split.
fn divided(file: &RunFile) -> Result<(RunFile, Vec<String>), LatestError> {
    let mut file = file.clone();
    let data = &mut file.plan.data;
    let found = resolve(data, &mut |_, _| ControlFlow::Continue(()))?;
    let random = matches!(data.split, Split::Hash { .. } | Split::Row { .. });
    let note = found.as_ref().map(Resolved::note);
    let note = note.or_else(|| (random && data.valid.is_empty()).then(|| NO_TIME.to_owned()));
    if let Some(found) = found {
        data.split = found.split;
    }
    Ok((file, note.into_iter().collect()))
}

/// Why validation should be later than training.
const NO_TIME: &str = "validation rows are a random part. Where rows have a time, a time column would serve \
    better (data.split = { by = \"time\", column = ... }): validation then is the latest part of the rows, so that it \
    shows as many new ids as serving will. From a random part, training learns too little about new ids \
    (training.id_dropout) and stops too late.";

fn open_tables(plan: &SchemaPlan) -> Vec<String> {
    let is_open = |table: &&TablePlan| {
        let IdSpacePlan::Vocabulary { max_size, .. } = table.ids else {
            return false;
        };
        max_size.is_none()
    };
    let tables = plan.tables.iter().filter(is_open);
    tables.map(|table| table.name.clone()).collect()
}

/// Which rows are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    /// So many of each part are shown; [`ROWS`] without it.
    pub(crate) rows: Option<usize>,
    /// Every row is read, also where files are large or `rows` are stated.
    pub(crate) all: bool,
}

/// Rows of each part that are shown.
const ROWS: usize = 10_000;

/// Files that are small enough to be read whole without asking: 64 MiB.
const SMALL_BYTES: u64 = 64 << 20;

/// `the first 10,000 rows of train`
fn seen(n_rows: u64, all_rows: bool, part: Part) -> String {
    let which = if all_rows { "all" } else { "the first" };
    format!("{which} {} rows of {}", grouped(n_rows), part.name())
}

/// Leaves out the rows that cannot be fitted to, encoded or split; the schema that the others give, or why
/// they give none.
fn sift(
    plan: &RunPlan,
    split: Option<&Split>,
    rows: &mut Usable,
) -> Result<Result<Schema, FitError>, ReadError> {
    let schema = &plan.schema;
    rows.sift(|block| {
        Fit::new(schema.clone()).observe(block)?;
        labels(&schema.tasks, block)?;
        truths(&schema.tasks, block)?;
        split.map_or(Ok(()), |split| split.parts(block, 0).map(drop))
    })?;
    let fitted = fit(plan, rows)?;
    if let Ok(schema) = &fitted {
        let encoder = Encoder::new(schema.clone().into());
        rows.sift(|block| Ok(encoder.encode(block).map(drop)?))?;
    }
    rows.check_share(plan.data.reading.max_broken_share)?;
    Ok(fitted)
}

/// Rows of which those that cannot be used are left out and counted, or refused.
struct Usable {
    may_be_broken: bool,
    blocks: Vec<RowsBlock>,
    n_broken: u64,
    first_broken: Option<(PathBuf, BrokenRow)>,
}

/// So many broken rows too many are borne until the end, in training as here.
const GRACE_ROWS: f64 = 100.0;

impl Usable {
    fn new(may_be_broken: bool, blocks: Vec<RowsBlock>) -> Usable {
        let of_block = |rows: &RowsBlock| {
            rows.broken
                .first()
                .cloned()
                .map(|row| (rows.file.clone(), row))
        };
        Usable {
            may_be_broken,
            n_broken: blocks.iter().map(|rows| rows.broken.len() as u64).sum(),
            first_broken: blocks.iter().find_map(of_block),
            blocks,
        }
    }

    fn warning(&self) -> Vec<String> {
        let first = self.first_broken.iter();
        let n = self.n_broken;
        first
            .map(|(file, first)| {
                let (file, what) = (file.display(), &first.what);
                format!("{n} rows cannot be used; the first: {file}: {what}")
            })
            .collect()
    }

    /// Rows that could be read but look wrong: the first of them, and how many there are.
    fn doubts(&self) -> Option<String> {
        let notes = self.blocks.iter();
        let mut notes = notes.flat_map(|rows| rows.notes.iter().map(move |note| (rows, note)));
        let (rows, first) = notes.next()?;
        let file = rows.file.display();
        Some(match notes.count() {
            0 => format!("{file}: {first}"),
            more => format!("{file}: {first}; {more} more such rows follow"),
        })
    }

    /// Refuses more broken rows than reading bears before its end.
    fn check_share(&self, most: f64) -> Result<(), ReadError> {
        let rows = self.n_rows() + self.n_broken;
        match (
            self.n_broken as f64 > most * rows as f64 + GRACE_ROWS,
            &self.first_broken,
        ) {
            (true, Some(first)) if most > 0.0 => Err(ReadError::TooManyBroken {
                broken: self.n_broken,
                rows,
                share: most,
                path: first.0.clone(),
                row: first.1.row,
                what: first.1.what.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn n_rows(&self) -> u64 {
        self.blocks
            .iter()
            .map(|rows| rows.block.n_rows as u64)
            .sum()
    }

    /// Leaves out the rows that `check` refuses, one after another.
    fn sift(&mut self, check: impl Fn(&Block) -> Result<(), SplitError>) -> Result<(), ReadError> {
        for rows in &mut self.blocks {
            while let Err(error) = check(&rows.block) {
                let row = row_of(&error).filter(|_| self.may_be_broken);
                let said = rows.split_error(error);
                let Some(row) = row else {
                    return Err(said);
                };
                self.n_broken += 1;
                let broken = leave_out(rows, row, &said);
                self.first_broken.get_or_insert((rows.file.clone(), broken));
            }
        }
        Ok(())
    }
}

/// The row of the block, from 1, that an error is about, if it is about one.
fn row_of(error: &SplitError) -> Option<u64> {
    match error {
        SplitError::NoTime { row, .. } => Some(*row),
        SplitError::Unresolved { .. } => None,
        SplitError::Column(error) => {
            let mut found = None;
            let _ = error.clone().at(|row| *found.insert(row));
            found
        }
    }
}

/// Takes row `row`, from 1, out of the block, so that the numbers of the others stay right.
fn leave_out(rows: &mut RowsBlock, row: u64, error: &ReadError) -> BrokenRow {
    let what = match error {
        ReadError::Row { what, .. } => what.clone(),
        other => other.to_string(),
    };
    let broken = BrokenRow {
        row: rows.in_file(row),
        what,
    };
    let at = rows.broken.partition_point(|other| other.row < broken.row);
    rows.broken.insert(at, broken.clone());
    let kept = (0..rows.block.n_rows).filter(|other| *other as u64 + 1 != row);
    rows.block = rows.block.select(&kept.collect::<Vec<_>>());
    broken
}

/// The schema that these rows would give; all of them, whatever their part.
fn fit(plan: &RunPlan, rows: &Usable) -> Result<Result<Schema, FitError>, ReadError> {
    let mut fit = Fit::new(plan.schema.clone());
    for rows in &rows.blocks {
        fit.observe(&rows.block)
            .map_err(|error| rows.error(error))?;
    }
    Ok(fit.finish())
}

fn parts(data: &DataPlan, rows: &Usable) -> Result<IndexMap<&'static str, u64>, ReadError> {
    let mut counts: IndexMap<_, _> = Part::ALL.map(|part| (part.name(), 0)).into_iter().collect();
    for part in parts_of(data, &rows.blocks)?.into_iter().flatten() {
        *counts.entry(part.name()).or_default() += 1;
    }
    Ok(counts)
}

/// The part of every row, `[block][row]`.
fn parts_of(data: &DataPlan, blocks: &[RowsBlock]) -> Result<Vec<Vec<Part>>, ReadError> {
    let mut first_row = 0;
    let mut of_block = |rows: &RowsBlock| {
        let parts = data.split.parts(&rows.block, first_row);
        first_row += (rows.block.n_rows + rows.broken.len()) as u64;
        parts.map_err(|error| rows.split_error(error))
    };
    blocks.iter().map(&mut of_block).collect()
}

/// Which rows a split by time puts behind those of training.
fn later(data: &DataPlan, blocks: &[RowsBlock]) -> Result<Option<Vec<bool>>, ReadError> {
    if !matches!(data.split, Split::Time { .. }) {
        return Ok(None);
    }
    let parts = parts_of(data, blocks)?.into_iter().flatten();
    Ok(Some(parts.map(|part| part != Part::Train).collect()))
}

fn files_of(data: &DataPlan) -> Result<Vec<FilesLook>, ReadError> {
    let parts = Part::ALL
        .into_iter()
        .zip([&data.train, &data.valid, &data.test]);
    let named = parts.filter(|(_, patterns)| !patterns.is_empty());
    let look = |(part, patterns): (Part, &Vec<String>)| {
        let files = files(patterns, &data.root)?;
        Ok(FilesLook {
            part: part.name(),
            files: files.len(),
            bytes: files.iter().map(n_bytes).sum(),
        })
    };
    named.map(look).collect()
}

/// 0 where the file system does not tell: the size is shown, nothing depends on it.
fn n_bytes(file: &PathBuf) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
