//! Choice of the round whose mask a task gets, with its reason.

use super::{LevelResult, TaskSearch};
use crate::plan::Pick;
use crate::predict::metric_name;
use ncs_features::Task;

/// The search of task number `task` with its pick among these levels.
pub(super) fn picked(
    how: Pick,
    task: usize,
    spec: &Task,
    levels: Vec<LevelResult>,
) -> (usize, TaskSearch) {
    let (picked, why) = pick(how, spec, &levels);
    let search = TaskSearch {
        task,
        metric: metric_name(spec).to_owned(),
        levels,
        picked: Some(picked),
        why,
    };
    (picked, search)
}

/// The level to take, among those that were pruned: the best on the validation rows, ties to the
/// sparser, or the last. And the reason, for the log.
fn pick(pick: Pick, task: &Task, levels: &[LevelResult]) -> (usize, String) {
    let last = levels.len() - 1;
    let percent = |level: usize| 100.0 * levels[level].density;
    let name = &task.name;
    if pick == Pick::Last {
        let why = format!(
            "{name} keeps the last mask, {:.1} % of the connections",
            percent(last)
        );
        return (last, why);
    }
    let selection_score = |level: &usize| {
        let Some(value) = levels[*level].validation else {
            // A level without a metric must not be picked for it.
            return f64::NEG_INFINITY;
        };
        if metric_name(task) == "AUC" {
            value
        } else {
            -value
        }
    };
    let best = (1..=last)
        .max_by(|a, b| selection_score(a).total_cmp(&selection_score(b)))
        .unwrap_or(last);
    let value = |level: usize| levels[level].validation.unwrap_or(f64::NAN);
    let others = (1..=last).filter(|&level| level != best);
    let others: Vec<String> = others
        .map(|level| format!("{:.4} at {:.1} %", value(level), percent(level)))
        .collect();
    let rest = if others.is_empty() {
        String::new()
    } else {
        format!(", against {}", others.join(", "))
    };
    let why = format!(
        "{name} keeps {:.1} % of the connections: its subnetwork has the best validation {} ({:.4}{rest}; \
         the whole network: {:.4})",
        percent(best),
        metric_name(task),
        value(best),
        value(0),
    );
    (best, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::Objective;

    fn check(objective: Objective, how: Pick, values: &[f64], expected: usize) {
        let task = Task {
            label: "y".into(),
            objective,
            ..ncs_testkit::task("cvr")
        };
        let levels = values.iter().zip(0..).map(|(&value, k)| LevelResult {
            density: 0.5f64.powi(k),
            validation: Some(value),
        });
        let levels: Vec<LevelResult> = levels.collect();
        assert_eq!(pick(how, &task, &levels).0, expected);
    }

    #[test]
    fn the_best_pruned_level_is_taken_and_ties_go_to_the_sparser() {
        check(
            Objective::CrossEntropy,
            Pick::Best,
            &[0.9, 0.7, 0.8, 0.6],
            2,
        );
        check(
            Objective::CrossEntropy,
            Pick::Best,
            &[0.9, 0.8, 0.8, 0.6],
            2,
        );
        check(Objective::Ratio, Pick::Best, &[0.01, 0.07, 0.03, 0.05], 2);
        check(
            Objective::CrossEntropy,
            Pick::Last,
            &[0.9, 0.7, 0.8, 0.6],
            3,
        );
    }

    #[test]
    fn the_choice_is_explained() {
        let task = Task {
            label: "y".into(),
            ..ncs_testkit::task("cvr")
        };
        let level = |density, validation| LevelResult {
            density,
            validation: Some(validation),
        };
        let levels = [level(1.0, 0.71), level(0.5, 0.72), level(0.25, 0.7)];
        assert_eq!(
            pick(Pick::Best, &task, &levels).1,
            "cvr keeps 50.0 % of the connections: its subnetwork has the best validation AUC (0.7200, \
             against 0.7000 at 25.0 %; the whole network: 0.7100)"
        );
    }
}
