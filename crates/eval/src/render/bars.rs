//! The sharing chart: one stacked bar a layer, from shared by all tasks to pruned.

use maud::{Markup, html};

use super::numbers::thousands;
use crate::report::SharingPicture;
use crate::sharing::LayerSharing;

/// Fill of a segment and colour of the text on it.
struct Fill {
    paint: &'static str,
    ink: &'static str,
}

const SHARED: Fill = Fill {
    paint: "#14365d",
    ink: "#fff",
};
/// Kept by two tasks or more, but not by all.
const BY_SOME: Fill = Fill {
    paint: "#5d84b4",
    ink: "#fff",
};
const PRUNED: Fill = Fill {
    paint: "#f4f4f1",
    ink: "#444",
};
/// Fills for connections that one task alone keeps.
const ONLY: [Fill; 4] = [
    Fill {
        paint: "url(#stripes)",
        ink: "#1a1a1a",
    },
    Fill {
        paint: "url(#dots)",
        ink: "#1a1a1a",
    },
    Fill {
        paint: "url(#bars)",
        ink: "#1a1a1a",
    },
    Fill {
        paint: "url(#grid)",
        ink: "#1a1a1a",
    },
];

const WIDTH: f64 = 940.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 20.0;
const BAR: f64 = 30.0;
const PITCH: f64 = 46.0;
const TOP: f64 = 6.0;

/// Returns the fill patterns, to be included once in each document.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            defs {
                pattern id="stripes" width="7" height="7" patternUnits="userSpaceOnUse"
                    patternTransform="rotate(45)" {
                    rect width="7" height="7" fill="#f0b06a" {}
                    rect width="2" height="7" fill="#dc9340" {}
                }
                pattern id="dots" width="8" height="8" patternUnits="userSpaceOnUse" {
                    rect width="8" height="8" fill="#cfe6df" {}
                    circle cx="2" cy="2" r="1.3" fill="#79b5a6" {}
                    circle cx="6" cy="6" r="1.3" fill="#79b5a6" {}
                }
                pattern id="bars" width="6" height="6" patternUnits="userSpaceOnUse" {
                    rect width="6" height="6" fill="#dcb4c9" {}
                    rect width="6" height="1.6" fill="#c07fa2" {}
                }
                pattern id="grid" width="8" height="8" patternUnits="userSpaceOnUse" {
                    rect width="8" height="8" fill="#e9dfae" {}
                    path d="M0 0H8M0 0V8" stroke="#bfae58" stroke-width="1.6" {}
                }
            }
        }
    }
}

/// Returns the legend: names and samples of the segments.
pub(super) fn legend(tasks: &[String]) -> Markup {
    let many = tasks.len() > 2;
    html! {
        p.legend {
            (entry(&SHARED, if many { "shared by all" } else { "shared" }))
            @if many { (entry(&BY_SOME, "shared by some")) }
            @for (task, fill) in tasks.iter().zip(ONLY.iter().cycle()) {
                (entry(fill, &format!("{task} only")))
            }
            (entry(&PRUNED, "pruned"))
        }
    }
}

fn entry(fill: &Fill, name: &str) -> Markup {
    html! {
        span {
            svg.sample viewBox="0 0 34 12" aria-hidden="true" {
                rect x="1" y="0.5" width="32" height="11" fill=(fill.paint) stroke="#555"
                    stroke-width="0.8" {}
            }
            (name)
        }
    }
}

/// Draws the bars of a network's layers over an axis in percent of each layer's connections.
pub(super) fn draw(picture: &SharingPicture) -> Markup {
    let bottom = TOP + PITCH * picture.layers.len() as f64;
    let view = format!("0 0 {WIDTH} {}", bottom + 44.0);
    html! {
        svg.bars viewBox=(view) role="img" aria-label="share of connections by layer" {
            (axis(bottom))
            @for (at, layer) in picture.layers.iter().enumerate() {
                (bar(layer, &picture.tasks, TOP + PITCH * at as f64))
            }
        }
    }
}

fn axis(bottom: f64) -> Markup {
    let place = |percent: u32| LEFT + (WIDTH - LEFT - RIGHT) * percent as f64 / 100.0;
    html! {
        @for percent in [0, 20, 40, 60, 80, 100] {
            line.grid x1=(place(percent)) x2=(place(percent)) y1=(TOP) y2=(bottom) {}
            text.tick x=(place(percent)) y=(bottom + 14.0) text-anchor="middle" { (percent) }
        }
        text.name x=(place(50)) y=(bottom + 36.0) text-anchor="middle" {
            "connections of the layer (%)"
        }
    }
}

fn bar(layer: &LayerSharing, tasks: &[String], top: f64) -> Markup {
    let segments = segments(layer, tasks);
    let total = layer.connections().max(1) as f64;
    let scale = (WIDTH - LEFT - RIGHT) / total;
    let starts = segments.iter().scan(0, |sum, segment| {
        *sum += segment.2;
        Some(*sum - segment.2)
    });
    html! {
        text.layer x=(LEFT - 12.0) y=(top + 13.0) text-anchor="end" { (layer.name) }
        text.tick x=(LEFT - 12.0) y=(top + 28.0) text-anchor="end" {
            (layer.inputs) " × " (layer.outputs)
        }
        @for ((name, fill, count), start) in segments.iter().zip(starts) {
            @if *count > 0 {
                (segment(name, fill, *count, total, [LEFT + start as f64 * scale, top]))
            }
        }
    }
}

/// Returns the name, fill and number of connections of each part of a bar.
fn segments(layer: &LayerSharing, tasks: &[String]) -> Vec<(String, &'static Fill, u64)> {
    let mut segments = match layer.by_all {
        None => vec![("shared".to_string(), &SHARED, layer.shared)],
        Some(by_all) => vec![
            ("shared by all".to_string(), &SHARED, by_all),
            (
                "shared by some".to_string(),
                &BY_SOME,
                layer.shared - by_all,
            ),
        ],
    };
    for ((at, only), fill) in layer.only.iter().enumerate().zip(ONLY.iter().cycle()) {
        let task = tasks.get(at).map_or("one task", String::as_str);
        segments.push((format!("{task} only"), fill, *only));
    }
    segments.push(("pruned".to_string(), &PRUNED, layer.pruned));
    segments
}

fn segment(name: &str, fill: &Fill, count: u64, total: f64, [left, top]: [f64; 2]) -> Markup {
    let share = count as f64 / total;
    let width = share * (WIDTH - LEFT - RIGHT);
    html! {
        g {
            title { (name) ": " (thousands(count)) " connections" }
            rect x=(round(left)) y=(top) width=(round(width)) height=(BAR) fill=(fill.paint)
                stroke="#555" stroke-width="0.8" {}
            @if width > 42.0 {
                text.share x=(round(left + width / 2.0)) y=(top + BAR / 2.0) dy="0.36em"
                    text-anchor="middle" fill=(fill.ink) { (format!("{:.0} %", 100.0 * share)) }
            }
        }
    }
}

fn round(place: f64) -> String {
    format!("{place:.1}")
}
