//! Choice of the share of a task's units that is common to all tasks, if the run file does not state it.
//!
//! None, half and all of them are tried: subnetworks from the same warm-up, trained as long as the warm-up. The share
//! that the size of the data suggests is chosen unless another is better on the validation rows by more than twice the
//! standard error of the difference, over the same rows ([`difference`]).

use super::levels::SearchLevel;
use crate::context::SearchContext;
use crate::difference::{self, MIN_STANDARD_ERRORS};
use crate::error::TrainError;
use crate::predict::metric_name;
use ncs_eval::{PairedDifference, TaskPredictions};
use ncs_features::Task;
use ncs_model::UnitOwners;

/// The shares that are tried.
const TRIED: [f64; 3] = [0.0, 0.5, 1.0];

/// Thresholds above which tasks get units of their own if validation does not decide: training rows, labels of the
/// rarer class of every task, and features (strictly more).
const LARGE_ROWS: u64 = 100_000;
const LARGE_LABELS: u64 = 1_000;
const FEW_FEATURES: usize = 2;

/// The share of a task's units that is common, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitChoice {
    /// The share, in [0, 1].
    pub common: f64,
    /// Reason, as text.
    pub why: String,
    /// Shares that were tried, in order; empty without validation rows.
    pub tried: Vec<TriedUnits>,
}

/// A share that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct TriedUnits {
    /// The share, in [0, 1].
    pub common: f64,
    /// Metric of each task on the validation rows, if they allow one.
    pub validation: Vec<Option<f64>>,
}

/// The shares that are tried on validation rows: those that leave every task a unit of every layer. None without
/// such rows, or where there is nothing to choose.
pub(super) fn tried(context: &SearchContext<'_>) -> Vec<f64> {
    let fits: Vec<f64> = TRIED
        .into_iter()
        .filter(|&common| fits(context, common))
        .collect();
    if context.valid.is_some() && fits.len() > 1 {
        fits
    } else {
        Vec::new()
    }
}

fn fits(context: &SearchContext<'_>, common: f64) -> bool {
    let n_tasks = context.schema.tasks.len();
    match UnitOwners::new(common, n_tasks) {
        Some(owners) => owners.check(&context.spec.plan.hidden).is_ok(),
        None => common == 1.0,
    }
}

/// Returns the share that the size of the training part suggests, and the reason.
pub(super) fn by_size(context: &SearchContext<'_>) -> (f64, String) {
    let counts = context.train.label_counts();
    let of_task = |(task, counts): (&Task, &ncs_features::TaskCounts)| {
        if task.objective.is_binary() {
            counts.positives.min(counts.known - counts.positives)
        } else {
            counts.known
        }
    };
    let tasks = context.schema.tasks.iter().zip(&counts.tasks);
    let rarest = tasks.map(of_task).min().unwrap_or(0);
    let (common, why) = rule(counts.rows, rarest, context.schema.fields.len());
    if fits(context, common) {
        (common, why)
    } else {
        (1.0, "the layers are too narrow to split".to_owned())
    }
}

/// 0 for large data and 1 for small.
fn rule(rows: u64, rarest: u64, features: usize) -> (f64, String) {
    let (common, size) = if rows >= LARGE_ROWS && rarest >= LARGE_LABELS && features > FEW_FEATURES
    {
        (0.0, "enough")
    } else {
        (1.0, "too little")
    };
    let why = format!(
        "{rows} training rows, {rarest} labels of the rarest class and {features} features are {size} for units of \
         each task's own (from {LARGE_ROWS}, {LARGE_LABELS} and {} on)",
        FEW_FEATURES + 1
    );
    (common, why)
}

/// Chooses among the levels of a search: the first is the warm-up, the others are the shares of [`tried`].
///
/// # Errors
/// The validation rows cannot be read.
pub(super) fn choose(
    context: &SearchContext<'_>,
    levels: &[Vec<SearchLevel>],
) -> Result<UnitChoice, TrainError> {
    let shares = tried(context);
    let by_size = by_size(context);
    let labels = match context.valid.filter(|_| !shares.is_empty()) {
        Some(valid) => difference::labels(valid, &context.schema.tasks)?,
        None => Vec::new(),
    };
    let tried = |(at, &common): (usize, &f64)| TriedUnits {
        common,
        validation: levels[at + 1]
            .iter()
            .map(|level| level.result.validation)
            .collect(),
    };
    let tried: Vec<TriedUnits> = shares.iter().enumerate().map(tried).collect();
    let difference = |first: usize, second: usize| {
        let tasks = context.schema.tasks.iter().zip(&labels).enumerate();
        let of_task = |(number, (task, rows)): (usize, (&Task, &TaskPredictions))| {
            let scores = |at: usize| &levels[at + 1][number].scores[..];
            difference::of_task(task.objective, rows, scores(first), scores(second))
        };
        difference::joint(&tasks.map(of_task).collect::<Option<Vec<_>>>()?)
    };
    let names: Vec<String> = context
        .schema
        .tasks
        .iter()
        .map(|task| format!("{} {}", task.name, metric_name(task)))
        .collect();
    let (common, why) = decide(&shares, by_size, difference);
    let why = format!("common units: {why}{}", in_words(&tried, &names));
    Ok(UnitChoice { common, why, tried })
}

