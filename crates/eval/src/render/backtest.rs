//! A backtest as text, and as one HTML file with a picture by day.

use maud::{Markup, html};

use super::chart::{Chart, Level, Series};
use super::figures::legend;
use super::html::{page, plain_table};
use super::numbers::{ABSENT, duration, fixed, percent, thousands};
use super::text::text_table;
use crate::backtest::{Backtest, BacktestDay, BacktestLine, DayFigure};

/// Header and rows of a table.
type Table = (Vec<String>, Vec<Vec<String>>);

/// Renders the tables of a backtest as text.
pub fn backtest_text(backtest: &Backtest) -> String {
    let text = |(header, rows): Table| {
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        text_table(&header, &rows)
    };
    let mut out = format!("{}\n{}", text(by_day(backtest)), text(means(backtest)));
    for note in &backtest.notes {
        out += &format!("note: {note}\n");
    }
    out
}

/// Renders a backtest as a self-contained page.
pub fn render_backtest_html(backtest: &Backtest) -> String {
    let names: Vec<&str> = backtest
        .lines
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    let table = |(header, rows): &Table| plain_table(header, rows);
    let content = html! {
        header {
            h1 { (backtest.title) }
            p.subtitle {
                "Every day is evaluated by models that were trained on earlier days only."
            }
            @for note in &backtest.notes { p.note { (note) } }
        }
        section {
            h2 { "Mean over the days" }
            (table(&means(backtest)))
            p.explained {
                "Difference: of AUC (of a ratio, squared error) to the first line, with the 95 % interval of its mean "
                "over these days. PCOC: sum of predictions over sum of labels."
            }
        }
        section {
            h2 { "By day" }
            (legend(&names, &[]))
            (charts(backtest))
        }
        section { h2 { "Figures" } (table(&by_day(backtest))) }
    };
    page(&backtest.title, content)
}

/// Short name of a figure in the header of a table.
fn short(figure: DayFigure) -> &'static str {
    match figure {
        DayFigure::Auc => "AUC",
        DayFigure::GroupedAuc => "GAUC",
        DayFigure::Pcoc => "PCOC",
    }
}

fn number(value: Option<f64>, figure: DayFigure) -> String {
    let decimals = if figure == DayFigure::Pcoc { 3 } else { 4 };
    value.map_or(ABSENT.to_owned(), |value| fixed(value, decimals))
}

/// Returns the figures that some day has, by task.
fn figures(backtest: &Backtest) -> Vec<(&str, DayFigure)> {
    let of_task = |task| DayFigure::ALL.map(|figure| (task, figure));
    let all = backtest.tasks().into_iter().flat_map(of_task);
    all.filter(|(task, figure)| backtest.has(task, *figure))
        .collect()
}

fn by_day(backtest: &Backtest) -> Table {
    let figures = figures(backtest);
    let newest = backtest.newest_column();
    let mut header: Vec<String> = [
        "day",
        "model",
        "rows",
        "trained on",
        "training rows",
        "CPU s",
    ]
    .map(str::to_owned)
    .into();
    header.extend(newest.map(|column| format!("new {column}")));
    header.extend(
        figures
            .iter()
            .map(|(task, figure)| format!("{task} {}", short(*figure))),
    );
    let row = |line: &BacktestLine, day: &BacktestDay| {
        let mut row = vec![
            day.day.clone(),
            line.name.clone(),
            thousands(day.rows),
            day.trained_on.clone(),
            thousands(day.training_rows),
            day.seconds
                .map_or(ABSENT.to_owned(), |seconds| fixed(seconds, 1)),
        ];
        row.extend(newest.map(|column| {
            let share = day.unseen.get(column);
            share.map_or(ABSENT.to_owned(), |share| percent(*share))
        }));
        let figure =
            |(task, figure): &(&str, DayFigure)| number(day.figure(task, *figure), *figure);
        row.extend(figures.iter().map(figure));
        row
    };
    let mut rows = Vec::new();
    for day in backtest.days() {
        for line in &backtest.lines {
            let own = line.days.iter().find(|own| own.day == day);
            rows.extend(own.map(|own| row(line, own)));
        }
    }
    (header, rows)
}

