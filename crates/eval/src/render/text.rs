//! Aligned text tables for the terminal.

use unicode_width::UnicodeWidthStr;

use super::numbers::{ABSENT, cell_interval, cell_value, duration, fixed, percent, thousands};
use crate::columns::{HEADER, PartColumns};
use crate::diagnoses::SliceTable;
use crate::report::{
    ColumnSummary, DataFile, DataPart, DataSummary, InputRow, InputTable, ResultCell, ResultColumn,
    ResultRow, ResultTable, RunReport, SearchCurve, SearchRound, SharingPicture,
};

/// Returns a table with a ruled header; numeric columns are right-aligned, others left-aligned. Rows may be
/// shorter than the header. Ends with a newline.
pub fn text_table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<TextColumn> = header
        .iter()
        .enumerate()
        .map(|(at, name)| TextColumn::of(name, at, rows))
        .collect();
    let mut text = line(&columns, |at| header[at]);
    let rule: Vec<String> = columns
        .iter()
        .map(|column| "─".repeat(column.width))
        .collect();
    text += &line(&columns, |at| &rule[at]);
    for row in rows {
        text += &line(&columns, |at| row.get(at).map_or("", String::as_str));
    }
    text
}

struct TextColumn {
    width: usize,
    numeric: bool,
}

impl TextColumn {
    fn of(name: &str, at: usize, rows: &[Vec<String>]) -> TextColumn {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let widest = cells().map(|cell| cell.width()).max().unwrap_or(0);
        let is_filled = |cell: &&String| !cell.is_empty() && *cell != ABSENT;
        TextColumn {
            width: widest.max(name.width()),
            numeric: cells().all(|cell| is_numeric(cell)) && cells().any(|cell| is_filled(&cell)),
        }
    }
}

fn is_numeric(cell: &str) -> bool {
    let unsigned = cell.trim_start_matches(['-', '+', '.']);
    cell.is_empty() || cell == ABSENT || unsigned.starts_with(|c: char| c.is_ascii_digit())
}

fn line<'a>(columns: &[TextColumn], cell: impl Fn(usize) -> &'a str) -> String {
    let padded = |(at, column): (usize, &TextColumn)| {
        let (cell, space) = (cell(at), " ".repeat(column.width - cell(at).width()));
        if column.numeric {
            space + cell
        } else {
            cell.to_string() + &space
        }
    };
    let cells: Vec<String> = columns.iter().enumerate().map(padded).collect();
    cells.join("  ").trim_end().to_string() + "\n"
}

