//! Values to erase: the texts and the ids that stand for them in one schema.
//!
//! An erased value of a vocabulary leaves an empty text at its place: no value has the empty text (it means "missing"), so
//! no row can point to the id, and all other ids stay. A hashed value has no text; its id is its bucket, which it may
//! share with others.

use crate::batch::Batch;
use crate::block::Block;
use crate::canonical::{ValueRule, canonical_text};
use crate::coverage::ColumnCoverage;
use crate::error::EncodeError;
use crate::hash::seeded_hash;
use crate::schema::{Field, IdSpace, Schema};
use crate::value::{FieldReader, shown_text};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Why values cannot be erased from a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraseError {
    /// The schema has no such column.
    #[error("no column {column:?}; columns with ids are {}", known.join(", "))]
    NoColumn {
        /// The name.
        column: String,
        /// The columns whose values have ids.
        known: Vec<String>,
    },
    /// Rows of a cross hold combinations with the values, and cannot be told from those of other values.
    #[error(
        "feature {feature:?} crosses {column:?} with other columns: which of its rows the values had is not known; take the \
         values' rows out of the log and train again, or train without this cross"
    )]
    Crossed {
        /// The name.
        column: String,
        /// The cross.
        feature: String,
    },
    /// The column holds numbers.
    #[error(
        "column {column:?} is read as a number: no value of it has a row of its own, so there is nothing to erase"
    )]
    Number {
        /// The name.
        column: String,
    },
}

/// Values of a column, as one schema encodes them.
#[derive(Clone, Debug)]
pub struct ErasedValues {
    rule: ValueRule,
    /// The fields that point into the tables of the column, and the grouping column if it is one of theirs; they read
    /// every value of a list.
    fields: Vec<Field>,
    /// Place of each field in the schema; `None`: the grouping column.
    places: Vec<Option<usize>>,
    texts: HashSet<Box<[u8]>>,
    /// By table.
    ids: BTreeMap<usize, BTreeSet<u32>>,
    /// Hashes of the texts, as rows of the id cache hold those of their groups; empty if groups are others.
    groups: HashSet<u64>,
}

/// Parts of a schema that hold values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaTraces {
    /// Entries of vocabularies.
    pub entries: usize,
    /// Counts of the past.
    pub counts: usize,
}

impl ErasedValues {
    /// Finds the ids of `values` in the tables that the column `column` (or the feature of this name) points into. Other
    /// columns of these tables are erased from, too. Values become texts by the rule of the schema.
    ///
    /// # Errors
    /// The schema has no such column, or only numbers are read from it.
    pub fn of(
        schema: &Schema,
        column: &str,
        values: &[String],
    ) -> Result<ErasedValues, EraseError> {
        let own = own_tables(schema, column)?;
        let is_own = |field: &Field| own.contains(&field.table);
        let mut fields = Vec::new();
        let mut places = Vec::new();
        for (place, field) in schema.fields.iter().enumerate().filter(|(_, f)| is_own(f)) {
            fields.push(whole(field.clone()));
            places.push(Some(place));
        }
        let is_crossed = |field: &&Field| match &schema.tables[field.table].ids {
            IdSpace::Cross(cross) => cross.of.iter().any(|f| places.contains(&Some(*f))),
            _ => false,
        };
        if let Some(cross) = schema.fields.iter().find(is_crossed) {
            return Err(EraseError::Crossed {
                column: column.to_owned(),
                feature: cross.name.clone(),
            });
        }
        let is_read = |name: &String| name == column || fields.iter().any(|f| f.column == *name);
        let group = schema.group.clone().filter(is_read);
        fields.extend(group.iter().map(|name| group_field(name)));
        places.extend(group.iter().map(|_| None));
        let text = |value: &String| match schema.value_rule {
            ValueRule::Verbatim => value.clone(),
            ValueRule::Canonical => canonical_text(value),
        };
        let texts: HashSet<Box<[u8]>> = values
            .iter()
            .map(text)
            .filter(|text| !text.is_empty())
            .map(|text| text.into_bytes().into())
            .collect();
        let ids = own
            .iter()
            .map(|&table| (table, ids_of(&schema.tables[table].ids, &texts)));
        Ok(ErasedValues {
            rule: schema.value_rule,
            ids: ids.collect(),
            groups: match group {
                Some(_) => texts.iter().map(|text| seeded_hash(text, 0)).collect(),
                None => HashSet::new(),
            },
            fields,
            places,
            texts,
        })
    }

