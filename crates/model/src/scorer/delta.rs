//! A scorer made of another one and of a delta, without the file with all weights.

use super::Scorer;
use crate::artifact::{Artifact, Delta, DeltaError, Frame, TableChange};
use crate::network::Network;
use crate::tables::Table;
use std::path::Path;

/// Bytes that are hashed at once.
const BLOCK: usize = 1 << 16;

/// A scorer after a delta.
#[derive(Debug)]
pub struct Updated {
    /// The scorer.
    pub scorer: Scorer,
    /// The model without tables, lives of rows among them.
    pub frame: Artifact,
    /// BLAKE3 of the model's manifest.
    pub hash: blake3::Hash,
}

impl Scorer {
    /// Returns the scorer of the model in `folder`, of which all but the weights and the delta is read. All
    /// that it scores with is verified by the hashes of the whole: it scores as if it had been read whole.
    ///
    /// # Errors
    /// This scorer is not that of the delta's parent, or a file cannot be read or was changed.
    pub fn updated(&self, folder: &Path, delta: &Delta) -> Result<Updated, DeltaError> {
        let frame = delta.frame(folder, self.masks.as_ref())?;
        let scorer = Scorer::assemble(&frame.artifact, |set, network| {
            self.restore(set, network, delta, &frame)
        })?;
        let differs = || DeltaError::Differs {
            path: delta.path().to_owned(),
            what: "the weights do not match the network of the manifest".to_owned(),
        };
        Ok(Updated {
            scorer: scorer.ok_or_else(differs)?,
            hash: frame.hash,
            frame: frame.artifact,
        })
    }

    fn restore(
        &self,
        set: usize,
        network: &mut Network,
        delta: &Delta,
        frame: &Frame,
    ) -> Result<(), DeltaError> {
        let differs = |what: String| DeltaError::Differs {
            path: delta.path().to_owned(),
            what,
        };
        network.set_dense(&frame.artifact.weight_sets[set].weights.dense);
        let before = self.members.iter().find(|member| member.weight_set == set);
        for (t, table) in network.tables.iter_mut().enumerate() {
            let before = before.and_then(|member| member.network.tables.get(t));
            let change = delta.table(set, t)?;
            let merged = merge(table, before, &change);
            let (ids, values) = merged.ok_or_else(|| {
                differs(format!("rows of table {t} of weight set {set} do not fit"))
            })?;
            frame.check(delta, &format!("member.{set}.table.{t}.ids"), &ids)?;
            frame.check(delta, &format!("member.{set}.table.{t}.values"), &values)?;
        }
        Ok(())
    }
}

/// Fills a table, and returns the BLAKE3 of its row numbers and of its values. `None`: a row does not fit.
fn merge(
    table: &mut Table<f32>,
    before: Option<&Table<f32>>,
    change: &TableChange,
) -> Option<(blake3::Hash, blake3::Hash)> {
    let (mut ids, mut values) = (Hashed::default(), Hashed::default());
    let rows = before.into_iter().flat_map(|before| {
        let initialised = before.initialised_ids();
        initialised.map(|id| (id, before.row(id)))
    });
    change.merge(rows, |id, vector| {
        ids.add(&[id], u32::to_le_bytes);
        values.add(vector, f32::to_le_bytes);
        table.restore_row(id, vector)
    })?;
    Some((ids.finish(), values.finish()))
}

/// Bytes that are hashed in blocks.
#[derive(Default)]
struct Hashed {
    hasher: blake3::Hasher,
    block: Vec<u8>,
}

impl Hashed {
    fn add<T: Copy>(&mut self, values: &[T], bytes: fn(T) -> [u8; 4]) {
        let start = self.block.len();
        self.block.resize(start + 4 * values.len(), 0);
        let (places, _) = self.block[start..].as_chunks_mut();
        let pairs = places.iter_mut().zip(values);
        pairs.for_each(|(place, &value)| *place = bytes(value));
        if self.block.len() >= BLOCK {
            self.hasher.update(&self.block);
            self.block.clear();
        }
    }

    fn finish(mut self) -> blake3::Hash {
        self.hasher.update(&self.block).finalize()
    }
}
