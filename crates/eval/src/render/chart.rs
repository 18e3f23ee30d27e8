//! Line charts in SVG: named axes, lines distinguished by lightness, dash and marker.

use maud::{Markup, html};

/// A line chart. All points are in data units.
#[derive(Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x_name: String,
    pub(super) y_name: String,
    pub(super) series: Vec<Series>,
    /// Draws y = x and gives both axes the same range.
    pub(super) diagonal: bool,
    /// Puts ticks of the x axis at whole numbers only.
    pub(super) whole_x: bool,
    /// Horizontal lines across the chart.
    pub(super) levels: Vec<Level>,
    /// Draws y = 0.
    pub(super) zero: bool,
}

/// A constant value over the whole x axis.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) style: usize,
}

/// One line of a chart.
#[derive(Default)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Index of the line style; a network keeps its style in every chart.
    pub(super) style: usize,
    /// Draws the line thin and without markers: the secondary line of a style.
    pub(super) thin: bool,
    /// Point marked by a ring.
    pub(super) picked: Option<(f64, f64)>,
    /// Intervals of some of the points, as `(x, [low, high])`.
    pub(super) whiskers: Vec<(f64, [f64; 2])>,
    /// Horizontal offset in SVG units, so that whiskers do not overlap.
    pub(super) shift: f64,
}

/// Style of a line, distinguishable without colour.
pub(super) struct LineStyle {
    colour: &'static str,
    dash: &'static str,
    marker: Marker,
}

#[derive(Clone, Copy)]
enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

const STYLES: [LineStyle; 6] = [
    style("#14365d", "", Marker::Circle),
    style("#c4600f", "7 3", Marker::Square),
    style("#5fb3a3", "2 3", Marker::Triangle),
    style("#8a2a5b", "9 3 2 3", Marker::Diamond),
    style("#7a7a70", "4 2", Marker::Circle),
    style("#a88a10", "12 4", Marker::Square),
];

const fn style(colour: &'static str, dash: &'static str, marker: Marker) -> LineStyle {
    LineStyle {
        colour,
        dash,
        marker,
    }
}

impl LineStyle {
    pub(super) fn of(index: usize) -> &'static LineStyle {
        &STYLES[index % STYLES.len()]
    }

    /// Draws a short sample of the line, for a legend.
    pub(super) fn sample(&self, thin: bool) -> Markup {
        html! {
            svg.sample viewBox="0 0 34 12" aria-hidden="true" {
                (self.line("M1 6H33", if thin { THIN } else { THICK }))
                @if !thin { (self.mark(17.0, 6.0)) }
            }
        }
    }

    /// Draws a short sample of a level.
    pub(super) fn level_sample(&self) -> Markup {
        html! {
            svg.sample viewBox="0 0 34 12" aria-hidden="true" { (self.line("M1 6H33", LEVEL)) }
        }
    }

    fn line(&self, path: &str, width: &str) -> Markup {
        html! {
            path d=(path) fill="none" stroke=(self.colour) stroke-width=(width)
                stroke-dasharray=(self.dash) stroke-linejoin="round" {}
        }
    }

    fn mark(&self, x: f64, y: f64) -> Markup {
        let path = match self.marker {
            Marker::Circle => format!(
                "M{} {y:.1}a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0",
                x - 3.6
            ),
            Marker::Square => format!("M{:.1} {:.1}h6.4v6.4h-6.4z", x - 3.2, y - 3.2),
            Marker::Triangle => format!("M{x:.1} {:.1}l4.2 7.4h-8.4z", y - 4.6),
            Marker::Diamond => format!("M{x:.1} {:.1}l4.4 4.4l-4.4 4.4l-4.4 -4.4z", y - 4.4),
        };
        html! { path d=(path) fill=(self.colour) stroke="#fff" stroke-width="0.8" {} }
    }
}

// Widths of lines.
const THICK: &str = "2.2";
const LEVEL: &str = "1.8";
const THIN: &str = "1.2";

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 50.0;

