//! Parquet: the wanted columns only, in blocks, row group by row group.
//!
//! Values and lists of values are read: see `values.rs`; a null in a list is left out.

mod values;

use crate::columns::BLOCK_ROWS;
use crate::source::{RawBlock, ReadError, Source};
use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::{SchemaDescriptor, Type};
use ncs_features::columns::spread;
use ncs_features::{Block, Column};
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// A Parquet file, read row group by row group.
pub(crate) struct Parquet {
    path: PathBuf,
    file: SerializedFileReader<File>,
    leaves: Vec<Leaf>,
    /// Readers of the current row group, one for each leaf.
    readers: Vec<ColumnReader>,
    next_group: usize,
    rows_left_in_group: usize,
    rows_done: u64,
    n_bytes: u64,
}

impl Parquet {
    pub(crate) fn open(path: &Path, columns: &[String]) -> Result<Parquet, ReadError> {
        let file = open_file(path)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let leaf = |name: &String| {
            let fields = schema.root_schema().get_fields();
            let root = fields.iter().position(|field| field.name() == name);
            let root = root.ok_or_else(|| ReadError::missing(path, name, &names_of(schema)))?;
            Leaf::find(schema, root).map_err(|found| ReadError::ColumnType {
                path: path.to_owned(),
                column: name.clone(),
                found,
            })
        };
        let leaves = columns.iter().map(leaf).collect::<Result<_, _>>()?;
        let metadata = std::fs::metadata(path).map_err(ReadError::io(path, "read"))?;
        Ok(Parquet {
            path: path.to_owned(),
            leaves,
            file,
            readers: Vec::new(),
            next_group: 0,
            rows_left_in_group: 0,
            rows_done: 0,
            n_bytes: metadata.len(),
        })
    }

    /// Goes on to the next row group that has rows; `false` after the last.
    fn next_group(&mut self) -> Result<bool, ParquetError> {
        while self.rows_left_in_group == 0 {
            if self.next_group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.file.get_row_group(self.next_group)?;
            let readers = self
                .leaves
                .iter()
                .map(|leaf| group.get_column_reader(leaf.index));
            self.readers = readers.collect::<Result<_, _>>()?;
            self.rows_left_in_group = group.metadata().num_rows().max(0) as usize;
            self.next_group += 1;
        }
        Ok(true)
    }

    fn read_block(&mut self) -> Result<Option<Block>, ParquetError> {
        if !self.next_group()? {
            return Ok(None);
        }
        let n_rows = BLOCK_ROWS.min(self.rows_left_in_group);
        let readers = self.leaves.iter().zip(&mut self.readers);
        let columns = readers
            .map(|(leaf, reader)| leaf.read(reader, n_rows))
            .collect::<Result<_, _>>()?;
        self.rows_left_in_group -= n_rows;
        Ok(Some(Block { n_rows, columns }))
    }

    fn bytes_read(&self) -> u64 {
        let rows = self.file.metadata().file_metadata().num_rows().max(1);
        (self.n_bytes as f64 * (self.rows_done as f64 / rows as f64)) as u64
    }
}

impl Source for Parquet {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        let block = or_panic(|| self.read_block()).map_err(|error| {
            let what = format!("its rows are damaged ({error}); copy or write it again");
            ReadError::damaged(&self.path, self.rows_done, what)
        })?;
        let Some(block) = block else { return Ok(None) };
        let first_row = self.rows_done + 1;
        self.rows_done += block.n_rows as u64;
        Ok(Some(RawBlock {
            block,
            first_row,
            broken: Vec::new(),
            bytes_read: self.bytes_read(),
        }))
    }
}

/// The names of all columns.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, ReadError> {
    Ok(names_of(
        open_file(path)?.metadata().file_metadata().schema_descr(),
    ))
}

fn names_of(schema: &SchemaDescriptor) -> Vec<String> {
    let fields = schema.root_schema().get_fields();
    fields.iter().map(|field| field.name().to_owned()).collect()
}

fn open_file(path: &Path) -> Result<SerializedFileReader<File>, ReadError> {
    let file = File::open(path).map_err(ReadError::io(path, "open"))?;
    or_panic(|| SerializedFileReader::new(file)).map_err(|error| {
        let what = format!("no Parquet file, or one cut short ({error}); copy or write it again");
        ReadError::damaged(path, 0, what)
    })
}

/// What `read` returns; an error where it panics, as the library does over some damaged pages. Nothing
/// that it left half done is read again: a file that failed is given up.
fn or_panic<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let caught = std::panic::catch_unwind(AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| {
        Err(ParquetError::General(
            "a page that makes no sense".to_owned(),
        ))
    })
}

