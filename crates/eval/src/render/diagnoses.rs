//! Gains, slices, importance and costs as charts and tables.

use maud::{Markup, html};

use super::chart::{Chart, Level, Series};
use super::figures::distinct;
use super::numbers::{ABSENT, fixed, percent, thousands};
use crate::diagnoses::{
    GainCurve, GainPoint, SliceFigures, SliceRow, SliceTable, TableCost, TaskBars,
};

/// Draws gains and lift of each task.
pub(super) fn gains(curves: &[GainCurve], networks: &[&str]) -> Markup {
    let tasks = distinct(curves.iter().map(|curve| &curve.task));
    html! {
        div.panels {
            @for task in tasks {
                @let curves: Vec<_> = curves.iter().filter(|curve| curve.task == task).collect();
                (gain_chart(task, &curves, networks).draw())
                (lift_chart(task, &curves, networks).draw())
            }
        }
    }
}

fn lines(
    curves: &[&GainCurve],
    networks: &[&str],
    point: fn(&GainPoint) -> (f64, f64),
) -> Vec<Series> {
    let style = |curve: &GainCurve| networks.iter().position(|name| *name == curve.network);
    let line = |curve: &&GainCurve| Series {
        name: curve.network.clone(),
        points: curve.points.iter().map(point).collect(),
        style: style(curve).unwrap_or(0),
        ..Series::default()
    };
    curves.iter().map(line).collect()
}

fn gain_chart(task: &str, curves: &[&GainCurve], networks: &[&str]) -> Chart {
    let mut series = lines(curves, networks, |point| (point.rows, point.labels));
    series
        .iter_mut()
        .for_each(|line| line.points.insert(0, (0.0, 0.0)));
    Chart {
        title: format!("{task}: gains"),
        x_name: "share of the rows, highest predictions first".into(),
        y_name: "share of the positives".into(),
        series,
        diagonal: true,
        ..Chart::default()
    }
}

fn lift_chart(task: &str, curves: &[&GainCurve], networks: &[&str]) -> Chart {
    Chart {
        title: format!("{task}: lift"),
        x_name: "share of the rows, highest predictions first".into(),
        y_name: "lift".into(),
        series: lines(curves, networks, |point| (point.rows, point.lift())),
        levels: vec![Level {
            name: "random order".into(),
            value: 1.0,
            style: 4,
        }],
        zero: true,
        ..Chart::default()
    }
}

/// Returns header and rows of the table of slices.
pub(super) fn slice_table(table: &SliceTable) -> (Vec<String>, Vec<Vec<String>>) {
    let mut header = vec![table.column.clone(), "rows".to_owned()];
    for task in &table.tasks {
        header.extend(["AUC", "PCOC"].map(|figure| format!("{task}: {figure}")));
    }
    let cell = |value: Option<f64>, digits| value.map_or(ABSENT.to_owned(), |x| fixed(x, digits));
    let row = |row: &SliceRow| {
        let figures = row.figures.iter();
        let figures = figures.flat_map(|f| [cell(f.auc, 4), cell(f.pcoc, 3)]);
        let start = [row.value.clone(), thousands(row.rows)];
        start.into_iter().chain(figures).collect()
    };
    (header, table.rows.iter().map(row).collect())
}

/// Draws AUC and PCOC of each task over the days; nothing for fewer than two days, or values that are not days.
pub(super) fn days(table: &SliceTable) -> Markup {
    if !table.is_days || table.rows.len() < 2 {
        return html! {};
    }
    let first = &table.rows[0].value;
    let of = |task: usize, value: fn(&SliceFigures) -> Option<f64>| Series {
        name: table.tasks[task].clone(),
        points: (1..)
            .zip(&table.rows)
            .filter_map(|(day, row)| Some((f64::from(day), value(row.figures.get(task)?)?)))
            .collect(),
        style: task,
        ..Series::default()
    };
    let all = |value: fn(&SliceFigures) -> Option<f64>| {
        let series = (0..table.tasks.len()).map(|task| of(task, value));
        series.collect::<Vec<Series>>()
    };
    let chart = |name: &str, series: Vec<Series>, levels| Chart {
        title: format!("{name} by day"),
        x_name: format!("day with rows, from {first} on"),
        y_name: name.to_owned(),
        series,
        whole_x: true,
        levels,
        ..Chart::default()
    };
    let right = Level {
        name: "predictions equal labels".into(),
        value: 1.0,
        style: 4,
    };
    let names: Vec<&str> = table.tasks.iter().map(String::as_str).collect();
    html! {
        (super::figures::legend(&names, &[]))
        div.panels {
            (chart("AUC", all(|figures| figures.auc), Vec::new()).draw())
            (chart("PCOC", all(|figures| figures.pcoc), vec![right]).draw())
        }
    }
}

