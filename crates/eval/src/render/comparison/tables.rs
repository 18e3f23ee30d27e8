//! Tables of a comparison, for Markdown and HTML.

use super::words;
use crate::comparison::{
    Agreement, ChanceResult, Comparison, DataInput, DataResult, FigureKey, MeasuredRun,
    MethodDifference, MethodInput, SummaryRow, Verdict,
};
use crate::figures::{FIGURES, Figure};
use crate::render::figures::distinct;
use crate::render::numbers::{ABSENT, fixed, p_value, percent, thousands};
use crate::report::{ResultCell, ResultRow, ResultTable};
use crate::statistics::Estimate;

/// A table, independent of the output format.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Secondary texts, shown below or behind the text.
    pub(super) remarks: Vec<String>,
    pub(super) bold: bool,
    /// True if the text may be broken into lines; other cells are numbers.
    pub(super) is_words: bool,
    /// Links to the runs behind the row, as (name, folder).
    pub(super) links: Vec<(String, String)>,
}

impl Cell {
    pub(super) fn number(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            ..Cell::default()
        }
    }

    pub(super) fn words(text: impl Into<String>) -> Cell {
        Cell {
            is_words: true,
            ..Cell::number(text)
        }
    }
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the means of all figures by task; the last column links to the runs.
pub(super) fn means(data: &DataInput, result: &DataResult) -> Table {
    let table = mean_table(data, result);
    let mut header = header(&["task", "method"]);
    header.extend(table.columns.iter().map(|column| column.name.clone()));
    header.push("runs (seed)".to_owned());
    let row = |at: usize| {
        let row: &ResultRow = &table.rows[at];
        let mut cells = vec![Cell::words(&row.task), Cell::words(&row.network)];
        cells.extend((0..table.columns.len()).map(|column| mean_cell(&table, at, column)));
        cells.push(links(data.method(&row.network)));
        cells
    };
    Table {
        caption: format!("{}: means over seeds", data.name),
        header,
        rows: (0..table.rows.len()).map(row).collect(),
    }
}

/// Returns the means as a table of results, which marks the best of each task.
fn mean_table(data: &DataInput, result: &DataResult) -> ResultTable {
    let keys = result.keys();
    let is_present = |figure: &&Figure| keys.iter().any(|key| key.figure == figure.name);
    let figures: Vec<&Figure> = FIGURES.iter().filter(is_present).collect();
    let row = |task: &str, method: &MethodInput| ResultRow {
        task: task.to_owned(),
        network: method.name.clone(),
        cells: figures
            .iter()
            .map(|figure| {
                let key = FigureKey::of(task, figure.name);
                let estimate = result.estimate(&method.name, &key);
                estimate.map_or(ResultCell::default(), ResultCell::from)
            })
            .collect(),
    };
    let tasks = distinct(keys.iter().map(|key| &key.task));
    let of_task = |task| data.methods.iter().map(move |method| (task, method));
    ResultTable {
        title: String::new(),
        columns: figures.iter().map(|figure| figure.column()).collect(),
        rows: tasks
            .into_iter()
            .flat_map(of_task)
            .map(|(task, method)| row(task, method))
            .filter(|row| row.cells.iter().any(|cell| cell.value.is_some()))
            .collect(),
    }
}

fn mean_cell(table: &ResultTable, row: usize, column: usize) -> Cell {
    let cell = &table.rows[row].cells[column];
    let decimals = table.columns[column].decimals;
    Cell {
        bold: table.is_best(row, column),
        ..Cell::number(plus_minus(cell, decimals))
    }
}

/// Formats a mean and half its interval: `0.7412 ± 0.0031`.
fn plus_minus(cell: &ResultCell, decimals: usize) -> String {
    let Some(mean) = cell.value else {
        return ABSENT.to_owned();
    };
    match cell.interval {
        None => fixed(mean, decimals),
        Some([low, high]) => {
            let half = fixed(0.5 * (high - low), decimals);
            format!("{} ± {half}", fixed(mean, decimals))
        }
    }
}

fn links(method: Option<&MethodInput>) -> Cell {
    let link = |run: &MeasuredRun| (run.seed.to_string(), run.folder.clone());
    Cell {
        links: method.map_or(Vec::new(), |method| method.seeds.iter().map(link).collect()),
        ..Cell::default()
    }
}

