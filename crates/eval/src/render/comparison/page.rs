//! A comparison as one HTML file, with charts and links to every run.

use maud::{Markup, html};

use super::tables::{self, Cell, Table};
use super::{charts, forest, runs, words};
use crate::comparison::{Comparison, DataInput, DataResult, MeasuredRun, MethodInput};
use crate::render::{bars, figures, html};
use crate::report::{CalibrationCurve, LearningCurve, SharingPicture};

/// Renders the comparison as a self-contained page that can be read on paper and in black and white. Links to
/// runs are the paths of their folders, so the page must be in the folder that these are relative to.
pub fn render_comparison_html(comparison: &Comparison) -> String {
    let content = html! {
        (header(comparison))
        (summary(comparison))
        (sharing_lines(comparison))
        @for (at, (data, result)) in comparison.data_sets().enumerate() {
            section id=(format!("data-{at}")) { (data_set(comparison, data, result)) }
        }
        (all_runs(comparison))
    };
    html::page(&comparison.input.title, content)
}

fn header(comparison: &Comparison) -> Markup {
    let input = &comparison.input;
    html! {
        header {
            h1 { (input.title) }
            (command(&input.command))
            @for sentence in &input.protocol { p.note { (sentence) } }
            @for sentence in words::reading(comparison) { p.explained { (sentence) } }
            @if input.data.len() > 1 {
                nav { ul {
                    @for (at, data) in input.data.iter().enumerate() {
                        li { a href=(format!("#data-{at}")) { (data.name) } }
                    }
                } }
            }
        }
    }
}

fn command(command: &str) -> Markup {
    html! { @if !command.is_empty() { pre { (command) } } }
}

fn summary(comparison: &Comparison) -> Markup {
    if comparison.data.len() < 2 {
        return html! {};
    }
    let references = comparison.input.references.iter();
    let tables = references.filter_map(|name| tables::summary(comparison, name));
    let tables: Vec<Table> = tables.collect();
    html! {
        @if !tables.is_empty() {
            section { h2 { "Summary" } @for one in &tables { (table(one)) } }
        }
    }
}

fn sharing_lines(comparison: &Comparison) -> Markup {
    html! {
        @for group in charts::groups(comparison) {
            section {
                h2 { "From conflict to agreement: " (group) }
                p.explained {
                    "Mean difference over seeds, with the uncorrected interval. First the methods "
                    "with masks and the best of the others on average, then the remaining methods."
                }
                (charts::sharing(comparison, group))
            }
        }
    }
}

fn data_set(comparison: &Comparison, data: &DataInput, result: &DataResult) -> Markup {
    let references = &comparison.input.references;
    let differences = references.iter();
    let differences = differences.filter_map(|name| tables::differences(data, result, name));
    html! {
        h2 { (data.name) }
        p.explained { (data.about) }
        (command(words::command(comparison, data)))
        (verdicts(result))
        @if let Some(scope) = words::scope(result) { p.explained { (scope) } }
        (dots(comparison, result))
        (density(comparison, data, result))
        (table(&tables::means(data, result)))
        @for one in differences { (table(&one)) }
        @if let Some(chance) = tables::chance(data, result) { (table(&chance)) }
        (table(&tables::cost(data)))
        (table(&tables::settings(data)))
        @if let Some(published) = tables::published(data, result) { (table(&published)) }
        (sharing(data))
        (calibration(data))
        (learning(data))
    }
}

fn verdicts(result: &DataResult) -> Markup {
    html! {
        @if !result.sentences.is_empty() {
            h3 { "Verdicts" }
            ul.verdicts { @for sentence in &result.sentences { li { (sentence) } } }
        }
    }
}

/// Draws the differences to `shared_bottom`, or else the first reference, by each decisive figure.
fn dots(comparison: &Comparison, result: &DataResult) -> Markup {
    let references = &comparison.input.references;
    let known_best = references.iter().find(|name| *name == "shared_bottom");
    let Some(reference) = known_best.or(references.first()) else {
        return html! {};
    };
    let to_it = |key| {
        let matches = move |one: &&crate::comparison::MethodDifference| {
            one.reference == *reference && one.key == key
        };
        result
            .differences
            .iter()
            .filter(matches)
            .collect::<Vec<_>>()
    };
    let keys = result.keys().into_iter().filter(|key| key.is_decisive());
    let panels = keys.map(|key| (format!("{key}: difference to {reference}"), to_it(key)));
    let panels: Vec<_> = panels
        .filter(|(_, differences)| !differences.is_empty())
        .collect();
    html! {
        @if !panels.is_empty() {
            h3 { "Differences to " (reference) }
            p.explained { "Filled: significant after correction. Hollow: not significant, or a single seed." }
            div.panels { @for (title, differences) in &panels { (forest::draw(title, differences)) } }
        }
    }
}

fn density(comparison: &Comparison, data: &DataInput, result: &DataResult) -> Markup {
    html! {
        @if let Some(charts) = charts::density(comparison, data, result) {
            h3 { "AUC over density" }
            p.explained { "Whiskers: interval of the mean over seeds." }
            (charts)
        }
    }
}