impl Chart {
    /// Draws the chart as a figure with its title; a sentence if there is nothing to draw.
    pub(super) fn draw(&self) -> Markup {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let margin = self.margin();
        let (left, right) = (LEFT + margin, WIDTH - RIGHT - margin);
        let y_values = points().map(|p| p.1).chain(self.further_y_values());
        let (mut x, mut y) = (
            Axis::over(points().map(|p| p.0), self.whole_x, left, right),
            Axis::over(y_values, false, HEIGHT - BOTTOM, TOP),
        );
        if self.diagonal {
            let both = || points().flat_map(|p| [p.0, p.1]).chain([0.0]);
            x = Axis::over(both(), false, LEFT, WIDTH - RIGHT);
            y = Axis::over(both(), false, HEIGHT - BOTTOM, TOP);
        }
        html! {
            figure {
                figcaption { (self.title) }
                @match (x, y) {
                    (Some(x), Some(y)) => (self.draw_over(&x, &y)),
                    _ => p.absent { "No finite values to draw." },
                }
            }
        }
    }

    /// Returns the margin at both ends of the x axis for offset lines.
    fn margin(&self) -> f64 {
        let shifts = self.series.iter().map(|series| series.shift.abs());
        let furthest = shifts.fold(0.0, f64::max);
        if furthest > 0.0 { furthest + 8.0 } else { 0.0 }
    }

    /// Returns the further values that the y axis must include.
    fn further_y_values(&self) -> impl Iterator<Item = f64> {
        let whiskers = self.series.iter().flat_map(|series| &series.whiskers);
        let levels = self.levels.iter().map(|level| level.value);
        let zero = self.zero.then_some(0.0);
        whiskers
            .flat_map(|(_, interval)| *interval)
            .chain(levels)
            .chain(zero)
    }

    fn draw_over(&self, x: &Axis, y: &Axis) -> Markup {
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        html! {
            svg.chart viewBox=(view) role="img" aria-label=(self.title) {
                (vertical_axis(y, &self.y_name))
                (horizontal_axis(x, &self.x_name))
                @if self.diagonal { (diagonal(x, y)) }
                @if self.zero { (zero(y)) }
                @for level in &self.levels { (level.draw(y)) }
                @for series in &self.series { (series.draw_whiskers(x, y)) }
                @for series in &self.series { (series.draw(x, y)) }
                @for series in &self.series { (series.draw_picked(x, y)) }
            }
        }
    }
}

impl Series {
    fn draw(&self, x: &Axis, y: &Axis) -> Markup {
        let place = |&(px, py): &(f64, f64)| (x.place(px) + self.shift, y.place(py));
        let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
        let places: Vec<(f64, f64)> = self.points.iter().filter(finite).map(place).collect();
        let corners: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1} {y:.1}"))
            .collect();
        let style = LineStyle::of(self.style);
        let width = if self.thin { THIN } else { THICK };
        html! {
            g {
                title { (self.name) }
                @if places.len() > 1 { (style.line(&format!("M{}", corners.join("L")), width)) }
                @if (!self.thin && places.len() <= 40) || places.len() == 1 {
                    @for (x, y) in places { (style.mark(x, y)) }
                }
            }
        }
    }

    fn draw_whiskers(&self, x: &Axis, y: &Axis) -> Markup {
        let style = LineStyle::of(self.style);
        let whisker = |&(px, [low, high]): &(f64, [f64; 2])| {
            let (px, low, high) = (x.place(px) + self.shift, y.place(low), y.place(high));
            let ends = format!("M{:.1} {low:.1}h6M{:.1} {high:.1}h6", px - 3.0, px - 3.0);
            format!("M{px:.1} {low:.1}V{high:.1}{ends}")
        };
        let finite = |w: &&(f64, [f64; 2])| w.0.is_finite() && w.1.iter().all(|e| e.is_finite());
        let paths = self.whiskers.iter().filter(finite).map(whisker);
        html! {
            @for path in paths {
                path d=(path) fill="none" stroke=(style.colour) stroke-width="1.1" {}
            }
        }
    }

    fn draw_picked(&self, x: &Axis, y: &Axis) -> Markup {
        let Some((px, py)) = self.picked.filter(|p| p.0.is_finite() && p.1.is_finite()) else {
            return html! {};
        };
        let (px, py) = (format!("{:.1}", x.place(px)), format!("{:.1}", y.place(py)));
        html! { circle cx=(px) cy=(py) r="8" fill="none" stroke="#1a1a1a" stroke-width="1.6" {} }
    }
}

impl Level {
    fn draw(&self, y: &Axis) -> Markup {
        let path = format!("M{LEFT} {:.1}H{}", y.place(self.value), WIDTH - RIGHT);
        html! {
            g { title { (self.name) } (LineStyle::of(self.style).line(&path, LEVEL)) }
        }
    }
}

