//! The kinds of columns, brought to one form.

use ncs_features::{Beside, HashFunction, IdSpacePlan, NumericPlan, Pooling, TimePart, VectorPlan};

use super::checks::Checks;
use super::times;
use super::toml_types::{self, Column, ColumnKind, ColumnSettings};

const QUANTILES: u32 = 32;

/// More pieces gained nothing (docs/decisions/0031-numbers-piecewise.md).
const PIECES: u32 = 16;

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

pub(crate) fn read(name: &str, config: &Column, checks: &mut Checks<'_>) -> Read {
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

pub(crate) fn by_vocabulary(config: &toml_types::Vocabulary) -> IdSpacePlan {
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
