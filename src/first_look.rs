//! What the first rows show: for `ncs check`, before anything is trained.

use std::path::PathBuf;

use indexmap::IndexMap;
use ncs_features::labels::{labels, truths};
use ncs_features::{Block, EncodeError, Encoder, Fit, FitError, Population, Schema, Task};
use ncs_readers::split::Part;
use ncs_readers::{BrokenRow, DataPlan, ReadError, RowsBlock, columns_of, files, first_rows};
use serde::Serialize;

pub(crate) use column::ColumnLook;

use crate::memory;
use crate::progress::grouped;
use crate::run_file::RunPlan;

mod column;
mod parts;

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
    /// The tasks.
    pub(crate) tasks: Vec<TaskLook>,
    /// Bytes of the tables and their moments, were every row of them met.
    pub(crate) table_bytes: u64,
    /// What is worth a second look.
    pub(crate) warnings: Vec<String>,
    /// What is worth knowing, such as files without rows.
    pub(crate) notes: Vec<String>,
    /// Why no run could use the data, though every row can be read: a task and what is wrong with
    /// its label in all rows of a part.
    #[serde(skip)]
    pub(crate) faults: Vec<(String, String)>,
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

/// What the first rows hold of a task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskLook {
    /// The task's name.
    pub(crate) name: String,
    /// Its label's column.
    pub(crate) label: String,
    /// Rows that it is about.
    pub(crate) rows: u64,
    /// Rows of them whose label is known.
    pub(crate) known: u64,
    /// Rows of them whose label is above 0.
    pub(crate) positives: u64,
    /// Positives over known.
    pub(crate) rate: Option<f64>,
    /// The smallest label.
    pub(crate) min: Option<f32>,
    /// The largest label.
    pub(crate) max: Option<f32>,
}

impl TaskLook {
    /// Why nothing can be learned from these labels, if so.
    pub(crate) fn fault(&self) -> Option<String> {
        let TaskLook {
            name, label, known, ..
        } = self;
        match (self.min, self.max) {
            (None, _) => Some(format!(
                "task {name:?}: no row has a known label in column {label:?}; look at the column, \
                 and at where"
            )),
            (Some(least), Some(most)) if least == most => Some(format!(
                "task {name:?}: the label {label:?} is {least} on all {known} rows where it is \
                 known; nothing can be learned from a constant: look at the column, or leave the \
                 task out"
            )),
            _ => None,
        }
    }
}

/// Reads the first `n_rows` rows of the training files, fits and encodes them.
///
/// # Errors
/// A file cannot be read, or a row cannot be used where none may be broken; it names file and row.
pub(crate) fn look(plan: &RunPlan, n_rows: usize) -> Result<FirstLook, Box<dyn std::error::Error>> {
    let (data, schema) = (&plan.data, &plan.schema);
    let columns = columns_of(data, schema);
    let first = first_rows(data, &columns, n_rows)?;
    let all_rows = first.are_all;
    let mut rows = Usable::new(data.reading.max_broken_share > 0.0, first.blocks);
    let unfit = sift(plan, &mut rows)?;
    if let Some(error) = unfit.as_ref().filter(|_| all_rows) {
        return Err(error.clone().into());
    }
    let tasks = tasks(&schema.tasks, &rows.blocks)?;
    let counts = parts(data, &rows)?;
    let columns = column::looks(schema, rows.blocks.iter().map(|rows| &rows.block));
    let mut warnings = rows.warning();
    let unfit = unfit.map(|error| format!("in these rows, {error}"));
    warnings.extend(unfit);
    warnings.extend(rows.doubts());
    warnings.extend(columns.iter().filter_map(ColumnLook::warning));
    let mut look = FirstLook {
        files: files_of(data)?,
        rows: rows.n_rows(),
        all_rows,
        broken_rows: rows.n_broken,
        parts: counts,
        columns,
        table_bytes: memory::needed(plan),
        tasks,
        warnings,
        notes: Vec::new(),
        faults: Vec::new(),
        seen: vec![seen(rows.n_rows(), all_rows, Part::Train)],
    };
    for task in &look.tasks {
        if let Some(fault) = task.fault() {
            match all_rows {
                true => look.faults.push((task.name.clone(), fault)),
                false => look.warnings.push(format!("in these rows, {fault}")),
            }
        }
    }
    if let Some(fault) = parts::split_fault(data, &rows, all_rows)? {
        return Err(fault.into());
    }
    parts::look(plan, n_rows, &rows, &mut look)?;
    Ok(look)
}

/// `the first 10,000 rows of train`
fn seen(n_rows: u64, all_rows: bool, part: Part) -> String {
    let which = if all_rows { "all" } else { "the first" };
    format!("{which} {} rows of {}", grouped(n_rows), part.name())
}

