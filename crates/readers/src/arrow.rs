//! Arrow: record batches, from a file or handed over by a program, in blocks.
//!
//! A value means what it means in a Parquet file: see `values.rs`. A null in a list is left out.

use crate::columns::{BLOCK_ROWS, LONGEST_ROW, fitting, too_large};
use crate::events;
use crate::panics::caught;
use crate::source::{BrokenRow, RawBlock, ReadError, Source};
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Field, FieldRef, Schema};
use ncs_features::columns::spread;
use ncs_features::{Block, Column};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod file;
mod keep;
mod lists;
mod values;

pub(crate) use file::{MAGIC, names, open};
pub use keep::{KeepError, keep};

/// Rows that a program hands over as record batches: read once, one batch after another, so that a stream takes
/// the memory of its largest batch.
pub struct Frame {
    name: String,
    reader: Box<dyn RecordBatchReader + Send>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        out.debug_struct("Frame")
            .field("name", &self.name)
            .field("columns", &columns)
            .finish_non_exhaustive()
    }
}

impl Frame {
    /// Creates a frame from the batches of `reader`; `name` is used in messages.
    pub fn new(name: impl Into<String>, reader: Box<dyn RecordBatchReader + Send>) -> Frame {
        Frame {
            name: name.into(),
            reader,
        }
    }

    /// Returns the name shown in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of its columns, in order.
    pub fn columns(&self) -> Vec<String> {
        names_of(&self.reader.schema())
    }

    /// Its rows, of which `columns` are wanted, in that order.
    ///
    /// # Errors
    /// A column is absent, there twice, or of a type that has no values for us.
    pub(crate) fn rows(self, columns: &[String]) -> Result<ArrowRows, ReadError> {
        ArrowRows::new(Path::new(&self.name), self.reader, columns, Arc::default())
    }
}

/// Record batches as rows.
pub(crate) struct ArrowRows {
    /// The file, or what messages call the frame.
    path: PathBuf,
    reader: Box<dyn RecordBatchReader + Send>,
    columns: Vec<Wanted>,
    /// The batch under way and its first row that was not given out.
    batch: Option<(RecordBatch, usize)>,
    rows_done: u64,
    bytes_read: Arc<AtomicU64>,
}

/// A column that is read.
struct Wanted {
    name: String,
    /// Among all columns.
    index: usize,
    /// The attribute of the events of a list, if it is one.
    attribute: Option<String>,
    /// True if the type marks its bytes as UUIDs.
    is_uuid: bool,
}

impl ArrowRows {
    fn new(
        path: &Path,
        reader: Box<dyn RecordBatchReader + Send>,
        columns: &[String],
        bytes_read: Arc<AtomicU64>,
    ) -> Result<ArrowRows, ReadError> {
        let schema = reader.schema();
        let wanted = columns.iter().map(|name| Wanted::find(path, &schema, name));
        Ok(ArrowRows {
            path: path.to_owned(),
            columns: wanted.collect::<Result<_, _>>()?,
            reader,
            batch: None,
            rows_done: 0,
            bytes_read,
        })
    }

    /// Reads the next rows, as many as fit; or one row that is broken.
    fn read_block(&mut self) -> Result<Option<(Block, Vec<BrokenRow>)>, ArrowError> {
        let Some((batch, first)) = self.next_batch()? else {
            return Ok(None);
        };
        let n_rows = BLOCK_ROWS.min(batch.num_rows() - first);
        let mut sizes = vec![0; n_rows];
        for column in &self.columns {
            column.add_sizes(&batch, first, &mut sizes)?;
        }
        if sizes[0] > LONGEST_ROW {
            let broken = too_large(self.rows_done + 1, &self.widest(&batch, first)?);
            self.batch = Some((batch, first + 1));
            let columns = self.columns.iter().map(Wanted::empty).collect();
            return Ok(Some((Block { n_rows: 0, columns }, vec![broken])));
        }
        let n_rows = fitting(&sizes);
        let columns = self.columns.iter();
        let columns = columns
            .map(|column| column.read(&batch, first, n_rows))
            .collect::<Result<_, _>>()?;
        self.batch = Some((batch, first + n_rows));
        Ok(Some((Block { n_rows, columns }, Vec::new())))
    }

