//! The features and the id spaces that they share.

mod crosses;

use indexmap::IndexMap;
use ncs_features::{Field, IdSpacePlan, SchemaPlan, TablePlan};

use super::checks::Checks;
use super::column_kinds::{Ids, Read, by_vocabulary, read};
use super::problem::hint;
use super::rates;
use super::sequences;
use super::tasks;
use super::times;
use super::toml_types::{self, Column, ColumnSettings};

/// Columns and tasks, checked against the files and each other.
pub(crate) fn plan(config: &toml_types::RunFile, checks: &mut Checks<'_>) -> SchemaPlan {
    let attributes = sequences::attributes(config);
    let mut columns: IndexMap<&str, Read> = IndexMap::new();
    for (name, column) in &config.columns {
        match column {
            Column::With(ColumnSettings::Sequence { .. }) => {
                sequences::read(name, column, &attributes, &mut columns, checks);
            }
            _ => {
                columns.insert(name, read(name, column, checks));
            }
        }
    }
    let mut tables = Vec::new();
    let mut fields: Vec<Field> = columns
        .keys()
        .map(|name| field(name, &columns, &mut tables, checks))
        .collect();
    let is_cross = |field: &Field| matches!(tables[field.table].ids, IdSpacePlan::Cross(_));
    for field in fields.iter().filter(|field| !is_cross(field)) {
        let mut known = attributes.iter();
        let place = match known.find(|about| about.full_name == field.name) {
            Some(about) => about.place("column").to_vec(),
            None => checks.place_of_column(&field.name),
        };
        checks.column(&place, &field.column);
        times::beside(field, checks);
    }
    sequences::check_ages(config, checks);
    sequences::link(config, &attributes, &tables, &mut fields, checks);
    let tasks = tasks::plan(config, &fields, checks);
    for column in &config.evaluation.slices {
        checks.column(&["evaluation", "slices"], column);
    }
    if let Some(days) = &config.evaluation.days {
        checks.column(&["evaluation", "days"], days);
    }
    let group = config.evaluation.group.clone();
    if let Some(group) = &group {
        checks.column(&["evaluation", "group"], group);
    }
    let rates = rates::plan(config, &fields, &tables, &tasks, checks);
    SchemaPlan {
        fields,
        tables,
        tasks,
        group,
        rates,
    }
}

/// Returns the columns that requests will have in their context; each is read by a feature.
pub(crate) fn of_context(
    config: &toml_types::RunFile,
    schema: &SchemaPlan,
    checks: &mut Checks<'_>,
) -> Vec<String> {
    let known: Vec<&str> = schema
        .fields
        .iter()
        .flat_map(Field::columns)
        .map(String::as_str)
        .collect();
    let columns = &config.serving.context_columns;
    for (place, column) in columns.iter().enumerate() {
        if columns[..place].contains(column) {
            let text = format!("serving.context_columns names \"{column}\" twice");
            checks.say(&["serving", "context_columns"], text);
        }
        if !known.contains(&column.as_str()) {
            let hint = hint(column, known.iter().copied());
            let text =
                format!("serving.context_columns: no feature reads a column \"{column}\"{hint}");
            checks.say(&["serving", "context_columns"], text);
        }
    }
    columns.clone()
}

fn field(
    name: &str,
    columns: &IndexMap<&str, Read>,
    tables: &mut Vec<TablePlan>,
    checks: &mut Checks<'_>,
) -> Field {
    let read = &columns[name];
    let table = table_name(name, columns, checks);
    let at = tables.iter().position(|known| known.name == table);
    let at = at.unwrap_or_else(|| {
        let ids = space(&table, columns, checks);
        tables.push(TablePlan {
            name: table.clone(),
            ids,
        });
        tables.len() - 1
    });
    Field {
        name: name.to_owned(),
        column: match &read.ids {
            // It reads the columns of its parts.
            Ids::Cross { of, .. } => columns.get(of.first().map_or("", |part| part)),
            _ => None,
        }
        .map_or_else(|| read.column.clone(), |part| part.column.clone()),
        table: at,
        pooling: read.pooling,
        separator: read.separator,
        max_values: read.max_values,
        beside: read.beside.clone(),
        missing: read.missing.clone(),
    }
}

