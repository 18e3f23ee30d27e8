//! Lifetimes of table rows in trainings that go on from a model: rows that no training has shown for a while go, and
//! those beyond a capacity.
//!
//! They go before the new rows are read, from the model that the training starts from: so the new rows are encoded, trained,
//! evaluated and served by the same ids, a value that comes back is a new one, and the optimizer moments of a row that
//! is gone are not restored.

use ncs_features::{ErasedValues, IdSpace, Schema};
use ncs_model::Weights;
use ncs_model::artifact::{Artifact, RowLives};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::{Cache, CacheError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Lifetime of the rows of an id space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// The id space, by its place in the schema.
    pub table: usize,
    /// Trainings without a sighting after which a row goes; `None`: it stays.
    pub expire_after: Option<u32>,
    /// Rows that a model to go on from keeps; `None`: all.
    pub capacity: Option<u32>,
}

/// Rows of one table that a training does not go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// The table.
    pub table: String,
    /// Rows that were not seen for too long.
    pub expired: usize,
    /// Rows beyond the capacity.
    pub beyond: usize,
    /// Rows that stay.
    pub kept: usize,
}

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evicted {
            table,
            expired,
            beyond,
            kept,
        } = self;
        write!(
            f,
            "{table}: {expired} rows expired, {beyond} were beyond the capacity; {kept} stay"
        )
    }
}

/// Returns the number of trainings of a model.
pub fn generation(artifact: &Artifact) -> u32 {
    let is_training = |step: &&ncs_model::artifact::Ancestor| {
        step.calibration.is_none() && step.erasure.is_none()
    };
    1 + artifact.ancestry.iter().filter(is_training).count() as u32
}

/// Takes the rows out of a model that have no life left, with their values and past counts, and returns what went. No
/// other id changes.
pub fn evict(artifact: &mut Artifact, lifetimes: &[Lifetime]) -> Vec<Evicted> {
    let now = generation(artifact);
    let mut gone: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    let mut evicted = Vec::new();
    for lifetime in lifetimes {
        let lives = lives_of(artifact, lifetime.table, now);
        let (ids, told) = gone_of(&lives, lifetime, now);
        evicted.push(Evicted {
            table: artifact.schema.tables[lifetime.table].name.clone(),
            kept: lives.ids.len() - ids.len(),
            ..told
        });
        gone.insert(lifetime.table, ids);
    }
    if gone.values().all(BTreeSet::is_empty) {
        return evicted;
    }
    let values = ErasedValues::of_ids(&artifact.schema, gone);
    artifact.schema = Arc::new(values.without(&artifact.schema));
    for set in &mut artifact.weight_sets {
        set.weights = Arc::new(
            set.weights
                .without_rows(|table, id| values.has_row(table, id)),
        );
    }
    for (table, lives) in artifact.lives.iter_mut().enumerate() {
        lives.retain(|id| !values.has_row(table, id));
    }
    evicted
}

/// Chooses the rows that go: first those that expired, then the least recently seen, and among these those with the
/// fewest sightings.
fn gone_of(lives: &RowLives, lifetime: &Lifetime, now: u32) -> (BTreeSet<u32>, Evicted) {
    let is_expired = |row: usize| {
        let idle = now.saturating_sub(lives.last_seen[row]);
        lifetime.expire_after.is_some_and(|most| idle >= most)
    };
    let (expired, mut left): (Vec<usize>, Vec<usize>) =
        (0..lives.ids.len()).partition(|&row| is_expired(row));
    let capacity = lifetime.capacity.map_or(usize::MAX, |rows| rows as usize);
    let beyond = left.len().saturating_sub(capacity);
    // Ids are ascending: of equals, the first one stays.
    left.sort_by_key(|&row| {
        (
            lives.last_seen[row],
            lives.sightings[row],
            u32::MAX - lives.ids[row],
        )
    });
    let gone = expired.iter().chain(&left[..beyond]);
    let ids = gone.map(|&row| lives.ids[row]).collect();
    let told = Evicted {
        table: String::new(),
        expired: expired.len(),
        beyond,
        kept: 0,
    };
    (ids, told)
}

