//! A temporary file whose blocks are on the disk before they are written through a mapping.

use super::{MappedNumbers, TableFiles};
use crate::number::Real;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes that are allocated at once.
const STEP: u64 = 1 << 20;

/// Bytes at which parts of a file begin: pages of any system.
const PAGE: u64 = 1 << 16;

/// A file that grows by parts of equal size, each of which is mapped.
#[derive(Debug)]
pub(crate) struct GrowingFile {
    files: Arc<TableFiles>,
    file: File,
    /// Bytes of a part.
    part: u64,
    n_parts: u64,
    /// Bytes from the start that have blocks on the disk.
    allocated: u64,
}

impl GrowingFile {
    /// Creates an empty file for parts of `n_bytes`.
    pub(crate) fn new(files: &Arc<TableFiles>, n_bytes: usize) -> io::Result<GrowingFile> {
        Ok(GrowingFile {
            file: files.create()?,
            files: files.clone(),
            part: (n_bytes as u64).next_multiple_of(PAGE),
            n_parts: 0,
            allocated: 0,
        })
    }

    /// Returns the folder of the file.
    pub(crate) fn files(&self) -> &Arc<TableFiles> {
        &self.files
    }

    /// Makes every further allocation fail, as on a full disk.
    #[cfg(all(test, unix))]
    pub(crate) fn fill_disk(&mut self) {
        self.file = File::open("/dev/null").expect("the system has it");
    }

    /// Adds a part, and returns its first `len` numbers. They may be read, and written once they are allocated.
    pub(crate) fn add<R: Real>(&mut self, len: usize) -> io::Result<MappedNumbers<R>> {
        let start = self.n_parts * self.part;
        self.file.set_len(start + self.part)?;
        let numbers = MappedNumbers::new(&self.file, start, len)?;
        self.n_parts += 1;
        Ok(numbers)
    }

    /// Allocates the first bytes of the last part, and all before them.
    ///
    /// # Errors
    /// The disk is full, a quota is reached, or the disk has an error.
    #[inline]
    pub(crate) fn allocate(&mut self, n_bytes: usize) -> io::Result<()> {
        let end = self.n_parts.saturating_sub(1) * self.part + n_bytes as u64;
        if end <= self.allocated {
            return Ok(());
        }
        let end = end.next_multiple_of(STEP).min(self.n_parts * self.part);
        allocate(&self.file, self.allocated, end - self.allocated)?;
        self.allocated = end;
        Ok(())
    }
}

/// Gives a range of a file, which reads as zeros, blocks on the disk.
#[cfg(target_os = "linux")]
fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        match fallocate(file, FallocateFlags::empty(), offset, len) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(file, offset, len),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    write_zeros(file, offset, len)
}

/// Writes zeros, where the file system cannot allocate blocks otherwise.
fn write_zeros(mut file: &File, offset: u64, len: u64) -> io::Result<()> {
    use io::{Seek, SeekFrom, Write};
    let zeros = vec![0; STEP.min(len) as usize];
    file.seek(SeekFrom::Start(offset))?;
    let mut left = len;
    while left > 0 {
        let n = left.min(STEP) as usize;
        file.write_all(&zeros[..n])?;
        left -= n as u64;
    }
    // What a network file system cannot store it may tell only now.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::super::TableStorage;
    use super::*;

    #[cfg(unix)]
    #[test]
    fn blocks_are_allocated_before_they_are_written() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let TableStorage::Files(files) = TableStorage::in_folder(folder.path()) else {
            panic!("no files");
        };
        let mut file = GrowingFile::new(&files, 3 << 20).unwrap();
        let on_disk = |file: &GrowingFile| file.file.metadata().unwrap().blocks() * 512;
        let _first: MappedNumbers<f32> = file.add(10).unwrap();
        assert_eq!(on_disk(&file), 0);
        file.allocate(40).unwrap();
        assert!((STEP..STEP + PAGE).contains(&on_disk(&file)));
        let mut second: MappedNumbers<f32> = file.add(1000).unwrap();
        file.allocate(4000).unwrap();
        assert!((4 * STEP..4 * STEP + PAGE).contains(&on_disk(&file)));
        second[999] = 1.0;
        write_zeros(&file.file, 4 << 20, 2 << 20).unwrap();
        assert_eq!((second[999], second[0]), (1.0, 0.0));
        assert_eq!(file.file.metadata().unwrap().len(), 6 << 20);
        let names = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 0, "the file has no name");
    }
}