/// The header of the table of costs.
pub(super) const COSTS: [&str; 6] = [
    "table",
    "features",
    "rows",
    "parameters",
    "MiB",
    "share of the model",
];

/// Returns the rows of that table.
pub(super) fn cost_rows(costs: &[TableCost]) -> Vec<Vec<String>> {
    let all: u64 = costs.iter().map(|cost| cost.bytes).sum();
    let row = |cost: &TableCost| {
        vec![
            cost.name.clone(),
            cost.features.join(", "),
            cost.rows.map_or(ABSENT.to_owned(), thousands),
            thousands(cost.parameters),
            fixed(cost.bytes as f64 / f64::from(1 << 20), 2),
            percent(cost.bytes as f64 / all.max(1) as f64),
        ]
    };
    costs.iter().map(row).collect()
}

const WIDTH: f64 = 460.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 64.0;
const PITCH: f64 = 22.0;
/// Most columns of a chart of importance.
const MOST_BARS: usize = 20;

/// Draws the loss of a task for each column as bars, with intervals of two standard errors.
pub(super) fn importance(task: &TaskBars) -> Markup {
    let bars = &task.bars[..task.bars.len().min(MOST_BARS)];
    let reach = |bar: &crate::diagnoses::ImportanceBar| bar.loss + 2.0 * bar.error.unwrap_or(0.0);
    let most = bars.iter().map(reach).fold(0.0, f64::max);
    let low = |bar: &crate::diagnoses::ImportanceBar| bar.loss - 2.0 * bar.error.unwrap_or(0.0);
    let least = bars.iter().map(low).fold(0.0, f64::min);
    let range = if most > least { most - least } else { 1.0 };
    let scale = (WIDTH - LEFT - RIGHT) / range;
    let x = |value: f64| LEFT + (value - least) * scale;
    let height = PITCH * bars.len() as f64;
    let title = format!("{}: loss of {}", task.task, task.metric);
    let hidden = task.bars.len() - bars.len();
    html! {
        figure {
            figcaption { (title) }
            svg.chart viewBox=(format!("0 0 {WIDTH} {}", height + 6.0)) role="img" aria-label=(title) {
                @for (at, bar) in bars.iter().enumerate() {
                    @let middle = PITCH * (at as f64 + 0.5);
                    @let (from, to) = (x(bar.loss.min(0.0)), x(bar.loss.max(0.0)));
                    text.tick x=(LEFT - 8.0) y=(middle) dy="0.36em" text-anchor="end" { (shortened(&bar.column)) }
                    rect x=(format!("{from:.1}")) y=(middle - 7.0) width=(format!("{:.1}", (to - from).max(0.5)))
                        height="14" fill="#5d84b4" { title { (bar.column) } }
                    @if let Some(error) = bar.error {
                        path d=(format!("M{:.1} {middle}H{:.1}", x(bar.loss - 2.0 * error), x(bar.loss + 2.0 * error)))
                            stroke="#1a1a1a" stroke-width="1.2" fill="none" {}
                    }
                    text.tick x=(WIDTH - RIGHT + 8.0) y=(middle) dy="0.36em" { (fixed(bar.loss, 4)) }
                }
                line.axis x1=(format!("{:.1}", x(0.0))) x2=(format!("{:.1}", x(0.0))) y1="0" y2=(height) {}
            }
            @if hidden > 0 { p.explained { (hidden) " further columns lose less." } }
        }
    }
}

/// Returns a name of at most 20 characters.
fn shortened(name: &str) -> String {
    const MOST: usize = 20;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    let start: String = name.chars().take(MOST - 1).collect();
    format!("{start}…")
}
