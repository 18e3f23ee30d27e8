//! A tuning as one HTML file: selected settings, progress of the search, effects of the settings.

use maud::{Markup, html};

use super::chart::{Chart, Series};
use super::figures::legend;
use super::html::page;
use crate::tuning::{Tuning, TuningEffect, TuningTrial};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;

/// Renders the tuning as a self-contained page.
pub fn render_tuning_html(tuning: &Tuning) -> String {
    let content = html! {
        header {
            h1 { (tuning.title) }
            p.explained { (summary(tuning)) }
        }
        section {
            h2 { "Selected settings" }
            (picked(tuning))
        }
        section {
            h2 { "Search progress" }
            (progress(tuning))
        }
        section {
            h2 { "Effect of each setting" }
            p.explained {
                "Mean validation score of the first rung's trials by the values of each setting (number of trials in \
                 brackets), the setting with the largest difference first. The other settings vary at random. All bars \
                 have the same scale, which starts at the lowest mean."
            }
            @let scale = Scale::of(&tuning.effects);
            @for effect in &tuning.effects { (bars(effect, &scale)) }
        }
    };
    page(&tuning.title, content)
}

fn summary(tuning: &Tuning) -> String {
    let seconds: f64 = tuning.trials.iter().map(|trial| trial.seconds).sum();
    let score = |validation_score: Option<f64>| {
        validation_score.map_or("none".to_owned(), |g| format!("{g:.4}"))
    };
    format!(
        "{} trainings in {:.0} s. Validation score (AUC averaged over the tasks, each weighted by the square root \
         of the number of labels of the rarer class): {} for the selected settings, {} for the unmodified run file. \
         The selected score is the best of many on the same rows, so expect a smaller gain on new rows.",
        tuning.trials.len(),
        seconds,
        score(tuning.best.as_ref().and_then(|best| best.validation_score)),
        score(tuning.untouched),
    )
}

fn picked(tuning: &Tuning) -> Markup {
    let settings = tuning.best.iter().flat_map(|best| &best.settings);
    let rows: Vec<&(String, String)> = settings.collect();
    html! {
        @if rows.is_empty() {
            p { "The unmodified run file: no other settings had a better validation score." }
        } @else {
            table {
                thead { tr { th { "setting" } th { "value" } } }
                tbody { @for (key, value) in rows { tr { td { (key) } td { (value) } } } }
            }
        }
    }
}

/// Draws the best score so far over time, by rung.
fn progress(tuning: &Tuning) -> Markup {
    let rungs = tuning.trials.iter().map(|trial| trial.rung + 1).max();
    let series = (0..rungs.unwrap_or(0)).map(|rung| Series {
        name: format!("rung {}, best so far", rung + 1),
        points: best_so_far(&tuning.trials, rung),
        style: rung,
        ..Series::default()
    });
    let names: Vec<String> = (0..rungs.unwrap_or(0))
        .map(|rung| format!("rung {}, best so far", rung + 1))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chart = Chart {
        title: "Best validation score against time".to_owned(),
        x_name: "seconds".to_owned(),
        y_name: "score".to_owned(),
        series: series.collect(),
        ..Chart::default()
    };
    html! {
        (legend(&names, &[]))
        (chart.draw())
    }
}

fn best_so_far(trials: &[TuningTrial], rung: usize) -> Vec<(f64, f64)> {
    let (mut time, mut best) = (0.0, f64::NEG_INFINITY);
    let mut points = Vec::new();
    for trial in trials {
        time += trial.seconds;
        if let Some(validation_score) = trial.validation_score.filter(|_| trial.rung == rung) {
            best = best.max(validation_score);
            points.push((time, best));
        }
    }
    points
}

/// Range of means over all settings.
struct Scale {
    lowest: f64,
    spread: f64,
}

impl Scale {
    fn of(effects: &[TuningEffect]) -> Scale {
        let means = || effects.iter().flat_map(|effect| &effect.levels);
        let lowest = means().fold(f64::INFINITY, |least, level| least.min(level.mean));
        let highest = means().fold(f64::NEG_INFINITY, |most, level| most.max(level.mean));
        Scale {
            lowest,
            spread: (highest - lowest).max(f64::MIN_POSITIVE),
        }
    }

    fn length(&self, mean: f64) -> f64 {
        4.0 + (WIDTH - LEFT - RIGHT - 4.0) * (mean - self.lowest) / self.spread
    }
}

/// Draws one bar for each level.
fn bars(effect: &TuningEffect, scale: &Scale) -> Markup {
    let height = ROW * effect.levels.len() as f64 + 4.0;
    let length = |mean: f64| scale.length(mean);
    html! {
        figure {
            figcaption { (effect.setting) " (difference " (format!("{:.4}", effect.spread())) ")" }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
                aria-label=(format!("Mean score by {}", effect.setting)) {
                @for (level, place) in effect.levels.iter().zip(0..) {
                    @let y = ROW * f64::from(place) + 2.0;
                    text x=(LEFT - 8.0) y=(y + 15.0) text-anchor="end" font-size="12" {
                        (level.name) " (" (level.trials) ")"
                    }
                    rect x=(LEFT) y=(y) width=(format!("{:.1}", length(level.mean))) height=(ROW - 6.0)
                        fill="#14365d" {}
                    text x=(format!("{:.1}", LEFT + length(level.mean) + 6.0)) y=(y + 15.0) font-size="12" {
                        (format!("{:.4}", level.mean))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::TuningLevel;

    #[test]
    fn the_page_shows_selected_settings_and_effects() {
        let trial = |number, rung, validation_score| TuningTrial {
            number,
            rung,
            validation_score,
            seconds: 2.0,
            settings: vec![("training.batch".to_owned(), "256".to_owned())],
        };
        let level = |name: &str, mean| TuningLevel {
            name: name.to_owned(),
            mean,
            trials: 3,
        };
        let tuning = Tuning {
            title: "Tuning of run.toml".to_owned(),
            best: Some(trial(4, 2, Some(0.81))),
            untouched: Some(0.79),
            effects: vec![TuningEffect {
                setting: "network.dim".to_owned(),
                levels: vec![level("8", 0.7), level("<16>", 0.75)],
            }],
            trials: vec![
                trial(0, 0, Some(0.7)),
                trial(1, 0, None),
                trial(4, 2, Some(0.81)),
            ],
        };
        let html = render_tuning_html(&tuning);
        for part in [
            "3 trainings in 6 s",
            "0.8100 for the selected settings, 0.7900 for the unmodified run file",
            "<td>training.batch</td>",
            "network.dim (difference 0.0500)",
            "&lt;16&gt; (3)",
            "rung 3, best so far",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn the_best_so_far_never_falls() {
        let trial = |rung, validation_score| TuningTrial {
            number: 1,
            rung,
            validation_score,
            seconds: 1.0,
            settings: vec![],
        };
        let trials = [
            trial(0, Some(0.6)),
            trial(1, Some(0.9)),
            trial(0, Some(0.5)),
        ];
        assert_eq!(best_so_far(&trials, 0), [(1.0, 0.6), (3.0, 0.6)]);
    }
}
