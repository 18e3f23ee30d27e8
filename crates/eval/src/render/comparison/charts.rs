//! Line charts of a comparison: AUC over density, differences over the degree of sharing.

use maud::{Markup, html};

use crate::comparison::{Comparison, DataInput, DataResult, FigureKey, MethodInput};
use crate::render::chart::{Chart, Level, LineStyle, Series};
use crate::render::figures::distinct;
use crate::report::Better;

/// Maximum number of lines in a chart.
pub(super) const MOST_LINES: usize = 6;

/// Horizontal distance between whiskers at the same x.
const SHIFT: f64 = 5.0;

/// Draws AUC over density, a line for each family and a level for each reference outside the families; `None`
/// without families.
pub(super) fn density(
    comparison: &Comparison,
    data: &DataInput,
    result: &DataResult,
) -> Option<Markup> {
    let families = distinct(
        data.methods
            .iter()
            .filter_map(|method| method.family.as_ref()),
    );
    let references = comparison.input.references.iter();
    let is_level = |name: &&String| data.method(name).is_some_and(|m| m.family.is_none());
    let levels: Vec<&str> = references.filter(is_level).map(String::as_str).collect();
    let is_area = |key: &FigureKey| key.is_decisive() && key.known().is_some_and(|f| f.is_area());
    let keys = result.keys().into_iter().filter(is_area);
    let charts: Vec<Chart> = keys
        .map(|key| density_chart(data, result, &key, &families, &levels))
        .filter(|chart| !chart.series.is_empty())
        .collect();
    (!charts.is_empty()).then(|| {
        html! {
            (density_legend(&families, &levels))
            div.panels { @for chart in &charts { (chart.draw()) } }
        }
    })
}

fn density_legend(families: &[&str], levels: &[&str]) -> Markup {
    html! {
        p.legend {
            @for (style, family) in families.iter().enumerate() {
                span { (LineStyle::of(style).sample(false)) (family) }
            }
            @for (at, level) in levels.iter().enumerate() {
                span { (LineStyle::of(families.len() + at).level_sample()) (level) }
            }
        }
    }
}

fn density_chart(
    data: &DataInput,
    result: &DataResult,
    key: &FigureKey,
    families: &[&str],
    levels: &[&str],
) -> Chart {
    let line = |(style, family): (usize, &&str)| {
        let members = data.methods.iter();
        let members = members.filter(|method| method.family.as_deref() == Some(*family));
        density_line(members, result, key).named(family, style, families.len())
    };
    let level = |(at, name): (usize, &&str)| {
        Some(Level {
            name: (*name).to_owned(),
            value: result.estimate(name, key)?.mean,
            style: families.len() + at,
        })
    };
    let lines = families.iter().enumerate().map(line);
    Chart {
        title: format!("{}: {key} over density", data.name),
        x_name: "density (share of connections kept)".into(),
        y_name: key.to_string(),
        series: lines.filter(|line| !line.points.is_empty()).collect(),
        levels: levels.iter().enumerate().filter_map(level).collect(),
        ..Chart::default()
    }
}

fn density_line<'a>(
    members: impl Iterator<Item = &'a MethodInput>,
    result: &DataResult,
    key: &FigureKey,
) -> Series {
    let point = |method: &MethodInput| {
        let estimate = result.estimate(&method.name, key)?;
        Some((method.density(&key.task)?, estimate.mean, estimate.interval))
    };
    Series::of_points(members.filter_map(point).collect())
}

impl Series {
    /// Returns a line through `(x, y, interval)` in ascending order of x.
    fn of_points(mut points: Vec<(f64, f64, Option<[f64; 2]>)>) -> Series {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let whisker = |point: &(f64, f64, Option<[f64; 2]>)| Some((point.0, point.2?));
        Series {
            whiskers: points.iter().filter_map(whisker).collect(),
            points: points.into_iter().map(|(x, y, _)| (x, y)).collect(),
            ..Series::default()
        }
    }

    /// Names the line and sets its style among `n_lines`.
    fn named(self, name: &str, style: usize, n_lines: usize) -> Series {
        Series {
            name: name.to_owned(),
            style,
            shift: SHIFT * (style as f64 - 0.5 * (n_lines.max(1) - 1) as f64),
            ..self
        }
    }
}

/// Data sets of one group with their degrees of sharing.
struct Group<'a> {
    members: Vec<(f64, &'a DataInput, &'a DataResult)>,
}

/// Returns the names of the groups that have a degree of sharing.
pub(super) fn groups(comparison: &Comparison) -> Vec<&str> {
    let grouped = comparison.input.data.iter();
    distinct(grouped.filter_map(|data| data.share.and(data.group.as_ref())))
}

