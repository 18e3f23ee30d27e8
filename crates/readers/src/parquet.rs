//! Parquet: the wanted columns only, in blocks, row group by row group.
//!
//! Values and lists of values are read: see `values.rs`; a null in a list is left out. Of a list of groups each attribute is
//! a list: see `events.rs`.

use crate::columns::{BLOCK_BYTES, BLOCK_ROWS, LONGEST_ROW, fitting, too_large};
use crate::data_file::DataFile;
use crate::events;
use crate::source::{BrokenRow, RawBlock, ReadError, Source};
use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, Length, SerializedFileReader};
use ::parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use guard::guarded;
use ncs_features::columns::spread;
use ncs_features::{Block, Column};
use pending::{ColumnReader, Pending, too_few};
use std::path::{Path, PathBuf};

mod guard;
mod pending;
mod values;

/// A Parquet file, read row group by row group.
pub(crate) struct Parquet {
    path: PathBuf,
    file: SerializedFileReader<DataFile>,
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
        let (file, n_bytes) = open_file(path)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let leaf = |name: &String| {
            let leaf = match event_of(schema, name) {
                Some((root, attribute)) => Leaf::of_events(schema, root, name, attribute),
                None => Leaf::find(schema, root_of(path, schema, name)?),
            };
            leaf.map_err(|found| ReadError::ColumnType {
                path: path.to_owned(),
                column: name.clone(),
                found,
            })
        };
        let leaves = columns.iter().map(leaf).collect::<Result<_, _>>()?;
        Ok(Parquet {
            path: path.to_owned(),
            leaves,
            file,
            readers: Vec::new(),
            next_group: 0,
            rows_left_in_group: 0,
            rows_done: 0,
            n_bytes,
        })
    }

    /// Goes on to the next row group that has rows; `false` after the last.
    fn next_group(&mut self) -> Result<bool, ParquetError> {
        while self.rows_left_in_group == 0 {
            if self.next_group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.file.get_row_group(self.next_group)?;
            let schema = self.file.metadata().file_metadata().schema_descr();
            let reader = |leaf: &Leaf| {
                let chunk = group.metadata().column(leaf.index);
                let start = chunk.dictionary_page_offset();
                let start = start.unwrap_or_else(|| chunk.data_page_offset());
                check_place(start, chunk.compressed_size(), self.n_bytes)?;
                let pages = group.get_column_page_reader(leaf.index)?;
                Ok(ColumnReader::new(schema.column(leaf.index), pages))
            };
            let readers: Result<_, ParquetError> = self.leaves.iter().map(reader).collect();
            self.readers = readers?;
            self.rows_left_in_group = group.metadata().num_rows().max(0) as usize;
            self.next_group += 1;
        }
        Ok(true)
    }

    /// Reads the next rows, as many as fit; or one row that is broken.
    fn read_block(&mut self) -> Result<Option<(Block, Vec<BrokenRow>)>, ParquetError> {
        if !self.next_group()? {
            let claimed = self.file.metadata().file_metadata().num_rows().max(0) as usize;
            return if self.rows_done as usize == claimed {
                Ok(None)
            } else {
                Err(too_few(self.rows_done as usize, claimed))
            };
        }
        let sizes = self.decode()?;
        let is_broken = sizes[0] > LONGEST_ROW;
        let n_rows = if is_broken { 0 } else { fitting(&sizes) };
        let readers = self.leaves.iter().zip(&mut self.readers);
        let columns = readers
            .map(|(leaf, reader)| leaf.read(reader, n_rows))
            .collect::<Result<_, _>>()?;
        self.rows_left_in_group -= n_rows;
        let broken = is_broken.then(|| self.skip_row()).transpose()?;
        let block = Block { n_rows, columns };
        Ok(Some((block, broken.into_iter().collect())))
    }

    /// Has each column decode some rows; the sizes of those that all columns have, at least one.
    fn decode(&mut self) -> Result<Vec<usize>, ParquetError> {
        let wanted = BLOCK_ROWS.min(self.rows_left_in_group);
        let n_bytes = (BLOCK_BYTES / self.readers.len().max(1)).max(1 << 18);
        let mut n_rows = wanted;
        for reader in &mut self.readers {
            n_rows = n_rows.min(reader.fill(wanted, n_bytes)?);
        }
        if n_rows == 0 {
            return Err(too_few(0, wanted));
        }
        let mut sizes = vec![0; n_rows];
        let readers = self.readers.iter();
        readers.for_each(|reader| reader.add_sizes(&mut sizes));
        Ok(sizes)
    }

    /// Skips the next row, which is too large, and reports the column that holds most of it.
    fn skip_row(&mut self) -> Result<BrokenRow, ParquetError> {
        let mut largest = (0, "");
        for (leaf, reader) in self.leaves.iter().zip(&mut self.readers) {
            let mut size = [0];
            reader.add_sizes(&mut size);
            largest = largest.max((size[0], &leaf.name));
            reader.skip_row()?;
        }
        self.rows_left_in_group -= 1;
        let row = self.rows_done + 1;
        Ok(too_large(row, largest.1))
    }

    fn bytes_read(&self) -> u64 {
        let rows = self.file.metadata().file_metadata().num_rows().max(1);
        (self.n_bytes as f64 * (self.rows_done as f64 / rows as f64)) as u64
    }
}

