//! Admission: a row of hashed ids is trained once its ids were seen often enough.
//!
//! Most new ids of a day never come back, and a row that was trained once is noise. Until its sightings reach `min_count`,
//! training reads the ids of a row as the unknown id, so the row is not initialised: it takes no memory, has no moments,
//! and every scorer reads it as unknown too. Sightings are counted by row, exactly: a row is what ids that share a bucket
//! have in common. They go on over trainings, in the lives of rows, at twelve bytes for each row that was seen.

use crate::earlier::Earlier;
use crate::lifetimes::Lifetime;
use ncs_features::{Batch, Schema};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{Cache, CacheError};

/// Which rows are admitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Admission {
    /// For each field the place of its table in `tables`, if it has a rule.
    fields: Vec<Option<usize>>,
    tables: Vec<Admitted>,
}

/// The admitted rows of a table.
#[derive(Clone, Debug, PartialEq)]
struct Admitted {
    table: usize,
    rows: Vec<bool>,
    /// What the ids of other rows are read as.
    unknown: u32,
}

impl Admission {
    /// Counts the ids of the training rows, after the sightings of the earlier trainings. Rows of the earlier model are
    /// admitted. Without a rule nothing is read.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub(crate) fn count(
        lifetimes: &[Lifetime],
        schema: &Schema,
        train: &Cache,
        earlier: Option<&Earlier>,
    ) -> Result<Admission, CacheError> {
        let rules = lifetimes
            .iter()
            .filter_map(|lifetime| Some((lifetime.table, lifetime.min_count?)));
        let rules: Vec<(usize, u32)> = rules.collect();
        if rules.is_empty() {
            return Ok(Admission::default());
        }
        let place = |table: usize| rules.iter().position(|(of, _)| *of == table);
        let fields = schema.fields.iter().map(|field| place(field.table));
        let fields: Vec<Option<usize>> = fields.collect();
        let start = |&(table, _): &(usize, u32)| {
            let mut counts = vec![0u32; schema.tables[table].ids.n_rows()];
            let lives = earlier.and_then(|earlier| earlier.artifact.lives.get(table));
            for (&id, &n) in lives
                .iter()
                .flat_map(|lives| lives.ids.iter().zip(&lives.sightings))
            {
                counts[id as usize] = n;
            }
            counts
        };
        let mut counts: Vec<Vec<u32>> = rules.iter().map(start).collect();
        for batch in train.batches(BatchPlan::default()) {
            let batch = batch?;
            for (ids, place) in batch.fields.iter().zip(&fields) {
                let Some(counts) = place.map(|place| &mut counts[place]) else {
                    continue;
                };
                for &id in &ids.ids {
                    let count = &mut counts[id as usize];
                    *count = count.saturating_add(1);
                }
            }
        }
        let admitted = |(&(table, least), counts): (&(usize, u32), Vec<u32>)| {
            let mut rows: Vec<bool> = counts.into_iter().map(|n| n >= least).collect();
            let unknown = schema.tables[table].ids.unknown().unwrap_or(0);
            let sets = earlier
                .iter()
                .flat_map(|earlier| &earlier.artifact.weight_sets);
            let known = sets.flat_map(|set| &set.weights.tables[table].ids);
            for &id in known.chain(&[0, unknown]) {
                rows[id as usize] = true;
            }
            Admitted {
                table,
                rows,
                unknown,
            }
        };
        Ok(Admission {
            tables: rules.iter().zip(counts).map(admitted).collect(),
            fields,
        })
    }

    /// Reads the ids of rows that are not admitted as the unknown id.
    pub(crate) fn apply(&self, batch: &mut Batch) {
        for (ids, place) in batch.fields.iter_mut().zip(&self.fields) {
            let Some(admitted) = place.map(|place| &self.tables[place]) else {
                continue;
            };
            for id in &mut ids.ids {
                if !admitted.rows[*id as usize] {
                    *id = admitted.unknown;
                }
            }
        }
    }
}
