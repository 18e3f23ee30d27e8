//! Training that continues from an earlier model: checks that new rows have the same meaning.

use crate::canonical::ValueRule;
use crate::rates::{RatePlan, RatesPlan, rates_of};
use crate::schema::{Field, IdSpace, IdSpacePlan, NumericPlan, Schema, SchemaPlan, Table, Task};
use std::collections::HashSet;

/// Lists what keeps a training by `plan` from going on with a model of the schema `earlier`: one sentence each, with
/// the remedy. Empty: [`crate::fit::Fit::extending`] carries everything else over.
///
/// Carried over as they were: ids, bucket numbers, knots, scales and ranges of numbers. New values are added to
/// vocabularies; past counts precede the new rows. A task's weight, its column of true probabilities and the grouping column may differ.
pub fn misfits(earlier: &Schema, plan: &SchemaPlan) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(rates(earlier, &plan.rates));
    let (earlier_fields, earlier_tables) = without_rates(earlier);
    if earlier.value_rule != ValueRule::CURRENT {
        found.push(
            "the model reads values by the rules of an earlier release; train a new model once with this release"
                .to_owned(),
        );
    }
    let n_before = found.len();
    fields(&earlier_fields, &earlier_tables, plan, &mut found);
    if found.len() == n_before {
        tables(&earlier_tables, plan, &mut found);
    }
    tasks(&earlier.tasks, &plan.tasks, &mut found);
    found
}

/// Returns the fields and tables that are read from columns; those of past rates follow them.
fn without_rates(schema: &Schema) -> (Vec<Field>, Vec<Table>) {
    let is_read = |field: &&Field| schema.tables[field.table].ids.rate().is_none();
    let tables = schema.tables.iter();
    (
        schema.fields.iter().filter(is_read).cloned().collect(),
        tables
            .filter(|table| table.ids.rate().is_none())
            .cloned()
            .collect(),
    )
}

/// Says how the past rates of the plan differ from those of the model. Under `RatesPlan::Auto` they are those of the
/// model, even if that is none.
fn rates(earlier: &Schema, plan: &RatesPlan) -> Option<String> {
    let of_model = rates_of(earlier);
    let names = |rates: &[RatePlan]| -> String {
        let columns = |rate: &RatePlan| {
            let names = rate.of.iter().map(|&f| earlier.fields[f].name.as_str());
            names.collect::<Vec<_>>().join(" and ")
        };
        rates.iter().map(columns).collect::<Vec<_>>().join(", ")
    };
    match plan {
        RatesPlan::Auto => None,
        RatesPlan::None if of_model.is_empty() => None,
        RatesPlan::None => Some(format!(
            "the model reads past rates of {}, and features.rates is \"none\"; set features.rates = \"auto\", which \
             keeps the model's, or train a new model",
            names(&of_model)
        )),
        RatesPlan::These(these) if *these == of_model => None,
        RatesPlan::These(_) => Some(format!(
            "features.rates lists other past rates than the model has ({}); set features.rates = \"auto\", which keeps \
             the model's, or train a new model",
            if of_model.is_empty() {
                "none".to_owned()
            } else {
                names(&of_model)
            }
        )),
    }
}

fn fields(earlier: &[Field], earlier_tables: &[Table], plan: &SchemaPlan, found: &mut Vec<String>) {
    let names = |fields: &[Field]| -> Vec<String> {
        fields.iter().map(|field| field.name.clone()).collect()
    };
    let (before, now) = (names(earlier), names(&plan.fields));
    let lists = |names: &[String]| -> HashSet<String> { names.iter().cloned().collect() };
    let (had, has) = (lists(&before), lists(&now));
    for name in now.iter().filter(|name| !had.contains(*name)) {
        found.push(format!(
            "column \"{name}\" is not a feature of the model; leave it out, or train a new model that has it"
        ));
    }
    for name in before.iter().filter(|name| !has.contains(*name)) {
        found.push(format!(
            "the model reads column \"{name}\", which [columns] does not list; add it, or train a new model \
             without it"
        ));
    }
    if had != has {
        return;
    }
    if before != now {
        found.push(format!(
            "the model's columns are in another order; list them as {}",
            before.join(", ")
        ));
        return;
    }
    for (was, is) in earlier.iter().zip(&plan.fields) {
        let table = |name: &str| format!("the id space \"{name}\"");
        let (old, new) = (
            table(&earlier_tables[was.table].name),
            table(&plan.tables[is.table].name),
        );
        let is_same = Field {
            table: was.table,
            ..is.clone()
        } == *was;
        if !is_same || old != new {
            found.push(format!(
                "column \"{}\" is read in another way than by the model: its source column, list settings, missing \
                 values and id space must be the same ({old} in the model, {new} in the run file)",
                was.name
            ));
        }
    }
}