fn sharing(data: &DataInput) -> Markup {
    let pictures: Vec<SharingPicture> = data.methods.iter().filter_map(sharing_picture).collect();
    html! {
        @if let Some(first) = pictures.first() {
            h3 { "Sharing by layer, first seed" }
            (bars::legend(&first.tasks))
            @for picture in &pictures {
                h4 { (picture.network) }
                div.scroll { (bars::draw(picture)) }
            }
        }
    }
}

/// Returns the mask overlap of the first seed.
fn sharing_picture(method: &MethodInput) -> Option<SharingPicture> {
    let run = method.seeds.first().filter(|run| !run.sharing.is_empty())?;
    let tasks = if run.densities.is_empty() {
        run.metrics.tasks.keys().cloned().collect()
    } else {
        run.densities.iter().map(|(task, _)| task.clone()).collect()
    };
    Some(SharingPicture {
        pairs: Vec::new(),
        network: method.name.clone(),
        tasks,
        layers: run.sharing.clone(),
        remarks: Vec::new(),
    })
}

/// Returns the curves of each method's first seed under the method's name, split into charts of at most
/// [`charts::MOST_LINES`] lines; each part with the names of its methods.
fn in_parts<C>(
    data: &DataInput,
    curves: impl Fn(&MeasuredRun, &str) -> Vec<C>,
) -> Vec<(Vec<&str>, Vec<C>)> {
    let of_method = |method: &'_ MethodInput| {
        let first = method.seeds.first();
        first.map_or(Vec::new(), |run| curves(run, &method.name))
    };
    let all = data.methods.iter();
    let all = all.map(|method| (method.name.as_str(), of_method(method)));
    let mut parts: Vec<(Vec<&str>, Vec<C>)> = Vec::new();
    for (name, curves) in all.filter(|(_, curves)| !curves.is_empty()) {
        match parts.last_mut() {
            Some((names, drawn)) if names.len() < charts::MOST_LINES => {
                names.push(name);
                drawn.extend(curves);
            }
            _ => parts.push((vec![name], curves)),
        }
    }
    parts
}

fn calibration(data: &DataInput) -> Markup {
    let parts = in_parts(data, |run, name| {
        let curves = run.calibration.iter().cloned();
        let named = curves.map(|curve| CalibrationCurve {
            network: name.to_owned(),
            ..curve
        });
        named.collect()
    });
    html! {
        @if !parts.is_empty() { h3 { "Calibration, first seed" } }
        @for (names, curves) in &parts {
            (charts::legend(names))
            (figures::calibration(curves, names))
        }
    }
}

fn learning(data: &DataInput) -> Markup {
    let parts = in_parts(data, |run, name| {
        let curves = run.learning.iter().cloned();
        let named = curves.map(|curve| LearningCurve {
            network: name.to_owned(),
            ..curve
        });
        named.collect()
    });
    let remarks = [("thin: training rows", false), ("weights kept", true)];
    html! {
        @if !parts.is_empty() { h3 { "Learning curves, first seed" } }
        @for (names, curves) in &parts {
            (figures::legend(names, &remarks))
            (figures::learning(curves, names))
        }
    }
}

fn all_runs(comparison: &Comparison) -> Markup {
    html! {
        @if !comparison.data.is_empty() {
            section {
                h2 { "Runs" }
                details {
                    summary { "Every run and every trial, with its folder" }
                    @for (data, result) in comparison.data_sets() {
                        (table(&runs::runs(data, result)))
                        @if let Some(trials) = runs::trials(data) { (table(&trials)) }
                    }
                }
            }
        }
    }
}

fn table(table: &Table) -> Markup {
    let is_words = |at: usize| table.rows.iter().any(|row| row[at].is_words);
    html! {
        @if !table.rows.is_empty() {
            div.scroll {
                table.dense {
                    caption { (table.caption) }
                    thead { tr {
                        @for (at, name) in table.header.iter().enumerate() {
                            th.number[!is_words(at)] { (name) }
                        }
                    } }
                    tbody { @for at in 0..table.rows.len() { (row(table, at)) } }
                }
            }
        }
    }
}

/// Renders a row; the first cell is left out if it repeats the row above.
fn row(table: &Table, at: usize) -> Markup {
    let cells = &table.rows[at];
    let repeats = at > 0 && cells[0].text == table.rows[at - 1][0].text;
    html! {
        tr.first[!repeats] {
            @for (at_column, one) in cells.iter().enumerate() {
                td.number[!one.is_words].words[is_long(one)].best[one.bold] {
                    @if !(repeats && at_column == 0) { (cell(one)) }
                }
            }
        }
    }
}

/// Returns true if the cell should be broken into lines.
fn is_long(cell: &Cell) -> bool {
    cell.is_words && cell.text.len() > 30
}

fn cell(cell: &Cell) -> Markup {
    html! {
        (cell.text)
        @for remark in &cell.remarks { span.interval { (remark) } }
        @for (name, folder) in &cell.links { a href=(address(folder)) { (name) } " " }
    }
}

/// Percent-encodes a folder for use as a link.
fn address(folder: &str) -> String {
    let codes = [("%", "%25"), (" ", "%20"), ("#", "%23"), ("?", "%3F")];
    let escaped = |address: String, (character, code)| address.replace(character, code);
    codes.into_iter().fold(folder.to_owned(), escaped)
}
