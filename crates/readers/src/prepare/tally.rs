//! Coverage of each part's rows by the training rows, counted while rows are encoded.

use super::PrepareError;
use super::filter::{Sifted, rows_of};
use crate::batches::BatchPlan;
use crate::cache::{Cache, Draft};
use crate::split::Part;
use ncs_features::{ColumnCoverage, Coverage, LabelCounts, Schema, SeenIds};
use std::sync::Arc;

/// Counts by part.
pub(super) struct Tally {
    schema: Arc<Schema>,
    /// Of the training rows so far.
    seen: SeenIds,
    parts: [Coverage; 3],
}

impl Tally {
    pub(super) fn new(schema: &Arc<Schema>) -> Tally {
        Tally {
            schema: schema.clone(),
            seen: SeenIds::new(schema),
            parts: [(); 3].map(|()| Coverage::new(schema)),
        }
    }

    pub(super) fn observe(&mut self, sifted: &Sifted<'_>) {
        let (block, batch) = (&*sifted.block, &sifted.batch);
        for (part, coverage) in Part::ALL.into_iter().zip(&mut self.parts) {
            let rows = rows_of(&sifted.parts, part);
            if rows.is_empty() {
                continue;
            }
            let place = |row| sifted.place(row);
            if part == Part::Train {
                self.seen.observe(batch, &rows);
                coverage.observe_rows(block, batch, &rows, place, |_, _| false);
            } else {
                let seen = &self.seen;
                let is_unseen = |field, id| seen.is_unseen(field, id);
                coverage.observe_rows(block, batch, &rows, place, is_unseen);
            }
        }
    }

    /// Returns the coverage of each written part by column. If training rows did not come before all others
    /// (`in_turn`), ids are counted once more when all training rows are known.
    pub(super) fn finish(
        self,
        draft: Option<&Draft<'_>>,
        in_turn: bool,
        written: &[(Part, LabelCounts)],
    ) -> Result<Vec<Vec<ColumnCoverage>>, PrepareError> {
        let mut tables = self.schema.tables.iter();
        let recounts = !in_turn && tables.any(|table| table.ids.is_hashed());
        let is_unseen = |field: usize, id: u32| self.seen.is_unseen(field, id);
        let mut columns = Vec::new();
        for (part, coverage) in Part::ALL.into_iter().zip(self.parts) {
            if written.iter().all(|(other, _)| *other != part) {
                continue;
            }
            let mut found = coverage.finish(is_unseen);
            if let Some(draft) = draft.filter(|_| recounts && part != Part::Train) {
                let mut again = Coverage::new(&self.schema);
                let cache = Cache::open(&draft.part_path(part))?;
                for batch in cache.batches(BatchPlan::default()) {
                    again.observe(&batch?, is_unseen);
                }
                let again = again.finish(is_unseen).into_iter().zip(found);
                found = again
                    .map(|(again, first)| with_texts(again, first))
                    .collect();
            }
            columns.push(found);
        }
        Ok(columns)
    }
}

/// Returns the counts of `ids`, with the counts that need the rows' texts.
fn with_texts(ids: ColumnCoverage, rows: ColumnCoverage) -> ColumnCoverage {
    ColumnCoverage {
        clipped: rows.clipped,
        first_clipped: rows.first_clipped,
        new_values: rows.new_values,
        ..ids
    }
}