    /// Returns the batch that has rows left, and the first of them; `None` after the last.
    fn next_batch(&mut self) -> Result<Option<(RecordBatch, usize)>, ArrowError> {
        loop {
            if let Some((batch, first)) = self.batch.take()
                && first < batch.num_rows()
            {
                return Ok(Some((batch, first)));
            }
            match self.reader.next().transpose()? {
                None => return Ok(None),
                Some(batch) => self.batch = Some((batch, 0)),
            }
        }
    }

    /// Returns the column that holds most of row `row`.
    fn widest(&self, batch: &RecordBatch, row: usize) -> Result<String, ArrowError> {
        let mut widest = (0, "");
        for column in &self.columns {
            let mut size = [0];
            column.add_sizes(batch, row, &mut size)?;
            widest = widest.max((size[0], &column.name));
        }
        Ok(widest.1.to_owned())
    }

    fn failed(&self, error: ArrowError) -> ReadError {
        failed(&self.path, self.rows_done, error)
    }
}

impl Source for ArrowRows {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        let read = caught(|| self.read_block());
        let read = read.map_err(|text| stopped(&self.path, self.rows_done, &text))?;
        let Some((block, broken)) = read.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        let first_row = self.rows_done + 1;
        self.rows_done += (block.n_rows + broken.len()) as u64;
        Ok(Some(RawBlock {
            block,
            first_row,
            broken,
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            notes: Vec::new(),
        }))
    }
}

impl Wanted {
    fn find(path: &Path, schema: &Schema, name: &str) -> Result<Wanted, ReadError> {
        let (index, attribute) = place_of(path, schema, name)?;
        let field = schema.field(index);
        let is_uuid = match attribute {
            None => lists::check(field.data_type()).map(|()| is_uuid(field)),
            Some(attribute) => {
                lists::attribute(field.data_type(), attribute).map(|own| is_uuid(own))
            }
        };
        Ok(Wanted {
            name: name.to_owned(),
            index,
            attribute: attribute.map(str::to_owned),
            is_uuid: is_uuid.map_err(|found| ReadError::ColumnType {
                path: path.to_owned(),
                column: name.to_owned(),
                found,
            })?,
        })
    }

    /// Adds the bytes of each row of a batch from row `first` on.
    fn add_sizes(
        &self,
        batch: &RecordBatch,
        first: usize,
        sizes: &mut [usize],
    ) -> Result<(), ArrowError> {
        let array = batch.column(self.index).slice(first, sizes.len());
        match &self.attribute {
            None => lists::add_sizes(&array, sizes),
            Some(attribute) => match lists::events(&array, attribute) {
                Some(events) => lists::add_list_sizes(&events.values, &events.ranges, sizes),
                None => Ok(()),
            },
        }
    }

    fn empty(&self) -> Column {
        Column {
            name: self.name.clone(),
            ..Column::default()
        }
    }

    /// Returns the next `n_rows` rows of a batch from row `first` on.
    fn read(&self, batch: &RecordBatch, first: usize, n_rows: usize) -> Result<Column, ArrowError> {
        let array = batch.column(self.index).slice(first, n_rows);
        let mut column = self.empty();
        if let Some(attribute) = &self.attribute {
            let Some(events) = lists::events(&array, attribute) else {
                return Ok(column);
            };
            let (offsets, valid, places) = events.places();
            let values = values::values(&events.values, &valid, self.is_uuid)?;
            column.values = events::with_missing(&values, &places);
            column.offsets = Some(offsets);
            column.nulls = nulls(&array);
            return Ok(column);
        }
        if let Some((items, ranges)) = lists::list(&array) {
            let (offsets, places) = lists::places(&items, &ranges);
            column.values = values::values(&items, &places, self.is_uuid)?;
            column.offsets = Some(offsets);
            column.nulls = nulls(&array);
            return Ok(column);
        }
        let nulls = nulls(&array);
        let is_value = |row: &usize| nulls.get(*row) != Some(&true);
        let places: Vec<usize> = (0..n_rows).filter(is_value).collect();
        column.values = values::values(&array, &places, self.is_uuid)?;
        if !nulls.is_empty() {
            column.values = spread(&column.values, &nulls);
            column.nulls = nulls;
        }
        Ok(column)
    }
}

