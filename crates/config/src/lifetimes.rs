//! Lifetimes of table rows.

use ncs_features::{IdSpacePlan, SchemaPlan};
use ncs_readers::DataPlan;
use ncs_train::{Age, Lifetime};

use super::checks::Checks;
use super::days;
use super::problem::hint;
use super::toml_types::{self, ExpireAfter};

/// Lifetimes, and what they need to know of the rows.
pub(crate) struct Lifetimes {
    /// By the place of their id space.
    pub(crate) of_tables: Vec<Lifetime>,
    /// Day of the newest training rows, where a lifetime is in days.
    pub(crate) day: Option<i64>,
}

/// Returns the lifetimes that the run file states.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    schema: &SchemaPlan,
    data: &DataPlan,
    checks: &mut Checks<'_>,
) -> Lifetimes {
    let mut lifetimes = Lifetimes {
        of_tables: Vec::new(),
        day: None,
    };
    for (name, stated) in &config.tables {
        let path = ["tables", name.as_str()];
        let has_ids = |ids: &IdSpacePlan| !matches!(ids, IdSpacePlan::Numeric(_));
        let tables = schema.tables.iter();
        let names = tables
            .filter(|table| has_ids(&table.ids))
            .map(|table| table.name.as_str());
        let found = schema.tables.iter().position(|table| table.name == *name);
        let Some(table) = found.filter(|&table| has_ids(&schema.tables[table].ids)) else {
            let near = hint(name, names);
            checks.say(&path, format!("no id space {name:?}{near}"));
            continue;
        };
        if stated.expire_after.is_none() && stated.capacity.is_none() && stated.min_count.is_none()
        {
            checks.say(
                &path,
                "state expire_after, capacity, min_count, or several of them",
            );
        }
        if stated.min_count.is_some()
            && !matches!(schema.tables[table].ids, IdSpacePlan::Hash { .. })
        {
            let text = format!(
                "min_count of a table is about hashed ids; of a vocabulary, state columns.{name}.vocabulary = {{ min_count = \
                 ... }}"
            );
            checks.say(&["tables", name, "min_count"], text);
        }
        if stated
            .expire_after
            .as_ref()
            .is_some_and(|stated| age(stated).is_none())
        {
            checks.say(
                &["tables", name, "expire_after"],
                "expire_after is a whole number of trainings, or days such as \"30 days\"",
            );
        }
        lifetimes.of_tables.push(Lifetime {
            table,
            expire_after: stated.expire_after.as_ref().and_then(age),
            capacity: stated.capacity,
            eviction: stated.evict,
            min_count: stated.min_count,
        });
    }
    let is_in_days = |lifetime: &&Lifetime| matches!(lifetime.expire_after, Some(Age::Days(_)));
    if let Some(lifetime) = lifetimes.of_tables.iter().find(is_in_days) {
        lifetimes.day = days::latest(data);
        if lifetimes.day.is_none() {
            let name = &schema.tables[lifetime.table].name;
            let text = "expire_after in days needs the day of the rows: files of data.train in folders named by day, such as \
                        day=2026-11-28/rows.parquet; or state a number of trainings";
            checks.say(&["tables", name, "expire_after"], text);
        }
    }
    lifetimes
}

/// Returns the age that a text such as `30 days` or a number of trainings states; `None` for another text.
fn age(stated: &ExpireAfter) -> Option<Age> {
    let text = match stated {
        ExpireAfter::Trainings(n) => return Some(Age::Trainings(*n)),
        ExpireAfter::Days(text) => text,
    };
    let (number, unit) = text.split_once(' ')?;
    let days = number.parse().ok().filter(|&days| days > 0)?;
    matches!(unit, "day" | "days").then_some(Age::Days(days))
}
