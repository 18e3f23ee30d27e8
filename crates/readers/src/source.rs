//! Interface of the readers of all formats, and the errors in a file.

use crate::partitions::partitions;
use ncs_features::{Block, shown};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The rows of one file, in order.
pub trait Source: Send {
    /// Reads the next rows, about 8192 of them or 16 MiB; `None` after the last.
    ///
    /// # Errors
    /// The rest of the file cannot be read. A row that cannot be read is not an error but a [`BrokenRow`] of
    /// its block.
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError>;
}

/// Rows that follow each other in a file, those that could not be read left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawBlock {
    /// The rows that could be read: the requested columns, in the requested order.
    pub block: Block,
    /// Number in the file, from 1, of the first row that was looked at, broken or not.
    pub first_row: u64,
    /// The rows that could not be read, in file order.
    pub broken: Vec<BrokenRow>,
    /// Number of bytes on disk read so far, compressed or not.
    pub bytes_read: u64,
    /// Warnings about rows that could be read, with the row's number.
    pub notes: Vec<String>,
}

impl RawBlock {
    /// Returns the number in the file of row `row` of the block; both count from 1.
    pub fn in_file(&self, row: u64) -> u64 {
        row_in_file(self.first_row, &self.broken, row)
    }
}

/// Returns the number in the file of row `row`, from 1, of a block whose rows begin at `first_row`.
pub(crate) fn row_in_file(first_row: u64, broken: &[BrokenRow], row: u64) -> u64 {
    let mut number = first_row + row - 1;
    for broken in broken {
        number += u64::from(broken.row <= number);
    }
    number
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    /// Its number in the file, from 1; a header line does not count.
    pub row: u64,
    /// Description of the error, with the row's number.
    pub what: String,
}

