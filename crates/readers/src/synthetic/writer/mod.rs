//! Blocks of rows as files: written beside, then renamed, so that a file under its name is whole.

mod arrow;
mod csv;
mod json_lines;
mod output;
mod parquet;
mod tfrecord;

use super::{Synthetic, SyntheticError, SyntheticPlan};
use crate::plan::Format;
use crate::split::Part;
use ncs_features::Block;
use output::Output;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Separator of the items of a list in a CSV file.
pub const LIST_SEPARATOR: char = '|';

/// A file of a synthetic log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Part that it holds.
    pub part: Part,
    /// The file.
    pub path: PathBuf,
    /// Number of rows.
    pub rows: u64,
}

/// Writes the given number of rows of each part into `folder`, as `train.parquet`, `valid.parquet` and so on,
/// and returns the files. The folder is created if it is absent; files of these names are replaced; parts
/// without rows are left out. `rows` and `part` of the plan are ignored.
///
/// # Errors
/// The plan is invalid, or a file operation fails.
pub fn write_log(
    plan: &SyntheticPlan,
    folder: &Path,
    format: Format,
    parts: &[(Part, u64)],
) -> Result<Vec<Written>, WriteError> {
    fs::create_dir_all(folder).map_err(WriteError::io(folder, "make the folder"))?;
    let mut files = Vec::new();
    for &(part, rows) in parts.iter().filter(|(_, rows)| *rows > 0) {
        let plan = SyntheticPlan {
            part,
            rows,
            ..plan.clone()
        };
        let path = folder.join(format!("{}.{}", part.name(), extension(format)));
        let rows = write_blocks(&path, format, Synthetic::new(plan)?)?;
        files.push(Written { part, path, rows });
    }
    Ok(files)
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::TfRecord => "tfrecord",
        Format::Parquet => "parquet",
        Format::Csv => "csv",
        Format::JsonLines => "jsonl",
        Format::Arrow => "arrow",
    }
}

/// Writes blocks of the same columns into one file and returns the number of rows. Except for
/// Parquet and Arrow, a path that ends in `.gz` is compressed.
///
/// A null is an empty CSV value, a JSON null, a Parquet or Arrow null and an absent TFRecord feature. Lists
/// are joined by [`LIST_SEPARATOR`] in CSV. TFRecord keeps numbers with a fraction in 32 bits.
///
/// # Errors
/// There is no block, a list item holds the separator, or the file system refuses.
pub fn write_blocks(
    path: &Path,
    format: Format,
    blocks: impl Iterator<Item = Block>,
) -> Result<u64, WriteError> {
    let mut blocks = blocks.peekable();
    if blocks.peek().is_none() {
        return Err(WriteError::NoRows {
            path: path.to_owned(),
        });
    }
    let unfinished = unfinished(path);
    let written = write(&unfinished, path, format, blocks).and_then(|rows| {
        fs::rename(&unfinished, path).map_err(WriteError::io(path, "rename the file to"))?;
        Ok(rows)
    });
    if written.is_err() {
        // The first error is the one to tell; what is left is harmless.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Returns the file beside `path` that is written first.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(
        ".{name}.{}.unfinished",
        crate::unique::unique_number()
    ))
}

/// Writes into `unfinished` what shall be `path`, which errors name.
fn write(
    unfinished: &Path,
    path: &Path,
    format: Format,
    blocks: impl Iterator<Item = Block>,
) -> Result<u64, WriteError> {
    let is_plain = matches!(format, Format::Parquet | Format::Arrow);
    let gzip = !is_plain && path.extension().is_some_and(|end| end == "gz");
    let output = Output::create(unfinished, gzip).map_err(WriteError::io(path, "create"))?;
    let (output, rows) = match format {
        Format::Parquet => parquet::write(output, blocks),
        Format::Csv => csv::write(output, blocks),
        Format::JsonLines => json_lines::write(output, blocks),
        Format::Arrow => arrow::write(output, blocks),
        Format::TfRecord => tfrecord::write(output, blocks),
    }
    .map_err(|wrong| wrong.at(path))?;
    output.finish().map_err(WriteError::io(path, "write"))?;
    Ok(rows)
}

/// A log that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is nothing to write down.
    #[error(transparent)]
    Plan(#[from] SyntheticError),
    /// No block, so no column.
    #[error("{}: there is no row to write", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Operation that failed.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A CSV list would be cut elsewhere when read.
    #[error(
        "{}: row {row}: an item of list \"{column}\" holds \"{LIST_SEPARATOR}\", which separates \
         items; write another format", path.display()
    )]
    Separator {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
    },
}

impl WriteError {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> WriteError {
        let path = path.to_owned();
        move |source| WriteError::Io {
            path,
            doing,
            source,
        }
    }
}

/// Errors of a format's writer.
#[derive(Debug)]
enum Wrong {
    Io(io::Error),
    Separator { column: String, row: u64 },
}

impl From<io::Error> for Wrong {
    fn from(source: io::Error) -> Wrong {
        Wrong::Io(source)
    }
}

impl Wrong {
    fn at(self, path: &Path) -> WriteError {
        match self {
            Wrong::Io(source) => WriteError::io(path, "write")(source),
            Wrong::Separator { column, row } => WriteError::Separator {
                path: path.to_owned(),
                column,
                row,
            },
        }
    }
}

#[cfg(test)]
mod tests;
