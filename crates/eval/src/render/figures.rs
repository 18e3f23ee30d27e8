//! Charts of the report's curves: one row of panels for each task.

use maud::{Markup, html};

use super::chart::{Chart, LineStyle, Series};
use super::numbers::{ABSENT, fixed, percent, thousands};
use crate::report::{
    CalibrationCurve, LearningCurve, LearningPoint, RunReport, SearchCurve, SharingPicture,
};
use crate::sharing::{LayerSharing, Overlap, PairOverlap};

/// Returns the networks of the report's curves in the order of their first curve; a network's index is its line
/// style.
pub(super) fn networks(report: &RunReport) -> Vec<&str> {
    let learning = report.learning.iter().map(|curve| &curve.network);
    let calibration = report.calibration.iter().map(|curve| &curve.network);
    distinct(learning.chain(calibration))
}

pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name.as_str()) {
            kept.push(name.as_str());
        }
    }
    kept
}

/// Returns the legend: names and line samples of the networks.
pub(super) fn legend(networks: &[&str], remarks: &[(&str, bool)]) -> Markup {
    html! {
        p.legend {
            @for (style, network) in networks.iter().enumerate() {
                span { (LineStyle::of(style).sample(false)) (network) }
            }
            @for (remark, ringed) in remarks {
                span.remark {
                    @if *ringed {
                        svg.ring viewBox="0 0 14 14" aria-hidden="true" {
                            circle cx="7" cy="7" r="5.6" fill="none" stroke="#1a1a1a"
                                stroke-width="1.6" {}
                        }
                    } @else {
                        (LineStyle::of(0).sample(true))
                    }
                    (remark)
                }
            }
        }
    }
}

/// Draws loss and validation metric of each task over the training.
pub(super) fn learning(curves: &[LearningCurve], networks: &[&str]) -> Markup {
    let tasks = distinct(curves.iter().map(|curve| &curve.task));
    html! {
        div.panels {
            @for task in tasks {
                @let curves: Vec<_> = curves.iter().filter(|curve| curve.task == task).collect();
                (loss_chart(task, &curves, networks).draw())
                (metric_chart(task, &curves, networks).draw())
            }
        }
    }
}

fn loss_chart(task: &str, curves: &[&LearningCurve], networks: &[&str]) -> Chart {
    let both = |curve: &&LearningCurve| {
        let train = series(curve, networks, true, |point| point.train_loss);
        let validation = series(curve, networks, false, |point| point.validation_loss);
        [train, validation]
            .into_iter()
            .filter(|series| !series.points.is_empty())
    };
    over_training(format!("{task}: loss"), "loss".into(), curves, {
        curves.iter().flat_map(both).collect()
    })
}

fn metric_chart(task: &str, curves: &[&LearningCurve], networks: &[&str]) -> Chart {
    let metric = curves
        .first()
        .map_or("metric", |curve| curve.metric_name.as_str());
    let line = |curve: &&LearningCurve| series(curve, networks, false, |p| p.validation_metric);
    let title = format!("{task}: validation {metric}");
    over_training(
        title,
        metric.to_string(),
        curves,
        curves.iter().map(line).collect(),
    )
}

fn over_training(
    title: String,
    y_name: String,
    curves: &[&LearningCurve],
    series: Vec<Series>,
) -> Chart {
    let x_name = curves
        .first()
        .map_or("position", |curve| curve.position_name.as_str());
    Chart {
        title,
        x_name: x_name.into(),
        y_name,
        series,
        whole_x: true,
        ..Chart::default()
    }
}

fn series(
    curve: &LearningCurve,
    networks: &[&str],
    thin: bool,
    value: impl Fn(&LearningPoint) -> Option<f64>,
) -> Series {
    let place = |point: &LearningPoint| Some((point.position, value(point)?));
    let kind = if thin { "training" } else { "validation" };
    let picked = curve
        .picked
        .and_then(|at| curve.points.get(at))
        .and_then(place);
    Series {
        name: format!("{}, {kind}", curve.network),
        points: curve.points.iter().filter_map(place).collect(),
        style: style_of(&curve.network, networks),
        thin,
        picked: picked.filter(|_| !thin),
        ..Series::default()
    }
}

fn style_of(network: &str, networks: &[&str]) -> usize {
    networks
        .iter()
        .position(|name| *name == network)
        .unwrap_or(0)
}

/// Draws validation metric against density, one panel for each task.
pub(super) fn search(curves: &[SearchCurve]) -> Markup {
    html! { div.panels { @for curve in curves { (search_chart(curve).draw()) } } }
}