/// Draws the differences to the first two references over the degree of sharing, split into charts of few
/// lines.
pub(super) fn sharing(comparison: &Comparison, group: &str) -> Markup {
    let group = Group::named(comparison, group);
    let references: Vec<&String> = comparison.input.references.iter().take(2).collect();
    html! {
        @for methods in group.methods_by_chart(&references) {
            (legend(&methods))
            div.panels {
                @for key in group.keys() {
                    @for reference in &references {
                        (group.chart(&key, reference, &methods))
                    }
                }
            }
        }
    }
}

/// Returns the legend: names and line samples.
pub(super) fn legend(names: &[&str]) -> Markup {
    crate::render::figures::legend(names, &[])
}

/// Returns the direction of better values of a chart.
fn better_end(key: &FigureKey) -> &'static str {
    match key.known().map(|figure| figure.better) {
        Some(Better::Lower) => "lower",
        _ => "higher",
    }
}

impl<'a> Group<'a> {
    fn named(comparison: &'a Comparison, name: &str) -> Group<'a> {
        let members = comparison.data_sets();
        let members = members.filter(|(data, _)| data.group.as_deref() == Some(name));
        Group {
            members: members
                .filter_map(|(data, result)| Some((data.share?, data, result)))
                .collect(),
        }
    }

    fn keys(&self) -> Vec<FigureKey> {
        let mut keys: Vec<FigureKey> = Vec::new();
        for key in self.members.iter().flat_map(|(_, _, result)| result.keys()) {
            if key.is_decisive() && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Splits the methods into charts: first those with masks and the best of the others, then the rest.
    fn methods_by_chart(&self, references: &[&String]) -> Vec<Vec<&'a str>> {
        let masked = self.names(MethodInput::has_masks);
        let mut others = self.names(|method| !method.has_masks());
        others.sort_by(|a, b| {
            self.gain(b, references)
                .total_cmp(&self.gain(a, references))
        });
        let n_masked = masked.len().min(MOST_LINES - 1);
        let n_best = others.len().min(1);
        let first = [&masked[..n_masked], &others[..n_best]].concat();
        let rest = [&masked[n_masked..], &others[n_best..]].concat();
        let rest = rest.chunks(MOST_LINES).map(<[&str]>::to_vec);
        let charts = [first].into_iter().chain(rest);
        charts.filter(|methods| !methods.is_empty()).collect()
    }

    fn names(&self, matches: impl Fn(&MethodInput) -> bool) -> Vec<&'a str> {
        let methods = self.members.iter().flat_map(|(_, data, _)| &data.methods);
        distinct(
            methods
                .filter(|method| matches(method))
                .map(|method| &method.name),
        )
    }

    /// Returns the mean difference of a method to the references over all figures, signed so that positive is
    /// better.
    fn gain(&self, method: &str, references: &[&String]) -> f64 {
        let differences = self
            .members
            .iter()
            .flat_map(|(_, _, result)| &result.differences);
        let of_method =
            differences.filter(|one| one.method == method && references.contains(&&one.reference));
        let gains = of_method.map(|one| match one.key.known().map(|figure| figure.better) {
            Some(Better::Lower) => -one.difference.estimate.mean,
            _ => one.difference.estimate.mean,
        });
        let gains: Vec<f64> = gains.collect();
        gains.iter().sum::<f64>() / gains.len().max(1) as f64
    }

    fn chart(&self, key: &FigureKey, reference: &str, methods: &[&str]) -> Markup {
        let line = |(style, method): (usize, &&str)| {
            self.line(key, reference, method)
                .named(method, style, methods.len())
        };
        let lines = methods.iter().enumerate().map(line);
        let chart = Chart {
            title: format!("{key}: difference to {reference}"),
            x_name: "degree of sharing between the tasks' true models (0 to 1)".into(),
            y_name: format!("difference ({} is better)", better_end(key)),
            series: lines.filter(|line| !line.points.is_empty()).collect(),
            zero: true,
            ..Chart::default()
        };
        if chart.series.is_empty() {
            html! {}
        } else {
            chart.draw()
        }
    }

    fn line(&self, key: &FigureKey, reference: &str, method: &str) -> Series {
        let point = |(share, _, result): &(f64, &DataInput, &DataResult)| {
            let estimate = result
                .difference(method, reference, key)?
                .difference
                .estimate;
            Some((*share, estimate.mean, estimate.interval))
        };
        Series::of_points(self.members.iter().filter_map(point).collect())
    }
}
