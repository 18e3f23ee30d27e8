//! Prepared contexts of recent requests: a user who comes again with the same context has it computed once.
//!
//! The key is the whole encoded context, so a user whose columns have changed is computed anew, and scores are those
//! without a cache, bit for bit.

use ncs_features::{Batch, FieldIds};
use ncs_model::PreparedContext;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of an entry besides its key and its numbers.
const ENTRY: usize = 192;

/// Bytes of a context of a few columns and a small network, for the number of entries to expect.
const USUAL: usize = 4096;

/// Prepared contexts of all versions of a server, bounded by their memory; those used again stay longest.
pub struct ContextCache {
    cache: Cache<Box<[u8]>, Arc<PreparedContext>, Bytes>,
    n_hits: AtomicU64,
    n_misses: AtomicU64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<[u8]>, Arc<PreparedContext>> for Bytes {
    fn weight(&self, key: &Box<[u8]>, context: &Arc<PreparedContext>) -> u64 {
        (ENTRY + key.len() + context.n_bytes()) as u64
    }
}

impl fmt::Debug for ContextCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextCache")
            .field("n_bytes", &self.n_bytes())
            .finish_non_exhaustive()
    }
}

impl ContextCache {
    /// Creates an empty cache of at most `n_bytes`.
    pub fn new(n_bytes: usize) -> ContextCache {
        ContextCache {
            cache: Cache::with_weighter(n_bytes.div_ceil(USUAL), n_bytes as u64, Bytes),
            n_hits: AtomicU64::new(0),
            n_misses: AtomicU64::new(0),
        }
    }

    /// Returns the context of a key, prepared now if it is not kept.
    pub(crate) fn get(
        &self,
        key: &[u8],
        prepare: impl FnOnce() -> PreparedContext,
    ) -> Arc<PreparedContext> {
        if let Some(context) = self.cache.get(key) {
            self.n_hits.fetch_add(1, Relaxed);
            return context;
        }
        self.n_misses.fetch_add(1, Relaxed);
        let context = Arc::new(prepare());
        self.cache.insert(key.into(), context.clone());
        context
    }

    /// Returns how many contexts were kept, and how many had to be computed.
    pub fn counts(&self) -> [u64; 2] {
        [&self.n_hits, &self.n_misses].map(|count| count.load(Relaxed))
    }

    /// Returns the memory of all entries in bytes.
    pub fn n_bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// Fills in the key of a context: the number of its version, and all that the version reads of its fields.
pub(crate) fn fill_key(key: &mut Vec<u8>, version: u64, context: &Batch, fields: &[usize]) {
    key.clear();
    key.extend(version.to_le_bytes());
    for &f in fields {
        let FieldIds {
            ids,
            weights,
            numbers,
            ..
        } = &context.fields[f];
        let lengths = [f, ids.len(), weights.len(), numbers.len()];
        lengths
            .iter()
            .for_each(|&n| key.extend((n as u64).to_le_bytes()));
        ids.iter().for_each(|id| key.extend(id.to_le_bytes()));
        let floats = weights.iter().chain(numbers);
        floats.for_each(|number| key.extend(number.to_bits().to_le_bytes()));
    }
}
