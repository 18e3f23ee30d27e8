//! Counts and rates of the past, checked against features and tasks.

use ncs_features::{Field, IdSpacePlan, RatePlan, RatesPlan, TablePlan, Task};

use super::checks::Checks;
use super::problem::hint;
use super::toml_types::{self, PastRate, PastRates, PastRatesName};
use ncs_train::RateReaders;

/// Says which tasks read past rates.
pub(crate) fn readers(config: &toml_types::RunFile, checks: &mut Checks<'_>) -> RateReaders {
    let has_masks = config.network.kind == toml_types::NetworkKind::SparseSharing;
    match config.features.rates_for {
        Some(RateReaders::Clicks) if !has_masks => {
            let text = "features.rates_for = \"clicks\" needs masks: only network.kind = \"sparse_sharing\" has them; \
                        leave it out, and all tasks read past rates";
            checks.say(&["features", "rates_for"], text);
            RateReaders::All
        }
        Some(RateReaders::All) => RateReaders::All,
        _ => RateReaders::Clicks,
    }
}

/// The plan of `features.rates`; past rates are a default of networks that can give them to the click task alone.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    fields: &[Field],
    tables: &[TablePlan],
    tasks: &[Task],
    checks: &mut Checks<'_>,
) -> RatesPlan {
    let has_masks = config.network.kind == toml_types::NetworkKind::SparseSharing;
    let stated = match &config.features.rates {
        None if has_masks => return RatesPlan::Auto,
        None => return RatesPlan::None,
        Some(stated) => stated,
    };
    let stated = match stated {
        PastRates::Named(PastRatesName::None) => return RatesPlan::None,
        PastRates::Named(PastRatesName::Auto) => return RatesPlan::Auto,
        PastRates::These(these) => these,
    };
    let mut rates: Vec<RatePlan> = Vec::new();
    for (number, stated) in stated.iter().enumerate() {
        let rate = RatePlan {
            of: categories(number, stated, fields, tables, checks),
            tasks: of_tasks(number, stated, tasks, checks),
        };
        if rates.iter().any(|other| other.of == rate.of) {
            let text = format!("features.rates names {} twice", stated.of.join(" and "));
            say(number, "of", text, checks);
        }
        rates.push(rate);
    }
    if rates.is_empty() {
        RatesPlan::None
    } else {
        RatesPlan::These(rates)
    }
}

fn say(number: usize, key: &str, text: String, checks: &mut Checks<'_>) {
    let number = number.to_string();
    checks.say(&["features", "rates", &number, key], text);
}

/// The fields that a rate is of: categories, each once.
fn categories(
    number: usize,
    stated: &PastRate,
    fields: &[Field],
    tables: &[TablePlan],
    checks: &mut Checks<'_>,
) -> Vec<usize> {
    let mut found = Vec::new();
    for name in &stated.of {
        let Some(f) = fields.iter().position(|field| field.name == *name) else {
            let near = hint(name, fields.iter().map(|field| field.name.as_str()));
            let text = format!("features.rates: {name:?} is not a feature{near}");
            say(number, "of", text, checks);
            continue;
        };
        let ids = &tables[fields[f].table].ids;
        let what = match (ids, fields[f].pooling.is_some()) {
            (IdSpacePlan::Numeric(_), _) => Some("a number"),
            (IdSpacePlan::Cross(_), _) => Some("a cross"),
            (IdSpacePlan::Time(_), _) => Some("a part of a time"),
            (_, true) => Some("a list"),
            _ if found.contains(&f) => Some("named twice"),
            _ => None,
        };
        if let Some(what) = what {
            let text =
                format!("features.rates: {name:?} is {what}; a rate is of categories, one or two");
            say(number, "of", text, checks);
        }
        found.push(f);
    }
    found
}

fn of_tasks(
    number: usize,
    stated: &PastRate,
    tasks: &[Task],
    checks: &mut Checks<'_>,
) -> Vec<usize> {
    let Some(names) = &stated.tasks else {
        let tasks = tasks.iter().enumerate();
        let binary = tasks.filter(|(_, task)| task.objective.is_binary());
        return binary.map(|(t, _)| t).collect();
    };
    let mut found = Vec::new();
    for name in names {
        match tasks.iter().position(|task| task.name == *name) {
            Some(t) if !tasks[t].objective.is_binary() => {
                let text = format!(
                    "features.rates: the label of task {name:?} is a number; a rate is of labels of 0 and 1"
                );
                say(number, "tasks", text, checks);
            }
            Some(t) if found.contains(&t) => {
                let text = format!("features.rates names task {name:?} twice");
                say(number, "tasks", text, checks);
            }
            Some(t) => found.push(t),
            None => {
                let near = hint(name, tasks.iter().map(|task| task.name.as_str()));
                let text = format!("features.rates: {name:?} is not a task{near}");
                say(number, "tasks", text, checks);
            }
        }
    }
    found
}
