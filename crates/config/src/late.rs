//! Labels that become known after a while, and what does not go with them.

use ncs_features::{Delays, LateMethod, LateRules, Objective, Task};
use ncs_readers::Moment;
use std::collections::BTreeMap;

use super::checks::Checks;
use super::toml_types;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// The rules of a task's late labels.
pub(crate) fn plan(task: &str, config: &toml_types::Late, checks: &mut Checks<'_>) -> LateRules {
    let as_of = seconds(task, "as_of", &config.as_of, checks);
    LateRules {
        click_time: config.click_time.clone(),
        conversion_time: config.conversion_time.clone(),
        window: config.attribution_days * SECONDS_PER_DAY,
        as_of: as_of.unwrap_or_default(),
        since: since(task, config, as_of, checks),
        method: match config.method {
            toml_types::LateMethod::Wait => LateMethod::Wait,
            toml_types::LateMethod::AsNegatives => LateMethod::AsNegatives,
            toml_types::LateMethod::Fnw => LateMethod::Fnw,
            toml_types::LateMethod::Fnc => LateMethod::Fnc,
            toml_types::LateMethod::DelayDistribution => LateMethod::DelayDistribution,
            toml_types::LateMethod::Dfm => LateMethod::Dfm,
            toml_types::LateMethod::EsDfm => LateMethod::EsDfm,
            toml_types::LateMethod::Defer => LateMethod::Defer,
            toml_types::LateMethod::Oracle => LateMethod::Oracle,
        },
        elapsed: elapsed(task, config, checks),
        borrowed: 0.0,
        by: config.by.clone(),
        delays: Delays::default(),
        delays_of: BTreeMap::new(),
    }
}

/// The usual time after the click at which a row is a sample, in windows.
const ELAPSED: f64 = 0.25;

/// The time after the click at which a row is a sample, in windows; 0 for methods without.
fn elapsed(task: &str, config: &toml_types::Late, checks: &mut Checks<'_>) -> f64 {
    let at = ["tasks", task, "late", "elapsed_days"];
    let is_used = matches!(
        config.method,
        toml_types::LateMethod::EsDfm | toml_types::LateMethod::Defer
    );
    match config.elapsed_days {
        None if is_used => ELAPSED,
        None => 0.0,
        Some(_) if !is_used => {
            let text = format!(
                "task {task:?}: elapsed_days is of late.method = \"es_dfm\" and \"defer\"; leave it out"
            );
            checks.say(&at, text);
            0.0
        }
        Some(days) if days < config.attribution_days => days / config.attribution_days,
        Some(days) => {
            let text = format!(
                "task {task:?}: after elapsed_days = {days} a conversion would come after attribution_days = {}; state \
                 fewer days",
                config.attribution_days
            );
            checks.say(&at, text);
            0.0
        }
    }
}

/// Returns the tasks whose late labels need auxiliary heads, once for each head.
pub(crate) fn heads(tasks: &[Task]) -> Vec<usize> {
    let late = tasks.iter().enumerate().filter_map(|(t, task)| {
        let late = task.row_rules.late.as_ref()?;
        Some(std::iter::repeat_n(t, late.method.n_heads()))
    });
    late.flatten().collect()
}

/// Refuses auxiliary heads and further outputs in networks of a single task.
pub(crate) fn check_network(config: &toml_types::RunFile, tasks: &[Task], checks: &mut Checks<'_>) {
    let mut several = tasks
        .iter()
        .filter(|task| task.objective.n_further_outputs() > 0);
    if let Some(task) = several.next()
        && config.network.kind == toml_types::NetworkKind::SingleTask
    {
        let name = &task.name;
        let text = format!(
            "task {name:?}: this loss has three outputs, and network.kind = \"single_task\" has one for each network; train this \
             task alone with network.kind = \"shared_bottom\", or write loss = \"poisson\""
        );
        checks.say(&["tasks", name, "loss"], text);
    }
    let Some(&task) = heads(tasks).first() else {
        return;
    };
    if config.network.kind == toml_types::NetworkKind::SingleTask {
        let name = &tasks[task].name;
        let text = format!(
            "task {name:?}: this late.method trains auxiliary heads beside the task's, and network.kind = \"single_task\" \
             has one head for each network; choose another network, or method = \"delay_distribution\""
        );
        checks.say(&["tasks", name, "late", "method"], text);
    }
}

