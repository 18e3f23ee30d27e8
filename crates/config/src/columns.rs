//! The features and the id spaces that they share.

mod crosses;

use indexmap::IndexMap;
use ncs_features::{
    Beside, Field, HashFunction, IdSpacePlan, NumericPlan, Pooling, SchemaPlan, TablePlan,
    TimePart, VectorPlan,
};

use super::checks::Checks;
use super::rates;
use super::sequences;
use super::tasks;
use super::times;
use super::toml_types::{self, Column, ColumnKind, ColumnSettings};

const QUANTILES: u32 = 32;

/// More pieces gained nothing (docs/decisions/0031-numbers-piecewise.md).
const PIECES: u32 = 16;

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
    sequences::link(config, &attributes, &tables, &mut fields, checks);
    let tasks = tasks::plan(config, &fields, checks);
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

/// A column as configured, the three kinds brought to one form.
pub(crate) struct Read {
    pub(crate) column: String,
    pub(crate) missing: Vec<String>,
    pub(crate) ids: Ids,
    pub(crate) pooling: Option<Pooling>,
    pub(crate) separator: Option<char>,
    pub(crate) max_values: Option<usize>,
    pub(crate) beside: Beside,
}

/// Source of ids.
pub(crate) enum Ids {
    /// A number has a table of its own.
    Number(NumericPlan),
    /// A part of a time.
    Time(TimePart),
    /// A combination of other features.
    Cross { of: Vec<String>, buckets: u32 },
    /// Ids: the table's name where one is stated, and its ids where they are.
    Text {
        table: Option<String>,
        stated: Option<IdSpacePlan>,
    },
}

impl Read {
    /// Creates a column of one value a row.
    fn of(column: String, missing: &[String], ids: Ids) -> Read {
        Read {
            column,
            missing: missing.to_vec(),
            ids,
            pooling: None,
            separator: None,
            max_values: None,
            beside: Beside::None,
        }
    }
}

fn read(name: &str, config: &Column, checks: &mut Checks<'_>) -> Read {
    let text = || Ids::Text {
        table: None,
        stated: None,
    };
    let plain = |ids| Read::of(name.to_owned(), &[], ids);
    match config {
        Column::Named(ColumnKind::Categorical) => plain(text()),
        Column::Named(ColumnKind::List) => Read {
            pooling: Some(Pooling::Mean),
            ..plain(text())
        },
        Column::Named(ColumnKind::Numeric) => {
            plain(Ids::Number(NumericPlan::Piecewise { pieces: PIECES }))
        }
        Column::With(settings) => read_settings(name, settings, checks),
    }
}

fn read_settings(name: &str, config: &ColumnSettings, checks: &mut Checks<'_>) -> Read {
    match config {
        ColumnSettings::Categorical {
            column,
            missing,
            table,
            buckets,
            hash,
            vocabulary,
            init: _,
        } => {
            let ids = ids(name, table, *buckets, *hash, vocabulary.as_ref(), checks);
            Read::of(raw(name, column), missing, ids)
        }
        ColumnSettings::List {
            column,
            missing,
            table,
            buckets,
            hash,
            vocabulary,
            pooling,
            max_values,
            separator,
            weights,
            weight_separator,
            init: _,
        } => {
            let ids = ids(name, table, *buckets, *hash, vocabulary.as_ref(), checks);
            Read {
                pooling: Some(pooled(*pooling)),
                separator: *separator,
                max_values: *max_values,
                beside: times::weights(name, weights, *weight_separator, *pooling, checks),
                ..Read::of(raw(name, column), missing, ids)
            }
        }
        ColumnSettings::Cross { of, buckets } => {
            let (of, buckets) = (of.clone(), *buckets);
            Read::of(String::new(), &[], Ids::Cross { of, buckets })
        }
        ColumnSettings::Sequence { .. } => unreachable!("its attributes are read one by one"),
        ColumnSettings::Numeric { .. }
        | ColumnSettings::Time { .. }
        | ColumnSettings::Vector { .. } => read_numbers(name, config, checks),
    }
}

