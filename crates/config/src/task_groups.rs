//! Groups of tasks that share experts.

use ncs_features::{Population, Task};

use super::checks::Checks;
use super::problem::hint;
use super::toml_types::{Column, ColumnSettings, Network, NetworkKind, RunFile, SequencePooling};

/// Returns the group of each task; none for networks without groups.
pub(crate) fn groups(config: &Network, tasks: &[Task], checks: &mut Checks<'_>) -> Vec<usize> {
    if config.kind != NetworkKind::Home {
        return Vec::new();
    }
    match &config.task_groups {
        Some(stated) => stated_groups(stated, tasks, checks),
        None => by_population(tasks),
    }
}

/// Refuses tables of each task where something mixes the parts of vectors for several tasks.
pub(crate) fn check_tables(config: &RunFile, checks: &mut Checks<'_>) {
    let at = ["network", "task_tables"];
    if config.network.kind != NetworkKind::SparseSharing {
        let text = "network.task_tables needs masks, which say who reads what: only network.kind = \"sparse_sharing\" has them; \
                    \"stem\" has such tables too";
        checks.say(&at, text);
    }
    for (name, column) in &config.columns {
        let Column::With(settings) = column else {
            continue;
        };
        let what = match settings {
            ColumnSettings::Sequence { decay: Some(_), .. } => "decay weighs whole events",
            ColumnSettings::Sequence {
                pooling: SequencePooling::Din | SequencePooling::Mha,
                ..
            } => "attention weighs whole events",
            ColumnSettings::Categorical { init: Some(_), .. }
            | ColumnSettings::List { init: Some(_), .. } => "init has one vector for each value",
            _ => continue,
        };
        let text = format!(
            "columns.{name}: {what}, and network.task_tables has vectors of each task; keep one"
        );
        checks.say(&["columns", name], text);
    }
}

/// Tasks about all rows, and tasks about rows of others; each a group where all are alike.
fn by_population(tasks: &[Task]) -> Vec<usize> {
    let counts_all = |task: &Task| task.population == Population::All;
    let n_all = tasks.iter().filter(|task| counts_all(task)).count();
    if n_all == 0 || n_all == tasks.len() {
        return (0..tasks.len()).collect();
    }
    // Numbers are in the order of the tasks.
    let first = counts_all(&tasks[0]);
    let group = |task: &Task| usize::from(counts_all(task) != first);
    tasks.iter().map(group).collect()
}

fn stated_groups(stated: &[Vec<String>], tasks: &[Task], checks: &mut Checks<'_>) -> Vec<usize> {
    let at = ["network", "task_groups"];
    let mut groups: Vec<Option<usize>> = vec![None; tasks.len()];
    for (number, names) in stated.iter().enumerate() {
        if names.is_empty() {
            checks.say(
                &at,
                "network.task_groups has a group without tasks; leave it out",
            );
        }
        for name in names {
            let Some(task) = tasks.iter().position(|task| task.name == *name) else {
                let near = hint(name, tasks.iter().map(|task| task.name.as_str()));
                let text = format!("network.task_groups names {name:?}, which is not a task{near}");
                checks.say(&at, text);
                continue;
            };
            if groups[task].replace(number).is_some() {
                let text =
                    format!("network.task_groups names {name:?} twice; a task is in one group");
                checks.say(&at, text);
            }
        }
    }
    for (task, _) in tasks
        .iter()
        .zip(&groups)
        .filter(|(_, group)| group.is_none())
    {
        let text = format!(
            "network.task_groups lacks task {:?}; name each task once",
            task.name
        );
        checks.say(&at, text);
    }
    groups.into_iter().map(Option::unwrap_or_default).collect()
}