/// The name of a column's table: its own, or the one it points to, through other columns.
fn table_name(name: &str, columns: &IndexMap<&str, Read>, checks: &mut Checks<'_>) -> String {
    let found = end_of_chain(name, columns);
    let at = ["columns", name, "table"];
    let Some(table) = found else {
        checks.say(&at, format!("columns.{name}.table leads back to itself"));
        return name.to_owned();
    };
    match columns.get(table) {
        Some(Read {
            ids: Ids::Number(_) | Ids::Cross { .. } | Ids::Time(_),
            ..
        }) if table != name => {
            let text = format!(
                "columns.{name}.table is {table:?}, which has no ids to share: only categories and lists have"
            );
            checks.say(&at, text);
            name.to_owned()
        }
        None => {
            alone(name, table, columns, checks);
            table.to_owned()
        }
        _ => table.to_owned(),
    }
}

fn end_of_chain<'n>(name: &'n str, columns: &'n IndexMap<&str, Read>) -> Option<&'n str> {
    let mut table = name;
    for _ in 0..=columns.len() {
        match columns.get(table) {
            Some(Read {
                ids: Ids::Text {
                    table: Some(next), ..
                },
                ..
            }) if next != table => {
                table = next;
            }
            _ => return Some(table),
        }
    }
    None
}

/// A table that is no column's and that one column only points to, without a size, is a slip.
fn alone(name: &str, table: &str, columns: &IndexMap<&str, Read>, checks: &mut Checks<'_>) {
    let users = columns
        .keys()
        .filter(|other| end_of_chain(other, columns) == Some(table));
    let is_stated = matches!(
        &columns[name].ids,
        Ids::Text {
            stated: Some(_),
            ..
        }
    );
    if users.count() > 1 || is_stated {
        return;
    }
    let others = columns.keys().copied().filter(|other| *other != name);
    let near = ncs_features::shown::nearest(table, others);
    let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    let text = format!("columns.{name}.table is {table:?}, which no other column has{near}");
    checks.say(&["columns", name, "table"], text);
}

/// Returns the id encoding of `table`, as its columns state it; they must agree.
fn space(table: &str, columns: &IndexMap<&str, Read>, checks: &mut Checks<'_>) -> IdSpacePlan {
    let mut agreed: Option<(&str, &IdSpacePlan)> = None;
    for (name, read) in columns {
        if end_of_chain(name, columns) != Some(table) {
            continue;
        }
        let stated = match &read.ids {
            Ids::Number(plan) => return IdSpacePlan::Numeric(plan.clone()),
            Ids::Time(part) => return IdSpacePlan::Time(*part),
            Ids::Cross { of, buckets } => {
                return crosses::cross(name, of, *buckets, columns, checks);
            }
            Ids::Text { stated, .. } => stated.as_ref(),
        };
        match (agreed, stated) {
            (None, Some(ids)) => agreed = Some((name, ids)),
            (Some((first, ids)), Some(other)) if ids != other => {
                let text = format!(
                    "columns.{name} and columns.{first} share the table {table:?}, but one states \
                     {}, the other {}",
                    config(other),
                    config(ids)
                );
                checks.say(&["columns", name], text);
            }
            _ => {}
        }
    }
    let usual = || by_vocabulary(&toml_types::Vocabulary::default());
    agreed.map_or_else(usual, |(_, ids)| ids.clone())
}

fn config(ids: &IdSpacePlan) -> String {
    match ids {
        IdSpacePlan::Cross(_) => "a cross".to_owned(),
        IdSpacePlan::Time(_) => "a part of a time".to_owned(),
        IdSpacePlan::Hash { buckets, function } => {
            format!(
                "{buckets} buckets by {}",
                format!("{function:?}").to_lowercase()
            )
        }
        IdSpacePlan::Vocabulary {
            min_count,
            max_size,
        } => {
            let most = max_size.map_or(String::new(), |most| format!(" of at most {most} values"));
            format!("a vocabulary{most} seen {min_count} times or more")
        }
        IdSpacePlan::Numeric(_) => "a number".to_owned(),
    }
}