/// Returns the differences of every other method to one reference; `None` if nothing is compared with it.
pub(super) fn differences(data: &DataInput, result: &DataResult, reference: &str) -> Option<Table> {
    let to_it = || {
        result
            .differences
            .iter()
            .filter(|d| d.reference == reference)
    };
    let is_present = |key: &FigureKey| to_it().any(|one| one.key == *key);
    let keys: Vec<FigureKey> = result.keys().into_iter().filter(is_present).collect();
    let row = |method: &str| {
        let cell = |key: &FigureKey| {
            let difference = result.difference(method, reference, key);
            difference.map_or(Cell::number(ABSENT), difference_cell)
        };
        let mut cells = vec![Cell::words(method)];
        cells.extend(keys.iter().map(cell));
        cells
    };
    let mut header = header(&["method"]);
    header.extend(keys.iter().map(FigureKey::to_string));
    let rows: Vec<_> = distinct(to_it().map(|one| &one.method))
        .into_iter()
        .map(row)
        .collect();
    (!rows.is_empty()).then(|| Table {
        caption: format!("{}: differences to {reference}", data.name),
        header,
        rows,
    })
}

fn difference_cell(one: &MethodDifference) -> Cell {
    let (mean, interval) = one.key.signed(&one.difference.estimate);
    let p = one.difference.p_value.zip(one.adjusted);
    let p = p.map(|(p, adjusted)| format!("p {}, adjusted p {}", p_value(p), p_value(adjusted)));
    Cell {
        text: format!("{mean} {}", words::verdict(one.verdict)),
        remarks: interval.into_iter().chain(p).collect(),
        bold: matches!(one.verdict, Verdict::Better | Verdict::Worse),
        ..Cell::default()
    }
}

/// Returns AUCs minus the chance level of 0.5; `None` if all are significantly above it or could not be tested.
pub(super) fn chance(data: &DataInput, result: &DataResult) -> Option<Table> {
    let is_not_significant = |one: &ChanceResult| one.verdict == Verdict::NotSignificant;
    let keys = distinct_keys(result.chance.iter().map(|one| &one.key));
    let row = |method: &str| {
        let cell = |key: &&FigureKey| {
            let of_method = |one: &&ChanceResult| one.method == method && one.key == **key;
            let test = result.chance.iter().find(of_method);
            test.map_or(Cell::number(ABSENT), chance_cell)
        };
        let mut cells = vec![Cell::words(method)];
        cells.extend(keys.iter().map(cell));
        cells
    };
    let mut header = header(&["method"]);
    header.extend(keys.iter().map(|key| key.to_string()));
    let methods = distinct(result.chance.iter().map(|one| &one.method));
    result.chance.iter().any(is_not_significant).then(|| Table {
        caption: format!("{}: AUC above the chance level of 0.5", data.name),
        header,
        rows: methods.into_iter().map(row).collect(),
    })
}

fn chance_cell(one: &ChanceResult) -> Cell {
    let word = match one.verdict {
        Verdict::Better => "significant",
        other => words::verdict(other),
    };
    let p = one.adjusted.map(|p| format!("adjusted p {}", p_value(p)));
    Cell {
        remarks: p.into_iter().chain([word.to_owned()]).collect(),
        bold: one.verdict == Verdict::NotSignificant,
        ..Cell::number(format!("{:+.4}", one.above))
    }
}

fn distinct_keys<'a>(keys: impl Iterator<Item = &'a FigureKey>) -> Vec<&'a FigureKey> {
    let mut kept: Vec<&FigureKey> = Vec::new();
    for key in keys {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}

/// Counts the data sets on which each method is better, worse and neither.
pub(super) fn summary(comparison: &Comparison, reference: &str) -> Option<Table> {
    let rows = || {
        comparison
            .summary
            .iter()
            .filter(|row| row.reference == reference)
    };
    let keys = distinct_keys(rows().map(|row| &row.key));
    let row = |method: &str| {
        let cell = |key: &&FigureKey| {
            let row = rows().find(|row| row.method == method && row.key == **key);
            Cell::number(row.map_or(ABSENT.to_owned(), counts))
        };
        let mut cells = vec![Cell::words(method)];
        cells.extend(keys.iter().map(cell));
        cells
    };
    let mut header = header(&["method"]);
    header.extend(keys.iter().map(|key| key.to_string()));
    let rows: Vec<_> = distinct(rows().map(|row| &row.method))
        .into_iter()
        .map(row)
        .collect();
    (!rows.is_empty()).then(|| Table {
        caption: format!(
            "Against {reference}: data sets on which a method is better / worse / not significant"
        ),
        header,
        rows,
    })
}