fn search_chart(curve: &SearchCurve) -> Chart {
    let place = |at: usize| {
        Some((
            curve.rounds[at].density,
            curve.rounds[at].validation_metric?,
        ))
    };
    let series = Series {
        name: curve.task.clone(),
        points: (0..curve.rounds.len()).filter_map(place).collect(),
        picked: curve
            .picked
            .filter(|at| *at < curve.rounds.len())
            .and_then(place),
        ..Series::default()
    };
    Chart {
        title: format!(
            "{}: validation {} of each round's subnetwork",
            curve.task, curve.metric_name
        ),
        x_name: "density (share of connections kept)".into(),
        y_name: curve.metric_name.clone(),
        series: vec![series],
        ..Chart::default()
    }
}

/// Draws predicted against observed rates, one panel for each task.
pub(super) fn calibration(curves: &[CalibrationCurve], networks: &[&str]) -> Markup {
    let tasks = distinct(curves.iter().map(|curve| &curve.task));
    html! {
        div.panels {
            @for task in tasks {
                @let curves: Vec<_> = curves.iter().filter(|curve| curve.task == task).collect();
                (calibration_chart(task, &curves, networks).draw())
            }
        }
    }
}

fn calibration_chart(task: &str, curves: &[&CalibrationCurve], networks: &[&str]) -> Chart {
    let line = |curve: &&CalibrationCurve| Series {
        name: curve.network.clone(),
        points: curve
            .bins
            .iter()
            .map(|bin| (bin.predicted, bin.observed))
            .collect(),
        style: style_of(&curve.network, networks),
        ..Series::default()
    };
    Chart {
        title: format!("{task}: calibration"),
        x_name: "mean prediction of the bin".into(),
        y_name: "mean label of the bin".into(),
        series: curves.iter().map(line).collect(),
        diagonal: true,
        ..Chart::default()
    }
}

/// Returns the header of the table below the sharing chart.
pub(super) fn sharing_header(tasks: &[String]) -> Vec<String> {
    let mut header = vec!["layer".to_string(), "connections".into(), "shared".into()];
    let many = tasks.len() > 2;
    header.extend(many.then(|| "by all".to_string()));
    header.extend(tasks.iter().map(|task| format!("{task} only")));
    header.push("pruned".to_owned());
    if !many {
        header.extend(["overlap", "chance level"].map(String::from));
    }
    header
}

/// Returns a layer's row of that table.
pub(super) fn sharing_row(layer: &LayerSharing) -> Vec<String> {
    let share = |count: u64| percent(count as f64 / layer.connections() as f64);
    let mut row = vec![
        layer.name.clone(),
        thousands(layer.connections()),
        share(layer.shared),
    ];
    let many = layer.only.len() > 2;
    row.extend(many.then(|| layer.by_all.map_or(ABSENT.into(), share)));
    row.extend(layer.only.iter().map(|only| share(*only)));
    row.push(share(layer.pruned));
    if !many {
        let overlap = layer.overlap();
        row.push(overlap.map_or(ABSENT.into(), |overlap| fixed(overlap.overlap, 3)));
        row.push(overlap.map_or(ABSENT.into(), |overlap| fixed(overlap.chance, 3)));
    }
    row
}

/// Returns header and rows of the table of pairs of tasks; `None` for two tasks, whose overlap stands beside the layers, and
/// without masks.
pub(super) fn pairs_table(
    picture: &SharingPicture,
) -> Option<([&'static str; 5], Vec<Vec<String>>)> {
    if picture.tasks.len() < 3 || picture.pairs.is_empty() {
        return None;
    }
    let row = |pair: &PairOverlap| {
        let Overlap {
            densities: [first, second],
            overlap,
            chance,
        } = pair.overlap;
        vec![
            pair.tasks.join(", "),
            percent(first),
            percent(second),
            fixed(overlap, 3),
            fixed(chance, 3),
        ]
    };
    let header = [
        "tasks",
        "kept by the first",
        "by the second",
        "overlap",
        "chance level",
    ];
    Some((header, picture.pairs.iter().map(row).collect()))
}

/// Returns header and rows of the table of units by owner; `None` if all units of all layers are common.
pub fn units_table(
    tasks: &[String],
    layers: &[LayerSharing],
) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    if layers.iter().all(|layer| layer.own_units.is_empty()) {
        return None;
    }
    let mut header = vec!["layer".to_string(), "units".into(), "common".into()];
    header.extend(tasks.iter().map(|task| format!("{task}'s own")));
    let row = |layer: &LayerSharing| {
        let own: usize = layer.own_units.iter().sum();
        let counts = [layer.outputs, layer.outputs - own].into_iter();
        let counts =
            counts.chain((0..tasks.len()).map(|t| layer.own_units.get(t).copied().unwrap_or(0)));
        let counts = counts.map(|count| thousands(count as u64));
        std::iter::once(layer.name.clone()).chain(counts).collect()
    };
    Some((header, layers.iter().map(row).collect()))
}