/// Leaves out the rows that cannot be fitted to or encoded; says why, where nothing can be fitted.
fn sift(plan: &RunPlan, rows: &mut Usable) -> Result<Option<FitError>, ReadError> {
    let schema = &plan.schema;
    rows.sift(|block| {
        Fit::new(schema.clone()).observe(block)?;
        labels(&schema.tasks, block)?;
        truths(&schema.tasks, block).map(drop)
    })?;
    match fit(plan, rows)? {
        Err(unfit) => Ok(Some(unfit)),
        Ok(schema) => {
            let encoder = Encoder::new(schema.into());
            rows.sift(|block| encoder.encode(block).map(drop))?;
            Ok(None)
        }
    }
}

/// Rows of which those that cannot be used are left out and counted, or refused.
struct Usable {
    may_be_broken: bool,
    blocks: Vec<RowsBlock>,
    n_broken: u64,
    first_broken: Option<String>,
}

impl Usable {
    fn new(may_be_broken: bool, blocks: Vec<RowsBlock>) -> Usable {
        let broken = || {
            let of_block = |rows: &'_ RowsBlock| {
                let file = rows.file.display().to_string();
                let says = move |broken: &BrokenRow| format!("{file}: {}", broken.what);
                rows.broken.iter().map(says).collect::<Vec<_>>()
            };
            blocks.iter().flat_map(of_block)
        };
        Usable {
            may_be_broken,
            n_broken: broken().count() as u64,
            first_broken: broken().next(),
            blocks,
        }
    }

    fn warning(&self) -> Vec<String> {
        let first = self.first_broken.iter();
        let n = self.n_broken;
        first
            .map(|first| format!("{n} rows cannot be used; the first: {first}"))
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

    fn n_rows(&self) -> u64 {
        self.blocks
            .iter()
            .map(|rows| rows.block.n_rows as u64)
            .sum()
    }

    /// Leaves out the rows that `check` refuses, one after another.
    fn sift(&mut self, check: impl Fn(&Block) -> Result<(), EncodeError>) -> Result<(), ReadError> {
        for rows in &mut self.blocks {
            while let Err(error) = check(&rows.block) {
                let row = row_of(&error).filter(|_| self.may_be_broken);
                let said = rows.error(error);
                let Some(row) = row else {
                    return Err(said);
                };
                self.n_broken += 1;
                self.first_broken.get_or_insert(said.to_string());
                leave_out(rows, row, &said);
            }
        }
        Ok(())
    }
}

/// The row of the block, from 1, that an error is about, if it is about one.
fn row_of(error: &EncodeError) -> Option<u64> {
    let mut found = None;
    let _ = error.clone().at(|row| *found.insert(row));
    found
}

/// Takes row `row`, from 1, out of the block, so that the numbers of the others stay right.
fn leave_out(rows: &mut RowsBlock, row: u64, error: &ReadError) {
    let broken = BrokenRow {
        row: rows.in_file(row),
        what: error.to_string(),
    };
    let at = rows.broken.partition_point(|other| other.row < broken.row);
    rows.broken.insert(at, broken);
    let kept = (0..rows.block.n_rows).filter(|other| *other as u64 + 1 != row);
    rows.block = rows.block.select(&kept.collect::<Vec<_>>());
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

fn tasks(tasks: &[Task], blocks: &[RowsBlock]) -> Result<Vec<TaskLook>, ReadError> {
    let mut looks: Vec<TaskLook> = tasks.iter().map(no_rows).collect();
    for rows in blocks {
        let labels = labels(tasks, &rows.block).map_err(|error| rows.error(error))?;
        for (task, (look, own)) in tasks.iter().zip(looks.iter_mut().zip(&labels)) {
            look.rows += match task.population {
                Population::All => own.len() as u64,
                Population::Where(other) => ones(&labels[other]),
            };
            own.iter()
                .filter(|label| !label.is_nan())
                .for_each(|label| look.add(*label));
        }
    }
    looks.iter_mut().for_each(TaskLook::take_rate);
    Ok(looks)
}

fn ones(labels: &[f32]) -> u64 {
    labels.iter().filter(|label| **label == 1.0).count() as u64
}

fn no_rows(task: &Task) -> TaskLook {
    TaskLook {
        name: task.name.clone(),
        label: task.label.clone(),
        rows: 0,
        known: 0,
        positives: 0,
        rate: None,
        min: None,
        max: None,
    }
}

impl TaskLook {
    fn add(&mut self, label: f32) {
        self.known += 1;
        self.positives += u64::from(label > 0.0);
        self.min = Some(self.min.map_or(label, |least| least.min(label)));
        self.max = Some(self.max.map_or(label, |most| most.max(label)));
    }

    fn take_rate(&mut self) {
        self.rate = (self.known > 0).then(|| self.positives as f64 / self.known as f64);
    }
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