/// Renders the report's tables for a terminal; curves are left to [`crate::render_html`].
pub fn render_text(report: &RunReport) -> String {
    let mut parts = vec![heading(report), notes(report)];
    parts.extend(report.results.iter().map(results));
    parts.extend(report.sharing.iter().map(sharing));
    parts.extend(report.inputs.iter().map(inputs));
    parts.extend(report.search.iter().map(search));
    parts.extend(report.slices.iter().map(slices));
    parts.push(data(&report.data));
    parts.push(files(&report.data.files));
    parts.push(features(&report.features));
    parts.push(columns_text(&report.columns));
    parts.push(settings(&report.settings));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn heading(report: &RunReport) -> String {
    let lines = [&report.title, &report.subtitle, &made_by(report)];
    lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .map(|line| line.to_string() + "\n")
        .collect()
}

/// Returns the version and the duration of the run: `ncs 0.1.0, took 3 min 20 s`.
pub(super) fn made_by(report: &RunReport) -> String {
    let time = report
        .seconds
        .map(|seconds| format!("took {}", duration(seconds)));
    let parts = [Some(report.version.clone()), time];
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(", ")
}

fn notes(report: &RunReport) -> String {
    let notes = report.notes.iter();
    notes.map(|note| note.line() + "\n").collect()
}

fn results(table: &ResultTable) -> String {
    let names = table.columns.iter().map(|column| column.name.as_str());
    let header: Vec<&str> = ["task", "network"].into_iter().chain(names).collect();
    let row = |row: &ResultRow| {
        let cells = row
            .cells
            .iter()
            .zip(&table.columns)
            .map(|(cell, column)| cell_text(cell, column));
        [row.task.clone(), row.network.clone()]
            .into_iter()
            .chain(cells)
            .collect()
    };
    titled(
        &table.title,
        &header,
        &table.rows.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Formats the figure followed by its interval.
fn cell_text(cell: &ResultCell, column: &ResultColumn) -> String {
    match cell_interval(cell, column) {
        Some(interval) => format!("{} {interval}", cell_value(cell, column)),
        None => cell_value(cell, column),
    }
}

fn sharing(picture: &SharingPicture) -> String {
    let header = super::figures::sharing_header(&picture.tasks);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows: Vec<_> = picture
        .layers
        .iter()
        .map(super::figures::sharing_row)
        .collect();
    let mut text = titled(
        &format!("Sharing by layer: {}", picture.network),
        &header,
        &rows,
    );
    if let Some((header, rows)) = super::figures::pairs_table(picture) {
        let title = format!("Overlap of each pair of tasks: {}", picture.network);
        text += &format!("\n{}", titled(&title, &header, &rows));
    }
    if let Some((header, rows)) = super::figures::units_table(&picture.tasks, &picture.layers) {
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let title = format!("Hidden units by layer: {}", picture.network);
        text += &format!("\n{}", titled(&title, &header, &rows));
    }
    for remark in &picture.remarks {
        text += &format!("{remark}\n");
    }
    text
}

fn slices(table: &SliceTable) -> String {
    let (header, rows) = super::diagnoses::slice_table(table);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let title = format!("By {} ({} rows)", table.column, table.part);
    titled(&title, &header, &rows)
}

fn search(curve: &SearchCurve) -> String {
    let row = |(at, round): (usize, &SearchRound)| {
        vec![
            at.to_string(),
            fixed(round.density, 4),
            round
                .validation_metric
                .map_or(ABSENT.to_string(), |metric| fixed(metric, 4)),
            if curve.picked == Some(at) {
                "picked".into()
            } else {
                String::new()
            },
        ]
    };
    let metric = format!("validation {}", curve.metric_name);
    let rows: Vec<_> = curve.rounds.iter().enumerate().map(row).collect();
    titled(
        &format!("Mask search: {}", curve.task),
        &["round", "density", &metric, ""],
        &rows,
    )
}

fn data(data: &DataSummary) -> String {
    let (header, rows) = data_table(data);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    titled("Data", &header, &rows)
}

/// Returns header and rows of the table of parts, for text and HTML.
pub(super) fn data_table(data: &DataSummary) -> (Vec<String>, Vec<Vec<String>>) {
    let of_task = |task: &String| [format!("{task} known"), format!("{task} positive")];
    let mut header = vec!["part".to_string(), "rows".to_string()];
    header.extend(data.tasks.iter().flat_map(of_task));
    let row = |part: &DataPart| {
        let mut row = vec![part.name.clone(), thousands(part.rows)];
        for label in &part.labels {
            row.push(thousands(label.known));
            row.push(label.rate.map_or(ABSENT.to_string(), percent));
        }
        row
    };
    (header, data.parts.iter().map(row).collect())
}

/// Maximum number of column rows in text; the HTML report has them all.
const MOST_COLUMNS: usize = 30;

/// Returns a table of the columns that differ from the training rows.
pub fn columns_text(parts: &[PartColumns]) -> String {
    let mut rows: Vec<_> = parts.iter().flat_map(|part| part.rows(false)).collect();
    let more = rows.len().saturating_sub(MOST_COLUMNS);
    rows.truncate(MOST_COLUMNS);
    let table = titled("Columns, against the training rows", &HEADER, &rows);
    match more {
        0 => table,
        _ => format!("{table}and {more} more\n"),
    }
}

/// Maximum number of files in text; the HTML report lists all.
const MOST_FILES: usize = 20;

fn files(files: &[DataFile]) -> String {
    let shown = &files[..files.len().min(MOST_FILES)];
    let mut rows = file_rows(shown);
    if shown.len() < files.len() {
        let more = files.len() - shown.len();
        rows.push(vec![
            String::new(),
            format!("and {} more", thousands(more as u64)),
        ]);
    }
    titled("Files", &FILES, &rows)
}

/// Header of the table of files.
pub(super) const FILES: [&str; 3] = ["part", "file", "rows"];

/// Returns the rows of the table of files, for text and HTML.
pub(super) fn file_rows(files: &[DataFile]) -> Vec<Vec<String>> {
    let row = |file: &DataFile| vec![file.part.clone(), file.path.clone(), thousands(file.rows)];
    files.iter().map(row).collect()
}

fn features(columns: &[ColumnSummary]) -> String {
    titled("Features", &COLUMNS, &column_rows(columns))
}

/// Header of the table of features.
pub(super) const COLUMNS: [&str; 5] = ["feature", "column", "kind", "ids", "table rows"];

/// Returns the rows of the table of features, for text and HTML.
pub(super) fn column_rows(columns: &[ColumnSummary]) -> Vec<Vec<String>> {
    let row = |column: &ColumnSummary| {
        vec![
            column.name.clone(),
            column.column.clone(),
            column.kind.clone(),
            column.ids.clone(),
            thousands(column.table_rows),
        ]
    };
    columns.iter().map(row).collect()
}

fn inputs(table: &InputTable) -> String {
    let (header, rows) = input_table(table);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    titled(&format!("{INPUTS}: {}", table.network), &header, &rows)
}

/// Title of the table of inputs.
pub(super) const INPUTS: &str = "First layer: share of each input's connections that is kept";

/// Returns header and rows of the table of inputs, for text and HTML.
pub(super) fn input_table(table: &InputTable) -> (Vec<String>, Vec<Vec<String>>) {
    let mut header = vec!["input".to_string()];
    header.extend(table.tasks.iter().cloned());
    header.push("by all".to_string());
    let row = |input: &InputRow| {
        let shares = input.kept.iter().chain([&input.shared]);
        let shares = shares.map(|share| fixed(*share, 3));
        std::iter::once(input.name.clone()).chain(shares).collect()
    };
    (header, table.rows.iter().map(row).collect())
}

fn settings(settings: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| vec![name.clone(), value.clone()];
    titled(
        "Settings",
        &["setting", "value"],
        &settings.iter().map(row).collect::<Vec<_>>(),
    )
}

fn titled(title: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        format!("{title}\n{}", text_table(header, rows))
    }
}
