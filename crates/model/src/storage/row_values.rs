//! The vectors of some rows as plain data, in memory or in a file.

use super::{MappedBytes, ReadOrder, StorageError, TableFiles, TableStorage};
use crate::number::Real;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Numbers, row after row; in memory, or in a file that is mapped. A clone of numbers in a file is the same file.
#[derive(Clone)]
pub struct RowValues<R>(Values<R>);

#[derive(Clone)]
enum Values<R> {
    Memory(Vec<R>),
    File {
        file: Arc<MappedBytes>,
        /// Bytes of the numbers.
        range: Range<usize>,
    },
}

impl<R: Real> RowValues<R> {
    /// Returns the numbers in these bytes of a mapped file, in the order of this machine; `None` if they are not aligned.
    pub(crate) fn in_file(file: &Arc<MappedBytes>, range: Range<usize>) -> Option<RowValues<R>> {
        file.numbers::<R>(range.clone())?;
        let file = file.clone();
        Some(RowValues(Values::File { file, range }))
    }

    /// Tells the system how they will be read from now on.
    pub(crate) fn will_be_read(&self, order: ReadOrder) {
        if let Values::File { file, .. } = &self.0 {
            file.will_be_read(order);
        }
    }

    /// Returns the mapped file in which they lie, and the byte at which they begin; `None` in memory.
    pub(crate) fn file(&self) -> Option<(&MappedBytes, usize)> {
        match &self.0 {
            Values::Memory(_) => None,
            Values::File { file, range } => Some((file, range.start)),
        }
    }

    /// Returns the numbers to change, in memory: those of a file are copied.
    pub fn to_mut(&mut self) -> &mut Vec<R> {
        if self.is_in_file() {
            *self = self.to_vec().into();
        }
        match &mut self.0 {
            Values::Memory(values) => values,
            Values::File { .. } => unreachable!("copied"),
        }
    }

    /// Returns true if they lie in a file.
    pub fn is_in_file(&self) -> bool {
        matches!(self.0, Values::File { .. })
    }
}

impl<R: Real> Deref for RowValues<R> {
    type Target = [R];

    #[inline]
    fn deref(&self) -> &[R] {
        match &self.0 {
            Values::Memory(values) => values,
            Values::File { file, range } => {
                let numbers = file.numbers(range.clone());
                numbers.expect("checked when they were made")
            }
        }
    }
}

impl<R> From<Vec<R>> for RowValues<R> {
    fn from(values: Vec<R>) -> RowValues<R> {
        RowValues(Values::Memory(values))
    }
}

impl<R> FromIterator<R> for RowValues<R> {
    fn from_iter<I: IntoIterator<Item = R>>(values: I) -> RowValues<R> {
        Vec::from_iter(values).into()
    }
}

impl<R> Default for RowValues<R> {
    fn default() -> RowValues<R> {
        Vec::new().into()
    }
}

impl<R: Real> PartialEq for RowValues<R> {
    fn eq(&self, other: &RowValues<R>) -> bool {
        **self == **other
    }
}

impl<R: Real> PartialEq<Vec<R>> for RowValues<R> {
    fn eq(&self, other: &Vec<R>) -> bool {
        **self == **other
    }
}

impl<R: Real> std::fmt::Debug for RowValues<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.deref().fmt(out)
    }
}

/// Collects numbers where a storage keeps them.
pub struct RowWriter(Target);

enum Target {
    Memory(Vec<f32>),
    File(BufWriter<File>, Arc<TableFiles>),
}

/// Bytes that are written at once.
const BLOCK: usize = 1 << 18;

impl RowWriter {
    /// Creates an empty list.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn new(storage: &TableStorage) -> Result<RowWriter, StorageError> {
        Ok(RowWriter(match storage {
            TableStorage::Memory => Target::Memory(Vec::new()),
            TableStorage::Files(files) => {
                let file = files.create().map_err(|error| files.error(&error))?;
                Target::File(BufWriter::with_capacity(BLOCK, file), files.clone())
            }
        }))
    }

    /// Appends numbers.
    ///
    /// # Errors
    /// The disk is full.
    pub fn push(&mut self, numbers: &[f32]) -> Result<(), StorageError> {
        match &mut self.0 {
            Target::Memory(values) => {
                values.extend_from_slice(numbers);
                Ok(())
            }
            Target::File(file, files) => {
                let mut numbers = numbers.iter();
                let written = numbers.try_for_each(|x| file.write_all(&x.to_ne_bytes()));
                written.map_err(|error| files.error(&error))
            }
        }
    }

    /// Returns the numbers.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(self) -> Result<RowValues<f32>, StorageError> {
        match self.0 {
            Target::Memory(values) => Ok(values.into()),
            Target::File(file, files) => {
                let file = file.into_inner().map_err(|error| error.into_error());
                let values = file.and_then(|file| mapped(&file));
                values.map_err(|error| files.error(&error))
            }
        }
    }
}

/// Returns all numbers of a file of this process.
pub(crate) fn mapped(file: &File) -> io::Result<RowValues<f32>> {
    let n_bytes = file.metadata()?.len() as usize;
    if n_bytes == 0 {
        return Ok(RowValues::default());
    }
    let map = MappedBytes::new(file)?;
    let values = RowValues::in_file(&Arc::new(map), 0..n_bytes);
    Ok(values.expect("a mapping begins at a page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let stored = |storage: &TableStorage, parts: &[&[f32]]| {
            let mut writer = RowWriter::new(storage).unwrap();
            parts.iter().for_each(|part| writer.push(part).unwrap());
            writer.finish().unwrap()
        };
        let parts: [&[f32]; 3] = [&[1.0, -2.5], &[], &[3.0]];
        let files = TableStorage::in_folder(folder.path());
        let [memory, file] = [&TableStorage::Memory, &files].map(|storage| stored(storage, &parts));
        assert_eq!(memory, vec![1.0, -2.5, 3.0]);
        assert_eq!(file, memory);
        assert_eq!([memory.is_in_file(), file.is_in_file()], [false, true]);
        let mut copy = file.clone();
        drop(file);
        copy.clone().to_mut()[0] = 7.0;
        assert_eq!(format!("{copy:?}"), "[1.0, -2.5, 3.0]");
        copy.to_mut().push(4.0);
        assert_eq!(copy, vec![1.0, -2.5, 3.0, 4.0]);
        assert!(stored(&files, &[]).is_empty());
    }
}
