//! The rows of several files, one after another.

use crate::open::open_with;
use crate::plan::Reading;
use crate::source::{BrokenRow, ReadError, Source, row_in_file};
use crate::split::SplitError;
use ncs_features::{Block, EncodeError};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// The blocks of several files, in order.
pub struct Rows {
    files: VecDeque<PathBuf>,
    reading: Reading,
    columns: Vec<String>,
    current: Option<Open>,
    /// Files that were opened; the first of them had all columns.
    n_opened: usize,
    broken: BrokenRows,
    bytes_of_files_done: u64,
}

/// The file that is being read.
struct Open {
    path: PathBuf,
    source: Box<dyn Source>,
    n_bytes: u64,
    rows: u64,
}

/// Some rows of a file; the columns are in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsBlock {
    /// The rows that could be read.
    pub block: Block,
    /// The file.
    pub file: PathBuf,
    /// Number in the file, from 1, of the first row that was looked at.
    pub first_row: u64,
    /// The rows of the file, from there on, that could not be read.
    pub broken: Vec<BrokenRow>,
    /// Bytes on disk that were read so far, of all files.
    pub bytes_read: u64,
    /// Which of the files it is, from 0.
    pub(crate) file_number: usize,
}

impl RowsBlock {
    /// Number in the file of row `row` of the block; both count from 1, as errors do:
    /// `error.at(|row| rows.in_file(row))`.
    pub fn in_file(&self, row: u64) -> u64 {
        row_in_file(self.first_row, &self.broken, row)
    }

    /// An error of a row of this block as one of its file.
    pub fn error(&self, error: EncodeError) -> ReadError {
        let path = self.file.clone();
        match row_of(&error) {
            None => ReadError::Encode { path, error },
            Some(row) => {
                let row = self.in_file(row);
                let what = error.at(|_| row).to_string();
                ReadError::Row { path, row, what }
            }
        }
    }
}

impl RowsBlock {
    /// An error of the part of a row of this block as one of its file.
    pub fn split_error(&self, error: SplitError) -> ReadError {
        match error {
            SplitError::Column(error) => self.error(error),
            SplitError::NoTime { column, row } => {
                let row = self.in_file(row);
                ReadError::Row {
                    path: self.file.clone(),
                    row,
                    what: SplitError::NoTime { column, row }.to_string(),
                }
            }
        }
    }
}

/// The row that an error is about, if it is about one.
pub(crate) fn row_of(error: &EncodeError) -> Option<u64> {
    let mut found = None;
    let _ = error.clone().at(|row| *found.insert(row));
    found
}

impl Rows {
    /// Nothing read yet.
    pub fn open(files: Vec<PathBuf>, reading: &Reading, columns: Vec<String>) -> Rows {
        Rows {
            files: files.into(),
            reading: reading.clone(),
            columns,
            current: None,
            n_opened: 0,
            broken: BrokenRows::new(reading.max_broken_share),
            bytes_of_files_done: 0,
        }
    }

    /// The next rows of the same file or of the next one; `None` after the last.
    ///
    /// # Errors
    /// A file cannot be read, lacks a column or holds no rows, or more rows are broken than
    /// [`Reading::max_broken_share`] allows. A column need not be in every file of JSON lines or
    /// TFRecord: where the first one has it, it is null in a file without it.
    pub fn next_block(&mut self) -> Result<Option<RowsBlock>, ReadError> {
        loop {
            let Some(mut file) = self.current.take() else {
                let Some(path) = self.files.pop_front() else {
                    self.broken.check_end()?;
                    return Ok(None);
                };
                self.current = Some(self.open_file(path)?);
                continue;
            };
            if let Some(raw) = file.source.next_block()? {
                file.rows += (raw.block.n_rows + raw.broken.len()) as u64;
                let rows = RowsBlock {
                    block: raw.block,
                    file: file.path.clone(),
                    first_row: raw.first_row,
                    broken: raw.broken,
                    bytes_read: self.bytes_of_files_done + raw.bytes_read,
                    file_number: self.n_opened - 1,
                };
                self.current = Some(file);
                self.broken
                    .add(&rows.file, rows.block.n_rows, &rows.broken)?;
                return Ok(Some(rows));
            }
            if file.rows == 0 {
                return Err(ReadError::NoRows { path: file.path });
            }
            self.bytes_of_files_done += file.n_bytes;
        }
    }

