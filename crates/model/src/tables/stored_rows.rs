//! Copies of the rows of tables in files, and tables that read such copies.

use super::{SlotRows, SparseRows, Table};
use crate::storage::{ReadOrder, StorageError, TableFiles, TableStorage, mapped};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes of rows that are sorted at once.
const BUCKET: usize = 32 << 20;

/// Bytes of a bucket that are written at once.
const BLOCK: usize = 1 << 16;

impl Table<f32> {
    /// Returns a copy of the initialised rows, where the table lies: in memory or in another file.
    ///
    /// # Errors
    /// The storage is full.
    pub fn stored_rows(&self) -> Result<SparseRows<f32>, StorageError> {
        match &self.storage {
            TableStorage::Memory => Ok(self.sparse_rows()),
            TableStorage::Files(files) => {
                self.storage.check()?;
                let rows = self.rows_in_file(files, BUCKET);
                rows.map_err(|error| files.error(&error))
            }
        }
    }

    /// Writes the rows to a file in the order of their numbers. They lie in the order of their slots; reading them one
    /// by one in another order would read a page for each. So the table is read once in its order, while each row is
    /// appended to the bucket of its number, and then the buckets are sorted one after the other.
    fn rows_in_file(&self, files: &TableFiles, bucket: usize) -> io::Result<SparseRows<f32>> {
        let ids: Vec<u32> = self.initialised_ids().collect();
        let mut file = files.create()?;
        let n_bytes = self.dim() * size_of::<f32>();
        let rows_a_bucket = (bucket / n_bytes).max(1);
        self.write_buckets(&mut file, &ids, rows_a_bucket)?;
        for (number, ids) in ids.chunks(rows_a_bucket).enumerate() {
            let start = (number * rows_a_bucket * n_bytes) as u64;
            let mut rows = vec![0; ids.len() * n_bytes];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut rows)?;
            let mut written: Vec<(u32, u32)> =
                ids.iter().map(|&id| self.slot(id)).zip(0..).collect();
            written.sort_unstable();
            let mut sorted = vec![0; rows.len()];
            for ((_, row), bytes) in written.into_iter().zip(rows.chunks_exact(n_bytes)) {
                let start = row as usize * n_bytes;
                sorted[start..start + n_bytes].copy_from_slice(bytes);
            }
            file.seek(SeekFrom::Start(start))?;
            file.write_all(&sorted)?;
        }
        let values = mapped(&file)?;
        Ok(SparseRows { ids, values })
    }

    /// Appends each row, in the order of slots, to the part of the file that is for the rows with numbers around its own.
    fn write_buckets(&self, file: &mut File, ids: &[u32], rows_a_bucket: usize) -> io::Result<()> {
        let n_bytes = self.dim() * size_of::<f32>();
        let firsts: Vec<u32> = ids.chunks(rows_a_bucket).map(|ids| ids[0]).collect();
        let mut ends: Vec<u64> = (0..firsts.len())
            .map(|number| (number * rows_a_bucket * n_bytes) as u64)
            .collect();
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); firsts.len()];
        let mut append = |number: usize, buffer: &mut Vec<u8>| {
            file.seek(SeekFrom::Start(ends[number]))?;
            file.write_all(buffer)?;
            ends[number] += buffer.len() as u64;
            buffer.clear();
            io::Result::Ok(())
        };
        for (&id, slot) in self.ids.iter().zip(0..).skip(1) {
            self.rows.read_ahead(slot);
            let number = firsts.partition_point(|&first| first <= id) - 1;
            let buffer = &mut buffers[number];
            let row = self.rows.row(slot).iter();
            row.for_each(|x| buffer.extend(x.to_ne_bytes()));
            if buffer.len() >= BLOCK {
                append(number, buffer)?;
            }
        }
        let mut rest = buffers.iter_mut().enumerate();
        rest.try_for_each(|(number, buffer)| append(number, buffer))
    }

    /// Makes the table one that reads these rows where they lie, in a file, and cannot be changed; rows in memory are
    /// copied. Returns `None` if they do not fit it.
    #[must_use]
    pub(crate) fn read_from(&mut self, rows: &SparseRows<f32>) -> Option<()> {
        if !rows.values.is_in_file() {
            return self.restore(rows);
        }
        self.fits(&rows.ids, rows.values.len()).then_some(())?;
        rows.values.will_be_read(ReadOrder::Random);
        self.clear();
        for (&id, slot) in rows.ids.iter().zip(1..) {
            self.slots.set(id, slot);
        }
        self.ids.extend_from_slice(&rows.ids);
        self.rows = SlotRows::frozen(self.dim(), rows.values.clone());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;
    use crate::tables::TableShare;
    use std::sync::Arc;

    fn table(storage: &TableStorage) -> Table<f32> {
        let mut table = Table::new(20_000, 3, CounterRng::new(1, "t"), 0.1);
        table.store_in(storage);
        table
    }

    fn ids() -> Vec<u32> {
        (0..3000_u32).map(|i| i * 7919 % 20_000).collect()
    }

    fn files(folder: &tempfile::TempDir) -> (TableStorage, Arc<TableFiles>) {
        let storage = TableStorage::in_folder(folder.path());
        let TableStorage::Files(files) = &storage else {
            panic!("{storage:?}");
        };
        (storage.clone(), files.clone())
    }

    #[test]
    fn rows_in_a_file_are_sorted_by_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, files) = files(&folder);
        let [mut memory, mut stored] = [&TableStorage::Memory, &storage].map(table);
        for table in [&mut memory, &mut stored] {
            table.init_rows(&ids());
            table.row_mut(7919)[1] = 5.0;
        }
        let expected = memory.sparse_rows();
        assert_eq!(memory.stored_rows().unwrap(), expected);
        assert_eq!(stored.stored_rows().unwrap(), expected);
        for bucket in [1, 100, 12 * 3000, 1 << 20] {
            let rows = stored.rows_in_file(&files, bucket).unwrap();
            assert_eq!(rows, expected, "buckets of {bucket} bytes");
            assert!(rows.values.is_in_file());
        }
        let none = table(&storage).stored_rows().unwrap();
        assert_eq!(none, SparseRows::default());
        assert_eq!(storage.check(), Ok(()));
    }

    #[test]
    fn tables_in_files_are_restored_cleared_and_shared() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, _) = files(&folder);
        let mut whole = table(&storage);
        whole.init_rows(&ids());
        let rows = whole.stored_rows().unwrap();
        let mut copy = whole.clone();
        whole.clear();
        assert_eq!((whole.n_initialised(), copy.n_initialised()), (0, 3000));
        whole.restore(&rows).unwrap();
        assert_eq!(whole.stored_rows().unwrap(), rows);
        copy.hold_share(TableShare { index: 1, of: 2 });
        copy.restore(&rows).unwrap();
        let own = copy.stored_rows().unwrap();
        assert!(own.ids.len() < 2000 && own.values.is_in_file());
        let others: Vec<u32> = ids().into_iter().filter(|&id| !copy.owns(id)).collect();
        assert_eq!(own.ids.len() + others.len(), 3000);
    }

    #[test]
    fn a_frozen_table_reads_the_rows_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, _) = files(&folder);
        let mut trained = table(&storage);
        trained.init_rows(&ids());
        let rows = trained.stored_rows().unwrap();
        let mut frozen = table(&TableStorage::Memory);
        frozen.read_from(&rows).unwrap();
        assert_eq!(frozen.sparse_rows(), rows);
        assert_eq!(frozen.clone().row(7919), trained.row(7919));
        assert_eq!(frozen.row(1), [0.0; 3]);
        let mut small = Table::new(10, 3, CounterRng::new(1, "t"), 0.1);
        assert_eq!(small.read_from(&rows), None);
    }

    #[test]
    fn a_folder_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, _) = files(&folder);
        let mut table = table(&storage);
        table.init_rows(&[1, 2]);
        drop(folder);
        let text = table.stored_rows().unwrap_err().to_string();
        assert!(text.contains("cannot keep table rows"), "{text}");
        table.clear();
        table.init_rows(&[1, 2]);
        assert!(table.storage().check().is_err());
        let mut other = self::table(&TableStorage::Memory);
        other.init_row(1);
        assert_eq!(table.row(1), other.row(1), "the rows are in memory");
    }
}
