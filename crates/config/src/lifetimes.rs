//! Lifetimes of table rows.

use ncs_features::{IdSpacePlan, SchemaPlan};
use ncs_train::Lifetime;

use super::checks::Checks;
use super::problem::hint;
use super::toml_types;

/// Returns the lifetimes that the run file states, by the place of their id space.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    schema: &SchemaPlan,
    checks: &mut Checks<'_>,
) -> Vec<Lifetime> {
    let mut lifetimes = Vec::new();
    for (name, stated) in &config.tables {
        let path = ["tables", name.as_str()];
        let has_ids = |ids: &IdSpacePlan| !matches!(ids, IdSpacePlan::Numeric(_));
        let tables = schema.tables.iter();
        let names = tables
            .filter(|table| has_ids(&table.ids))
            .map(|table| table.name.as_str());
        let found = schema.tables.iter().position(|table| table.name == *name);
        match found.filter(|&table| has_ids(&schema.tables[table].ids)) {
            None => {
                let near = hint(name, names);
                checks.say(&path, format!("no id space {name:?}{near}"));
            }
            Some(_) if stated.expire_after.is_none() && stated.capacity.is_none() => {
                checks.say(&path, "state expire_after, capacity, or both");
            }
            Some(table) => lifetimes.push(Lifetime {
                table,
                expire_after: stated.expire_after,
                capacity: stated.capacity,
            }),
        }
    }
    lifetimes
}
