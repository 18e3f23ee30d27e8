//! Preview of the data from its first rows, for `ncs check`, before training.

use std::ops::ControlFlow;
use std::path::PathBuf;

use indexmap::IndexMap;
use ncs_config::{RunFile, RunPlan};
use ncs_eval::PartColumns;
use ncs_features::{IdSpacePlan, Schema, SchemaPlan, TablePlan};
use ncs_readers::split::Part;
use ncs_readers::{
    DataPlan, LatestError, ReadError, Resolved, RowsBlock, Split, columns_of, files, first_rows,
    resolve,
};
use serde::Serialize;

pub(crate) use column::ColumnLook;
pub(crate) use tasks::TaskLook;

use crate::error::Error;
use crate::memory;
use crate::progress::{Progress, grouped};
use column::FeaturePreview;
use tasks::{labels_of, tasks, unclicked, ungrouped};
use usable::{Usable, filter};

mod column;
mod coverage;
mod doubts;
mod gathered;
mod leak;
mod list_texts;
mod parts;
mod rehearsal;
mod tasks;
mod usable;

/// Files of a run and the contents of its first training rows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DataPreview {
    /// Files of each part.
    pub(crate) files: Vec<FilesLook>,
    /// Number of usable rows that were read.
    pub(crate) rows: u64,
    /// True if the training files have no further rows.
    pub(crate) all_rows: bool,
    /// Number of rows that cannot be used.
    pub(crate) broken_rows: u64,
    /// Number of read rows in each part of the split.
    pub(crate) parts: IndexMap<&'static str, u64>,
    /// Features.
    pub(crate) columns: Vec<ColumnLook>,
    /// Column values of each part, compared with the first training rows.
    pub(crate) coverage: Vec<PartColumns>,
    /// Tasks.
    pub(crate) tasks: Vec<TaskLook>,
    /// Bytes of memory of the tables and their moments if all their rows are used; in files, of what finds a row.
    pub(crate) table_bytes: u64,
    /// Bytes of the disk of tables in files, with their moments and kept copies, if all rows are used.
    pub(crate) table_disk_bytes: u64,
    /// Lower bound of the bytes of a training.
    pub(crate) training_bytes: u64,
    /// Vocabularies without a size limit, which are not counted in `table_bytes`.
    pub(crate) open_tables: Vec<String>,
    /// Warnings.
    pub(crate) warnings: Vec<String>,
    /// Notes, such as files without rows.
    pub(crate) notes: Vec<String>,
    /// Reason why training would reject the data although every row can be read; needs all rows.
    #[serde(skip)]
    pub(crate) refusal: Option<String>,
    /// True if every row of every part was read, as training reads it before its first step.
    #[serde(skip)]
    pub(crate) rehearsed: bool,
    /// For each feature, true if it varies between training rows; empty unless every row was read.
    #[serde(skip)]
    pub(crate) varies: Vec<bool>,
    /// Descriptions of the previewed rows: `the first 10,000 rows of train`.
    #[serde(skip)]
    pub(crate) seen: Vec<String>,
}

/// The files of a part.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FilesLook {
    /// `train`, `valid` or `test`.
    pub(crate) part: &'static str,
    /// Number of files.
    pub(crate) files: usize,
    /// Total size on disk in bytes.
    pub(crate) bytes: u64,
}