fn means(backtest: &Backtest) -> Table {
    let figures = figures(backtest);
    let tasks = backtest.tasks();
    let mut header: Vec<String> = ["model", "days", "CPU time"].map(str::to_owned).into();
    header.extend(
        figures
            .iter()
            .map(|(task, figure)| format!("{task} {}", short(*figure))),
    );
    let compares = backtest.lines.len() > 1;
    if compares {
        header.extend(tasks.iter().map(|task| format!("{task} difference")));
    }
    let row = |(at, line): (usize, &BacktestLine)| {
        let mut row = vec![
            line.name.clone(),
            line.days.len().to_string(),
            duration(line.seconds()),
        ];
        let mean = |(task, figure): &(&str, DayFigure)| number(line.mean(task, *figure), *figure);
        row.extend(figures.iter().map(mean));
        if compares {
            let difference = |task: &&str| match at {
                0 => ABSENT.to_owned(),
                _ => difference(backtest, line, task),
            };
            row.extend(tasks.iter().map(difference));
        }
        row
    };
    (header, backtest.lines.iter().enumerate().map(row).collect())
}

fn difference(backtest: &Backtest, line: &BacktestLine, task: &str) -> String {
    let Some(found) = backtest.difference(line, task) else {
        return ABSENT.to_owned();
    };
    let interval = found.estimate.interval;
    let interval = interval.map_or(String::new(), |[low, high]| {
        format!(" [{low:+.4}, {high:+.4}]")
    });
    format!("{:+.4}{interval}", found.estimate.mean)
}

fn charts(backtest: &Backtest) -> Markup {
    let newest = backtest.newest_column();
    html! {
        @for (task, figure) in figures(backtest) {
            @let name = match figure {
                DayFigure::Auc => "AUC",
                DayFigure::GroupedAuc => "AUC within groups",
                DayFigure::Pcoc => "predicted over observed",
            };
            (chart(backtest, format!("{task}: {name}"), name, &|day| day.figure(task, figure)))
        }
        @if let Some(column) = newest {
            (chart(backtest, format!("{column}: share of values that training never saw"), "share", &|day| {
                day.unseen.get(column).copied()
            }))
        }
        (chart(backtest, "Rows of the evaluated day".to_owned(), "rows", &|day| Some(day.rows as f64)))
        (chart(backtest, "Processor time of the training".to_owned(), "seconds", &|day| day.seconds))
    }
}

/// Draws a value of every line by day.
fn chart(
    backtest: &Backtest,
    title: String,
    y_name: &str,
    value: &dyn Fn(&BacktestDay) -> Option<f64>,
) -> Markup {
    let days = backtest.days();
    let place = |day: &BacktestDay| days.iter().position(|other| *other == day.day);
    let series = backtest.lines.iter().enumerate().map(|(style, line)| {
        let point = |day| Some((place(day)? as f64 + 1.0, value(day)?));
        Series {
            name: line.name.clone(),
            points: line.days.iter().filter_map(point).collect(),
            style,
            ..Series::default()
        }
    });
    let exact = y_name == "predicted over observed";
    let level = Level {
        name: "calibrated".to_owned(),
        value: 1.0,
        style: 4,
    };
    let first = days.first().copied().unwrap_or_default();
    let chart = Chart {
        title,
        x_name: format!("day (1 is {first})"),
        y_name: y_name.to_owned(),
        series: series.collect(),
        whole_x: true,
        levels: exact.then_some(level).into_iter().collect(),
        ..Chart::default()
    };
    chart.draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::tests::line;

    fn backtest() -> Backtest {
        Backtest {
            title: "Backtest of <run.toml>".to_owned(),
            lines: vec![line("trained further", 0.7, 3), line("frozen", 0.69, 3)],
            notes: vec!["2024-01-05 has no rows".to_owned()],
        }
    }

    #[test]
    fn the_text_has_a_row_for_each_day_and_line() {
        let text = backtest_text(&backtest());
        for part in [
            "2024-01-03  trained further  1,001",
            "new item",
            "30.0 %",
            "0.7100",
            "-0.0100 [-0.0100, -0.0100]",
            "note: 2024-01-05 has no rows",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("GAUC"), "no day has groups\n{text}");
    }

    #[test]
    fn the_page_has_a_picture_by_day() {
        let page = render_backtest_html(&backtest());
        for part in [
            "Backtest of &lt;run.toml&gt;",
            "ctr: AUC",
            "ctr: predicted over observed",
            "item: share of values that training never saw",
            "day (1 is 2024-01-02)",
            "Processor time of the training",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("NaN"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn an_empty_backtest_is_a_page_too() {
        let page = render_backtest_html(&Backtest::default());
        assert!(page.contains("No finite values to draw."));
    }
}