fn tables(earlier: &[Table], plan: &SchemaPlan, found: &mut Vec<String>) {
    for (table, planned) in earlier.iter().zip(&plan.tables) {
        if let Some(what) = id_space(&table.ids, &planned.ids) {
            found.push(format!("id space \"{}\": {what}", table.name));
        }
    }
}

/// Describes how an id space differs from its plan.
fn id_space(is: &IdSpace, plan: &IdSpacePlan) -> Option<String> {
    match (is, plan) {
        (IdSpace::Vocabulary { .. }, IdSpacePlan::Vocabulary { .. })
        | (IdSpace::Quantiles { .. }, IdSpacePlan::Numeric(NumericPlan::Quantiles { .. }))
        | (IdSpace::Piecewise(_), IdSpacePlan::Numeric(NumericPlan::Piecewise { .. }))
        | (IdSpace::Scaled { log: false, .. }, IdSpacePlan::Numeric(NumericPlan::Standardise))
        | (IdSpace::Scaled { log: true, .. }, IdSpacePlan::Numeric(NumericPlan::Log)) => None,
        (
            IdSpace::Hash {
                buckets, function, ..
            },
            IdSpacePlan::Hash {
                buckets: planned,
                function: wanted,
            },
        ) => (buckets != planned || function != wanted).then(|| {
            format!(
                "the model has {buckets} buckets of {function:?}, the run file asks for {planned} of {wanted:?}; a value \
                 would get another row: keep the model's buckets and hash function"
            )
        }),
        (IdSpace::Vector(vector), IdSpacePlan::Numeric(NumericPlan::Vector(plan))) => {
            (!vector.is_of(plan)).then(|| {
                format!(
                    "the model reads vectors of {} numbers; keep its length, projected and standardise",
                    vector.length
                )
            })
        }
        (
            IdSpace::Quantiles { boundaries },
            IdSpacePlan::Numeric(NumericPlan::Boundaries(planned)),
        ) => (boundaries != planned)
            .then(|| "it has other boundaries than in the model; keep the model's".to_owned()),
        (IdSpace::Time(part), IdSpacePlan::Time(plan)) => (part != plan).then(|| {
            "it is another part of the time, or of another utc_offset or unit, than in the model; keep the model's"
                .to_owned()
        }),
        (IdSpace::Cross(cross), IdSpacePlan::Cross(plan)) => (cross != plan).then(|| {
            "it is a cross of other columns, or of another number of buckets, than in the model; keep the model's"
                .to_owned()
        }),
        _ => Some(
            "its values become ids in another way than in the model; keep the model's kind of column".to_owned(),
        ),
    }
}

fn tasks(earlier: &[Task], now: &[Task], found: &mut Vec<String>) {
    let names =
        |tasks: &[Task]| -> Vec<String> { tasks.iter().map(|task| task.name.clone()).collect() };
    let (before, here) = (names(earlier), names(now));
    if before != here {
        found.push(format!(
            "the model's tasks are {}, those of the run file are {}; list the same tasks in the same order",
            before.join(", "),
            here.join(", ")
        ));
        return;
    }
    for (was, is) in earlier.iter().zip(now) {
        if was.population != is.population || was.objective.unfitted() != is.objective.unfitted() {
            found.push(format!(
                "task \"{}\" has another population or loss than in the model; keep those of the model",
                was.name
            ));
        }
    }
}

/// Values that a table gained over an earlier one: `(name, rows before, rows now)`, for every table that grew.
pub fn growth<'a>(earlier: &Schema, now: &'a Schema) -> Vec<(&'a str, usize, usize)> {
    let pairs = earlier.tables.iter().zip(&now.tables);
    let sizes = pairs.map(|(was, is)| (is.name.as_str(), was.ids.n_rows(), is.ids.n_rows()));
    sizes.filter(|(_, before, after)| after > before).collect()
}
