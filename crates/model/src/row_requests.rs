//! The table rows that a share of a batch needs, by the process that owns them.

use crate::resolved_ids::ids_of_rows;
use crate::spec::Spec;
use crate::tables::{HashedIndex, TableShare};
use ncs_features::{Batch, Pooling};
use rayon::prelude::*;
use std::ops::Range;

/// What rows are looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A step: rows that are not initialised will be.
    Training,
    /// Scores: rows that are not initialised are read as those of unknown ids.
    Scoring,
}

/// The rows to look up, each once: `[table][owner][row]`.
#[derive(Debug, Default)]
pub struct RowRequests {
    tables: Vec<TableRequests>,
}

/// The rows of one table.
#[derive(Debug, Default)]
struct TableRequests {
    by_owner: Vec<Vec<u32>>,
    seen: HashedIndex,
}

impl TableRequests {
    fn begin(&mut self, n_owners: usize) {
        self.seen.clear();
        self.by_owner.resize_with(n_owners, Vec::new);
        self.by_owner.iter_mut().for_each(Vec::clear);
    }

    #[inline]
    fn add(&mut self, id: u32) {
        if self.seen.get(id) == 0 {
            self.seen.set(id, 1);
            let owner = TableShare::owner(id, self.by_owner.len());
            self.by_owner[owner].push(id);
        }
    }
}

impl RowRequests {
    /// Finds the rows that a pass over these rows of a batch reads, among `n_owners` owners; the contents are replaced.
    /// Uses the threads of the current pool; their number does not change the result.
    pub fn find(
        &mut self,
        spec: &Spec,
        batch: &Batch,
        rows: Range<usize>,
        purpose: Purpose,
        n_owners: usize,
    ) {
        self.tables
            .resize_with(spec.tables.len(), TableRequests::default);
        let find = |(table, requests): (usize, &mut TableRequests)| {
            requests.begin(n_owners);
            let fields = spec.fields.iter().zip(&batch.fields);
            for (field, ids) in fields.filter(|(field, _)| field.table == table) {
                let own = &ids.ids[ids_of_rows(ids, &rows)];
                own.iter().for_each(|&id| requests.add(id));
                if field.pooling == Some(Pooling::PaddedMean) && !rows.is_empty() {
                    requests.add(0);
                }
            }
            let is_needed = requests.by_owner.iter().any(|ids| !ids.is_empty());
            let unknown = spec.tables[table].unknown;
            if let (Purpose::Scoring, true, Some(id)) = (purpose, is_needed, unknown) {
                requests.add(id);
            }
        };
        match rayon::current_num_threads() {
            1 => self.tables.iter_mut().enumerate().for_each(find),
            _ => self.tables.par_iter_mut().enumerate().for_each(find),
        }
    }

    /// Returns the rows of an owner: one list for each table.
    pub fn of_owner(&self, owner: usize) -> impl Iterator<Item = &[u32]> {
        let tables = self.tables.iter();
        tables.map(move |table| table.by_owner[owner].as_slice())
    }
}
