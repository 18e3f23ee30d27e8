//! Rows of files as batches, without a cache: for scoring and evaluation.

use crate::plan::Reading;
use crate::prepare::columns_read;
use crate::rows::Rows;
use crate::source::ReadError;
use ncs_features::{Batch, Encoder};
use std::path::PathBuf;

/// The batches of some files, in order, of about 8192 rows each: an iterator.
///
/// No row is left out: one that cannot be read or encoded is an error, and nothing follows it.
pub struct Encoded {
    rows: Rows,
    encoder: Encoder,
    with_labels: bool,
    rows_read: u64,
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
        let reading = Reading {
            max_broken_share: 0.0,
            ..reading.clone()
        };
        let schema = encoder.schema();
        let columns = match with_labels {
            true => columns_read(&schema.fields, &schema.tasks, schema.group.as_ref()),
            false => columns_read(&schema.fields, &[], None),
        };
        Encoded {
            rows: Rows::open(files, &reading, columns),
            encoder,
            with_labels,
            rows_read: 0,
            is_done: false,
        }
    }

    /// Rows of the files that were read so far, whether they could be used or not.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// What is worth telling of the files; see [`Rows::notes`].
    pub fn notes(&self) -> Vec<String> {
        self.rows.notes()
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        let Some(rows) = self.rows.next_block()? else {
            return Ok(None);
        };
        self.rows_read += (rows.block.n_rows + rows.broken.len()) as u64;
        let batch = match self.with_labels {
            true => self.encoder.encode(&rows.block),
            false => self.encoder.encode_features(&rows.block),
        };
        batch.map(Some).map_err(|error| rows.error(error))
    }
}

impl Iterator for Encoded {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.is_done = !matches!(batch, Some(Ok(_)));
        batch
    }
}
