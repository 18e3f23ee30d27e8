//! Rankers of a model, one for each set of context fields that it is asked with.

use crate::version::Version;
use ncs_model::{Ranker, Scorer};
use std::sync::{Arc, PoisonError, RwLock};

/// A client sends the same columns in its context every time, so a model sees a few sets in its life.
/// Past this many, the rows are scored whole: making rankers must not be a way to keep the server busy.
const MOST: usize = 16;

type Made = (Vec<usize>, Option<Arc<Ranker>>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Rankers {
    scorer: Arc<Scorer>,
    made: RwLock<Vec<Made>>,
}

impl Rankers {
    pub(crate) fn new(scorer: Arc<Scorer>) -> Rankers {
        Rankers {
            scorer,
            made: RwLock::default(),
        }
    }

    /// The ranker for these fields of the context, ascending. `None` where the network has none, or too
    /// many were made.
    pub(crate) fn get(&self, context: &[usize]) -> Option<Arc<Ranker>> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranker) = find(&made, context) {
            return ranker;
        }
        let is_full = made.len() >= MOST;
        drop(made);
        if is_full {
            return None;
        }
        // Made without the lock, since it takes a while; two threads may do it at once, and one is kept.
        let ranker = Ranker::new(&self.scorer, context).map(Arc::new);
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranker) = find(&made, context) {
            return ranker;
        }
        if made.len() < MOST {
            made.push((context.to_vec(), ranker.clone()));
        }
        ranker
    }

    /// The sets of fields that there are rankers for.
    pub(crate) fn contexts(&self) -> Vec<Vec<usize>> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        made.iter().map(|(context, _)| context.clone()).collect()
    }
}

/// More bytes than all rankers of a version may take: its weights in several forms, for each set.
pub(crate) fn most_bytes(version: &Version) -> usize {
    const OF_WEIGHT: usize = 16;
    MOST * OF_WEIGHT * version.scorer().n_dense()
}

fn find(made: &[Made], context: &[usize]) -> Option<Option<Arc<Ranker>>> {
    let found = made.iter().find(|(fields, _)| fields == context);
    found.map(|(_, ranker)| ranker.clone())
}
