//! A comparison as Markdown, for documents.

use super::tables::{self, Cell, Table};
use super::words;
use crate::comparison::{Comparison, DataInput, DataResult};

/// Renders the comparison as Markdown, with the command above each table. Charts and single runs are left to
/// [`render_comparison_html`](crate::render_comparison_html).
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let input = &comparison.input;
    let mut parts = vec![format!("# {}", input.title)];
    parts.push(list(&input.protocol));
    parts.extend(words::reading(comparison));
    parts.extend(summary(comparison));
    for (data, result) in comparison.data_sets() {
        parts.extend(data_set(comparison, data, result));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n") + "\n"
}

/// Returns the verdicts counted over data sets, if there are several.
fn summary(comparison: &Comparison) -> Vec<String> {
    if comparison.data.len() < 2 {
        return Vec::new();
    }
    let references = comparison.input.references.iter();
    let tables = references.filter_map(|reference| tables::summary(comparison, reference));
    let tables: Vec<Table> = tables.collect();
    if tables.is_empty() {
        return Vec::new();
    }
    let tables = tables
        .iter()
        .map(|table| captioned(&comparison.input.command, table));
    [String::from("## Summary")]
        .into_iter()
        .chain(tables)
        .collect()
}

fn data_set(comparison: &Comparison, data: &DataInput, result: &DataResult) -> Vec<String> {
    let command = words::command(comparison, data);
    let references = comparison.input.references.iter();
    let differences = references.filter_map(|name| tables::differences(data, result, name));
    let means = tables::means(data, result).without_links();
    let further = [tables::cost(data), tables::settings(data)];
    let further = further.into_iter().chain(tables::published(data, result));
    let mut parts = vec![format!("## {}", data.name), data.about.clone()];
    parts.push(list(&result.sentences));
    parts.push(words::scope(result).unwrap_or_default().to_owned());
    parts.push(captioned(command, &means));
    parts.extend(differences.map(|table| captioned(command, &table)));
    parts.extend(tables::chance(data, result).map(|table| captioned(command, &table)));
    parts.extend(further.map(|table| captioned(command, &table)));
    parts
}

impl Table {
    /// Removes the last column, which has only links to run folders.
    fn without_links(mut self) -> Table {
        self.header.pop();
        self.rows.iter_mut().for_each(|row| {
            row.pop();
        });
        self
    }
}

fn list(sentences: &[String]) -> String {
    let items: Vec<String> = sentences.iter().map(|one| format!("- {one}")).collect();
    items.join("\n")
}

/// Returns caption, command and table; an empty string for an empty table.
fn captioned(command: &str, table: &Table) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let command = if command.is_empty() {
        String::new()
    } else {
        format!("    {command}\n\n")
    };
    format!("{}:\n\n{command}{}", table.caption, grid(table))
}

fn grid(table: &Table) -> String {
    let names: Vec<String> = table.header.iter().map(|name| escaped(name)).collect();
    let is_words = |at: usize| table.rows.iter().any(|row| row[at].is_words);
    let rule = |at: usize| if is_words(at) { "---" } else { "---:" };
    let rules: Vec<String> = (0..names.len()).map(|at| rule(at).to_owned()).collect();
    let cells = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<String>>();
    let mut lines = vec![line(&names), line(&rules)];
    lines.extend(table.rows.iter().map(|row| line(&cells(row))));
    lines.join("\n")
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn cell(cell: &Cell) -> String {
    let text = if cell.bold {
        format!("**{}**", escaped(&cell.text))
    } else {
        escaped(&cell.text)
    };
    let remarks = cell.remarks.iter().map(|remark| escaped(remark));
    let parts: Vec<String> = [text].into_iter().chain(remarks).collect();
    parts.join(", ")
}

/// Escapes bars, which end a cell, and newlines, which end a table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
