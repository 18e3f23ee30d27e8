//! Rows taken out of Parquet files, column by column: every other row keeps its values, bit for bit, and the file its
//! schema and metadata.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ncs_model::tensor_file;
use ncs_readers::{Reading, column_names};
use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnDescriptor;

use crate::draft;
use crate::layout::Prefix;

/// Rows of a Parquet file cannot be taken out.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot take rows out of the file: {what}; the file is as it was", path.display())]
pub struct EraseRowsError {
    path: PathBuf,
    what: String,
}

/// Returns true if the file is a Parquet file of a score log. Files that cannot be read are not.
pub fn is_score_log(path: &Path) -> bool {
    let is_parquet = path.extension().is_some_and(|end| end == "parquet");
    let names = is_parquet.then(|| column_names(path, &Reading::default()));
    names.is_some_and(|names| names.is_ok_and(|names| Prefix::found_in(&names).is_some()))
}

/// Returns true if the file is an unfinished file of a score log: a server writes it, or was killed while it did.
pub fn is_draft(path: &Path) -> bool {
    draft::is_draft(path)
}

/// Deletes an unfinished file of a score log that no process is writing. Returns false if one is writing it.
pub fn remove_abandoned(path: &Path) -> bool {
    draft::remove(path)
}

/// Rewrites a Parquet file, atomically, without the rows that are `erased`, a flag for each row of the file.
///
/// # Errors
/// The file has another number of rows, cannot be read, or cannot be replaced; it is then unchanged.
pub fn rewrite_without(path: &Path, erased: &[bool]) -> Result<(), EraseRowsError> {
    let failed = |what: String| EraseRowsError {
        path: path.to_owned(),
        what,
    };
    let bytes = filtered(path, erased).map_err(|error| failed(error.to_string()))?;
    tensor_file::write_bytes(path, &bytes).map_err(|error| failed(error.to_string()))
}

/// Returns the bytes of the file without these rows.
fn filtered(path: &Path, erased: &[bool]) -> Result<Vec<u8>, ParquetError> {
    let reader = SerializedFileReader::new(File::open(path).map_err(external)?)?;
    let metadata = reader.metadata().file_metadata();
    if usize::try_from(metadata.num_rows()) != Ok(erased.len()) {
        return Err(ParquetError::General(format!(
            "it has {} rows, and {} were looked at",
            metadata.num_rows(),
            erased.len()
        )));
    }
    let pairs = metadata.key_value_metadata().cloned();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(pairs)
        .build();
    let schema = metadata.schema_descr().root_schema_ptr();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut first = 0;
    for group in 0..reader.num_row_groups() {
        let rows = reader.get_row_group(group)?;
        let n_rows = rows.metadata().num_rows() as usize;
        let erased = &erased[first..first + n_rows];
        first += n_rows;
        if erased.iter().all(|erased| *erased) {
            continue;
        }
        let mut to = writer.next_row_group()?;
        for column in 0..rows.num_columns() {
            let reader = rows.get_column_reader(column)?;
            let next = to.next_column()?;
            let mut next =
                next.ok_or_else(|| ParquetError::General("a column is missing".into()))?;
            let about = rows.metadata().column(column).column_descr_ptr();
            copy(reader, &about, &mut next, erased)?;
            next.close()?;
        }
        to.close()?;
    }
    writer.into_inner()
}

fn external(error: io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Copies the kept rows of a column of a row group.
fn copy(
    reader: ColumnReader,
    about: &ColumnDescriptor,
    to: &mut SerializedColumnWriter<'_>,
    erased: &[bool],
) -> Result<(), ParquetError> {
    match reader {
        ColumnReader::BoolColumnReader(from) => copy_typed::<BoolType>(from, about, to, erased),
        ColumnReader::Int32ColumnReader(from) => copy_typed::<Int32Type>(from, about, to, erased),
        ColumnReader::Int64ColumnReader(from) => copy_typed::<Int64Type>(from, about, to, erased),
        ColumnReader::Int96ColumnReader(from) => copy_typed::<Int96Type>(from, about, to, erased),
        ColumnReader::FloatColumnReader(from) => copy_typed::<FloatType>(from, about, to, erased),
        ColumnReader::DoubleColumnReader(from) => copy_typed::<DoubleType>(from, about, to, erased),
        ColumnReader::ByteArrayColumnReader(from) => {
            copy_typed::<ByteArrayType>(from, about, to, erased)
        }
        ColumnReader::FixedLenByteArrayColumnReader(from) => {
            copy_typed::<FixedLenByteArrayType>(from, about, to, erased)
        }
    }
}

fn copy_typed<T: DataType>(
    mut from: ColumnReaderImpl<T>,
    about: &ColumnDescriptor,
    to: &mut SerializedColumnWriter<'_>,
    erased: &[bool],
) -> Result<(), ParquetError> {
    let (full, is_list) = (about.max_def_level(), about.max_rep_level() > 0);
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    let mut n_rows = 0;
    while n_rows < erased.len() {
        let (rows, _, _) = from.read_records(
            erased.len() - n_rows,
            (full > 0).then_some(&mut definitions),
            is_list.then_some(&mut repetitions),
            &mut values,
        )?;
        if rows == 0 {
            return Err(ParquetError::General("a column has too few rows".into()));
        }
        n_rows += rows;
    }
    let n_levels = if full > 0 {
        definitions.len()
    } else {
        values.len()
    };
    let mut kept = (Vec::new(), Vec::new(), Vec::new());
    let (mut row, mut value) = (0, 0);
    for level in 0..n_levels {
        let begins = !is_list || repetitions[level] == 0;
        row += usize::from(begins);
        let has_value = full == 0 || definitions[level] == full;
        if !erased[row - 1] {
            kept.0.extend(has_value.then(|| values[value].clone()));
            kept.1.extend((full > 0).then(|| definitions[level]));
            kept.2.extend(is_list.then(|| repetitions[level]));
        }
        value += usize::from(has_value);
    }
    let (definitions, repetitions) = (
        (full > 0).then_some(&kept.1[..]),
        is_list.then_some(&kept.2[..]),
    );
    to.typed::<T>()
        .write_batch(&kept.0, definitions, repetitions)?;
    Ok(())
}
