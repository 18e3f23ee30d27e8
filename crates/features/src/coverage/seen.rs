//! The ids that some rows had.

use crate::batch::Batch;
use crate::schema::{IdSpace, Schema};
use std::collections::HashSet;
use std::sync::Arc;

/// The ids of hashed tables that some rows had, of whatever field.
#[derive(Clone, Debug)]
pub struct SeenIds {
    schema: Arc<Schema>,
    /// One for each table.
    tables: Vec<Ids>,
}

#[derive(Clone, Debug)]
enum Ids {
    /// A table whose ids say by themselves whether training saw them.
    None,
    /// A bit each.
    Bits(Vec<u64>),
    /// Of a table so large that most of its ids are in no row.
    Some(HashSet<u32>),
}

/// Maximum number of table rows with one bit each, 2 MiB in all.
const MOST_BITS: usize = 1 << 24;

impl SeenIds {
    /// Creates an empty set of seen ids.
    pub fn new(schema: &Arc<Schema>) -> SeenIds {
        let ids = |ids: &IdSpace| match ids {
            _ if ids.is_hashed() && ids.n_rows() <= MOST_BITS => {
                Ids::Bits(vec![0; ids.n_rows().div_ceil(64)])
            }
            _ if ids.is_hashed() => Ids::Some(HashSet::new()),
            _ => Ids::None,
        };
        SeenIds {
            tables: schema.tables.iter().map(|table| ids(&table.ids)).collect(),
            schema: schema.clone(),
        }
    }

    /// Adds the ids of the rows `rows` of a batch.
    pub fn observe(&mut self, batch: &Batch, rows: &[usize]) {
        for (field, ids) in self.schema.fields.iter().zip(&batch.fields) {
            let of_rows = rows
                .iter()
                .flat_map(|&row| &ids.ids[ids.range(row)])
                .copied();
            match &mut self.tables[field.table] {
                Ids::None => {}
                Ids::Bits(bits) => of_rows.for_each(|id| bits[id as usize / 64] |= 1 << (id % 64)),
                Ids::Some(seen) => seen.extend(of_rows),
            }
        }
    }

    /// Returns true if id `id` of field number `field` was not seen in training: in a hashed table, if no row
    /// had it; in a vocabulary, if it is the shared id of all values outside the vocabulary.
    pub fn is_unseen(&self, field: usize, id: u32) -> bool {
        let table = self.schema.fields[field].table;
        match &self.tables[table] {
            Ids::Bits(bits) => bits[id as usize / 64] >> (id % 64) & 1 == 0,
            Ids::Some(seen) => !seen.contains(&id),
            Ids::None => self.schema.tables[table].ids.is_unknown(id),
        }
    }
}
