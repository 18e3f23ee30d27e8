//! Columns in the making, for formats that come row by row.

use crate::source::{BrokenRow, RawBlock, ReadError, Source};
use ncs_features::Block;
use ncs_features::columns::ColumnBuilder;
use std::path::Path;

/// Rows of a block, except the last of a file.
pub(crate) const BLOCK_ROWS: usize = 8192;
/// A block that holds this much ends earlier.
pub(crate) const BLOCK_BYTES: usize = 16 << 20;
/// A row that holds more is broken, in every format.
pub(crate) const LONGEST_ROW: usize = 16 << 20;
/// Maximum length of a list; a longer one is not a valid value.
pub(crate) const LONGEST_LIST: usize = 1 << 20;

/// Returns the number of these rows, at least one, that make a block: up to the size limit of a block, or to
/// a row that exceeds the limit of a row.
pub(crate) fn fitting(sizes: &[usize]) -> usize {
    let mut sum = 0usize;
    let fits = |size: &&usize| {
        sum = sum.saturating_add(**size);
        sum <= BLOCK_BYTES
    };
    sizes.iter().take_while(fits).count().max(1)
}

/// Returns the error of a row that exceeds the size limit, with most of its data in `column`.
pub(crate) fn too_large(row: u64, column: &str) -> BrokenRow {
    let what = format!(
        "row {row}: column {column:?} holds more than a row may: {} MiB, or a list of {LONGEST_LIST} values",
        LONGEST_ROW >> 20,
    );
    BrokenRow { row, what }
}

/// A format that comes row by row.
pub(crate) trait ReadRow: Send {
    /// Reads one row into `rows`, which it ends or breaks; `false` after the last row.
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError>;

    /// Bytes on disk that were read so far.
    fn bytes_read(&self) -> u64;
}

/// A [`Source`] of a format that comes row by row.
pub(crate) struct ByRow<R> {
    reader: R,
    rows: RowsBuilder,
    /// Read when the file was opened.
    first: Option<RawBlock>,
}

impl<R: ReadRow> ByRow<R> {
    /// Reads the first block, and has `path` refused where a column appears nowhere in it, unless
    /// `absent_is_null`. `present` lists the columns of such a file.
    pub(crate) fn open(
        reader: R,
        path: &Path,
        columns: &[String],
        absent_is_null: bool,
        present: impl FnOnce() -> Result<Vec<String>, ReadError>,
    ) -> Result<ByRow<R>, ReadError> {
        let mut source = ByRow {
            reader,
            rows: RowsBuilder::new(columns),
            first: None,
        };
        source.first = source.read_block()?;
        let has_rows = source
            .first
            .as_ref()
            .is_some_and(|first| first.block.n_rows > 0);
        let unseen = source.rows.columns.iter().find(|column| !column.is_seen());
        match unseen {
            Some(column) if has_rows && !absent_is_null => {
                Err(ReadError::missing(path, column.name(), &present()?))
            }
            _ => Ok(source),
        }
    }

    fn read_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        while !self.rows.is_full() && self.reader.read_row(&mut self.rows)? {}
        Ok(self.rows.finish(self.reader.bytes_read()))
    }
}

impl<R: ReadRow> Source for ByRow<R> {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        match self.first.take() {
            Some(block) => Ok(Some(block)),
            None => self.read_block(),
        }
    }
}

/// A block in the making.
pub(crate) struct RowsBuilder {
    columns: Vec<ColumnBuilder>,
    n_rows: usize,
    broken: Vec<BrokenRow>,
    notes: Vec<String>,
    /// Rows of the file before this block.
    rows_before: u64,
}

impl RowsBuilder {
    pub(crate) fn new(columns: &[String]) -> RowsBuilder {
        RowsBuilder {
            columns: columns
                .iter()
                .map(|name| ColumnBuilder::new(name))
                .collect(),
            n_rows: 0,
            broken: Vec::new(),
            notes: Vec::new(),
            rows_before: 0,
        }
    }

    /// Rows of the file that are done, broken ones included.
    pub(crate) fn rows_done(&self) -> u64 {
        self.rows_before + (self.n_rows + self.broken.len()) as u64
    }

    pub(crate) fn column(&mut self, i: usize) -> &mut ColumnBuilder {
        &mut self.columns[i]
    }

    /// Ends a row; columns that got no value are null there.
    pub(crate) fn end_row(&mut self) {
        self.n_rows += 1;
        self.columns.iter_mut().for_each(ColumnBuilder::end_row);
    }

    /// Marks the row as broken; none of its values was added. In a text it begins in `line`, from 1.
    pub(crate) fn break_row(&mut self, line: Option<u64>, what: &str) {
        let row = self.rows_done() + 1;
        let what = format!("{}: {what}", place(row, line));
        self.broken.push(BrokenRow { row, what });
    }

    /// Records a warning about the last completed row, which could be read.
    pub(crate) fn doubt_last_row(&mut self, line: Option<u64>, why: &str) {
        let row = self.rows_done();
        self.notes.push(format!("{}: {why}", place(row, line)));
    }

    fn is_full(&self) -> bool {
        let n_bytes = || {
            self.columns
                .iter()
                .map(ColumnBuilder::n_bytes)
                .sum::<usize>()
        };
        self.n_rows + self.broken.len() >= BLOCK_ROWS || n_bytes() >= BLOCK_BYTES
    }

    /// Returns the collected rows, `None` if there are none, and starts the next block.
    fn finish(&mut self, bytes_read: u64) -> Option<RawBlock> {
        let first_row = self.rows_before + 1;
        self.rows_before = self.rows_done();
        let block = Block {
            n_rows: std::mem::take(&mut self.n_rows),
            columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect(),
        };
        let broken = std::mem::take(&mut self.broken);
        let notes = std::mem::take(&mut self.notes);
        (block.n_rows + broken.len() > 0).then_some(RawBlock {
            block,
            first_row,
            broken,
            bytes_read,
            notes,
        })
    }
}

/// `row 101 (line 102)`: rows are counted without a header and blank lines.
fn place(row: u64, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("row {row} (line {line})"),
        None => format!("row {row}"),
    }
}
