//! The tasks, and what may not be a feature because of them.

use indexmap::IndexMap;
use ncs_features::{Field, Objective, Population, RowRules, Task, ValueLoss};

use super::checks::Checks;
use super::late;
use super::problem::hint;
use super::toml_types::{self, Loss};

/// A network tells its heads apart by the bits of 64; a loss may add one.
const MOST_TASKS: usize = 60;
/// The tasks as the run file holds them.
type Tasks = IndexMap<String, toml_types::Task>;

/// The tasks in the order of the run file, checked against files and features.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    fields: &[Field],
    checks: &mut Checks<'_>,
) -> Vec<Task> {
    let tasks: Vec<Task> = config
        .tasks
        .iter()
        .map(|(name, task)| read(name, task, &config.tasks, fields, checks))
        .collect();
    for task in &tasks {
        labels(task, fields, checks);
        rules(task, checks);
    }
    if tasks.len() > MOST_TASKS {
        let text = format!(
            "there are {} tasks; a network has {MOST_TASKS} at most",
            tasks.len()
        );
        checks.say(&["tasks"], text);
    }
    populations(&tasks, checks);
    repeated(&tasks, checks);
    tasks
}

fn read(
    name: &str,
    config: &toml_types::Task,
    tasks: &Tasks,
    fields: &[Field],
    checks: &mut Checks<'_>,
) -> Task {
    if config.label.is_none() {
        let taken = fields.iter().flat_map(Field::columns);
        let taken: Vec<&str> = taken.map(String::as_str).collect();
        let others = checks.other_columns(&taken);
        checks.say(
            &["tasks", name],
            format!("task {name:?} needs a label column{others}"),
        );
    }
    Task {
        name: name.to_owned(),
        label: config.label.clone().unwrap_or_default(),
        population: population(name, config.population.as_deref(), tasks, checks),
        objective: objective(&config.loss.0),
        weight: config.weight,
        truth: config.truth.clone(),
        row_rules: RowRules {
            weight_column: config.weight_column.clone(),
            negative_rate: config.negative_rate.filter(|rate| *rate < 1.0),
            negative_rate_column: config.negative_rate_column.clone(),
            late: config
                .late
                .as_ref()
                .map(|late| late::plan(name, late, checks)),
        },
    }
}

fn population(
    name: &str,
    other: Option<&str>,
    tasks: &Tasks,
    checks: &mut Checks<'_>,
) -> Population {
    let Some(other) = other else {
        return Population::All;
    };
    match tasks.get_index_of(other) {
        Some(at) => Population::Where(at),
        None => {
            let text = no_task(name, other, tasks);
            checks.say(&["tasks", name, "where"], text);
            Population::All
        }
    }
}

/// Returns what `where` takes, and the task that was probably meant: that of the nearest name, or the one whose
/// label a condition such as `is_click == 1` mentions.
fn no_task(name: &str, config: &str, tasks: &Tasks) -> String {
    let others = || {
        tasks
            .keys()
            .map(String::as_str)
            .filter(|other| *other != name)
    };
    let mut words = config.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
    let is_meant = |word: &str| {
        let by_name = others().find(|other| *other == word);
        let of_label = |other: &&str| tasks[*other].label.as_deref() == Some(word);
        by_name.or_else(|| others().find(of_label))
    };
    let what = "where takes the name of another task, and counts the rows whose label there is 1";
    if let Some(task) = words.find_map(is_meant) {
        return format!("task {name:?}: where is {config:?}; {what}: write where = {task:?}");
    }
    let near = hint(config, others());
    let start = format!("task {name:?} counts rows of task {config:?}, which is not a task");
    match others().next() {
        None => format!(
            "{start}; {what}: there is no other, so add it, such as [tasks.ctr] label = \"click\""
        ),
        Some(_) if near.starts_with("; known") => format!("{start}; {what}{near}"),
        Some(_) => format!("{start}{near}"),
    }
}

