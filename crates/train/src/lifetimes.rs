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
    /// Time without a sighting after which a row goes; `None`: it stays.
    pub expire_after: Option<Age>,
    /// Rows that a model to go on from keeps; `None`: all.
    pub capacity: Option<u32>,
    /// Which rows beyond the capacity go first.
    pub eviction: Eviction,
    /// Sightings from which on a row is trained; `None`: from the first.
    pub min_count: Option<u32>,
}

/// Time without a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Age {
    /// Trainings.
    Trainings(u32),
    /// Days between the days of trainings.
    Days(u32),
}

/// Order in which rows beyond the capacity go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "settings", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Eviction {
    /// The least recently seen first, of these the least often seen.
    #[default]
    LeastRecent,
    /// The least often seen first, of these the least recently seen.
    LeastEvidence,
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
    let days = days_of(artifact);
    for lifetime in lifetimes {
        let lives = lives_of(artifact, lifetime.table, now);
        let idle = |last: u32| idle(lifetime.expire_after, last, now, &days);
        let (ids, told) = gone_of(&lives, lifetime, idle);
        if let Some(waiting) = artifact.lives.get_mut(lifetime.table) {
            let last = waiting.clone();
            let is_waiting = |id: u32| lives.ids.binary_search(&id).is_err();
            let last_seen = |id: u32| last.ids.binary_search(&id).map(|row| last.last_seen[row]);
            waiting.retain(|id| !(is_waiting(id) && last_seen(id).is_ok_and(idle)));
        }
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

/// Returns the day of each training that went on from a model, from the second training on, as far as it is known.
fn days_of(artifact: &Artifact) -> Vec<Option<i64>> {
    let is_training = |step: &&ncs_model::artifact::Ancestor| {
        step.calibration.is_none() && step.erasure.is_none()
    };
    let trainings = artifact.ancestry.iter().filter(is_training);
    trainings.map(|step| step.day).collect()
}

/// Returns true if a row last seen in training `last` has expired after training `now`. The day of the first training is
/// not recorded: rows that it saw last count from the second.
fn idle(most: Option<Age>, last: u32, now: u32, days: &[Option<i64>]) -> bool {
    let day = |training: u32| *days.get((training as usize).saturating_sub(2))?;
    match most {
        None => false,
        Some(Age::Trainings(most)) => now.saturating_sub(last) >= most,
        Some(Age::Days(most)) => match (day(last), day(now)) {
            (Some(last), Some(now)) => now - last >= i64::from(most),
            _ => false,
        },
    }
}

/// Chooses the rows that go: first those that expired, then those beyond the capacity in the order of the rule.
fn gone_of(
    lives: &RowLives,
    lifetime: &Lifetime,
    is_idle: impl Fn(u32) -> bool,
) -> (BTreeSet<u32>, Evicted) {
    let is_expired = |row: usize| is_idle(lives.last_seen[row]);
    let (expired, mut left): (Vec<usize>, Vec<usize>) =
        (0..lives.ids.len()).partition(|&row| is_expired(row));
    let capacity = lifetime.capacity.map_or(usize::MAX, |rows| rows as usize);
    let beyond = left.len().saturating_sub(capacity);
    // Ids are ascending: of equals, the first one stays.
    left.sort_by_key(|&row| {
        let (last, n) = (lives.last_seen[row], lives.sightings[row]);
        let [first, second] = match lifetime.eviction {
            Eviction::LeastRecent => [last, n],
            Eviction::LeastEvidence => [n, last],
        };
        (first, second, u32::MAX - lives.ids[row])
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
    for &Lifetime {
        table, min_count, ..
    } in lifetimes
    {
        let weights = artifact.weight_sets.iter().map(|set| &*set.weights);
        let mut ids = row_ids(schema, table, weights);
        let before = earlier.map(|earlier| lives_of(earlier, table, now - 1));
        let mut before = before.unwrap_or_default();
        let seen = &seen[table];
        if min_count.is_some() {
            // Rows that wait for more sightings.
            let known = earlier.and_then(|earlier| earlier.lives.get(table));
            let known = known.cloned().unwrap_or_default();
            let all: BTreeSet<u32> = before.ids.iter().chain(&known.ids).copied().collect();
            before = before.union(&known, &all);
            let unknown = schema.tables[table].ids.unknown();
            let counted = seen.keys().filter(|id| **id != 0 && Some(**id) != unknown);
            ids.extend(counted.chain(&known.ids));
        }
        lives[table] = before.joined(&ids, now, |id| seen.get(&id).copied().unwrap_or(0));
    }
    Ok(lives)
}

/// Returns the tables some of whose rows wait for more sightings, and how many do.
pub fn waiting(artifact: &Artifact) -> Vec<(&str, usize)> {
    let of_table = |(table, lives): (usize, &RowLives)| {
        let weights = artifact.weight_sets.iter().map(|set| &*set.weights);
        let rows = row_ids(&artifact.schema, table, weights);
        let n = lives.ids.iter().filter(|id| !rows.contains(id)).count();
        (n > 0).then(|| (artifact.schema.tables[table].name.as_str(), n))
    };
    let tables = artifact.lives.iter().enumerate();
    tables.filter_map(of_table).collect()
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
            let expire_after: Option<u32> = expire_after;
            let lifetime = Lifetime {
                table: 0,
                expire_after: expire_after.map(Age::Trainings),
                capacity,
                eviction: Eviction::LeastRecent,
                min_count: None,
            };
            let is_idle = |last| idle(lifetime.expire_after, last, 5, &[]);
            let (gone, told) = gone_of(&lives, &lifetime, is_idle);
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
        let by_evidence = Lifetime {
            table: 0,
            expire_after: None,
            capacity: Some(3),
            eviction: Eviction::LeastEvidence,
            min_count: None,
        };
        let (gone, _) = gone_of(&lives, &by_evidence, |_| false);
        assert_eq!(gone.into_iter().collect::<Vec<u32>>(), [4, 5, 6]);
    }

    #[test]
    fn days_are_those_of_the_trainings() {
        // Trainings 2, 3 and 4.
        let days = [Some(100), None, Some(130)];
        let check = |most, last, expected: bool| {
            assert_eq!(
                idle(Some(Age::Days(most)), last, 4, &days),
                expected,
                "{most} {last}"
            );
        };
        check(30, 2, true);
        check(31, 2, false);
        // The day of the first training is not known, nor that of the third.
        check(30, 1, true);
        check(1, 3, false);
        check(1, 4, false);
        assert!(!idle(Some(Age::Days(1)), 1, 1, &[]));
    }
}
