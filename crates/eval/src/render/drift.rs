//! Drift as text, and as one HTML file with a picture of each column and score.

use maud::{Markup, html};

use super::html::{page, plain_table};
use super::numbers::{ABSENT, fixed, percent, thousands};
use super::text::text_table;
use crate::drift::{ColumnDrift, Drift, DriftBin, LARGE, MODERATE, PopulationShift, ScoreDrift};

/// Header and rows of a table.
type Table = (Vec<String>, Vec<Vec<String>>);

/// Most columns with a picture.
const MOST_PICTURES: usize = 40;

/// Renders the tables as text.
pub fn drift_text(drift: &Drift) -> String {
    let text = |(header, rows): Table| {
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        text_table(&header, &rows)
    };
    let mut out = format!(
        "{} rows, compared with {} training rows\n\n{}\n{}",
        thousands(drift.rows),
        thousands(drift.training_rows),
        text(of_columns(drift)),
        text(of_scores(drift))
    );
    for note in &drift.notes {
        out += &format!("note: {note}\n");
    }
    out
}

/// Renders a self-contained page.
pub fn render_drift_html(drift: &Drift) -> String {
    let table = |(header, rows): &Table| plain_table(header, rows);
    let columns = drift.columns.iter().take(MOST_PICTURES);
    let content = html! {
        header {
            h1 { (drift.title) }
            p.subtitle {
                (thousands(drift.rows)) " rows, compared with " (thousands(drift.training_rows)) " training rows"
            }
            @for note in &drift.notes { p.note { (note) } }
        }
        section {
            h2 { "Scores" }
            (table(&of_scores(drift)))
            div.panels { @for score in &drift.scores { (picture(&score.name, score.shift, &score.bins)) } }
        }
        section {
            h2 { "Columns" }
            p.explained {
                "PSI, the population stability index, is the sum over bins of (q - p) ln(q / p), with the shares p of the \
                 training and q of these rows. From " (MODERATE) " on a shift is moderate and from " (LARGE) " on large, \
                 unless it is within chance: the index that 5 % of samples of these sizes exceed."
            }
            (table(&of_columns(drift)))
        }
        section {
            h2 { "Pictures" }
            (legend())
            div.panels { @for column in columns { (picture(&column.column, column.shift, &column.bins)) } }
        }
    };
    page(&drift.title, content)
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

fn of_shift(shift: Option<PopulationShift>) -> [String; 3] {
    shift.map_or_else(
        || [ABSENT, ABSENT, "no values"].map(str::to_owned),
        |shift| {
            [
                fixed(shift.psi, 4),
                fixed(shift.chance, 4),
                shift.level().name().to_owned(),
            ]
        },
    )
}

fn of_columns(drift: &Drift) -> Table {
    let header = texts([
        "column", "PSI", "chance", "shift", "unseen", "before", "missing", "before",
    ]);
    let share = |share: Option<f64>| share.map_or(ABSENT.to_owned(), percent);
    let row = |column: &ColumnDrift| {
        let mut row = vec![column.column.clone()];
        row.extend(of_shift(column.shift));
        row.extend([
            share(column.unseen),
            share(column.unseen_before),
            percent(column.missing),
            percent(column.missing_before),
        ]);
        row
    };
    (header, drift.columns.iter().map(row).collect())
}

fn of_scores(drift: &Drift) -> Table {
    let header = texts([
        "score",
        "PSI",
        "chance",
        "shift",
        "mean",
        "labels",
        "predicted / observed",
        "AUC",
    ]);
    let number = |value: Option<f64>| value.map_or(ABSENT.to_owned(), |value| fixed(value, 4));
    let row = |score: &ScoreDrift| {
        let mut row = vec![score.name.clone()];
        row.extend(of_shift(score.shift));
        let labels = score.labels;
        row.extend([
            fixed(score.mean, 4),
            labels.map_or(ABSENT.to_owned(), |labels| thousands(labels.rows)),
            number(labels.and_then(|labels| labels.pcoc)),
            number(labels.and_then(|labels| labels.auc)),
        ]);
        row
    };
    (header, drift.scores.iter().map(row).collect())
}

const BEFORE: &str = "#b9b9b2";
const NOW: &str = "#14365d";

fn legend() -> Markup {
    let entry = |paint: &str, name: &str| {
        html! {
            span {
                svg.sample viewBox="0 0 34 12" aria-hidden="true" {
                    rect x="1" y="0.5" width="32" height="11" fill=(paint) {}
                }
                (name)
            }
        }
    };
    html! { p.legend { (entry(BEFORE, "training")) (entry(NOW, "these rows")) } }
}

const WIDTH: f64 = 620.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 8.0;
const HEIGHT: f64 = 150.0;
const LABELS: f64 = 92.0;

/// Bars of each bin, of the training beside those of the rows.
fn picture(name: &str, shift: Option<PopulationShift>, bins: &[DriftBin]) -> Markup {
    let shares = bins.iter().flat_map(|bin| [bin.before, bin.now]);
    let most = shares.fold(0.01, f64::max);
    let pitch = (WIDTH - LEFT) / bins.len().max(1) as f64;
    let bottom = TOP + HEIGHT;
    let bar = |at: usize, share: f64, offset: f64, paint: &str| {
        let height = HEIGHT * share / most;
        html! {
            rect x=(fixed(LEFT + pitch * (at as f64 + offset), 1)) y=(fixed(bottom - height, 1))
                width=(fixed(pitch * 0.38, 1)) height=(fixed(height, 1)) fill=(paint) {}
        }
    };
    html! {
        figure {
            figcaption {
                (name)
                @if let Some(shift) = shift { ": PSI " (fixed(shift.psi, 3)) ", " (shift.level().name()) }
            }
            svg.chart viewBox=(format!("0 0 {WIDTH} {}", bottom + LABELS)) role="img"
                aria-label=(format!("shares of {name} by bin")) {
                @for part in [0.0, 0.5, 1.0] {
                    @let y = bottom - HEIGHT * part;
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(y) dy="0.36em" text-anchor="end" { (percent(most * part)) }
                }
                @for (at, bin) in bins.iter().enumerate() {
                    g {
                        title { (bin.name) ": " (percent(bin.before)) " in training, " (percent(bin.now)) " now" }
                        (bar(at, bin.before, 0.1, BEFORE))
                        (bar(at, bin.now, 0.5, NOW))
                    }
                    @let x = LEFT + pitch * (at as f64 + 0.5);
                    text.tick text-anchor="end"
                        transform=(format!("translate({} {}) rotate(-55)", fixed(x, 1), bottom + 12.0)) {
                        (short(&bin.name))
                    }
                }
            }
        }
    }
}

fn short(name: &str) -> String {
    const MOST: usize = 16;
    match name.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::DriftLabels;

    fn drift() -> Drift {
        let bin = |name: &str, before, now| DriftBin {
            name: name.to_owned(),
            before,
            now,
        };
        Drift {
            title: "Drift of <model>".to_owned(),
            rows: 1200,
            training_rows: 36_000,
            columns: vec![ColumnDrift {
                column: "item".to_owned(),
                shift: PopulationShift::of(&[600, 400], &[200, 800]),
                unseen: Some(0.3),
                unseen_before: Some(0.05),
                missing: 0.0,
                missing_before: 0.01,
                bins: vec![bin("a & b", 0.6, 0.2), bin("others", 0.4, 0.8)],
            }],
            scores: vec![ScoreDrift {
                name: "ctr".to_owned(),
                shift: None,
                mean: 0.25,
                bins: Vec::new(),
                labels: Some(DriftLabels {
                    rows: 1200,
                    pcoc: Some(1.25),
                    auc: Some(0.7),
                }),
            }],
            notes: vec!["a note".to_owned()],
        }
    }

    #[test]
    fn tables_have_the_figures() {
        let text = drift_text(&drift());
        for part in [
            "36,000",
            "item",
            "large",
            "30.0 %",
            "1.2500",
            "no values",
            "note: a note",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_page_has_a_picture_of_each_and_escapes_names() {
        let page = render_drift_html(&drift());
        assert_eq!(page.matches("<figure").count(), 2);
        assert!(page.contains("Drift of &lt;model&gt;") && page.contains("a &amp; b"));
        assert!(page.contains("shares of item by bin") && !page.contains("NaN"));
    }
}