impl Source for Parquet {
    fn next_block(&mut self) -> Result<Option<RawBlock>, ReadError> {
        let read = guarded(|| self.read_block()).map_err(|failure| {
            failure.of_file(&self.path, self.rows_done, "its rows are damaged")
        })?;
        let Some((block, broken)) = read else {
            return Ok(None);
        };
        let first_row = self.rows_done + 1;
        self.rows_done += (block.n_rows + broken.len()) as u64;
        Ok(Some(RawBlock {
            block,
            first_row,
            broken,
            bytes_read: self.bytes_read(),
            notes: Vec::new(),
        }))
    }
}

/// Refuses a column chunk that a damaged footer places outside the file, over which the library would panic.
fn check_place(start: i64, size: i64, n_bytes: u64) -> Result<(), ParquetError> {
    let end = u64::try_from(start).ok().zip(u64::try_from(size).ok());
    let end = end.and_then(|(start, size)| start.checked_add(size));
    if end.is_some_and(|end| end <= n_bytes) {
        Ok(())
    } else {
        Err(damaged(format!(
            "a column is declared as {size} bytes from byte {start} on, in a file of {n_bytes} bytes"
        )))
    }
}

/// Returns the names of all columns.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, ReadError> {
    Ok(names_of(
        open_file(path)?.0.metadata().file_metadata().schema_descr(),
    ))
}

fn names_of(schema: &SchemaDescriptor) -> Vec<String> {
    let fields = schema.root_schema().get_fields().iter();
    let of_field = |field: &TypePtr| match event_type(field) {
        Some(event) => {
            let attributes = event.get_fields().iter();
            let name = |attribute: &TypePtr| format!("{}.{}", field.name(), attribute.name());
            attributes.map(name).collect()
        }
        None => vec![field.name().to_owned()],
    };
    fields.flat_map(of_field).collect()
}

/// Returns the group of which a top-level field is a list: the type of its events.
fn event_type(field: &Type) -> Option<&Type> {
    if !field.is_group() {
        return None;
    }
    if is_repeated(field) {
        return Some(field);
    }
    if !is_list(field) {
        return None;
    }
    let repeated = field
        .get_fields()
        .first()
        .filter(|inner| inner.is_group())?;
    // Files of old writers have no level between the repeated field and the attributes.
    let is_old = repeated.name() == "array" || repeated.name() == format!("{}_tuple", field.name());
    match repeated.get_fields() {
        [element] if !is_old => {
            let is_event = element.is_group() && !is_list(element) && !is_repeated(element);
            is_event.then_some(&**element)
        }
        _ => Some(repeated),
    }
}

/// Returns the top-level field and the attribute that a name such as `history.item` means; `None` if it is the name of a
/// column.
fn event_of<'n>(schema: &SchemaDescriptor, name: &'n str) -> Option<(usize, &'n str)> {
    let fields = schema.root_schema().get_fields();
    if fields.iter().any(|field| field.name() == name) {
        return None;
    }
    events::divisions(name).find_map(|(column, attribute)| {
        let root = fields.iter().position(|field| field.name() == column)?;
        event_type(&fields[root]).map(|_| (root, attribute))
    })
}

/// Returns the top-level field of this name.
fn root_of(path: &Path, schema: &SchemaDescriptor, name: &str) -> Result<usize, ReadError> {
    let fields = schema.root_schema().get_fields().iter().enumerate();
    let mut roots = fields.filter(|(_, field)| field.name() == name);
    match (roots.next(), roots.next()) {
        (Some((root, _)), None) => Ok(root),
        (None, _) => Err(ReadError::missing(path, name, &names_of(schema))),
        (Some(_), Some(_)) => Err(ReadError::named_twice(path, name)),
    }
}

/// Opens a file; returns its size in bytes as well.
fn open_file(path: &Path) -> Result<(SerializedFileReader<DataFile>, u64), ReadError> {
    let file = DataFile::open(path)?;
    let n_bytes = file.len();
    let opened = guarded(|| SerializedFileReader::new(file))
        .map_err(|failure| failure.of_file(path, 0, "no Parquet file, or one cut short"))?;
    Ok((opened, n_bytes))
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
    /// True for an attribute of events, whose nulls keep their places.
    is_event: bool,
    kind: values::Kind,
}

