//! Columns of a score-log file, by the schema of the model that scored.
//!
//! Features keep their column names, so that a run file reads the log like any other file; the log's own
//! columns start with `ncs_`, or with `ncs_ncs_` if a feature's column starts with `ncs_`, and so on.

use std::sync::Arc;

use ncs_features::{Beside, Field, IdSpace, Schema};
use ncs_serve::version::Identity;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

const PREFIX: &str = "ncs_";

/// Prefix of the log's own columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Returns the shortest prefix that none of these columns starts with.
    fn unlike(columns: &[String]) -> Prefix {
        let mut prefix = PREFIX.to_owned();
        while columns.iter().any(|column| column.starts_with(&prefix)) {
            prefix.push_str(PREFIX);
        }
        Prefix(prefix)
    }

    /// Returns the prefix of a file with these columns; `None` if it is not a score-log file.
    pub(crate) fn found_in(columns: &[String]) -> Option<Prefix> {
        let end = Prefix(String::new()).of("request_id");
        let prefixes = columns.iter().filter_map(|column| {
            let prefix = column.strip_suffix(&end)?;
            let is_prefix = !prefix.is_empty() && prefix.replace(PREFIX, "").is_empty();
            is_prefix.then_some(prefix)
        });
        // A feature's column may have such a name too; the log's own prefix is the longest.
        let longest = prefixes.max_by_key(|prefix| prefix.len())?;
        Some(Prefix(longest.to_owned()))
    }

    /// Returns the name of one of the log's own columns.
    pub(crate) fn of(&self, column: &str) -> String {
        format!("{}{column}", self.0)
    }

    /// Returns the name of the column with the answered scores of an output.
    pub(crate) fn of_output(&self, output: &str) -> String {
        self.of(&format!("p_{output}"))
    }
}

/// Content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    RequestId,
    Time,
    Model,
    Version,
    Hash,
    Role,
    Candidate,
    Feature(Kind),
    /// Uncalibrated scores of the task of this index.
    Raw(usize),
    /// Answered scores of the output of this index.
    Answered(usize),
}

/// Storage type of a feature's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A list of texts.
    Texts,
    Number,
    /// A list of numbers of one length; the separator divides those that come as texts.
    Vector {
        length: u32,
        separator: Option<char>,
    },
}

/// Columns of a file, in order.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) columns: Vec<(String, Part)>,
}

impl Layout {
    /// Returns the columns for a model.
    pub(super) fn of(identity: &Identity) -> Layout {
        let features = feature_columns(&identity.schema);
        let prefix = Prefix::unlike(&features);
        let mut columns: Vec<(String, Part)> = [
            ("request_id", Part::RequestId),
            ("time", Part::Time),
            ("model", Part::Model),
            ("version", Part::Version),
            ("model_hash", Part::Hash),
            ("role", Part::Role),
            ("candidate", Part::Candidate),
        ]
        .map(|(name, part)| (prefix.of(name), part))
        .to_vec();
        let kind = |name: &str| Part::Feature(kind(&identity.schema, name));
        columns.extend(features.iter().map(|name| (name.clone(), kind(name))));
        let tasks = identity.schema.tasks.iter().enumerate();
        let raw = tasks.map(|(n, task)| (prefix.of(&format!("raw_{}", task.name)), Part::Raw(n)));
        columns.extend(raw);
        let outputs = identity.outputs.iter().enumerate();
        columns.extend(outputs.map(|(n, name)| (prefix.of_output(name), Part::Answered(n))));
        Layout { columns }
    }

    /// Returns the Parquet schema of the columns.
    pub(super) fn schema(&self) -> Result<TypePtr, ParquetError> {
        let fields = self.columns.iter().map(|(name, part)| part.column(name));
        let fields = fields.collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("score_log").with_fields(fields);
        Ok(Arc::new(schema.build()?))
    }
}

/// Returns the columns that features read, in order, then the group column.
fn feature_columns(schema: &Schema) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let columns = schema.fields.iter().flat_map(Field::columns);
    for name in columns.chain(&schema.group) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Returns the storage type of a column: a list if one feature reads lists; a text if the encoder reads text or moments; else a