fn counts(row: &SummaryRow) -> String {
    let counts = format!("{} / {} / {}", row.better, row.worse, row.not_significant);
    match row.no_verdict {
        0 => counts,
        few => format!("{counts} ({few} with a single seed)"),
    }
}

/// Returns the cost of each method, mean over seeds.
pub(super) fn cost(data: &DataInput) -> Table {
    let row = |method: &MethodInput| {
        let mean = |cost: fn(&MeasuredRun) -> f64| {
            let costs: Vec<f64> = method.seeds.iter().map(cost).collect();
            costs.iter().sum::<f64>() / costs.len() as f64
        };
        // A score file of another program gives at most the processor time.
        let known = |value: f64, text: String| {
            Cell::number(if value > 0.0 { text } else { ABSENT.to_owned() })
        };
        let number = |value: f64, decimals| known(value, fixed(value, decimals));
        let count = |value: f64| known(value, thousands(value.round() as u64));
        let trainings = mean(|run| f64::from(run.cost.trainings));
        vec![
            Cell::words(&method.name),
            known(trainings, fixed(trainings, 1).replace(".0", "")),
            count(mean(|run| run.cost.samples as f64)),
            number(mean(|run| run.cost.seconds), 1),
            number(mean(|run| run.cost.peak_bytes as f64 / MEBIBYTE), 0),
            count(mean(|run| run.cost.parameters as f64)),
            count(mean(|run| run.cost.weights as f64)),
            count(mean(|run| run.cost.multiply_adds as f64)),
        ]
    };
    let measured = data
        .methods
        .iter()
        .filter(|method| !method.seeds.is_empty());
    Table {
        caption: format!("{}: costs, mean over seeds", data.name),
        header: header(&[
            "method",
            "trainings",
            "rows read",
            "processor time (s)",
            "peak memory (MiB)",
            "parameters with tables",
            "kept weights",
            "multiply-adds per score",
        ]),
        rows: measured.map(row).collect(),
    }
}

const MEBIBYTE: f64 = 1_048_576.0;

/// Returns the description and settings of each method.
pub(super) fn settings(data: &DataInput) -> Table {
    let row = |method: &MethodInput| {
        let trials = match method.trials.len() {
            0 => ABSENT.to_owned(),
            n => n.to_string(),
        };
        vec![
            Cell::words(&method.name),
            Cell::words(&method.about),
            Cell::words(method.settings.join(", ")),
            Cell::words(densities(method)),
            Cell::number(trials),
        ]
    };
    Table {
        caption: format!("{}: methods and their settings", data.name),
        header: header(&[
            "method",
            "description",
            "settings",
            "connections kept",
            "trials",
        ]),
        rows: data.methods.iter().map(row).collect(),
    }
}

/// Formats densities as `ctr 40.0 %, cvr 40.0 %`, mean over seeds.
fn densities(method: &MethodInput) -> String {
    let tasks = method
        .seeds
        .iter()
        .flat_map(|run| run.densities.iter().map(|(task, _)| task));
    let density = |task: &str| method.density(task).map_or(ABSENT.to_owned(), percent);
    let of_task = |task: &str| format!("{task} {}", density(task));
    let kept: Vec<String> = distinct(tasks).into_iter().map(of_task).collect();
    if kept.is_empty() {
        ABSENT.to_owned()
    } else {
        kept.join(", ")
    }
}

/// Returns published figures beside measured ones; `None` without any.
pub(super) fn published(data: &DataInput, result: &DataResult) -> Option<Table> {
    let row = |one: &Agreement| {
        let decimals = decimals_of(&one.published.figure);
        let ours = |estimate: Estimate| plus_minus(&estimate.into(), decimals);
        vec![
            Cell::words(&one.published.method),
            Cell::words(&one.published.figure),
            Cell::number(fixed(one.published.value, decimals)),
            Cell::number(one.ours.map_or(ABSENT.to_owned(), ours)),
            Cell::words(&one.published.source),
        ]
    };
    (!result.agreement.is_empty()).then(|| Table {
        caption: format!("{}: published and measured figures", data.name),
        header: header(&["method", "figure", "published", "measured", "source"]),
        rows: result.agreement.iter().map(row).collect(),
    })
}

/// Returns the decimals of the figure that `name` ends with.
fn decimals_of(name: &str) -> usize {
    let named = FIGURES.iter().find(|figure| name.ends_with(figure.name));
    named.map_or(4, |figure| figure.decimals)
}
