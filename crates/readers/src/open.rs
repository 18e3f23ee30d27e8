//! Selection of the reader for a file: the only code that depends on formats.

use crate::arrow;
use crate::checked::Checked;
use crate::columns::ByRow;
use crate::csv::Csv;
use crate::data_file::file_bytes;
use crate::find::refuse_unless_file;
use crate::input::Input;
use crate::json_lines::{self, JsonLines};
use crate::parquet::{self, Parquet};
use crate::partitions::{Partition, partitions};
use crate::plan::{Format, Reading};
use crate::remote::is_remote;
use crate::source::{ReadError, Source};
use crate::tfrecord::{self, TfRecord};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Rows that [`column_names`] looks at where a file has no list of its columns.
const ROWS_FOR_NAMES: usize = 8192;
/// Number of rows searched for a column that a folder defines too.
const ROWS_FOR_FOLDERS: usize = 100;

/// Returns the names of a file's columns: those of the header or the schema, or those in the first 8192 rows
/// of JSON lines and TFRecord; then those of folders named `NAME=VALUE` on its path, then those that are
/// looked up by id.
///
/// # Errors
/// The file cannot be read, or its format cannot be detected; or the first row of JSON lines is not valid,
/// except where broken rows may be left out and other rows are valid.
pub fn column_names(path: &Path, reading: &Reading) -> Result<Vec<String>, ReadError> {
    let mut names = own_names(path, reading, ROWS_FOR_NAMES)?;
    for partition in partitions(path) {
        if !names.contains(&partition.name) {
            names.push(partition.name);
        }
    }
    for name in reading.looked_up_columns()? {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the columns that a file and the folders on its path have: of JSON lines and TFRecord, those in the first rows.
pub(crate) fn stored_names(path: &Path, reading: &Reading) -> Result<Vec<String>, ReadError> {
    let mut names = own_names(path, reading, ROWS_FOR_FOLDERS)?;
    names.extend(partitions(path).into_iter().map(|partition| partition.name));
    Ok(names)
}

/// Returns the columns of the first of these files that has any: a file without rows may have none.
///
/// # Errors
/// The same as [`column_names`]; or no file has columns.
pub fn first_column_names(
    files: &[PathBuf],
    reading: &Reading,
) -> Result<Option<(PathBuf, Vec<String>)>, ReadError> {
    for path in files {
        match own_names(path, reading, ROWS_FOR_NAMES) {
            Err(ReadError::NoRows { .. }) => {}
            Ok(names) if names.is_empty() => {}
            Ok(_) => return Ok(Some((path.clone(), column_names(path, reading)?))),
            Err(error) => return Err(error),
        }
    }
    match files {
        [] => Ok(None),
        [first, ..] => Err(ReadError::no_rows(first, files.len() as u64)),
    }
}

/// Returns the names of the columns that are in the file itself, of JSON lines and TFRecord in the first
/// `n_rows` rows.
fn own_names(path: &Path, reading: &Reading, n_rows: usize) -> Result<Vec<String>, ReadError> {
    match format(path, reading)? {
        Format::Csv => Ok(Csv::open(path, reading)?.names().to_vec()),
        Format::Parquet => parquet::names(path),
        Format::Arrow => arrow::names(path),
        Format::JsonLines => json_lines::keys(path, reading, n_rows),
        Format::TfRecord => tfrecord::names(path, n_rows),
    }
}

/// Opens the rows of a file and reads `columns`, in that order.
///
/// # Errors
/// The file cannot be read, its format cannot be detected, or it lacks a column. JSON lines and TFRecord lack
/// a column if it is in none of the first rows (about 8192).
pub fn open(
    path: &Path,
    reading: &Reading,
    columns: &[String],
) -> Result<Box<dyn Source>, ReadError> {
    open_with(path, reading, columns, false)
}

/// Opens a file like [`open`]. With `absent_is_null`, a column that is in no row of JSON lines or TFRecord is
/// null in every row, so a small file may lack rare columns, such as the conversions after few clicks.
pub(crate) fn open_with(
    path: &Path,
    reading: &Reading,
    columns: &[String],
    absent_is_null: bool,
) -> Result<Box<dyn Source>, ReadError> {
    let format = format(path, reading)?;
    let partitions = wanted_partitions(path, reading, columns)?;
    let is_own = |place: &usize| partitions.iter().all(|(other, _)| other != place);
    let own = (0..columns.len()).filter(is_own);
    let own: Vec<String> = own.map(|place| columns[place].clone()).collect();
    let rows = open_file(path, format, reading, &own, absent_is_null)?;
    Ok(Box::new(Checked {
        rows,
        encoding: reading.encoding,
        partitions,
    }))
}

fn open_file(
    path: &Path,
    format: Format,
    reading: &Reading,
    columns: &[String],
    absent_is_null: bool,
) -> Result<Box<dyn Source>, ReadError> {
    let present = || stored_names(path, reading);
    Ok(match format {
        Format::Parquet => Box::new(Parquet::open(path, columns)?),
        Format::Arrow => Box::new(arrow::open(path, columns)?),
        Format::Csv => {
            let csv = Csv::open(path, reading)?.with_columns(columns)?;
            Box::new(ByRow::open(csv, path, columns, true, present)?)
        }
        Format::JsonLines => {
            let lines = JsonLines::open(path, reading, columns)?;
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

/// Returns the folders on the path of a file that define requested columns, and the columns' positions.
fn wanted_partitions(
    path: &Path,
    reading: &Reading,
    columns: &[String],
) -> Result<Vec<(usize, Partition)>, ReadError> {
    let mut wanted: Vec<(usize, Partition)> = Vec::new();
    for partition in partitions(path) {
        let Some(place) = columns.iter().position(|name| *name == partition.name) else {
            continue;
        };
        if wanted.iter().any(|(other, _)| *other == place) {
            return Err(ReadError::named_twice(path, &partition.name));
        }
        wanted.push((place, partition));
    }
    if !wanted.is_empty() {
        let own = own_names(path, reading, ROWS_FOR_FOLDERS)?;
        if let Some((_, partition)) = wanted.iter().find(|(_, p)| own.contains(&p.name)) {
            return Err(ReadError::InFileAndFolder {
                path: path.to_owned(),
                column: partition.name.clone(),
            });
        }
    }
    wanted.sort_by_key(|(place, _)| *place);
    Ok(wanted)
}

/// Returns the format in the plan, or by the file's name, or by content for TFRecord, Parquet and Arrow.
fn format(path: &Path, reading: &Reading) -> Result<Format, ReadError> {
    let n_bytes = match is_remote(path) {
        true => file_bytes(path)?,
        false => {
            let metadata = std::fs::metadata(path).map_err(ReadError::io(path, "open"))?;
            refuse_unless_file(path, &metadata)?;
            metadata.len()
        }
    };
    if n_bytes == 0 {
        return Err(ReadError::no_rows(path, 1));
    }
    if let Some(format) = reading.format.or_else(|| format_by_name(path)) {
        return Ok(format);
    }
    format_by_content(path)?.ok_or_else(|| ReadError::UnknownFormat {
        path: path.to_owned(),
    })
}

fn format_by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let name = name.strip_suffix(".zst").unwrap_or(name);
    let (_, end) = name.rsplit_once('.')?;
    match end {
        "csv" | "tsv" => Some(Format::Csv),
        "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
        "parquet" | "pq" => Some(Format::Parquet),
        "arrow" | "arrows" | "feather" | "ipc" => Some(Format::Arrow),
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
        _ if ncs_features::record_bytes::is_start(start) => Some(Format::TfRecord),
        _ if start.starts_with(b"PAR1") => Some(Format::Parquet),
        _ if start.starts_with(arrow::MAGIC) => Some(Format::Arrow),
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
        check("a.feather", Some(Format::Arrow));
        check("a.arrows", Some(Format::Arrow));
        check("a.tfrecord-00001-of-00010", Some(Format::TfRecord));
        check("a.tfrecords.gz", Some(Format::TfRecord));
        check("part-r-00002.gz", None);
        check("parquet", None);
    }
}