/// Reads the first rows of the training files, fits and encodes them. If `which` or the size of the files
/// requests it, also processes every row as training does before its first step.
///
/// Fails if a file cannot be read, if a row cannot be used although none may be broken (the error names file
/// and row), or for any reason for which training would reject the data.
pub(crate) fn look(file: &RunFile, which: Which, progress: Progress) -> Result<DataPreview, Error> {
    let (file, mut notes) = with_resolved_split(file)?;
    let (file, plan) = (&file, &file.plan);
    let n_rows = which.rows.unwrap_or(ROWS);
    let (data, schema) = (&plan.data, &plan.schema);
    let columns = columns_of(data, schema);
    let first = first_rows(data, &columns, n_rows)?;
    let all_rows = first.are_all;
    notes.extend(first.notes);
    let mut rows = Usable::new(data.reading.max_broken_share > 0.0, first.blocks);
    let fitted = filter(plan, Some(&data.split), &mut rows)?;
    let mut look = DataPreview {
        files: files_of(data)?,
        rows: rows.n_rows(),
        all_rows,
        broken_rows: rows.n_broken,
        parts: parts(data, &rows)?,
        columns: Vec::new(),
        coverage: Vec::new(),
        table_bytes: memory::needed(plan, None).memory,
        table_disk_bytes: memory::needed(plan, None).disk,
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
    let fitted = if all_rows && are_whole || is_small || which.all {
        let fitted = rehearsal::run(file, progress, &mut look)?;
        let bytes = memory::needed(plan, Some(&fitted));
        (look.table_bytes, look.table_disk_bytes) = (bytes.memory, bytes.disk);
        look.open_tables.clear();
        Some(fitted)
    } else {
        if let Some(fault) = parts::split_fault(data, &rows, all_rows)? {
            return Err(fault.into());
        }
        rehearsal::forecast(plan, fitted, &mut look)?
    };
    describe_columns(plan, fitted.as_ref(), &rows, &mut look)?;
    look.warnings.extend(rows.doubts());
    let too_large = memory::disk::warning_of_stated(plan, look.table_disk_bytes);
    look.warnings.extend(too_large);
    describe_coverage(schema, &parts, &mut look);
    Ok(look)
}

/// Adds what is known of the columns in the first training rows, with its warnings and notes.
fn describe_columns(
    plan: &RunPlan,
    fitted: Option<&Schema>,
    rows: &Usable,
    look: &mut DataPreview,
) -> Result<(), Error> {
    let (data, schema) = (&plan.data, &plan.schema);
    let which = if look.all_rows {
        "on all rows"
    } else {
        "in these rows"
    };
    look.warnings
        .extend(unclicked(&schema.tasks, &rows.blocks)?);
    look.warnings
        .extend(ungrouped(schema.group.as_deref(), &rows.blocks, which));
    let labels = labels_of(&schema.tasks, &rows.blocks)?;
    let preview = FeaturePreview {
        plan: schema,
        fitted,
        labels: &labels,
        varies: look.varies.clone(),
        later: later(data, &rows.blocks)?,
        which,
    };
    look.columns = preview.previews(rows.blocks.iter().map(|rows| &rows.block));
    for column in &look.columns {
        look.notes.extend(column.advice.clone());
        look.warnings.extend(column.warnings.iter().cloned());
    }
    Ok(())
}

/// Adds how the columns of each part differ from those of the first training rows, with warnings.
fn describe_coverage(schema: &SchemaPlan, parts: &parts::PartRows, look: &mut DataPreview) {
    look.coverage = coverage::of_parts(schema, parts);
    for part in &look.coverage {
        // The first training rows are reported only if numbers are far outside their own range: they do not
        // have the range of all rows.
        let is_train = part.part == Part::Train.name();
        let remarks = part.remarks().into_iter();
        let remarks = remarks.filter(|note| note.warning || is_train);
        look.warnings.extend(remarks.map(|note| note.text));
    }
}

/// Returns the run file with a resolved split, and notes on the split.
fn with_resolved_split(file: &RunFile) -> Result<(RunFile, Vec<String>), LatestError> {
    let mut file = file.clone();
    let data = &mut file.plan.data;
    let resolved = resolve(data, &mut |_, _| ControlFlow::Continue(()))?;
    let random = matches!(data.split, Split::Hash { .. } | Split::Row { .. });
    let note = resolved.as_ref().map(Resolved::note);
    let note = note.or_else(|| (random && data.valid.is_empty()).then(|| NO_TIME.to_owned()));
    if let Some(resolved) = resolved {
        data.split = resolved.split;
    }
    Ok((file, note.into_iter().collect()))
}

/// Note on a random validation split.
const NO_TIME: &str = "validation rows are a random part. If rows have a time, a time column is better \
    (data.split = { by = \"time\", column = ... }): validation is then the latest part of the rows, with as many \
    new ids as in serving. With a random part, training learns too little about new ids (training.id_dropout) \
    and stops too late.";

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

/// Rows to preview.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    /// Number of rows of each part to preview; default: [`ROWS`].
    pub(crate) rows: Option<usize>,
    /// True to read every row, even if files are large or `rows` is set.
    pub(crate) all: bool,
}

/// Default number of rows of each part to preview.
const ROWS: usize = 10_000;

/// Maximum total size of files that are read completely by default: 64 MiB.
const SMALL_BYTES: u64 = 64 << 20;

/// Describes rows: `the first 10,000 rows of train`.
fn seen(n_rows: u64, all_rows: bool, part: Part) -> String {
    let which = if all_rows { "all" } else { "the first" };
    format!("{which} {} rows of {}", grouped(n_rows), part.name())
}

fn parts(data: &DataPlan, rows: &Usable) -> Result<IndexMap<&'static str, u64>, ReadError> {
    let mut counts: IndexMap<_, _> = Part::ALL.map(|part| (part.name(), 0)).into_iter().collect();
    for part in parts_of(data, &rows.blocks)?.into_iter().flatten() {
        *counts.entry(part.name()).or_default() += 1;
    }
    Ok(counts)
}

/// Returns the part of every row, `[block][row]`.
fn parts_of(data: &DataPlan, blocks: &[RowsBlock]) -> Result<Vec<Vec<Part>>, ReadError> {
    let mut first_row = 0;
    let mut of_block = |rows: &RowsBlock| {
        let parts = data.split.parts(&rows.block, first_row);
        first_row += (rows.block.n_rows + rows.broken.len()) as u64;
        parts.map_err(|error| rows.split_error(error))
    };
    blocks.iter().map(&mut of_block).collect()
}

/// Returns, for each row, true if a split by time puts it after the training rows; `None` for other splits.
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
    let files_of_part = |(part, patterns): (Part, &Vec<String>)| {
        let files = files(patterns, &data.root)?;
        Ok(FilesLook {
            part: part.name(),
            files: files.len(),
            bytes: files.iter().map(n_bytes).sum(),
        })
    };
    named.map(files_of_part).collect()
}

/// Returns the size of a file; 0 if the file system does not report it. It is only displayed.
fn n_bytes(file: &PathBuf) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
