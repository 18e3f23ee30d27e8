//! The report as one self-contained HTML file: no network, no scripts.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::numbers::{cell_interval, cell_value, thousands};
use super::{bars, diagnoses, figures, text};
use crate::columns::HEADER;
use crate::diagnoses::ImportanceBars;
use crate::report::{InputTable, ResultRow, ResultTable, RunReport, SharingPicture};

/// Renders the report as a self-contained page that can be read on paper and in black and white.
pub fn render_html(report: &RunReport) -> String {
    page(&report.title, html! { (header(report)) (sections(report)) })
}

/// Returns a self-contained page of this title.
pub(super) fn page(title: &str, content: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (bars::patterns())
                main { (content) }
            }
        }
    };
    page.into_string()
}

fn header(report: &RunReport) -> Markup {
    html! {
        header {
            h1 { (report.title) }
            @if !report.subtitle.is_empty() { p.subtitle { (report.subtitle) } }
            @let made_by = text::made_by(report);
            @if !made_by.is_empty() { p.subtitle { (made_by) } }
            @for note in &report.notes {
                @if note.warning {
                    p.note.warning { strong { "Warning. " } (note.text) }
                } @else {
                    p.note { (note.text) }
                }
            }
        }
    }
}

fn sections(report: &RunReport) -> Markup {
    let networks = figures::networks(report);
    html! {
        @if !report.results.is_empty() {
            section { h2 { "Results" } @for table in &report.results { (results(table)) } }
        }
        @if !report.sharing.is_empty() {
            section { h2 { "Sharing by layer" } @for p in &report.sharing { (sharing(p)) } }
        }
        @if !report.inputs.is_empty() {
            section {
                h2 { "Connections kept per input" }
                p.explained { (text::INPUTS) ", by each task and by all." }
                @for table in &report.inputs { (inputs(table)) }
            }
        }
        @if let Some(bars) = &report.importance { (importance(bars)) }
        @if !report.search.is_empty() {
            section {
                h2 { "Mask search" }
                (figures::legend(&[], &[("selected round", true)]))
                (figures::search(&report.search))
            }
        }
        @if !report.learning.is_empty() { (learning(report, &networks)) }
        @if !report.calibration.is_empty() { (calibration(report, &networks)) }
        @if !report.gains.is_empty() { (gains(report, &networks)) }
        @if !report.slices.is_empty() { (slices(report)) }
        @if !report.data.parts.is_empty() { section { h2 { "Data" } (data(report)) } }
        @if !report.columns.is_empty() {
            section { h2 { "Columns, against the training rows" } (columns(report)) }
        }
        @if !report.features.is_empty() {
            section {
                h2 { "Features" }
                (text_table(&text::COLUMNS, &text::column_rows(&report.features)))
            }
        }
        @if !report.costs.is_empty() { (costs(report)) }
        @if !report.settings.is_empty() { section { h2 { "Settings" } (settings(report)) } }
    }
}

fn learning(report: &RunReport, networks: &[&str]) -> Markup {
    let remarks = [("thin: training rows", false), ("weights kept", true)];
    html! {
        section {
            h2 { "Learning curves" }
            (figures::legend(networks, &remarks))
            (figures::learning(&report.learning, networks))
        }
    }
}

fn calibration(report: &RunReport, networks: &[&str]) -> Markup {
    html! {
        section {
            h2 { "Calibration" }
            p.explained {
                "Rows in bins of rising score. On the grey diagonal, predictions equal the observed "
                "rates; below it the model over-predicts."
            }
            (figures::legend(networks, &[]))
            (figures::calibration(&report.calibration, networks))
        }
    }
}

fn gains(report: &RunReport, networks: &[&str]) -> Markup {
    html! {
        section {
            h2 { "Gains and lift" }
            p.explained {
                "Rows in order of falling prediction. Gains: the share of all positives among the first of them; on the grey "
                "diagonal the order is random. Lift: how much more frequent positives are among them than among all rows. "
                "Its first points are of few rows, and uncertain where positives are rare."
            }
            (figures::legend(networks, &[]))
            (diagnoses::gains(&report.gains, networks))
        }
    }
}

fn slices(report: &RunReport) -> Markup {
    html! {
        section {
            h2 { "By slice" }
            p.explained {
                "The rows with each value of a column. PCOC: sum of predictions over sum of labels, 1 is right. A small slice "
                "differs by chance: with 100 positives PCOC is uncertain by a fifth."
            }
            @for table in &report.slices {
                h3 { (table.column) ", " (table.part) " rows" }
                (diagnoses::days(table))
                @let (header, rows) = diagnoses::slice_table(table);
                (plain_table(&header, &rows))
            }
        }
    }
}

fn importance(bars: &ImportanceBars) -> Markup {
    html! {
        section {
            h2 { "Permutation importance" }
            p.explained {
                "What a task loses when the values of a column are permuted between rows (" (thousands(bars.rows))
                " rows, permutations: " (bars.repeats) "); lines: two standard errors over rows. Columns that replace "
                "each other can all look unimportant."
            }
            div.panels { @for task in &bars.tasks { (diagnoses::importance(task)) } }
        }
    }
}