/// Tells of tasks that learn only what came since an earlier training where there is none to go on from.
pub(crate) fn note_since(config: &toml_types::RunFile, checks: &mut Checks<'_>) {
    if config.start.is_some() {
        return;
    }
    let late =
        |task: &toml_types::Task| task.late.as_ref().is_some_and(|late| late.since.is_some());
    for (name, _) in config.tasks.iter().filter(|(_, task)| late(task)) {
        checks.note(format!(
            "task {name:?}: late.since leaves out what was known to an earlier training, and start.model names none: the model \
             never learns it; remove since, or go on from that model (ncs train --from MODEL)"
        ));
    }
}

/// The moment of the earlier training; it is before `as_of`.
fn since(
    task: &str,
    config: &toml_types::Late,
    as_of: Option<f64>,
    checks: &mut Checks<'_>,
) -> Option<f64> {
    let since = seconds(task, "since", config.since.as_ref()?, checks)?;
    if as_of.is_some_and(|as_of| since >= as_of) {
        let text = format!(
            "task {task:?}: since is not before as_of; it is the as_of of the training that start.model comes from"
        );
        checks.say(&["tasks", task, "late", "since"], text);
    }
    Some(since)
}

/// A moment in seconds since 1970; `None`, with a message, if it is no time.
fn seconds(
    task: &str,
    key: &str,
    config: &toml_types::Moment,
    checks: &mut Checks<'_>,
) -> Option<f64> {
    let text = match config {
        toml_types::Moment::Number(number) => return Some(*number),
        toml_types::Moment::Text(text) => text,
    };
    match Moment::parse(text, None) {
        Some(Moment::Instant(time)) => Some(time.seconds_f64()),
        Some(Moment::Number(number)) => Some(number),
        None => {
            let text = format!(
                "task {task:?}: {key} is {text:?}, which is not a time; write it in ISO 8601, such as \
                 \"2026-11-28T00:00:00Z\", or in seconds since 1970"
            );
            checks.say(&["tasks", task, "late", key], text);
            None
        }
    }
}

/// The columns are in the files, and the loss is one of probabilities.
pub(crate) fn check(task: &Task, checks: &mut Checks<'_>) {
    let Some(late) = &task.row_rules.late else {
        return;
    };
    let at = |key| ["tasks", task.name.as_str(), "late", key];
    checks.column(&at("click_time"), &late.click_time);
    checks.column(&at("conversion_time"), &late.conversion_time);
    if let Some(by) = &late.by {
        checks.column(&at("by"), by);
    }
    let name = &task.name;
    let problem = if !task.objective.is_binary() {
        Some(format!(
            "task {name:?}: late is of labels 0 and 1, and its label is a number"
        ))
    } else if !late.method.changes_the_loss() {
        None
    } else if task.objective != Objective::CrossEntropy {
        Some(format!(
            "task {name:?}: late.method changes the cross-entropy; with another loss write method = \"wait\" or \
             \"as_negatives\""
        ))
    } else if task.row_rules.leaves_out_negatives() {
        Some(format!(
            "task {name:?}: a row of label 0 that is left out (negative_rate) may still convert, for which this \
             late.method cannot correct; leave out one of them"
        ))
    } else {
        None
    };
    if let Some(text) = problem {
        checks.say(&at("method"), text);
    }
}

/// Says that a loss of several tasks needs final labels, where a task's late labels change its own loss.
pub(crate) fn refuse_beside(key: &[&str], loss: &str, tasks: &[&Task], checks: &mut Checks<'_>) {
    for task in tasks {
        let late = task.row_rules.late.as_ref();
        if late.is_some_and(|late| late.method.changes_the_loss()) {
            let text = format!(
                "{loss} has a loss of its own, and so has late.method of task {:?}; there write method = \"wait\" or \
                 \"as_negatives\"",
                task.name
            );
            checks.say(key, text);
        }
    }
}
