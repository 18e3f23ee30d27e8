//! Rankers of a model, one for each set of context fields in its requests.

use crate::version::Version;
use ncs_model::{Precision, Ranker, Scorer};
use std::sync::{Arc, PoisonError, RwLock};

/// Maximum number of rankers. A client sends the same context columns every time, so there are few sets.
/// Beyond this number, rows are scored whole, so that building rankers cannot be used to keep the server
/// busy.
const MAX_RANKERS: usize = 16;

type Entry = (Vec<usize>, Option<Arc<Ranker>>);

/// The rankers of a model by their context fields.
#[derive(Debug)]
pub(crate) struct Rankers {
    scorer: Arc<Scorer>,
    precision: Precision,
    entries: RwLock<Vec<Entry>>,
}

impl Rankers {
    pub(crate) fn new(scorer: Arc<Scorer>, precision: Precision) -> Rankers {
        Rankers {
            scorer,
            precision,
            entries: RwLock::default(),
        }
    }

    /// Returns the ranker for these context fields, in ascending order. `None` if the network has no ranker
    /// or there are too many.
    pub(crate) fn get(&self, context: &[usize]) -> Option<Arc<Ranker>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranker) = find(&entries, context) {
            return ranker;
        }
        let is_full = entries.len() >= MAX_RANKERS;
        drop(entries);
        if is_full {
            return None;
        }
        // Built without the lock, since it takes a while; if two threads build it at once, one result is
        // kept.
        let ranker = self.precision.ranker(&self.scorer, context).map(Arc::new);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranker) = find(&entries, context) {
            return ranker;
        }
        if entries.len() < MAX_RANKERS {
            entries.push((context.to_vec(), ranker.clone()));
        }
        ranker
    }

    /// Returns the sets of context fields that have a ranker.
    pub(crate) fn contexts(&self) -> Vec<Vec<usize>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(context, _)| context.clone()).collect()
    }
}

/// Returns an upper bound in bytes of all rankers of a version: its weights in several forms, for each set.
pub(crate) fn max_bytes(version: &Version) -> usize {
    const BYTES_PER_WEIGHT: usize = 20;
    MAX_RANKERS * BYTES_PER_WEIGHT * version.scorer().n_dense()
}

fn find(entries: &[Entry], context: &[usize]) -> Option<Option<Arc<Ranker>>> {
    let entry = entries.iter().find(|(fields, _)| fields == context);
    entry.map(|(_, ranker)| ranker.clone())
}
