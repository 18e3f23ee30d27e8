//! Result of `ncs check`, as text and as JSON.

use ncs_config::RunFile;
use ncs_eval::{columns_text, text_table};
use serde::Serialize;

use crate::data_preview::{ColumnLook, DataPreview, FilesLook, TaskLook, Which, look};
use crate::error::Error;
use crate::memory;
use crate::progress::{Progress, grouped, size};
use crate::table_init;

/// Result of a check; as JSON, what `ncs check --json` prints.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Checked(DataPreview);

impl Checked {
    /// Returns the same in tables.
    pub fn text(&self) -> String {
        text(&self.0)
    }
}

/// Checks a run file against the first `rows` rows of each part, against as many as usual where it is `None`, or
/// against `all`.
///
/// # Errors
/// The files of the run file cannot be read, a training of it does not fit into memory, or a row or a label is not what
/// it should be.
pub fn check(
    file: &RunFile,
    rows: Option<usize>,
    all: bool,
    progress: Progress,
) -> Result<Checked, Error> {
    memory::check(file)?;
    table_init::check(file)?;
    let look = look(file, Which { rows, all }, progress)?;
    match &look.refusal {
        Some(refusal) => Err(format!("{}{refusal}", warnings(&look)).into()),
        None => Ok(Checked(look)),
    }
}

/// A line for each warning.
fn warnings(look: &DataPreview) -> String {
    let warning = |text: &String| format!("warning: {text}\n");
    look.warnings.iter().map(warning).collect()
}

fn text(look: &DataPreview) -> String {
    let notes = look.notes.iter().map(|text| format!("note: {text}\n"));
    let parts = [
        files(&look.files),
        rows(look),
        columns(&look.columns),
        columns_text(&look.coverage),
        tasks(&look.tasks),
        memory_line(look),
        notes.collect(),
        warnings(look),
        verdict(look),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

/// `Tables and their optimizer state: at most 1.2 MiB`, or `... 1.2 GiB on disk, and 80 MiB of memory to find their rows`
fn memory_line(look: &DataPreview) -> String {
    let bytes = match look.table_disk_bytes {
        0 => size(look.table_bytes),
        on_disk => format!(
            "{} on disk (training.table_storage = \"file\"), and {} of memory to find their rows",
            size(on_disk),
            size(look.table_bytes)
        ),
    };
    let open = match look.open_tables.len() {
        0 => String::new(),
        _ => format!(
            ", besides the vocabularies of {}, whose sizes follow from the training rows",
            look.open_tables.join(", ")
        ),
    };
    format!("Tables and their optimizer state: at most {bytes}{open}\n")
}

/// `No mistake found in the first 10,000 rows of train; ncs train reads every row, as --all does.`
fn verdict(look: &DataPreview) -> String {
    let seen = look.seen.join(", ");
    let (found, warnings) = match look.warnings.len() {
        0 => ("No mistake", String::new()),
        1 => ("No error", "; 1 warning, see above".to_owned()),
        n => ("No error", format!("; {n} warnings, see above")),
    };
    if look.rehearsed {
        return format!("{found} found in any row{warnings}. Shown are {seen}.\n");
    }
    format!("{found} found in {seen}{warnings}; ncs train reads every row, as --all does.\n")
}

fn files(files: &[FilesLook]) -> String {
    let row = |files: &FilesLook| {
        vec![
            files.part.to_owned(),
            files.files.to_string(),
            size(files.bytes),
        ]
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    text_table(&["part", "files", "size"], &rows)
}

/// `The first 10,000 rows of the training files: train 8,000, valid 1,000, test 1,000`
fn rows(look: &DataPreview) -> String {
    let rows = grouped(look.rows);
    let what = if look.all_rows {
        format!("All {rows} rows of the training files")
    } else {
        format!("The first {rows} rows of the training files")
    };
    let parts = look.parts.iter().filter(|(_, rows)| **rows > 0);
    let parts: Vec<String> = parts
        .map(|(part, rows)| format!("{part} {}", grouped(*rows)))
        .collect();
    format!("{what}: {}\n", parts.join(", "))
}

fn columns(columns: &[ColumnLook]) -> String {
    let row = |column: &ColumnLook| {
        vec![
            column.name.clone(),
            column.kind.to_owned(),
            column.holds.to_owned(),
            column.ids.clone(),
            grouped(column.distinct as u64),
            grouped(column.nulls),
            examples(&column.examples),
        ]
    };
    let rows: Vec<_> = columns.iter().map(row).collect();
    let header = [
        "column",
        "kind",
        "holds",
        "ids",
        "distinct",
        "nulls",
        "most frequent",
    ];
    text_table(&header, &rows)
}

/// On one line and short, whatever the log holds.
fn examples(values: &[String]) -> String {
    const MOST: usize = 60;
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let text: String = values.join(" · ").chars().map(shown).collect();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn tasks(tasks: &[TaskLook]) -> String {
    let number = |label: Option<f32>| label.map_or("–".to_owned(), |label| label.to_string());
    let row = |task: &TaskLook| {
        vec![
            task.name.clone(),
            task.label.clone(),
            grouped(task.rows),
            grouped(task.known),
            grouped(task.positives),
            task.rate
                .map_or("–".to_owned(), |rate| format!("{:.2} %", 100.0 * rate)),
            number(task.min),
            number(task.max),
        ]
    };
    let rows: Vec<_> = tasks.iter().map(row).collect();
    let header = [
        "task",
        "label",
        "rows",
        "known",
        "positives",
        "rate",
        "min",
        "max",
    ];
    text_table(&header, &rows)
}
