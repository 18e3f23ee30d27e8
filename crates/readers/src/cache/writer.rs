//! Writes the file of one part, block by block.

use super::blocks::Layout;
use super::file::{BlockEntry, footer_bytes, header_bytes, with_checksum};
use super::{BLOCK_ROWS, CacheError};
use ncs_features::{Batch, LabelCounts, Pick, Schema};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A part's file in the making; memory holds one block.
pub(crate) struct PartWriter {
    path: PathBuf,
    file: File,
    layout: Layout,
    /// Rows that do not fill a block yet.
    pending: Batch,
    blocks: Vec<BlockEntry>,
    counts: LabelCounts,
    written: u64,
}

impl PartWriter {
    pub(crate) fn create(
        path: &Path,
        key: &[u8; 32],
        schema: &Schema,
    ) -> Result<PartWriter, CacheError> {
        let layout = Layout::of(schema);
        let file = File::create(path).map_err(CacheError::io(path, "create"))?;
        let mut writer = PartWriter {
            path: path.to_owned(),
            file,
            pending: layout.empty_batch(),
            blocks: Vec::new(),
            counts: LabelCounts::new(layout.n_tasks()),
            written: 0,
            layout,
        };
        writer.append(&header_bytes(key, &writer.layout))?;
        Ok(writer)
    }

    /// Appends the picked rows of `batches`.
    pub(crate) fn push(&mut self, batches: &[Batch], mut picks: &[Pick]) -> Result<(), CacheError> {
        while !picks.is_empty() {
            let room = BLOCK_ROWS - self.pending.n_rows;
            let (now, later) = picks.split_at(room.min(picks.len()));
            self.pending.gather(batches, now);
            picks = later;
            if self.pending.n_rows == BLOCK_ROWS {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Writes the remaining rows and the index, and returns the counts of what was written.
    pub(crate) fn finish(mut self) -> Result<LabelCounts, CacheError> {
        if self.pending.n_rows > 0 {
            self.write_block()?;
        }
        let footer = footer_bytes(&self.blocks, &self.counts);
        self.append(&footer)?;
        // Network file systems and quotas may refuse only now what they took before.
        self.file
            .sync_all()
            .map_err(CacheError::io(&self.path, "write"))?;
        Ok(self.counts)
    }

    fn write_block(&mut self) -> Result<(), CacheError> {
        let batch = std::mem::replace(&mut self.pending, self.layout.empty_batch());
        let mut bytes = Vec::with_capacity(batch.n_bytes() + 16);
        self.layout.write(&batch, &mut bytes);
        let known = |labels: &Vec<f32>| labels.iter().filter(|label| !label.is_nan()).count();
        self.blocks.push(BlockEntry {
            offset: self.written,
            n_bytes: bytes.len() as u32,
            rows: batch.n_rows as u32,
            known: batch
                .labels
                .iter()
                .map(|labels| known(labels) as u32)
                .collect(),
        });
        self.counts.observe(&batch);
        self.append(&with_checksum(bytes))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        self.written += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(CacheError::io(&self.path, "write"))
    }
}