fn horizontal_axis(axis: &Axis, name: &str) -> Markup {
    let (base, middle) = (HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2.0);
    html! {
        line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(base) y2=(base) {}
        @for (place, label) in axis.ticks() {
            line.axis x1=(place) x2=(place) y1=(base) y2=(base + 4.0) {}
            text.tick x=(place) y=(base + 18.0) text-anchor="middle" { (label) }
        }
        text.name x=(middle) y=(HEIGHT - 10.0) text-anchor="middle" { (name) }
    }
}

fn vertical_axis(axis: &Axis, name: &str) -> Markup {
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    let turned = format!("translate(15 {middle}) rotate(-90)");
    html! {
        @for (place, label) in axis.ticks() {
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(place) y2=(place) {}
            text.tick x=(LEFT - 7.0) y=(place) dy="0.34em" text-anchor="end" { (label) }
        }
        text.name transform=(turned) text-anchor="middle" { (name) }
    }
}

fn diagonal(x: &Axis, y: &Axis) -> Markup {
    html! {
        line.diagonal x1=(x.from) y1=(y.from) x2=(x.to) y2=(y.to) {}
    }
}

fn zero(y: &Axis) -> Markup {
    let place = format!("{:.1}", y.place(0.0));
    html! { line.zero x1=(LEFT) x2=(WIDTH - RIGHT) y1=(place) y2=(place) {} }
}

/// A mapping from a range of data to a range of the picture.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Returns an axis whose ends are ticks around all finite values; `None` without any.
    pub(super) fn over(
        values: impl Iterator<Item = f64>,
        whole: bool,
        from: f64,
        to: f64,
    ) -> Option<Axis> {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        let narrowest = (low.abs().max(high.abs()) * 1e-6).max(1e-12);
        let (low, high) = if high - low > narrowest {
            (low, high)
        } else {
            (
                low - narrowest.max(low.abs() * 0.05),
                high + narrowest.max(high.abs() * 0.05),
            )
        };
        let step = round_step((high - low) / 5.0);
        let step = if whole { step.max(1.0).ceil() } else { step };
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Some(Axis {
            low,
            high,
            step,
            from,
            to,
        })
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Returns the position and label of each tick.
    pub(super) fn ticks(&self) -> Vec<(String, String)> {
        let n_steps = ((self.high - self.low) / self.step).round() as usize;
        let decimals = (-self.step.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
        let tick = |at: usize| {
            let value = self.low + at as f64 * self.step;
            let value = if value.abs() < self.step * 1e-6 {
                0.0
            } else {
                value
            };
            (
                format!("{:.1}", self.place(value)),
                tick_label(value, decimals),
            )
        };
        (0..=n_steps).map(tick).collect()
    }
}

/// Formats a tick label; values from a million are in millions, values from ten thousand in thousands.
fn tick_label(value: f64, decimals: usize) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{}M", value / 1e6),
        large if large >= 1e4 => format!("{}k", value / 1e3),
        _ => format!("{value:.decimals$}"),
    }
}

/// Rounds up to the next of 1, 2, 5, 10 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_ticks(values: &[f64], whole: bool, expected: &[&str]) {
        let axis = Axis::over(values.iter().copied(), whole, 0.0, 100.0).unwrap();
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn ticks_are_round_and_cover_all_values() {
        check_ticks(
            &[0.701, 0.742],
            false,
            &["0.70", "0.71", "0.72", "0.73", "0.74", "0.75"],
        );
        check_ticks(&[0.2, 1.0], false, &["0.2", "0.4", "0.6", "0.8", "1.0"]);
        check_ticks(&[1.0, 3.0], true, &["1", "2", "3"]);
        check_ticks(&[0.0, 40_000.0], true, &["0", "10k", "20k", "30k", "40k"]);
    }

    #[test]
    fn a_single_value_still_has_an_axis() {
        let axis = Axis::over([0.5, f64::NAN].into_iter(), false, 0.0, 100.0).unwrap();
        assert!(axis.low < 0.5 && axis.high > 0.5);
        assert!(Axis::over([0.0].into_iter(), false, 0.0, 100.0).is_some());
        assert!(Axis::over([f64::NAN].into_iter(), false, 0.0, 100.0).is_none());
    }
}
