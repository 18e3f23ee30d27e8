//! Crosses: a category of its own for each combination of the values of two or three features, such as a user and a
//! category of items, by hash.
//!
//! A cross is computed from the ids of its parts, not from their texts, so that it follows wherever these do: from the
//! context of a request and from its candidates. It is missing where a part is, and unknown where a part
//! is a value outside of a vocabulary.

use crate::batch::FieldIds;
use crate::schema::{IdSpace, Schema};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Numbers of features that a cross can be of.
pub const PARTS: std::ops::RangeInclusive<usize> = 2..=3;

/// Combinations of values as a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cross {
    /// The features, by their place in the schema. Each has one id a row.
    pub of: Vec<usize>,
    /// Number of buckets, at least 1: row `1 + hash mod buckets` of the table, 0 for "missing", `buckets + 1` for
    /// "unknown".
    pub buckets: u32,
}

impl Cross {
    /// Returns the row of unknown combinations.
    pub fn unknown(&self) -> u32 {
        self.buckets + 1
    }

    /// Returns true if ids of these fields can be crossed: one a row, each for a value or a range of values.
    pub fn can_be_of(ids: &IdSpace) -> bool {
        matches!(
            ids,
            IdSpace::Hash { .. }
                | IdSpace::Vocabulary { .. }
                | IdSpace::Quantiles { .. }
                | IdSpace::Time(_)
        )
    }

    /// Returns the ids for the rows of a batch; `ids_of(field)` returns the ids of a field, and true if they are the one
    /// row that all rows share.
    pub(crate) fn encode<'b>(
        &self,
        schema: &Schema,
        n_rows: usize,
        ids_of: impl Fn(usize) -> (&'b FieldIds, bool),
    ) -> FieldIds {
        let part = |&field: &usize| {
            let (ids, is_shared) = ids_of(field);
            (
                ids,
                is_shared,
                schema.tables[schema.fields[field].table].ids.unknown(),
            )
        };
        let parts: Vec<_> = self.of.iter().map(part).collect();
        let ids = |row: usize| {
            let of_part = |(ids, is_shared, unknown): &(&FieldIds, bool, Option<u32>)| {
                (ids.ids[if *is_shared { 0 } else { row }], *unknown)
            };
            self.id(parts.iter().map(of_part))
        };
        FieldIds {
            ids: (0..n_rows).map(ids).collect(),
            ..FieldIds::default()
        }
    }

    /// Returns the id of a combination of ids, each with that of its unknown values.
    fn id(&self, parts: impl Iterator<Item = (u32, Option<u32>)>) -> u32 {
        let mut bytes = [0; 4 * *PARTS.end()];
        let (mut n, mut is_unknown) = (0, false);
        for (id, unknown) in parts {
            if id == 0 {
                return 0;
            }
            is_unknown |= Some(id) == unknown;
            bytes[n..n + 4].copy_from_slice(&id.to_le_bytes());
            n += 4;
        }
        if is_unknown {
            self.unknown()
        } else {
            1 + (xxh3_64_with_seed(&bytes[..n], 0) % u64::from(self.buckets.max(1))) as u32
        }
    }

    /// Checks that this is a cross of fields of this schema, at position `place`.
    ///
    /// # Errors
    /// The text describes the error.
    pub fn check(&self, schema: &Schema, place: usize) -> Result<(), String> {
        let is_part = |&f: &usize| {
            let field = schema.fields.get(f).filter(|field| field.pooling.is_none());
            let table = field.and_then(|field| schema.tables.get(field.table));
            table.is_some_and(|table| Cross::can_be_of(&table.ids))
        };
        let fits = PARTS.contains(&self.of.len())
            && self.buckets > 0
            && self.buckets < u32::MAX - 1
            && schema.fields[place].pooling.is_none()
            && self.of.iter().all(is_part);
        if fits {
            Ok(())
        } else {
            Err(format!(
                "cross \"{}\" is none of two or three categories",
                schema.fields[place].name
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(parts: &[(u32, Option<u32>)]) -> u32 {
        let cross = Cross {
            of: vec![],
            buckets: 1000,
        };
        cross.id(parts.iter().copied())
    }

    #[test]
    fn a_combination_has_an_id_of_its_own() {
        let (a, b) = (
            id(&[(2, Some(1)), (3, None)]),
            id(&[(3, Some(1)), (2, None)]),
        );
        assert!(a != b && (1..=1000).contains(&a) && (1..=1000).contains(&b));
        assert_eq!(a, id(&[(2, Some(1)), (3, None)]));
        assert_ne!(id(&[(2, None), (3, None), (4, None)]), a);
    }

    #[test]
    fn missing_parts_make_it_missing_and_unknown_ones_unknown() {
        assert_eq!(id(&[(0, Some(1)), (3, None)]), 0);
        assert_eq!(id(&[(1, Some(1)), (0, None)]), 0);
        assert_eq!(id(&[(1, Some(1)), (3, None)]), 1001);
        assert_eq!(id(&[(5, None), (9, Some(9))]), 1001);
    }
}