fn costs(report: &RunReport) -> Markup {
    html! {
        section {
            h2 { "Size by table" }
            p.explained { "Rows that training has seen; the others take no memory." }
            (text_table(&diagnoses::COSTS, &diagnoses::cost_rows(&report.costs)))
        }
    }
}

fn results(table: &ResultTable) -> Markup {
    html! {
        div.scroll {
            table {
                caption { (table.title) }
                thead {
                    tr {
                        th { "task" } th { "network" }
                        @for column in &table.columns { th.number { (column.name) } }
                    }
                }
                tbody { @for at in 0..table.rows.len() { (result_row(table, at)) } }
            }
        }
        p.explained {
            "Bold: the best value of the task, whether or not the difference is significant. In brackets: "
            "95 % intervals." (glossary(table))
        }
    }
}

/// Explains the abbreviations in the header.
fn glossary(table: &ResultTable) -> String {
    let meanings = [
        ("CTCVR", "click and conversion, over all impressions"),
        ("PCOC", "sum of predictions over sum of labels"),
        ("ECE", "expected calibration error"),
    ];
    let named = |name: &str| {
        table.columns.iter().any(|column| column.name == name)
            || table.rows.iter().any(|row| row.task == name)
    };
    let meanings = meanings.iter().filter(|(name, _)| named(name));
    meanings
        .map(|(name, meaning)| format!(" {name}: {meaning}."))
        .collect()
}

fn result_row(table: &ResultTable, at: usize) -> Markup {
    let row: &ResultRow = &table.rows[at];
    let first = at == 0 || table.rows[at - 1].task != row.task;
    html! {
        tr.first[first] {
            td { @if first { (row.task) } }
            td { (row.network) }
            @for (at_column, (cell, column)) in row.cells.iter().zip(&table.columns).enumerate() {
                td.number.best[table.is_best(at, at_column)] {
                    (cell_value(cell, column))
                    @if let Some(interval) = cell_interval(cell, column) {
                        span.interval { (interval) }
                    }
                }
            }
        }
    }
}

fn sharing(picture: &SharingPicture) -> Markup {
    let rows: Vec<_> = picture.layers.iter().map(figures::sharing_row).collect();
    html! {
        h3 { (picture.network) }
        (bars::legend(&picture.tasks))
        div.scroll { (bars::draw(picture)) }
        (plain_table(&figures::sharing_header(&picture.tasks), &rows))
        p.explained {
            "Overlap: intersection over union of the connections that two tasks keep. Chance level: the "
            "expected overlap of random masks of the same densities."
        }
        @if let Some((header, rows)) = figures::pairs_table(picture) {
            (plain_table(&header.map(String::from), &rows))
        }
        @if let Some((header, rows)) = figures::units_table(&picture.tasks, &picture.layers) {
            (plain_table(&header, &rows))
            p.explained {
                "A task's own units: no other task reads them or updates the weights that lead into them. "
                "Common units read common units only."
            }
        }
        @for remark in &picture.remarks { p { (remark) } }
    }
}

fn data(report: &RunReport) -> Markup {
    let (header, rows) = text::data_table(&report.data);
    html! {
        (plain_table(&header, &rows))
        @if !report.data.files.is_empty() {
            (text_table(&text::FILES, &text::file_rows(&report.data.files)))
        }
    }
}

fn inputs(table: &InputTable) -> Markup {
    let (header, rows) = text::input_table(table);
    html! { h3 { (table.network) } (plain_table(&header, &rows)) }
}

/// Returns a table of texts; the last column is a number.
fn text_table(header: &[&str], rows: &[Vec<String>]) -> Markup {
    let is_last = |at: usize| at + 1 == header.len();
    html! {
        div.scroll {
            table {
                thead {
                    tr { @for (at, name) in header.iter().enumerate() { th.number[is_last(at)] { (name) } } }
                }
                tbody {
                    @for row in rows {
                        tr { @for (at, cell) in row.iter().enumerate() { td.number[is_last(at)] { (cell) } } }
                    }
                }
            }
        }
    }
}

fn columns(report: &RunReport) -> Markup {
    let rows: Vec<_> = report
        .columns
        .iter()
        .flat_map(|part| part.rows(true))
        .collect();
    html! {
        p.explained {
            "Unseen: values that occur in no training row; of a vocabulary, also those rarer than its min_count. "
            "Clipped: numbers outside the range of the training rows, read as the nearer end of the range."
        }
        (plain_table(&HEADER.map(String::from), &rows))
    }
}

/// Returns a table whose first column is text and whose others are numbers.
pub(super) fn plain_table(header: &[String], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr { @for (at, name) in header.iter().enumerate() { th.number[at > 0] { (name) } } }
                }
                tbody {
                    @for row in rows {
                        tr { @for (at, cell) in row.iter().enumerate() { td.number[at > 0] { (cell) } } }
                    }
                }
            }
        }
    }
}

fn settings(report: &RunReport) -> Markup {
    html! {
        dl {
            @for (name, value) in &report.settings { div { dt { (name) } dd { (value) } } }
        }
    }
}