/// Returns the lives of all rows of a table; those that nothing is known of were seen in the last training, once.
fn lives_of(artifact: &Artifact, table: usize, now: u32) -> RowLives {
    let known = artifact.lives.get(table).cloned().unwrap_or_default();
    let weights = artifact.weight_sets.iter().map(|set| &set.weights);
    known.joined(
        &row_ids(&artifact.schema, table, weights.map(Arc::as_ref)),
        now,
        |_| 0,
    )
}

/// Returns the rows of values in some weights: reserved ones are not among them.
fn row_ids<'w>(
    schema: &Schema,
    table: usize,
    weights: impl Iterator<Item = &'w Weights>,
) -> BTreeSet<u32> {
    let unknown = schema.tables[table].ids.unknown();
    let ids = weights.flat_map(|weights| weights.tables[table].ids.iter().copied());
    ids.filter(|&id| id != 0 && Some(id) != unknown).collect()
}

/// Returns the lives of the rows of a model, by table, after a training on `rows`; `earlier` is the model that it went on
/// from, without the rows that were evicted. Tables without a lifetime have none.
pub(crate) fn after(
    artifact: &Artifact,
    earlier: Option<&Artifact>,
    lifetimes: &[Lifetime],
    rows: &Cache,
) -> Result<Vec<RowLives>, CacheError> {
    if lifetimes.is_empty() {
        return Ok(Vec::new());
    }
    let schema = &artifact.schema;
    let now = earlier.map_or(0, generation) + 1;
    let mut seen: Vec<BTreeMap<u32, u32>> = vec![BTreeMap::new(); schema.tables.len()];
    for batch in rows.batches(BatchPlan::default()) {
        let batch = batch?;
        for (field, ids) in schema.fields.iter().zip(&batch.fields) {
            if lifetimes
                .iter()
                .any(|lifetime| lifetime.table == field.table)
            {
                for &id in &ids.ids {
                    let n = seen[field.table].entry(id).or_default();
                    *n = n.saturating_add(1);
                }
            }
        }
    }
    let mut lives = vec![RowLives::default(); schema.tables.len()];
    for &Lifetime { table, .. } in lifetimes {
        let weights = artifact.weight_sets.iter().map(|set| &*set.weights);
        let ids = row_ids(schema, table, weights);
        let before = earlier.map(|earlier| lives_of(earlier, table, now - 1));
        let before = before.unwrap_or_default();
        let seen = &seen[table];
        lives[table] = before.joined(&ids, now, |id| seen.get(&id).copied().unwrap_or(0));
    }
    Ok(lives)
}

/// Returns true if an id space has rows that can be evicted.
pub fn has_lives(ids: &IdSpace) -> bool {
    matches!(ids, IdSpace::Hash { .. } | IdSpace::Vocabulary { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expired_go_first_and_then_the_least_seen() {
        let lives = RowLives {
            ids: vec![2, 3, 4, 5, 6, 7],
            last_seen: vec![1, 4, 5, 5, 5, 4],
            sightings: vec![900, 7, 1, 1, 2, 9],
        };
        let check = |expire_after, capacity, ids: &[u32], counts: [usize; 2]| {
            let lifetime = Lifetime {
                table: 0,
                expire_after,
                capacity,
            };
            let (gone, told) = gone_of(&lives, &lifetime, 5);
            assert_eq!(gone.into_iter().collect::<Vec<u32>>(), ids);
            assert_eq!([told.expired, told.beyond], counts);
        };
        check(None, None, &[], [0, 0]);
        check(Some(4), None, &[2], [1, 0]);
        check(Some(5), None, &[], [0, 0]);
        check(Some(1), None, &[2, 3, 7], [3, 0]);
        check(None, Some(4), &[2, 3], [0, 2]);
        check(Some(4), Some(2), &[2, 3, 5, 7], [1, 3]);
        check(Some(1), Some(9), &[2, 3, 7], [3, 0]);
    }
}