/// vector if one reads vectors, or a number.
fn kind(schema: &Schema, column: &str) -> Kind {
    let fields = schema.fields.iter().enumerate();
    let is_beside = |beside: &Beside| beside.columns().any(|name| name == column);
    let is_moment = |beside: &Beside| match beside {
        Beside::Ages(ages) => ages.at.as_deref() == Some(column),
        _ => false,
    };
    let reads_text = |field: &Field| {
        let ids = &schema.tables[field.table].ids;
        let is_text = matches!(
            ids,
            IdSpace::Hash { .. } | IdSpace::Vocabulary { .. } | IdSpace::Time(_)
        );
        // Moments keep the form in which they were sent.
        is_text || matches!(field.beside, Beside::Since { .. })
    };
    let mut kind = if schema.group.as_deref() == Some(column) {
        Kind::Text
    } else {
        Kind::Number
    };
    for (f, field) in fields {
        if field.column != column && !is_beside(&field.beside) || schema.parts(f).is_some() {
            continue;
        }
        match field.pooling {
            // Moments keep the form in which they were sent.
            Some(_) if is_moment(&field.beside) => kind = Kind::Text,
            Some(_) => return Kind::Texts,
            None if reads_text(field) => kind = Kind::Text,
            None => {
                if let Some(vector) = schema.tables[field.table].ids.vector() {
                    kind = Kind::Vector {
                        length: vector.length,
                        separator: field.separator,
                    };
                }
            }
        }
    }
    kind
}

impl Part {
    fn column(self, name: &str) -> Result<TypePtr, ParquetError> {
        let (optional, required) = (Repetition::OPTIONAL, Repetition::REQUIRED);
        let time = LogicalType::timestamp(true, TimeUnit::MICROS);
        match self {
            Part::RequestId | Part::Model | Part::Hash => text(name, required),
            Part::Role | Part::Feature(Kind::Text) => text(name, optional),
            Part::Feature(Kind::Texts) => list(name, text("element", Repetition::REQUIRED)?),
            Part::Feature(Kind::Vector { .. }) => {
                let element = value("element", Repetition::REQUIRED, Physical::DOUBLE, None)?;
                list(name, element)
            }
            Part::Feature(Kind::Number) => value(name, optional, Physical::DOUBLE, None),
            Part::Time => value(name, required, Physical::INT64, Some(time)),
            Part::Version => value(name, required, Physical::INT64, None),
            Part::Candidate => value(name, required, Physical::INT32, None),
            Part::Raw(_) | Part::Answered(_) => value(name, required, Physical::FLOAT, None),
        }
    }
}

fn text(name: &str, repetition: Repetition) -> Result<TypePtr, ParquetError> {
    let logical = Some(LogicalType::String);
    value(name, repetition, Physical::BYTE_ARRAY, logical)
}

fn value(
    name: &str,
    repetition: Repetition,
    physical: Physical,
    logical: Option<LogicalType>,
) -> Result<TypePtr, ParquetError> {
    let column = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    Ok(Arc::new(column.build()?))
}

/// Returns the type of a nullable list of these elements.
fn list(name: &str, element: TypePtr) -> Result<TypePtr, ParquetError> {
    let items = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![element]);
    let list = Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(items.build()?)]);
    Ok(Arc::new(list.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_columns_have_a_prefix_unlike_feature_columns() {
        let check = |features: &[&str], expected: &str| {
            let mut columns: Vec<String> = features.iter().map(|&name| name.to_owned()).collect();
            let prefix = Prefix::unlike(&columns);
            assert_eq!(prefix.of("time"), expected);
            columns.push(prefix.of("request_id"));
            assert_eq!(Prefix::found_in(&columns), Some(prefix));
        };
        check(&["user", "request_id"], "ncs_time");
        check(&["ncs_p_ctr"], "ncs_ncs_time");
        check(
            &["ncs_request_id", "ncs_ncs_request_id"],
            "ncs_ncs_ncs_time",
        );
        assert_eq!(Prefix::found_in(&["request_id".to_owned()]), None);
    }
}