    /// Takes rows of tables, of values that are not known: only [`ErasedValues::has_row`], [`ErasedValues::traces`] and
    /// [`ErasedValues::without`] make use of them.
    pub fn of_ids(schema: &Schema, ids: BTreeMap<usize, BTreeSet<u32>>) -> ErasedValues {
        ErasedValues {
            rule: schema.value_rule,
            fields: Vec::new(),
            places: Vec::new(),
            texts: HashSet::new(),
            groups: HashSet::new(),
            ids,
        }
    }

    /// Returns the number of different values.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Returns the columns that can hold the values, each once.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = self.fields.iter().map(|f| f.column.clone()).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Returns the tables with the ids of the values in each; of a vocabulary only those that it holds.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &BTreeSet<u32>)> {
        self.ids.iter().map(|(&table, ids)| (table, ids))
    }

    /// Returns true if row `id` of a table is that of a value.
    pub fn has_row(&self, table: usize, id: u32) -> bool {
        self.ids.get(&table).is_some_and(|ids| ids.contains(&id))
    }

    /// Returns true if a text is one of the values.
    pub fn has_text(&self, text: &[u8]) -> bool {
        self.texts.contains(text)
    }

    /// Adds the ids that the values had in an earlier state of the schema.
    pub fn add_ids_of(&mut self, other: &ErasedValues) {
        for (table, ids) in &other.ids {
            self.ids.entry(*table).or_default().extend(ids);
        }
    }

    /// Returns, for each row of a block, whether it holds a value. Columns that the block lacks are skipped.
    ///
    /// # Errors
    /// A column cannot be read as the field reads it.
    pub fn rows_of(&self, block: &Block) -> Result<Vec<bool>, EncodeError> {
        let mut holds = vec![false; block.n_rows];
        let present = self
            .fields
            .iter()
            .filter(|f| block.column(&f.column).is_some());
        for field in present {
            let mut reader = FieldReader::new(field, block, self.rule)?;
            for (row, holds) in holds.iter_mut().enumerate() {
                reader.texts(row, |text| {
                    *holds |= text.is_some_and(|text| self.has_text(text));
                    Ok(())
                })?;
            }
        }
        Ok(holds)
    }

    /// Returns true if some row of a batch of the schema holds a value, as a feature or as its group.
    pub fn are_in(&self, batch: &Batch) -> bool {
        let places = self.places.iter().zip(&self.fields);
        let mut features = places.filter_map(|(place, field)| Some(((*place)?, field.table)));
        let is_feature = features.any(|(place, table)| {
            let ids = batch.fields.get(place).map_or(&[][..], |ids| &ids.ids);
            ids.iter().any(|&id| self.has_row(table, id))
        });
        is_feature || batch.groups.iter().any(|group| self.groups.contains(group))
    }

    /// Returns true if a value is among the shown new values of a column.
    pub fn are_shown_in(&self, coverage: &ColumnCoverage) -> bool {
        let shown: HashSet<String> = self.texts.iter().map(|text| shown_text(text)).collect();
        let mut new = coverage.new_values.iter();
        new.any(|new| shown.contains(&new.value))
    }

    /// Counts what of a schema holds the values.
    pub fn traces(&self, schema: &Schema) -> SchemaTraces {
        let mut traces = SchemaTraces::default();
        for (&table, ids) in &self.ids {
            if let IdSpace::Vocabulary { values } = &schema.tables[table].ids {
                let entry =
                    |id: &&u32| values.get(**id as usize - 2).is_some_and(|v| !v.is_empty());
                traces.entries += ids.iter().filter(entry).count();
            }
        }
        for table in &schema.tables {
            if let IdSpace::Rate(rate) = &table.ids {
                let keys = rate.counts.iter().map(|(key, _)| key);
                traces.counts += keys
                    .filter(|&key| self.is_key(schema, &rate.of, key))
                    .count();
            }
        }
        traces
    }

    /// Returns the schema without the values: their entries of vocabularies are empty, their counts of the past are gone,
    /// and every id is what it was.
    #[must_use]
    pub fn without(&self, schema: &Schema) -> Schema {
        let mut erased = schema.clone();
        for (&table, ids) in &self.ids {
            if let IdSpace::Vocabulary { values } = &mut erased.tables[table].ids {
                for &id in ids {
                    if let Some(value) = values.get_mut(id as usize - 2) {
                        value.clear();
                    }
                }
            }
        }
        for table in &mut erased.tables {
            if let IdSpace::Rate(rate) = &mut table.ids {
                let kept = |key| !self.is_key(schema, &rate.of, key);
                rate.counts = rate.counts.filtered(kept);
            }
        }
        erased
    }

    /// Returns true if a key of a past count is that of a value, or of a pair with one.
    fn is_key(&self, schema: &Schema, of: &[usize], key: u64) -> bool {
        let ids = of.iter().rev().enumerate();
        let mut ids = ids.map(|(i, &field)| (schema.fields[field].table, (key >> (32 * i)) as u32));
        ids.any(|(table, id)| self.has_row(table, id))
    }
}