/// Reads the settings of a column of numbers or times.
fn read_numbers(name: &str, config: &ColumnSettings, checks: &mut Checks<'_>) -> Read {
    match config {
        ColumnSettings::Numeric {
            column,
            missing,
            transform,
            buckets,
            boundaries,
            since,
            unit,
        } => {
            let plan = match boundaries {
                Some(boundaries) => times::boundaries(name, boundaries, checks),
                None => numeric(name, *transform, *buckets, checks),
            };
            let column = raw(name, column);
            Read {
                beside: times::since(name, &column, since, *unit, checks),
                ..Read::of(column, missing, Ids::Number(plan))
            }
        }
        ColumnSettings::Time {
            column,
            missing,
            part,
            utc_offset,
            unit,
        } => {
            let part = times::part(name, *part, *utc_offset, *unit, checks);
            Read::of(raw(name, column), missing, Ids::Time(part))
        }
        ColumnSettings::Vector {
            column,
            length,
            separator,
            standardise,
            projected,
        } => {
            let plan = NumericPlan::Vector(VectorPlan {
                length: *length,
                projected: *projected,
                standardise: *standardise,
            });
            Read {
                separator: *separator,
                ..Read::of(raw(name, column), &[], Ids::Number(plan))
            }
        }
        _ => unreachable!("it is read by its ids"),
    }
}

/// Returns the column of a feature: as stated, or of its name.
fn raw(name: &str, column: &Option<String>) -> String {
    column.clone().unwrap_or_else(|| name.to_owned())
}

pub(crate) fn ids(
    name: &str,
    table: &Option<String>,
    buckets: Option<u32>,
    hash: Option<toml_types::Hash>,
    vocabulary: Option<&toml_types::Vocabulary>,
    checks: &mut Checks<'_>,
) -> Ids {
    if hash.is_some() && buckets.is_none() {
        let text = format!("columns.{name}.hash goes with buckets, which are not stated");
        checks.say(&["columns", name, "hash"], text);
    }
    if buckets.is_some() && vocabulary.is_some() {
        let text = format!("columns.{name} states both buckets and a vocabulary; keep one");
        checks.say(&["columns", name, "vocabulary"], text);
    }
    let function = hash.map_or(HashFunction::default(), hash_function);
    let hashed = buckets.map(|buckets| IdSpacePlan::Hash { buckets, function });
    let stated = hashed.or_else(|| vocabulary.map(by_vocabulary));
    Ids::Text {
        table: table.clone(),
        stated,
    }
}

fn hash_function(config: toml_types::Hash) -> HashFunction {
    match config {
        toml_types::Hash::Xxh3 => HashFunction::Xxh3,
        toml_types::Hash::Farm => HashFunction::Farm,
        toml_types::Hash::Murmur3 => HashFunction::Murmur3,
    }
}

fn by_vocabulary(config: &toml_types::Vocabulary) -> IdSpacePlan {
    IdSpacePlan::Vocabulary {
        min_count: config.min_count,
        max_size: config.max_size,
    }
}

fn pooled(config: toml_types::Pooling) -> Pooling {
    match config {
        toml_types::Pooling::Mean => Pooling::Mean,
        toml_types::Pooling::Sum => Pooling::Sum,
        toml_types::Pooling::PaddedMean => Pooling::PaddedMean,
    }
}

fn numeric(
    name: &str,
    transform: toml_types::Transform,
    buckets: Option<u32>,
    checks: &mut Checks<'_>,
) -> NumericPlan {
    let plan = match transform {
        toml_types::Transform::Piecewise => {
            return NumericPlan::Piecewise {
                pieces: buckets.unwrap_or(PIECES),
            };
        }
        toml_types::Transform::Standardise => NumericPlan::Standardise,
        toml_types::Transform::Log => NumericPlan::Log,
        toml_types::Transform::Quantiles => {
            return NumericPlan::Quantiles {
                buckets: buckets.unwrap_or(QUANTILES),
            };
        }
    };
    if buckets.is_some() {
        let text =
            format!("columns.{name}.buckets goes with transform = \"piecewise\" or \"quantiles\"");
        checks.say(&["columns", name, "buckets"], text);
    }
    plan
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
