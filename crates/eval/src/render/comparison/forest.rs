//! Forest plot: each method's difference to a reference, one below the other.

use maud::{Markup, html};

use crate::comparison::{MethodDifference, Verdict};
use crate::render::chart::Axis;
use crate::report::Better;

const WIDTH: f64 = 520.0;
const LEFT: f64 = 176.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 6.0;
const PITCH: f64 = 22.0;
const BOTTOM: f64 = 46.0;

/// Maximum number of tick labels; this axis is narrower than those of other charts.
const MOST_TICK_LABELS: usize = 5;

/// Draws the differences of one figure to one reference, methods from top to bottom. Significant ones are
/// filled, others hollow.
pub(super) fn draw(title: &str, differences: &[&MethodDifference]) -> Markup {
    let reach = |one: &&MethodDifference| {
        let estimate = one.difference.estimate;
        estimate.interval.unwrap_or([estimate.mean; 2])
    };
    let values = differences.iter().flat_map(reach).chain([0.0]);
    let axis = Axis::over(values, false, LEFT, WIDTH - RIGHT);
    html! {
        figure {
            figcaption { (title) }
            @match axis.filter(|_| !differences.is_empty()) {
                Some(axis) => (draw_over(title, &axis, differences)),
                None => p.absent { "No differences to draw." },
            }
        }
    }
}

fn draw_over(title: &str, axis: &Axis, differences: &[&MethodDifference]) -> Markup {
    let base = TOP + PITCH * differences.len() as f64;
    let view = format!("0 0 {WIDTH} {}", base + BOTTOM);
    let zero = format!("{:.1}", axis.place(0.0));
    html! {
        svg.chart viewBox=(view) role="img" aria-label=(title) {
            (horizontal(axis, base, &axis_name(differences)))
            line.zero x1=(zero) x2=(zero) y1=(TOP) y2=(base) {}
            @for (at, one) in differences.iter().enumerate() {
                (dot(one, axis, TOP + PITCH * (at as f64 + 0.5)))
            }
        }
    }
}

/// Returns the axis name with the direction of improvement.
fn axis_name(differences: &[&MethodDifference]) -> String {
    let Some(first) = differences.first() else {
        return String::new();
    };
    let side = match first.key.known().map(|figure| figure.better) {
        Some(Better::Lower) => "left",
        _ => "right",
    };
    format!("difference in {} ({side} is better)", first.key)
}

fn horizontal(axis: &Axis, base: f64, name: &str) -> Markup {
    let ticks = axis.ticks();
    let every = ticks.len().div_ceil(MOST_TICK_LABELS);
    html! {
        @for (at, (place, label)) in ticks.iter().enumerate() {
            line.grid x1=(place) x2=(place) y1=(TOP) y2=(base) {}
            @if at % every == 0 {
                text.tick x=(place) y=(base + 15.0) text-anchor="middle" { (label) }
            }
        }
        line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(base) y2=(base) {}
        text.name x=((LEFT + WIDTH - RIGHT) / 2.0) y=(base + 36.0) text-anchor="middle" { (name) }
    }
}

fn dot(one: &MethodDifference, axis: &Axis, y: f64) -> Markup {
    let place = |value: f64| format!("{:.1}", axis.place(value));
    let ink = "#14365d";
    let fill = match one.verdict {
        Verdict::Better | Verdict::Worse => ink,
        Verdict::NotSignificant | Verdict::TooFewSeeds => "#fff",
    };
    html! {
        g {
            title { (one.method) ": " (super::words::verdict(one.verdict)) }
            text.method x=(LEFT - 10.0) y=(y) dy="0.34em" text-anchor="end" { (one.method) }
            @if let Some([low, high]) = one.difference.estimate.interval {
                line x1=(place(low)) x2=(place(high)) y1=(y) y2=(y) stroke=(ink)
                    stroke-width="1.6" {}
            }
            circle cx=(place(one.difference.estimate.mean)) cy=(y) r="4.4" fill=(fill)
                stroke=(ink) stroke-width="1.6" {}
        }
    }
}
