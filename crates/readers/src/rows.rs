//! The rows of several files, one after another.

use crate::arrow::Frame;
use crate::checked::Checked;
use crate::data_file::FileFacts;
use crate::encoding::Encoding;
use crate::lookup::{Join, Lookup};
use crate::open::{open_with, stored_names};
use crate::plan::Reading;
use crate::remote::is_remote;
use crate::source::{BrokenRow, RawBlock, ReadError, Source, row_in_file, shown_path};
use crate::split::SplitError;
use ncs_features::{Block, EncodeError};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// The blocks of several files, in order.
pub struct Rows {
    files: VecDeque<PathBuf>,
    reading: Reading,
    columns: Vec<String>,
    /// `None` before the first file.
    join: Option<Option<Join>>,
    current: Option<Open>,
    /// Files that were opened.
    n_opened: usize,
    /// Files that had rows; the first of them had all columns.
    n_with_rows: usize,
    broken: BrokenRows,
    bytes_of_files_done: u64,
    seen: Seen,
}

/// The file that is being read.
struct Open {
    path: PathBuf,
    source: Box<dyn Source>,
    /// `None` for what is no file.
    state: Option<FileState>,
    rows: u64,
}

/// Notes about files that could be read.
#[derive(Default)]
struct Seen {
    n_empty: u64,
    first_empty: Option<PathBuf>,
    n_doubtful: u64,
    first_doubtful: Option<String>,
}

/// Rows of a file; the columns are in the requested order.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsBlock {
    /// The rows that could be read.
    pub block: Block,
    /// The file.
    pub file: PathBuf,
    /// Number in the file, from 1, of the first row that was read, broken or not.
    pub first_row: u64,
    /// The rows of the file, from there on, that could not be read.
    pub broken: Vec<BrokenRow>,
    /// Bytes on disk that were read so far, of all files.
    pub bytes_read: u64,
    /// Warnings about rows that could be read.
    pub notes: Vec<String>,
    /// Index of the file, from 0.
    pub(crate) file_number: usize,
}

impl RowsBlock {
    /// Returns the number in the file of row `row` of the block; both count from 1, as in errors:
    /// `error.at(|row| rows.in_file(row))`.
    pub fn in_file(&self, row: u64) -> u64 {
        row_in_file(self.first_row, &self.broken, row)
    }