fn objective(config: &Loss) -> Objective {
    match *config {
        Loss::CrossEntropy {} => Objective::CrossEntropy,
        Loss::Focal { alpha, gamma } => Objective::Focal { alpha, gamma },
        Loss::Ratio {} => Objective::Ratio,
        Loss::Squared {} => Objective::Value(ValueLoss::Squared.into()),
        Loss::Huber { delta } => Objective::Value(ValueLoss::Huber { delta }.into()),
        Loss::Poisson {} => Objective::Value(ValueLoss::Poisson.into()),
        Loss::WeightedLogistic {} => Objective::Value(ValueLoss::WeightedLogistic.into()),
        Loss::Ziln {} => Objective::Value(ValueLoss::Ziln.into()),
    }
}

/// Label and truth are in the files and not among the features: they are not known in time.
fn labels(task: &Task, fields: &[Field], checks: &mut Checks<'_>) {
    let name = task.name.as_str();
    if checks.states(&["tasks", name, "label"]) {
        checks.column(&["tasks", name, "label"], &task.label);
    }
    if let Some(truth) = &task.truth {
        checks.column(&["tasks", name, "truth"], truth);
    }
    let forbidden = [("label", Some(&task.label)), ("truth", task.truth.as_ref())];
    for (what, column) in forbidden {
        for field in fields {
            let mut read = field.columns();
            let Some(read) = read.find(|read| Some(*read) == column) else {
                continue;
            };
            let text = format!(
                "column {:?} is a feature and the {what} of task {name:?}; it is not known when the \
                 model is asked: take it out of columns",
                read
            );
            let path = checks.place_of_column(&field.name);
            checks.say(&path, text);
        }
    }
}

/// The columns of [`RowRules`] are in the files and say something else than the label.
fn rules(task: &Task, checks: &mut Checks<'_>) {
    let rules = &task.row_rules;
    let columns = [
        ("weight_column", &rules.weight_column),
        ("negative_rate_column", &rules.negative_rate_column),
    ];
    for (key, column) in columns {
        let Some(column) = column else { continue };
        let at = ["tasks", task.name.as_str(), key];
        checks.column(&at, column);
        if *column == task.label {
            let text = format!(
                "task {:?}: {key} is the label's column {column:?}; name another column",
                task.name
            );
            checks.say(&at, text);
        }
    }
    late::check(task, checks);
    if rules.leaves_out_negatives() && task.objective != Objective::CrossEntropy {
        let key = match rules.negative_rate {
            Some(_) => "negative_rate",
            None => "negative_rate_column",
        };
        let text = format!(
            "task {:?}: {key} is corrected exactly for loss = \"cross_entropy\" only; leave it out",
            task.name
        );
        checks.say(&["tasks", &task.name, key], text);
    }
}

/// `where` leads to labels of 0 and 1 and never in a circle.
fn populations(tasks: &[Task], checks: &mut Checks<'_>) {
    for task in tasks {
        let at = ["tasks", task.name.as_str(), "where"];
        let Population::Where(other) = task.population else {
            continue;
        };
        if !tasks[other].objective.is_binary() {
            let text = format!(
                "task {:?} counts rows where the label of {:?} is 1, but that label is a number; name a task of labels 0 and 1",
                task.name, tasks[other].name
            );
            checks.say(&at, text);
        }
        if is_circle(tasks, task) {
            checks.say(
                &at,
                format!(
                    "task {:?} counts its own rows: where leads in a circle",
                    task.name
                ),
            );
        }
    }
}

fn is_circle(tasks: &[Task], task: &Task) -> bool {
    let mut population = task.population;
    for _ in tasks {
        let Population::Where(other) = population else {
            return false;
        };
        population = tasks[other].population;
    }
    population != Population::All
}

fn repeated(tasks: &[Task], checks: &mut Checks<'_>) {
    for (i, task) in tasks.iter().enumerate() {
        let same = |other: &&Task| {
            !task.label.is_empty()
                && other.label == task.label
                && other.population == task.population
        };
        if let Some(other) = tasks[..i].iter().find(same) {
            let text = format!(
                "tasks {:?} and {:?} have the same label {:?} over the same rows",
                other.name, task.name, task.label
            );
            checks.say(&["tasks", &task.name, "label"], text);
        }
    }
}