/// Files that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error(
        "{}: cannot {doing}: {source}{}",
        shown_path(path),
        ncs_features::system::after(source)
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Operation that failed.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A path or glob that names nothing.
    #[error(
        "\"{pattern}\": no such file, and no glob or folder that holds one (looked for {}){}",
        shown_path(path),
        starting_at(pattern, root)
    )]
    NoFiles {
        /// Pattern in the plan.
        pattern: String,
        /// Path that was searched.
        path: PathBuf,
        /// Start of relative paths.
        root: PathBuf,
    },
    /// A pipe, a device or the like, where a file is needed.
    #[error(
        "{}: is {found}, not a file; files are looked at first and read several times: write its \
         content into a file, and name that",
        shown_path(path)
    )]
    NoFile {
        /// Its place.
        path: PathBuf,
        /// Kind of the file.
        found: &'static str,
    },
    /// The file is not as it was when it was opened.
    #[error(
        "{}: the file changed while it was read ({what}); read it again when nothing writes to it, or \
         copy it first",
        shown_path(path)
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Description of the change.
        what: String,
    },
    /// An object in a store that cannot be read, or a URL that names none.
    #[error("{}: {what}", crate::remote::redacted(&shown_path(path)))]
    Remote {
        /// Its URL.
        path: PathBuf,
        /// Why not, and what to do.
        what: String,
    },
    /// A folder without files.
    #[error(
        "{}: the folder holds no files (names that begin with \".\" or \"_\" do not count, nor do \
         folders in it, but for those named NAME=VALUE); name the folder that holds them, or a glob",
        shown_path(path)
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// An invalid glob.
    #[error("\"{pattern}\": no glob: {what}")]
    Pattern {
        /// Pattern in the plan.
        pattern: String,
        /// Description of the error.
        what: String,
    },
    /// The format cannot be detected from the name or the content.
    #[error(
        "{}: cannot tell its format from its name; set `format` to one of tfrecord, parquet, csv, \
         json_lines, arrow, or name it .tfrecord, .parquet, .csv, .tsv or .jsonl (then .gz or .zst), .arrow or .feather",
        shown_path(path)
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file lacks a column.
    #[error(
        "{}: no column {column:?}{nearest}; it has {present}",
        shown_path(path)
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The absent column.
        column: String,
        /// A name like it that is there, as a part of a sentence; may be empty.
        nearest: String,
        /// The columns that are there.
        present: String,
    },
    /// A column of a type that has no values for us.
    #[error(
        "{}: column {column:?} is {found}; numbers, booleans, texts and lists of them can be \
         read: leave it out, or write it as one of these",
        shown_path(path)
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// The bytes are not valid in the format, so that no later row can be found.
    #[error("{}: {}{what}", shown_path(path), after_rows(*.rows))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Rows that were read before.
        rows: u64,
        /// Description of the error, with advice.
        what: String,
    },
    /// The file is as it was written, but nothing here can read it.
    #[error("{}: {what}", shown_path(path))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Description of the unsupported content, with advice.
        what: String,
    },
    /// A file of features by id that cannot be used, or rows that cannot be looked up in it.
    #[error("{}: {what}", shown_path(path))]
    Lookup {
        /// The file.
        path: PathBuf,
        /// Description of the error, with advice.
        what: String,
    },
    /// Two columns of one name, of which it is not clear which is meant.
    #[error("{}: two columns are named {column:?}; rename one", shown_path(path))]
    NamedTwice {
        /// The file.
        path: PathBuf,
        /// Their name.
        column: String,
    },
    /// A column of the file that a folder on its path defines too.
    #[error(
        "{}: column {column:?} is in the file, and a folder on its way is named {column}=...; it is \
         not clear which is meant: rename the folder, or leave the column out of the files",
        shown_path(path)
    )]
    InFileAndFolder {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// No file has rows.
    #[error("{}: {}", shown_path(path), no_rows(*files))]
    NoRows {
        /// The file, or the first of them.
        path: PathBuf,
        /// Number of files.
        files: u64,
    },
    /// A row that cannot be used, where none may be left out.
    #[error("{}: {what}", shown_path(path))]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1.
        row: u64,
        /// Description of the error, with the row's number.
        what: String,
    },
    /// More rows cannot be used than may be left out.
    #[error(
        "{broken} of {rows} rows cannot be used, more than a share of {share} \
         (`max_broken_share`); the first: {}: {what}",
        shown_path(path)
    )]
    TooManyBroken {
        /// Number of rows that cannot be used.
        broken: u64,
        /// Out of how many.
        rows: u64,
        /// The share that may be left out.
        share: f64,
        /// The file of the first one.
        path: PathBuf,
        /// Its row, from 1.
        row: u64,
        /// Description of the error, with the row's number.
        what: String,
    },
    /// The features and the rows do not fit, whatever the row.
    #[error("{}: {error}", shown_path(path))]
    Encode {
        /// The file.
        path: PathBuf,
        /// Cause of the error.
        error: ncs_features::EncodeError,
    },
}

/// Returns the column that a text names as `column "x"`.
fn named(what: &str) -> Option<String> {
    let (_, rest) = what.split_once("column \"")?;
    let (column, _) = rest.split_once('"')?;
    Some(column.to_owned())
}

/// Returns `; relative paths start at /logs` if `pattern` is relative and `root` is not empty; otherwise an
/// empty text.
fn starting_at(pattern: &str, root: &Path) -> String {
    if Path::new(pattern).is_absolute() || root.as_os_str().is_empty() {
        String::new()
    } else {
        format!("; relative paths start at {}", root.display())
    }
}

fn no_rows(files: u64) -> String {
    match files {
        1 => "the file holds no rows; leave it out, or write it again".to_owned(),
        n => format!("neither this file nor any other of the {n} holds a row; write them again"),
    }
}

/// Returns a path for display, with control characters escaped.
pub fn shown_path(path: &Path) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    path.to_string_lossy().chars().map(escaped).collect()
}

fn after_rows(rows: u64) -> String {
    match rows {
        0 => String::new(),
        rows => format!("after row {rows}: "),
    }
}