    fn open_file(&mut self, path: PathBuf) -> Result<Open, ReadError> {
        let source = open_with(&path, &self.reading, &self.columns, self.n_opened > 0)?;
        let metadata = std::fs::metadata(&path).map_err(ReadError::io(&path, "read"))?;
        self.n_opened += 1;
        Ok(Open {
            path,
            source,
            n_bytes: metadata.len(),
            rows: 0,
        })
    }
}

/// Counts rows that cannot be used and refuses too many.
pub(crate) struct BrokenRows {
    max_share: f64,
    /// All rows, broken ones included.
    rows: u64,
    broken: u64,
    first: Option<(PathBuf, BrokenRow)>,
}

/// So many broken rows too many are borne until the end, as they may stand close together.
const GRACE_ROWS: f64 = 100.0;

impl BrokenRows {
    pub(crate) fn new(max_share: f64) -> BrokenRows {
        BrokenRows {
            max_share,
            rows: 0,
            broken: 0,
            first: None,
        }
    }

    /// How many there were.
    pub(crate) fn n_broken(&self) -> u64 {
        self.broken
    }

    /// Counts `n_rows` rows of `file` that can be used and some that cannot.
    pub(crate) fn add(
        &mut self,
        file: &Path,
        n_rows: usize,
        broken: &[BrokenRow],
    ) -> Result<(), ReadError> {
        self.rows += (n_rows + broken.len()) as u64;
        self.broken += broken.len() as u64;
        if let (None, Some(first)) = (&self.first, broken.first()) {
            self.first = Some((file.to_owned(), first.clone()));
        }
        self.check(GRACE_ROWS)
    }

    /// Judges all rows, however few.
    pub(crate) fn check_end(&self) -> Result<(), ReadError> {
        self.check(0.0)
    }

    fn check(&self, grace: f64) -> Result<(), ReadError> {
        let Some((path, BrokenRow { row, what })) = self.first.clone() else {
            return Ok(());
        };
        if self.max_share == 0.0 {
            return Err(ReadError::Row { path, row, what });
        }
        if self.broken as f64 <= self.max_share * self.rows as f64 + grace {
            return Ok(());
        }
        Err(ReadError::TooManyBroken {
            broken: self.broken,
            rows: self.rows,
            share: self.max_share,
            path,
            row,
            what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(rows: std::ops::Range<u64>) -> Vec<BrokenRow> {
        let row = |row| BrokenRow {
            row,
            what: format!("row {row}: torn"),
        };
        rows.map(row).collect()
    }

    #[test]
    fn the_first_broken_row_is_refused_unless_a_share_is_allowed() {
        let mut rows = BrokenRows::new(0.0);
        rows.add("a".as_ref(), 9, &[]).unwrap();
        let error = rows.add("b".as_ref(), 9, &broken(3..5)).unwrap_err();
        assert_eq!(error.to_string(), "b: row 3: torn");
    }

    #[test]
    fn a_share_is_judged_with_grace_and_at_the_end_without() {
        let mut rows = BrokenRows::new(0.1);
        rows.add("a".as_ref(), 900, &broken(1..101)).unwrap();
        rows.check_end().unwrap();
        rows.add("a".as_ref(), 0, &broken(1001..1100)).unwrap();
        assert!(rows.check_end().is_err());
        let error = rows.add("b".as_ref(), 0, &broken(1..31)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "229 of 1129 rows cannot be used, more than a share of 0.1 (`max_broken_share`); \
             the first: a: row 1: torn"
        );
    }
}
