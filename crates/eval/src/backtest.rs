//! Models evaluated in time order: every day by a model that was trained on earlier days only.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::metrics::{Metrics, TaskMetrics};
use crate::statistics::{Difference, paired_difference};

/// A backtest: ways of keeping a model up to date, day by day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Title of the report.
    pub title: String,
    /// The ways that are compared; the others are compared with the first.
    pub lines: Vec<BacktestLine>,
    /// Notes for the reader: days that were left out, and why.
    pub notes: Vec<String>,
}

/// One way of keeping a model up to date.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BacktestLine {
    /// Its name: `trained further`.
    pub name: String,
    /// The days, in order.
    pub days: Vec<BacktestDay>,
}

/// One day, evaluated by the model of the days before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BacktestDay {
    /// The day that was evaluated.
    pub day: String,
    /// The days of the latest training: `2024-01-03` or `2024-01-01..2024-01-03`.
    pub trained_on: String,
    /// Rows of the evaluated day.
    pub rows: u64,
    /// Rows of the latest training, those that validate included.
    pub training_rows: u64,
    /// Processor time of the latest training, in seconds; `None` if the model was trained for an earlier day.
    pub seconds: Option<f64>,
    /// Figures of the evaluated day.
    pub metrics: Metrics,
    /// For each column, the share of its values that no training row of the model had.
    pub unseen: IndexMap<String, f64>,
}

/// A figure of a task that is shown by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayFigure {
    /// AUC (of a ratio: the squared error).
    Auc,
    /// AUC within groups.
    GroupedAuc,
    /// Sum of predictions over sum of labels.
    Pcoc,
}

impl DayFigure {
    /// All of them.
    pub const ALL: [DayFigure; 3] = [DayFigure::Auc, DayFigure::GroupedAuc, DayFigure::Pcoc];

    /// Returns its value, where it applies.
    pub fn of(self, metrics: &TaskMetrics) -> Option<f64> {
        match self {
            DayFigure::Auc => metrics.auc.or(metrics.squared_error),
            DayFigure::GroupedAuc => metrics.gauc,
            DayFigure::Pcoc => metrics.pcoc,
        }
    }
}

impl Backtest {
    /// Returns the tasks, in the order of the run file.
    pub fn tasks(&self) -> Vec<&str> {
        let first = self.lines.iter().flat_map(|line| &line.days).next();
        let tasks = first.map(|day| day.metrics.tasks.keys());
        tasks.into_iter().flatten().map(String::as_str).collect()
    }

    /// Returns the evaluated days of all lines, in order.
    pub fn days(&self) -> Vec<&str> {
        let mut days: Vec<&str> = Vec::new();
        for line in &self.lines {
            for day in &line.days {
                if !days.contains(&day.day.as_str()) {
                    days.push(&day.day);
                }
            }
        }
        days
    }

    /// Returns the column with the largest mean share of unseen values, if any column has some.
    pub fn newest_column(&self) -> Option<&str> {
        let days: Vec<&BacktestDay> = self.lines.first()?.days.iter().collect();
        let columns = days.first()?.unseen.keys();
        let sum =
            |column: &String| -> f64 { days.iter().filter_map(|day| day.unseen.get(column)).sum() };
        let sums = columns.map(|column| (column, sum(column)));
        let largest = sums.max_by(|a, b| a.1.total_cmp(&b.1));
        largest
            .filter(|(_, sum)| *sum > 0.0)
            .map(|(column, _)| column.as_str())
    }

    /// Returns true if some day of some line has this figure.
    pub fn has(&self, task: &str, figure: DayFigure) -> bool {
        let mut days = self.lines.iter().flat_map(|line| &line.days);
        days.any(|day| day.figure(task, figure).is_some())
    }

    /// Compares a line with the first one on the days that both have, with the days as repetitions. The interval is of
    /// these days: neighbouring days are alike, so that it tells little about another month.
    pub fn difference(&self, line: &BacktestLine, task: &str) -> Option<Difference> {
        let first = self.lines.first()?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for day in &line.days {
            let other = first.days.iter().find(|other| other.day == day.day);
            let pair = day.figure(task, DayFigure::Auc);
            let pair = pair.zip(other.and_then(|other| other.figure(task, DayFigure::Auc)));
            if let Some((own, other)) = pair {
                ours.push(own);
                theirs.push(other);
            }
        }
        paired_difference(&ours, &theirs, 0.95)
    }
}

impl BacktestLine {
    /// Returns the mean of a figure over the days that have it.
    pub fn mean(&self, task: &str, figure: DayFigure) -> Option<f64> {
        let values = self.days.iter().filter_map(|day| day.figure(task, figure));
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        (n > 0.0).then(|| values.iter().sum::<f64>() / n)
    }

    /// Returns the processor time of all trainings, in seconds.
    pub fn seconds(&self) -> f64 {
        self.days.iter().filter_map(|day| day.seconds).sum()
    }
}

impl BacktestDay {
    /// Returns a figure of a task.
    pub fn figure(&self, task: &str, figure: DayFigure) -> Option<f64> {
        self.metrics
            .tasks
            .get(task)
            .and_then(|metrics| figure.of(metrics))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line whose AUC is `auc` on the first day and rises by .01 a day.
    pub(crate) fn line(name: &str, auc: f64, n_days: usize) -> BacktestLine {
        let day = |at: usize| BacktestDay {
            day: format!("2024-01-{:02}", at + 2),
            trained_on: format!("2024-01-{:02}", at + 1),
            rows: 1000 + at as u64,
            training_rows: 900,
            seconds: Some(1.5),
            metrics: Metrics {
                tasks: IndexMap::from([(
                    "ctr".to_owned(),
                    TaskMetrics {
                        rows: 1000,
                        positives: 100,
                        auc: Some(auc + 0.01 * at as f64),
                        pcoc: Some(1.1),
                        ..TaskMetrics::default()
                    },
                )]),
                ctcvr: None,
                products: Default::default(),
            },
            unseen: IndexMap::from([("user".to_owned(), 0.1), ("item".to_owned(), 0.3)]),
        };
        BacktestLine {
            name: name.to_owned(),
            days: (0..n_days).map(day).collect(),
        }
    }

    #[test]
    fn lines_are_compared_on_the_days_that_both_have() {
        let backtest = Backtest {
            title: "a <run>".to_owned(),
            lines: vec![line("trained further", 0.7, 3), line("frozen", 0.69, 4)],
            notes: vec![],
        };
        assert_eq!(backtest.tasks(), ["ctr"]);
        assert_eq!(backtest.days().len(), 4);
        assert_eq!(backtest.newest_column(), Some("item"));
        let difference = backtest.difference(&backtest.lines[1], "ctr").unwrap();
        assert_eq!(difference.estimate.n, 3);
        assert!((difference.estimate.mean + 0.01).abs() < 1e-12);
        assert!((backtest.lines[0].mean("ctr", DayFigure::Auc).unwrap() - 0.71).abs() < 1e-12);
        assert_eq!(backtest.lines[0].mean("cvr", DayFigure::Auc), None);
        assert!((backtest.lines[0].seconds() - 4.5).abs() < 1e-12);
        assert!(
            backtest.has("ctr", DayFigure::Pcoc) && !backtest.has("ctr", DayFigure::GroupedAuc)
        );
        assert_eq!(Backtest::default().newest_column(), None);
    }
}