impl ReadError {
    /// Returns the file (or the name of the frame) of the error, if it has one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            ReadError::Pattern { .. } => None,
            ReadError::Io { path, .. }
            | ReadError::NoFiles { path, .. }
            | ReadError::NoFile { path, .. }
            | ReadError::Changed { path, .. }
            | ReadError::Remote { path, .. }
            | ReadError::EmptyFolder { path }
            | ReadError::UnknownFormat { path }
            | ReadError::MissingColumn { path, .. }
            | ReadError::ColumnType { path, .. }
            | ReadError::Damaged { path, .. }
            | ReadError::Unsupported { path, .. }
            | ReadError::Lookup { path, .. }
            | ReadError::NamedTwice { path, .. }
            | ReadError::InFileAndFolder { path, .. }
            | ReadError::NoRows { path, .. }
            | ReadError::Row { path, .. }
            | ReadError::TooManyBroken { path, .. }
            | ReadError::Encode { path, .. } => Some(path),
        }
    }

    /// Returns the row of the file, from 1, of the error, if it has one.
    pub fn row(&self) -> Option<u64> {
        match self {
            ReadError::Row { row, .. } | ReadError::TooManyBroken { row, .. } => Some(*row),
            _ => None,
        }
    }

    /// Returns the column of the error, if it has one; for an error of a row, the column named in its text.
    pub fn column(&self) -> Option<String> {
        match self {
            ReadError::MissingColumn { column, .. }
            | ReadError::ColumnType { column, .. }
            | ReadError::NamedTwice { column, .. }
            | ReadError::InFileAndFolder { column, .. } => Some(column.clone()),
            ReadError::Row { what, .. }
            | ReadError::TooManyBroken { what, .. }
            | ReadError::Lookup { what, .. } => named(what),
            ReadError::Encode { error, .. } => named(&error.to_string()),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ReadError {
        let path = path.to_owned();
        move |source| ReadError::Io {
            path,
            doing,
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, rows: u64, what: impl Into<String>) -> ReadError {
        ReadError::Damaged {
            path: path.to_owned(),
            rows,
            what: what.into(),
        }
    }

    /// Returns the error of a file that needs the unsupported feature `need`.
    pub(crate) fn unsupported(path: &Path, need: impl fmt::Display) -> ReadError {
        let what = format!(
            "this kind of file is not supported ({need}); it is not damaged: write it in another way"
        );
        ReadError::Unsupported {
            path: path.to_owned(),
            what,
        }
    }

    /// Returns the error of a file whose first bytes show that it `is` of an unsupported kind, with advice.
    pub(crate) fn unread(path: &Path, is: &str) -> ReadError {
        ReadError::Unsupported {
            path: path.to_owned(),
            what: format!("{is} (as its first bytes show; this is not read here)"),
        }
    }

    pub(crate) fn named_twice(path: &Path, column: &str) -> ReadError {
        ReadError::NamedTwice {
            path: path.to_owned(),
            column: column.to_owned(),
        }
    }

    /// Returns the error that none of `files` files, of which `path` is the first, holds a row.
    pub(crate) fn no_rows(path: &Path, files: u64) -> ReadError {
        ReadError::NoRows {
            path: path.to_owned(),
            files,
        }
    }

    /// Returns the error that neither the columns of the file, `present`, nor the folders on its path have
    /// this column.
    pub(crate) fn missing(path: &Path, column: &str, present: &[String]) -> ReadError {
        let folders = partitions(path).into_iter().map(|partition| partition.name);
        let folders = folders.filter(|name| !present.contains(name));
        let present: Vec<String> = present.iter().cloned().chain(folders).collect();
        ReadError::MissingColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            nearest: nearest(column, &present),
            present: listed(&present),
        }
    }

    /// Returns the error for `source`, which occurred while bytes were read (and decompressed), after `rows`
    /// rows.
    pub(crate) fn reading(path: &Path, rows: u64, source: io::Error) -> ReadError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::damaged(
                path,
                rows,
                "the file ends too early: it is cut short; copy or write it again",
            ),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                let what = format!("its bytes are damaged ({source}); copy or write it again");
                ReadError::damaged(path, rows, what)
            }
            _ => ReadError::io(path, "read")(source),
        }
    }
}

/// Returns `; the nearest is "click"` if some name is similar to `column`.
fn nearest(column: &str, present: &[String]) -> String {
    match shown::nearest(column, present.iter().map(String::as_str)) {
        Some(name) => format!("; the nearest is {:?}", shown::start(name)),
        None => String::new(),
    }
}

/// Returns the first names of many.
fn listed(names: &[String]) -> String {
    match names {
        [] => "no column".to_owned(),
        names => shown::names(names.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests;