/// Returns the tables of ids that a column points into; none if it is only the grouping column.
fn own_tables(schema: &Schema, column: &str) -> Result<BTreeSet<usize>, EraseError> {
    let has_ids = |field: &&Field| {
        let ids = &schema.tables[field.table].ids;
        matches!(ids, IdSpace::Hash { .. } | IdSpace::Vocabulary { .. })
    };
    let names = |field: &&Field| field.column == column || field.name == column;
    let own: BTreeSet<usize> = schema
        .fields
        .iter()
        .filter(has_ids)
        .filter(names)
        .map(|field| field.table)
        .collect();
    if !own.is_empty() || schema.group.as_deref() == Some(column) {
        return Ok(own);
    }
    let column = column.to_owned();
    if schema.fields.iter().any(|field| names(&field)) {
        return Err(EraseError::Number { column });
    }
    let known = schema.fields.iter().filter(has_ids);
    Err(EraseError::NoColumn {
        column,
        known: known.map(|field| field.name.clone()).collect(),
    })
}

/// A field that reads every value, also those beyond the longest list or those that mean "missing" to the model.
fn whole(field: Field) -> Field {
    Field {
        max_values: None,
        missing: Vec::new(),
        ..field
    }
}

fn group_field(column: &str) -> Field {
    Field {
        name: column.to_owned(),
        column: column.to_owned(),
        table: usize::MAX,
        pooling: None,
        separator: None,
        max_values: None,
        beside: crate::beside::Beside::None,
        missing: Vec::new(),
    }
}

fn ids_of(space: &IdSpace, texts: &HashSet<Box<[u8]>>) -> BTreeSet<u32> {
    match space {
        IdSpace::Hash {
            buckets, function, ..
        } => {
            let buckets = u64::from((*buckets).max(1));
            let id = |text: &[u8]| 1 + (function.hash(text) % buckets) as u32;
            texts.iter().map(|text| id(text)).collect()
        }
        IdSpace::Vocabulary { values } => {
            let numbered = values.iter().zip(2u32..);
            let known = numbered.filter(|(value, _)| texts.contains(value.as_bytes()));
            known.map(|(_, id)| id).collect()
        }
        _ => BTreeSet::new(),
    }
}