/// The leaf of a column that is a value or a list of values.
struct Leaf {
    name: String,
    /// Among all leaves of the file.
    index: usize,
    /// The definition level of a value that is not null.
    defined: i16,
    /// The definition level of an item of a list; `None` for one value a row.
    item: Option<i16>,
    kind: values::Kind,
}

impl Leaf {
    /// The leaf of the top-level field `root`; the error says what the field is instead.
    fn find(schema: &SchemaDescriptor, root: usize) -> Result<Leaf, String> {
        let mut leaves =
            (0..schema.num_columns()).filter(|&i| schema.get_column_root_idx(i) == root);
        let (Some(index), None) = (leaves.next(), leaves.next()) else {
            return Err("a group of several columns".to_owned());
        };
        let field = &schema.root_schema().get_fields()[root];
        let leaf = schema.column(index);
        if field.is_group() && !is_list(field) && !is_repeated(field) {
            return Err("a group".to_owned());
        }
        if leaf.max_rep_level() > 1 || leaf.path().parts().len() > 3 {
            return Err("a list of lists or of groups".to_owned());
        }
        Ok(Leaf {
            name: field.name().to_owned(),
            index,
            defined: leaf.max_def_level(),
            item: item_level(field),
            kind: values::kind(&leaf)?,
        })
    }

    /// The next `n_rows` rows.
    fn read(&self, reader: &mut ColumnReader, n_rows: usize) -> Result<Column, ParquetError> {
        let mut levels = Levels::default();
        let values = values::read(self.kind, reader, n_rows, &mut levels)?;
        let mut column = Column {
            name: self.name.clone(),
            values,
            ..Column::default()
        };
        match self.item {
            Some(item) => self.set_lists(&mut column, &levels, item),
            None => self.set_nulls(&mut column, &levels),
        }
        let rows = match &column.offsets {
            Some(offsets) => offsets.len() - 1,
            None => n_rows,
        };
        if rows != n_rows {
            return Err(too_few(rows, n_rows));
        }
        Ok(column)
    }

    fn set_nulls(&self, column: &mut Column, levels: &Levels) {
        if levels.defined.iter().any(|&level| level < self.defined) {
            let is_null = |&level: &i16| level < self.defined;
            column.nulls = levels.defined.iter().map(is_null).collect();
            column.values = spread(&column.values, &column.nulls);
        }
    }

    /// A level below `item - 1` is a null list, `item - 1` an empty one, one from `item` on an item,
    /// which is null below `self.defined`.
    fn set_lists(&self, column: &mut Column, levels: &Levels, item: i16) {
        let mut offsets = Vec::new();
        let mut nulls = Vec::new();
        let mut n_values = 0;
        for (&defined, &repeated) in levels.defined.iter().zip(&levels.repeated) {
            if repeated == 0 {
                offsets.push(n_values);
                nulls.push(defined < item - 1);
            }
            n_values += u32::from(defined == self.defined);
        }
        offsets.push(n_values);
        column.offsets = Some(offsets);
        if nulls.contains(&true) {
            column.nulls = nulls;
        }
    }
}

fn is_list(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.logical_type_ref() == Some(&LogicalType::List)
        || info.converted_type() == ConvertedType::LIST
}

fn is_repeated(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// The definition level at which a list has an item; `None` without a repeated field.
fn item_level(root: &Type) -> Option<i16> {
    let mut level = 0;
    let mut field = root;
    loop {
        let info = field.get_basic_info();
        if info.has_repetition() && info.repetition() != Repetition::REQUIRED {
            level += 1;
        }
        if is_repeated(field) {
            return Some(level);
        }
        field = field.is_group().then(|| field.get_fields().first())??;
    }
}

/// The levels of some values: whether they are null, and whether they begin a row.
#[derive(Default)]
struct Levels {
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

impl Levels {
    /// Reads the values of `n_rows` rows, without nulls, and their levels.
    fn read<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        n_rows: usize,
    ) -> Result<Vec<T::T>, ParquetError> {
        let mut values = Vec::with_capacity(n_rows);
        let (defined, repeated) = (&mut self.defined, &mut self.repeated);
        let (rows, _, _) =
            reader.read_records(n_rows, Some(defined), Some(repeated), &mut values)?;
        if rows != n_rows {
            return Err(too_few(rows, n_rows));
        }
        Ok(values)
    }
}

fn too_few(found: usize, wanted: usize) -> ParquetError {
    damaged(format!("{found} values where {wanted} belong"))
}

fn damaged(what: String) -> ParquetError {
    ParquetError::General(what)
}
