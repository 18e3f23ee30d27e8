//! Which files, and which reader for each: the only place that looks at formats.

use crate::columns::ByRow;
use crate::csv::Csv;
use crate::input::Input;
use crate::json_lines::{self, JsonLines};
use crate::parquet::{self, Parquet};
use crate::plan::{Format, Reading};
use crate::source::{ReadError, Source};
use crate::tfrecord::{self, TfRecord};
use glob::{MatchOptions, Pattern};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Rows that [`column_names`] looks at where a file has no list of its columns.
const ROWS_FOR_NAMES: usize = 8192;

/// The files that files, globs and folders name, in their order; those of a folder or glob by name.
/// Each is listed once. Folders inside a folder are not looked at, nor are names that begin with `.`
/// or `_` (such as `_SUCCESS`), unless they are named in full.
///
/// # Errors
/// One of them names nothing, or a folder holds no file.
pub fn files(patterns: &[String], root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        for file in files_of(pattern, root)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn files_of(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let path = root.join(pattern);
    if path.is_file() {
        return Ok(vec![path]);
    }
    if path.is_dir() {
        return files_in(&path);
    }
    let mut files = Vec::new();
    for path in globbed(pattern, root)? {
        match path.is_dir() {
            true => files.extend(files_in(&path)?),
            false if !is_hidden(&path) => files.push(path),
            false => {}
        }
    }
    if files.is_empty() {
        return Err(ReadError::NoFiles {
            pattern: pattern.to_owned(),
            path,
            root: root.to_owned(),
        });
    }
    Ok(files)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let read = |error| ReadError::io(folder, "read")(error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ReadError::EmptyFolder {
            path: folder.to_owned(),
        });
    }
    files.sort();
    Ok(files)
}

/// What a glob names, by name; a `*` stays within one folder, and `**` is any number of them.
fn globbed(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let full = match Path::new(pattern).is_absolute() {
        true => pattern.to_owned(),
        false if root.as_os_str().is_empty() => pattern.to_owned(),
        false => format!("{}/{pattern}", Pattern::escape(&root.to_string_lossy())),
    };
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let paths = glob::glob_with(&full, options).map_err(|error| ReadError::Pattern {
        pattern: pattern.to_owned(),
        what: error.msg.to_owned(),
    })?;
    let path = |found: glob::GlobResult| {
        found.map_err(|error| {
            let path = error.path().to_owned();
            ReadError::io(&path, "read")(error.into())
        })
    };
    paths.map(path).collect()
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '_'])
}

/// The names of a file's columns: those of the header or the schema, or those that appear in the
/// first 8192 rows of JSON lines and TFRecord.
///
/// # Errors
/// The file cannot be read, or its format cannot be told.
pub fn column_names(path: &Path, reading: &Reading) -> Result<Vec<String>, ReadError> {
    match format(path, reading)? {
        Format::Csv => Ok(Csv::open(path, reading)?.names().to_vec()),
        Format::Parquet => parquet::names(path),
        Format::JsonLines => json_lines::keys(path, ROWS_FOR_NAMES),
        Format::TfRecord => tfrecord::names(path, ROWS_FOR_NAMES),
    }
}

/// The rows of a file, of which `columns` are wanted, in that order.
///
/// # Errors
/// The file cannot be read, its format cannot be told, or it lacks a column: JSON lines and TFRecord
/// lack one that is in none of the first rows (about 8192).
pub fn open(
    path: &Path,
    reading: &Reading,
    columns: &[String],
) -> Result<Box<dyn Source>, ReadError> {
    open_with(path, reading, columns, false)
}

/// As [`open`]; with `absent_is_null`, a column that no row of JSON lines or TFRecord has is null
/// everywhere. So a small file may lack what is rare, such as the conversions of the few that clicked.
pub(crate) fn open_with(
    path: &Path,
    reading: &Reading,
    columns: &[String],
    absent_is_null: bool,
) -> Result<Box<dyn Source>, ReadError> {
    let format = format(path, reading)?;
    let present = || column_names(path, reading);
    Ok(match format {
        Format::Parquet => Box::new(Parquet::open(path, columns)?),
        Format::Csv => {
            let csv = Csv::open(path, reading)?.with_columns(columns)?;
            Box::new(ByRow::open(csv, path, columns, true, present)?)
        }
        Format::JsonLines => {
            let lines = JsonLines::open(path, columns)?;
            Box::new(ByRow::open(lines, path, columns, absent_is_null, present)?)
        }
        Format::TfRecord => {
            let records = TfRecord::open(path, columns)?;
            Box::new(ByRow::open(
                records,
                path,
                columns,
                absent_is_null,
                present,
            )?)
        }
    })
}

/// The format as the plan states it, or by the file's name, or TFRecord and Parquet by content.
fn format(path: &Path, reading: &Reading) -> Result<Format, ReadError> {
    let metadata = std::fs::metadata(path).map_err(ReadError::io(path, "open"))?;
    if metadata.is_file() && metadata.len() == 0 {
        return Err(ReadError::NoRows {
            path: path.to_owned(),
        });
    }
    if let Some(format) = reading.format.or_else(|| format_by_name(path)) {
        return Ok(format);
    }
    format_by_content(path)?.ok_or_else(|| ReadError::UnknownFormat {
        path: path.to_owned(),
    })
}

fn format_by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let name = name.strip_suffix(".zst").unwrap_or(name);
    let (_, end) = name.rsplit_once('.')?;
    match end {
        "csv" | "tsv" => Some(Format::Csv),
        "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
        "parquet" | "pq" => Some(Format::Parquet),
        // Also shards: `train.tfrecord-00000-of-00010`.
        _ if end.starts_with("tfrecord") => Some(Format::TfRecord),
        _ => None,
    }
}

fn format_by_content(path: &Path) -> Result<Option<Format>, ReadError> {
    let mut input = Input::open(path)?;
    let start = input
        .fill_buf()
        .map_err(|error| ReadError::reading(path, 0, error))?;
    Ok(match start {
        _ if tfrecord::is_start(start) => Some(Format::TfRecord),
        _ if start.starts_with(b"PAR1") => Some(Format::Parquet),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        let check =
            |name: &str, expected| assert_eq!(format_by_name(name.as_ref()), expected, "{name}");
        check("a.csv", Some(Format::Csv));
        check("a.TSV.gz", Some(Format::Csv));
        check("a.csv.zst", Some(Format::Csv));
        check("a.jsonl.gz", Some(Format::JsonLines));
        check("a.snappy.parquet", Some(Format::Parquet));
        check("a.tfrecord-00001-of-00010", Some(Format::TfRecord));
        check("a.tfrecords.gz", Some(Format::TfRecord));
        check("part-r-00002.gz", None);
        check("parquet", None);
    }
}