impl Leaf {
    /// Returns the leaf of the top-level field `root`; the error names the unsupported type of the field.
    fn find(schema: &SchemaDescriptor, root: usize) -> Result<Leaf, String> {
        let mut leaves =
            (0..schema.num_columns()).filter(|&i| schema.get_column_root_idx(i) == root);
        let (Some(index), None) = (leaves.next(), leaves.next()) else {
            let field = &schema.root_schema().get_fields()[root];
            return Err(
                match event_type(field).and_then(|event| event.get_fields().first()) {
                    Some(attribute) => format!(
                        "a list of groups; name one of its attributes, such as \"{}.{}\"",
                        field.name(),
                        attribute.name()
                    ),
                    None => "a group of several columns".to_owned(),
                },
            );
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
            is_event: false,
            kind: values::kind(&leaf)?,
        })
    }

    /// Returns the leaf of an attribute of the events in the top-level field `root`.
    fn of_events(
        schema: &SchemaDescriptor,
        root: usize,
        name: &str,
        attribute: &str,
    ) -> Result<Leaf, String> {
        let field = &schema.root_schema().get_fields()[root];
        let attributes = event_type(field).map_or(&[][..], Type::get_fields);
        let Some(own) = attributes.iter().find(|own| own.name() == attribute) else {
            let names: Vec<&str> = attributes.iter().map(|own| own.name()).collect();
            return Err(format!(
                "not an attribute of its events, which have {}",
                names.join(", ")
            ));
        };
        if own.is_group() || is_repeated(own) {
            return Err("a list of lists or of groups".to_owned());
        }
        let leaves = (0..schema.num_columns()).filter(|&i| {
            let path = schema.column(i);
            let is_own = path
                .path()
                .parts()
                .last()
                .is_some_and(|last| last == attribute);
            is_own && schema.get_column_root_idx(i) == root
        });
        // Groups within the events may have attributes of this name, deeper down.
        let index = leaves.min_by_key(|&i| schema.column(i).path().parts().len());
        let index = index.ok_or_else(|| "without values".to_owned())?;
        let leaf = schema.column(index);
        Ok(Leaf {
            name: name.to_owned(),
            index,
            defined: leaf.max_def_level(),
            item: item_level(field),
            is_event: true,
            kind: values::kind(&leaf)?,
        })
    }

    /// Reads the next `n_rows` rows.
    fn read(&self, reader: &mut ColumnReader, n_rows: usize) -> Result<Column, ParquetError> {
        let mut levels = Levels::default();
        let values = values::read(self.kind, reader, n_rows, &mut levels)?;
        let mut column = Column {
            name: self.name.clone(),
            values,
            ..Column::default()
        };
        match self.item {
            Some(item) if self.is_event => self.set_events(&mut column, &levels, item),
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

impl Leaf {
    /// Like [`Leaf::set_lists`], with a missing value for each event whose attribute is null.
    fn set_events(&self, column: &mut Column, levels: &Levels, item: i16) {
        let (mut offsets, mut nulls, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut n_values = 0;
        for (&defined, &repeated) in levels.defined.iter().zip(&levels.repeated) {
            if repeated == 0 {
                offsets.push(places.len() as u32);
                nulls.push(defined < item - 1);
            }
            if defined >= item {
                let has_value = defined == self.defined;
                places.push(has_value.then_some(n_values));
                n_values += usize::from(has_value);
            }
        }
        offsets.push(places.len() as u32);
        column.values = events::with_missing(&column.values, &places);
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

/// Returns the definition level at which a list has an item; `None` without a repeated field.
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

/// Levels of values: they encode nulls and the beginnings of rows.
#[derive(Default)]
struct Levels {
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

impl Levels {
    /// Takes the values of `n_rows` rows, without nulls, and their levels.
    fn read<T: DataType>(
        &mut self,
        reader: &mut Pending<T>,
        n_rows: usize,
    ) -> Result<Vec<T::T>, ParquetError> {
        let taken = reader.take(n_rows)?;
        self.defined = taken.defined;
        self.repeated = taken.repeated;
        Ok(taken.values)
    }
}

fn damaged(what: String) -> ParquetError {
    ParquetError::General(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_outside_the_file_is_refused() {
        for (start, size) in [(4, 96), (100, 0), (0, 100)] {
            assert!(check_place(start, size, 100).is_ok(), "{start}, {size}");
        }
        for (start, size) in [(-1, 5), (5, -1), (4, 97), (101, 0), (i64::MAX, i64::MAX)] {
            let error = check_place(start, size, 100).unwrap_err().to_string();
            assert!(error.contains("in a file of 100 bytes"), "{error}");
        }
    }
}
