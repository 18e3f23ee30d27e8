//! Ids of crosses, from those of their parts.

use crate::batch::FieldIds;
use crate::cross::{Cross, PARTS};
use crate::schema::{IdSpace, Schema};

impl Cross {
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