    /// Converts an error of a row of this block to an error of its file.
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
    /// Converts an error in the part of a row of this block to an error of its file.
    pub fn split_error(&self, error: SplitError) -> ReadError {
        match error {
            SplitError::Column(error) => self.error(error),
            unresolved @ SplitError::Unresolved { .. } => ReadError::Row {
                path: self.file.clone(),
                row: self.in_file(1),
                what: unresolved.to_string(),
            },
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

/// Returns the row of an error, if it has one.
pub(crate) fn row_of(error: &EncodeError) -> Option<u64> {
    let mut found = None;
    let _ = error.clone().at(|row| *found.insert(row));
    found
}

impl Rows {
    /// Creates a reader of the files; no file is read yet.
    pub fn open(files: Vec<PathBuf>, reading: &Reading, columns: Vec<String>) -> Rows {
        Rows {
            files: files.into(),
            reading: reading.clone(),
            columns,
            join: None,
            current: None,
            n_opened: 0,
            n_with_rows: 0,
            broken: BrokenRows::new(reading.max_broken_share),
            bytes_of_files_done: 0,
            seen: Seen::default(),
        }
    }

    /// Returns the rows of a frame; its name is used instead of a file name.
    ///
    /// # Errors
    /// A column is absent, or of an unsupported type.
    pub fn of_frame(frame: Frame, columns: Vec<String>) -> Result<Rows, ReadError> {
        Rows::of_frame_with(frame, &[], columns)
    }

    /// Returns the rows of a frame like [`Rows::of_frame`], with columns that are looked up.
    ///
    /// # Errors
    /// Those of [`Rows::of_frame`]; or a file of features by id cannot be read.
    pub fn of_frame_with(
        frame: Frame,
        lookups: &[Lookup],
        columns: Vec<String>,
    ) -> Result<Rows, ReadError> {
        let path = PathBuf::from(frame.name());
        let reading = Reading {
            lookups: lookups.to_vec(),
            ..Reading::default()
        };
        let join = Join::new(&reading, &columns)?;
        if let Some(join) = &join {
            join.refuse_both(&path, &frame.columns())?;
        }
        let own = join.as_ref().map_or(&columns, |join| &join.own);
        let source = Box::new(Checked {
            rows: Box::new(frame.rows(own)?),
            encoding: Encoding::Utf8,
            partitions: Vec::new(),
        });
        let mut rows = Rows::open(Vec::new(), &reading, columns);
        rows.join = Some(join);
        rows.n_opened = 1;
        rows.current = Some(Open {
            path,
            source,
            state: None,
            rows: 0,
        });
        Ok(rows)
    }

    /// Reads the next rows of the same file or of the next one; `None` after the last. Files without rows are
    /// skipped, and [noted](Rows::notes).
    ///
    /// # Errors
    /// A file cannot be read, was modified during reading or lacks a column, no file holds rows, or more rows
    /// are broken than [`Reading::max_broken_share`] allows. In JSON lines and TFRecord a column need not be
    /// in every file: if the first file has it, it is null in a file without it.
    pub fn next_block(&mut self) -> Result<Option<RowsBlock>, ReadError> {
        loop {
            let Some(mut file) = self.current.take() else {
                let Some(path) = self.files.pop_front() else {
                    return self.end();
                };
                self.current = self.open_file(path)?;
                continue;
            };
            let next = file.source.next_block();
            let next = next.map_err(|error| file.blamed(error))?;
            if let Some(raw) = next {
                return self.take_block(file, raw).map(Some);
            }
            if let Some(state) = &file.state {
                state.check(&file.path)?;
                self.bytes_of_files_done += state.n_bytes();
            }
            match file.rows {
                0 if file.state.is_some() => self.seen.empty(file.path),
                // A program may hand over no rows, and gets nothing for them.
                _ => self.n_with_rows += 1,
            }
        }
    }

    /// Returns notes about the files that were read so far: files without rows, and rows that could be read
    /// but look wrong.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.seen.notes(self.n_opened);
        notes.extend(self.looked_up());
        notes
    }

    /// Returns notes about features by id: the shares of rows and ids that were found so far.
    pub fn looked_up(&self) -> Vec<String> {
        self.join.iter().flatten().flat_map(Join::notes).collect()
    }

    fn take_block(&mut self, mut file: Open, mut raw: RawBlock) -> Result<RowsBlock, ReadError> {
        if let Some(Some(join)) = &mut self.join {
            join.add(&file.path, &mut raw)?;
        }
        file.rows += (raw.block.n_rows + raw.broken.len()) as u64;
        let rows = RowsBlock {
            block: raw.block,
            file: file.path.clone(),
            first_row: raw.first_row,
            broken: raw.broken,
            bytes_read: self.bytes_of_files_done + raw.bytes_read,
            notes: raw.notes,
            file_number: self.n_opened - 1,
        };
        self.seen.doubtful(&rows);
        let counted = self.broken.add(&rows.file, rows.block.n_rows, &rows.broken);
        counted.map_err(|error| file.blamed(error))?;
        self.current = Some(file);
        Ok(rows)
    }

    fn end(&self) -> Result<Option<RowsBlock>, ReadError> {
        match (&self.seen.first_empty, self.n_with_rows) {
            (Some(first), 0) => Err(ReadError::no_rows(first, self.n_opened as u64)),
            _ => self.broken.check_end().map(|()| None),
        }
    }

    /// Opens a file; `None` where it is seen at once that it holds no rows.
    fn open_file(&mut self, path: PathBuf) -> Result<Option<Open>, ReadError> {
        let state = FileState::of(&path)?;
        let has_first = self.n_with_rows > 0;
        self.n_opened += 1;
        if self.join.is_none() {
            self.join = Some(Join::new(&self.reading, &self.columns)?);
        }
        let join = self.join.as_ref().and_then(Option::as_ref);
        let columns = join.map_or(&self.columns, |join| &join.own);
        let opened = match join {
            None => open_with(&path, &self.reading, columns, has_first),
            Some(join) => stored_names(&path, &self.reading)
                .and_then(|names| join.refuse_both(&path, &names))
                .and_then(|()| open_with(&path, &self.reading, columns, has_first)),
        };
        match opened {
            Ok(source) => Ok(Some(Open {
                path,
                source,
                state: Some(state),
                rows: 0,
            })),
            Err(ReadError::NoRows { .. }) => {
                self.seen.empty(path);
                Ok(None)
            }
            Err(error) => Err(state.blamed(&path, error)),
        }
    }
}

impl Open {
    /// Returns the error, or the error that the file was modified, if it was.
    fn blamed(&self, error: ReadError) -> ReadError {
        match &self.state {
            Some(state) => state.blamed(&self.path, error),
            None => error,
        }
    }
}

impl Seen {
    fn empty(&mut self, path: PathBuf) {
        self.n_empty += 1;
        self.first_empty.get_or_insert(path);
    }

    fn doubtful(&mut self, rows: &RowsBlock) {
        self.n_doubtful += rows.notes.len() as u64;
        if let Some(first) = rows.notes.first() {
            let file = shown_path(&rows.file);
            self.first_doubtful
                .get_or_insert_with(|| format!("{file}: {first}"));
        }
    }

    fn notes(&self, n_files: usize) -> Vec<String> {
        let empty = self.first_empty.as_ref().map(|first| {
            let first = shown_path(first);
            match self.n_empty {
                1 => format!("{first}: the file holds no rows; it is passed over"),
                n => format!(
                    "{n} of {n_files} files hold no rows; they are passed over, the first: {first}"
                ),
            }
        });
        let doubtful = self
            .first_doubtful
            .as_ref()
            .map(|first| match self.n_doubtful {
                1 => first.clone(),
                n => format!("{first}; {} more such rows follow", n - 1),
            });
        empty.into_iter().chain(doubtful).collect()
    }
}

/// A file as it was, to notice that it was replaced or modified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState(FileFacts);

impl FileState {
    pub(crate) fn of(path: &Path) -> Result<FileState, ReadError> {
        FileFacts::of(path).map(FileState)
    }

    fn n_bytes(&self) -> u64 {
        self.0.n_bytes
    }

    /// Refuses a file that is not as it was.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ReadError> {
        let what = match FileFacts::of(path) {
            Err(ReadError::Io { source, .. }) => source.to_string(),
            Err(ReadError::Remote { what, .. }) => what,
            Err(error) => return Err(error),
            Ok(now) if now == self.0 => return Ok(()),
            Ok(now) if now.n_bytes != self.0.n_bytes => {
                format!("it had {} bytes and has {}", self.0.n_bytes, now.n_bytes)
            }
            Ok(_) => "it was written or replaced".to_owned(),
        };
        let path = path.to_owned();
        Err(ReadError::Changed { path, what })
    }

    /// Returns the error, or the error that the file was modified, if it was.
    fn blamed(&self, path: &Path, error: ReadError) -> ReadError {
        match self.check(path) {
            Err(changed @ ReadError::Changed { .. }) if !is_unreachable(path, &error) => changed,
            _ => error,
        }
    }
}

/// Returns true if a store could not be reached: then nothing is known of the object.
fn is_unreachable(path: &Path, error: &ReadError) -> bool {
    use std::io::ErrorKind;
    let kind = match error {
        ReadError::Io { source, .. } => source.kind(),
        _ => return false,
    };
    is_remote(path) && kind != ErrorKind::StaleNetworkFileHandle
}

/// Counts rows that cannot be used and refuses too many.
pub(crate) struct BrokenRows {
    max_share: f64,
    /// All rows, broken ones included.
    rows: u64,
    broken: u64,
    first: Option<(PathBuf, BrokenRow)>,
}

/// Number of broken rows beyond the allowed share that are tolerated until the end, as they may be close
/// together.
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

    /// Returns the number of broken rows.
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