/// Returns the share that the size of the data suggests, unless another is significantly better; `difference(a, b)`
/// compares two tried shares by their positions.
fn decide(
    shares: &[f64],
    (usual, by_size): (f64, String),
    difference: impl Fn(usize, usize) -> Option<PairedDifference>,
) -> (f64, String) {
    let percent = |common: f64| format!("{:.0} % of a task's units", 100.0 * common);
    let Some(base) = shares.iter().position(|&share| share == usual) else {
        return (usual, format!("{}, since {by_size}", percent(usual)));
    };
    let others = (0..shares.len()).filter(|&at| at != base);
    let better = others.filter_map(|at| Some((at, difference(at, base)?)));
    let better = better.filter(|(_, found)| found.value > MIN_STANDARD_ERRORS * found.error);
    match better.max_by(|a, b| a.1.value.total_cmp(&b.1.value)) {
        Some((at, found)) => (
            shares[at],
            format!(
                "{}, which validates better than {:.0} %, by {:.4} (standard error {:.4})",
                percent(shares[at]),
                100.0 * usual,
                found.value,
                found.error
            ),
        ),
        None => (
            usual,
            format!(
                "{}, since {by_size}; no other share validates significantly better",
                percent(usual)
            ),
        ),
    }
}

/// `; ctr AUC at 0 %, 50 %, 100 %: 0.7000, 0.7100, 0.7050`, task by task.
fn in_words(tried: &[TriedUnits], names: &[String]) -> String {
    if tried.is_empty() {
        return String::new();
    }
    let shares: Vec<String> = tried
        .iter()
        .map(|t| format!("{:.0} %", 100.0 * t.common))
        .collect();
    let of_task = |(number, name): (usize, &String)| {
        let value = |tried: &TriedUnits| {
            tried.validation[number].map_or("none".to_owned(), |value| format!("{value:.4}"))
        };
        let values: Vec<String> = tried.iter().map(value).collect();
        format!("; {name} at {}: {}", shares.join(", "), values.join(", "))
    };
    names.iter().enumerate().map(of_task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: f64, error: f64) -> PairedDifference {
        PairedDifference { value, error }
    }

    #[track_caller]
    fn check(usual: f64, differences: [Option<PairedDifference>; 3], expected: f64, words: &str) {
        let by_size = (usual, "of the size".to_owned());
        let (common, why) = decide(&TRIED, by_size, |at, _| differences[at]);
        assert_eq!(common, expected);
        assert!(why.contains(words), "{why}");
    }

    #[test]
    fn what_the_size_says_is_taken_unless_validation_tells_otherwise() {
        let small = Some(found(0.001, 0.001));
        check(
            1.0,
            [small, small, None],
            1.0,
            "100 % of a task's units, since of the size",
        );
        let clear = Some(found(0.003, 0.001));
        check(
            1.0,
            [clear, small, None],
            0.0,
            "better than 100 %, by 0.0030 (standard error 0.0010)",
        );
        let clearer = Some(found(0.005, 0.001));
        check(1.0, [clear, clearer, None], 0.5, "50 % of a task's units");
        check(
            0.0,
            [None, None, Some(found(0.0, 0.0))],
            0.0,
            "no other share validates significantly better",
        );
        check(0.0, [None; 3], 0.0, "0 % of a task's units");
        let worse = Some(found(-0.1, 0.001));
        check(0.0, [None, worse, worse], 0.0, "0 % of a task's units");
    }

    #[test]
    fn without_trials_the_size_says_it() {
        let (common, why) = decide(&[], (0.0, "of the size".to_owned()), |_, _| unreachable!());
        assert_eq!(
            (common, &why[..]),
            (0.0, "0 % of a task's units, since of the size")
        );
    }

    #[test]
    fn large_is_many_rows_labels_and_features() {
        let share = |rows, rarest, features| rule(rows, rarest, features).0;
        assert_eq!(share(100_000, 1_000, 3), 0.0);
        assert_eq!(share(99_999, 1_000, 3), 1.0);
        assert_eq!(share(100_000, 999, 3), 1.0);
        assert_eq!(share(10_000_000, 1_000_000, 2), 1.0);
        assert!(rule(5, 4, 3).1.starts_with(
            "5 training rows, 4 labels of the rarest class and 3 features are too little"
        ));
    }

    #[test]
    fn what_was_tried_is_told() {
        let tried = [(0.0, Some(0.7)), (1.0, None)].map(|(common, value)| TriedUnits {
            common,
            validation: vec![value],
        });
        let words = in_words(&tried, &["ctr AUC".to_owned()]);
        assert_eq!(words, "; ctr AUC at 0 %, 100 %: 0.7000, none");
        assert_eq!(in_words(&[], &[]), "");
    }
}