/// Returns one flag per row, true for a null; empty if there are no nulls.
fn nulls(array: &dyn Array) -> Vec<bool> {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    nulls.map_or(Vec::new(), |nulls| {
        nulls.iter().map(|valid| !valid).collect()
    })
}

/// Returns true if the field, or the items of its lists, are marked as UUIDs.
fn is_uuid(field: &Field) -> bool {
    let is_named = |field: &Field| field.extension_type_name() == Some("arrow.uuid");
    is_named(field) || lists::item_field(field.data_type()).is_some_and(|item| is_named(item))
}

fn names_of(schema: &Schema) -> Vec<String> {
    let of_field = |field: &FieldRef| {
        let name = field.name();
        match lists::attributes(field.data_type()) {
            Some(attributes) => {
                let attributes = attributes.iter();
                attributes
                    .map(|own| format!("{name}.{}", own.name()))
                    .collect()
            }
            None => vec![name.clone()],
        }
    };
    schema.fields().iter().flat_map(of_field).collect()
}

/// Returns the column of this name; or the column of a list of events, and the attribute of them that the name means.
fn place_of<'n>(
    path: &Path,
    schema: &Schema,
    name: &'n str,
) -> Result<(usize, Option<&'n str>), ReadError> {
    if schema.fields().iter().all(|field| field.name() != name) {
        for (column, attribute) in events::divisions(name) {
            let found = schema
                .fields()
                .iter()
                .position(|field| field.name() == column);
            let found = found.filter(|&i| lists::attributes(schema.field(i).data_type()).is_some());
            if let Some(index) = found {
                return Ok((index, Some(attribute)));
            }
        }
    }
    Ok((index_of(path, schema, name)?, None))
}

/// Returns the only column of this name.
fn index_of(path: &Path, schema: &Schema, name: &str) -> Result<usize, ReadError> {
    let fields = schema.fields().iter().enumerate();
    let mut found = fields.filter(|(_, field)| field.name() == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(ReadError::missing(path, name, &names_of(schema))),
        (Some(_), Some(_)) => Err(ReadError::named_twice(path, name)),
    }
}

/// Returns the error for a panic of the library on damaged bytes.
fn stopped(path: &Path, rows: u64, text: &str) -> ReadError {
    let what = format!(
        "the Arrow library stopped over these bytes (\"{text}\"): they are damaged, or of a kind that it does \
         not know; write them again"
    );
    ReadError::damaged(path, rows, what)
}

/// Converts an error of the Arrow library, or of the producer of the batches, after `rows` rows.
fn failed(path: &Path, rows: u64, error: ArrowError) -> ReadError {
    let text = match error {
        ArrowError::IoError(_, source) => return ReadError::reading(path, rows, source),
        ArrowError::ExternalError(source) => match source.downcast::<io::Error>() {
            Ok(source) => return ReadError::reading(path, rows, *source),
            Err(source) => source.to_string(),
        },
        ArrowError::NotYetImplemented(what) => return ReadError::unsupported(path, what),
        // Error text of the program that produces the batches.
        ArrowError::CDataInterface(text) => text,
        error => format!("its rows are damaged ({error}); write them again"),
    };
    ReadError::damaged(path, rows, text)
}
