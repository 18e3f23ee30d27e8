//! Rows of files as batches, without a cache: for scoring and evaluation.

use crate::plan::Reading;
use crate::prepare::columns_read;
use crate::rows::Rows;
use crate::source::ReadError;
use ncs_features::{Batch, Block, Encoder};
use std::path::PathBuf;

/// The batches of some files, in order, of about 8192 rows each: an iterator.
///
/// No row is left out: one that cannot be read or encoded is an error, and nothing follows it.
pub struct Encoded {
    rows: Rows,
    encoder: Encoder,
    with_labels: bool,
    /// Columns that are handed on as they are.
    keep: Vec<String>,
    is_done: bool,
}

impl Encoded {
    /// Nothing read yet. Without labels, only the columns of the features need be there;
    /// [`Reading::max_broken_share`] is not looked at.
    pub fn open(
        files: Vec<PathBuf>,
        reading: &Reading,
        encoder: Encoder,
        with_labels: bool,
    ) -> Encoded {
        Encoded::open_keeping(files, reading, encoder, with_labels, &[])
    }

    /// As [`Encoded::open`]; [`Encoded::next_kept`] hands on the columns `keep` beside the batches, as the
    /// files hold them.
    pub fn open_keeping(
        files: Vec<PathBuf>,
        reading: &Reading,
        encoder: Encoder,
        with_labels: bool,
        keep: &[String],
    ) -> Encoded {
        let reading = Reading {
            max_broken_share: 0.0,
            ..reading.clone()
        };
        let schema = encoder.schema();
        let mut columns = match with_labels {
            true => columns_read(&schema.fields, &schema.tasks, schema.group.as_ref()),
            false => columns_read(&schema.fields, &[], None),
        };
        let is_new = |name: &&String| !columns.contains(name);
        let more: Vec<String> = keep.iter().filter(is_new).cloned().collect();
        columns.extend(more);
        Encoded {
            rows: Rows::open(files, &reading, columns),
            encoder,
            with_labels,
            keep: keep.to_vec(),
            is_done: false,
        }
    }

    /// The next batch and the kept columns of its rows, in the order in which they were asked for.
    ///
    /// # Errors
    /// A row cannot be read or encoded; nothing follows it.
    pub fn next_kept(&mut self) -> Option<Result<(Batch, Block), ReadError>> {
        if self.is_done {
            return None;
        }
        let next = self.read_next().transpose();
        self.is_done = !matches!(next, Some(Ok(_)));
        next
    }

    fn read_next(&mut self) -> Result<Option<(Batch, Block)>, ReadError> {
        let Some(rows) = self.rows.next_block()? else {
            return Ok(None);
        };
        let block = &rows.block;
        let batch = match self.with_labels {
            true => self.encoder.encode(block),
            false => self.encoder.encode_features(block),
        };
        let kept = self.keep.iter().filter_map(|name| block.column(name));
        let kept = Block {
            n_rows: block.n_rows,
            columns: kept.cloned().collect(),
        };
        let batch = batch.map_err(|error| rows.error(error))?;
        Ok(Some((batch, kept)))
    }
}

impl Iterator for Encoded {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_kept()?;
        Some(next.map(|(batch, _)| batch))
    }
}
