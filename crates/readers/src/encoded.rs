//! Rows of files and frames as batches, without a cache: for scoring and evaluation.

use crate::arrow::Frame;
use crate::lookup::Lookup;
use crate::plan::Reading;
use crate::prepare::columns_read;
use crate::rows::{Rows, RowsBlock};
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
    rows_read: u64,
    /// Columns that are returned unchanged.
    keep: Vec<String>,
    is_done: bool,
}

impl Encoded {
    /// Opens the files. Without labels, only the columns of the features must exist;
    /// [`Reading::max_broken_share`] is ignored.
    pub fn open(
        files: Vec<PathBuf>,
        reading: &Reading,
        encoder: Encoder,
        with_labels: bool,
    ) -> Encoded {
        Encoded::open_keeping(files, reading, encoder, with_labels, &[])
    }

    /// Opens files like [`Encoded::open`]; [`Encoded::kept`] returns the columns `keep` of the rows of a
    /// batch, as they are in the files.
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
        let columns = columns(&encoder, with_labels, keep);
        Encoded::of(
            Rows::open(files, &reading, columns),
            encoder,
            with_labels,
            keep,
        )
    }

    /// Encodes the rows of a frame like [`Encoded::open_keeping`], with columns that are looked up.
    ///
    /// # Errors
    /// A column is absent, or of an unsupported type; or a file of features by id cannot be read.
    pub fn of_frame(
        frame: Frame,
        lookups: &[Lookup],
        encoder: Encoder,
        with_labels: bool,
        keep: &[String],
    ) -> Result<Encoded, ReadError> {
        let rows = Rows::of_frame_with(frame, lookups, columns(&encoder, with_labels, keep))?;
        Ok(Encoded::of(rows, encoder, with_labels, keep))
    }

    fn of(rows: Rows, encoder: Encoder, with_labels: bool, keep: &[String]) -> Encoded {
        Encoded {
            rows,
            encoder,
            with_labels,
            rows_read: 0,
            keep: keep.to_vec(),
            is_done: false,
        }
    }

    /// Rows of the files that were read so far, whether they could be used or not.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Returns notes about the files; see [`Rows::notes`].
    pub fn notes(&self) -> Vec<String> {
        self.rows.notes()
    }

    /// Returns the next batch with the rows that it was encoded from, row by row.
    ///
    /// # Errors
    /// The same as the iterator.
    pub fn next_rows(&mut self) -> Option<Result<(RowsBlock, Batch), ReadError>> {
        if self.is_done {
            return None;
        }
        let rows = self.read_rows().transpose();
        self.is_done = !matches!(rows, Some(Ok(_)));
        rows
    }

    /// Returns the columns of a block to keep, in the requested order.
    pub fn kept(&self, block: &Block) -> Block {
        let kept = self.keep.iter().filter_map(|name| block.column(name));
        Block {
            n_rows: block.n_rows,
            columns: kept.cloned().collect(),
        }
    }

    fn read_rows(&mut self) -> Result<Option<(RowsBlock, Batch)>, ReadError> {
        let Some(rows) = self.rows.next_block()? else {
            return Ok(None);
        };
        self.rows_read += (rows.block.n_rows + rows.broken.len()) as u64;
        let block = &rows.block;
        let batch = if self.with_labels {
            self.encoder.encode(block)
        } else {
            self.encoder.encode_features(block)
        };
        match batch {
            Ok(batch) => Ok(Some((rows, batch))),
            Err(error) => Err(rows.error(error)),
        }
    }
}

/// Returns the columns to read: those of the features, those of labels if requested, and those to keep.
fn columns(encoder: &Encoder, with_labels: bool, keep: &[String]) -> Vec<String> {
    let schema = encoder.schema();
    let mut columns = if with_labels {
        columns_read(&schema.fields, &schema.tasks, schema.group.as_ref())
    } else {
        columns_read(&schema.fields, &[], None)
    };
    let is_new = |name: &&String| !columns.contains(name);
    let more: Vec<String> = keep.iter().filter(is_new).cloned().collect();
    columns.extend(more);
    columns
}

impl Iterator for Encoded {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_rows()?.map(|(_, batch)| batch))
    }
}
