//! Files as slices of memory. A mapping is unsafe, since another program may shorten or change the file beneath it; it is
//! here, and nowhere else.
//!
//! Files of table rows have no name, so that no other program can open them. A file of a model can be changed by others:
//! like any memory-mapped file it must be replaced by another of the same name, as this program does, not overwritten.

use crate::number::Real;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

/// Numbers in a part of a file of this process, which change with the file.
#[derive(Debug)]
pub(crate) struct MappedNumbers<R> {
    map: MmapMut,
    len: usize,
    number: PhantomData<R>,
}

impl<R: Real> MappedNumbers<R> {
    /// Maps `len` numbers, at least one, from byte `offset` on of a file without a name, which must be as long.
    ///
    /// # Errors
    /// The system has no more mappings or addresses.
    pub(crate) fn new(file: &File, offset: u64, len: usize) -> io::Result<MappedNumbers<R>> {
        let mut options = MmapOptions::new();
        options.offset(offset).len(len * size_of::<R>());
        // SAFETY: the file has no name and belongs to this process, which neither shortens it nor maps a part of it
        // twice, so that nothing else refers to these bytes while the mapping exists.
        let map = unsafe { options.map_mut(file)? };
        // Rows of a batch are scattered: pages around them would only displace others.
        #[cfg(unix)]
        let _ = map.advise(Advice::Random);
        Ok(MappedNumbers {
            map,
            len,
            number: PhantomData,
        })
    }

    /// Asks the system to read the numbers in this range, since they are needed soon.
    pub(crate) fn read_ahead(&self, range: Range<usize>) {
        let size = size_of::<R>();
        #[cfg(unix)]
        let _ = self.map.advise_range(
            Advice::WillNeed,
            range.start * size,
            range.len().min(self.len - range.start) * size,
        );
    }

    /// Returns false if this number has to be read from the disk; true if the system does not tell.
    pub(crate) fn is_in_memory(&self, number: usize) -> bool {
        is_in_memory(&self.map, number * size_of::<R>())
    }
}

/// Returns false if the page of this byte of a mapping has to be read from the disk.
#[cfg(target_os = "linux")]
fn is_in_memory(bytes: &[u8], byte: usize) -> bool {
    let Some(byte) = bytes.get(byte) else {
        return true;
    };
    let address = std::ptr::from_ref(byte);
    let page = address.wrapping_sub(address.addr() % rustix::param::page_size());
    let mut state = 0;
    // SAFETY: a page is asked about, not read, and its state is the one byte that is written.
    let answer = unsafe { libc::mincore(page.cast_mut().cast(), 1, &raw mut state) };
    answer != 0 || state & 1 == 1
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &[u8], _: usize) -> bool {
    true
}

impl<R> Deref for MappedNumbers<R> {
    type Target = [R];

    #[inline]
    fn deref(&self) -> &[R] {
        // SAFETY: the mapping has `len` numbers, begins at a page, and any bits are a `Real`: `f32` or `f64`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }
}

impl<R> DerefMut for MappedNumbers<R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [R] {
        // SAFETY: as in `deref`; the mapping is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.len) }
    }
}

/// How a mapping will be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadOrder {
    /// Row by row in no order: pages beside them are not read.
    Random,
    /// From the beginning to the end: pages are read ahead.
    Sequential,
}

/// The bytes of a file, to read.
#[derive(Debug)]
pub(crate) struct MappedBytes {
    map: Mmap,
}

impl MappedBytes {
    /// Maps a whole file, which is read from its beginning to its end at first.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub(crate) fn new(file: &File) -> io::Result<MappedBytes> {
        // SAFETY: the file is not written any more: it has no name, or it is replaced by another one of the same name. A
        // program that overwrites it nevertheless can change numbers or end this process, but bytes remain bytes.
        let map = unsafe { Mmap::map(file)? };
        let bytes = MappedBytes { map };
        bytes.will_be_read(ReadOrder::Sequential);
        Ok(bytes)
    }

    /// Tells the system whether rows are read here and there from now on, or from the beginning to the end.
    pub(crate) fn will_be_read(&self, order: ReadOrder) {
        #[cfg(unix)]
        let _ = self.map.advise(match order {
            ReadOrder::Random => Advice::Random,
            ReadOrder::Sequential => Advice::Sequential,
        });
    }

    /// Asks the system to read these bytes, since they are needed soon.
    pub(crate) fn read_ahead(&self, range: Range<usize>) {
        let n = range.len().min(self.map.len().saturating_sub(range.start));
        #[cfg(unix)]
        let _ = self.map.advise_range(Advice::WillNeed, range.start, n);
    }

    /// Returns false if this byte has to be read from the disk; true if the system does not tell.
    pub(crate) fn is_in_memory(&self, byte: usize) -> bool {
        is_in_memory(&self.map, byte)
    }

    /// Returns the numbers in a range of bytes in the order of this machine; `None` if they are not aligned.
    #[inline]
    pub(crate) fn numbers<R: Real>(&self, range: Range<usize>) -> Option<&[R]> {
        // SAFETY: any bits are a `Real`: `f32` or `f64`.
        let (before, numbers, after) = unsafe { self.map[range].align_to::<R>() };
        (before.is_empty() && after.is_empty()).then_some(numbers)
    }
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn numbers_are_those_of_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let mut first: MappedNumbers<f32> = MappedNumbers::new(&file, 0, 1000).unwrap();
        let mut second: MappedNumbers<f32> = MappedNumbers::new(&file, 4096, 4).unwrap();
        assert!(first.iter().chain(second.iter()).all(|&x| x == 0.0));
        second.copy_from_slice(&[1.0, -2.0, f32::NAN, 3.5]);
        first[999] = 7.0;
        first.read_ahead(990..2000);
        let bytes = MappedBytes::new(&file).unwrap();
        bytes.will_be_read(ReadOrder::Random);
        assert_eq!(bytes.len(), 1 << 20);
        let numbers = |range| bytes.numbers::<f32>(range).unwrap();
        assert_eq!(numbers(3996..4000), [7.0]);
        let found = numbers(4096..4112).iter().map(|x| x.to_bits());
        assert!(found.eq(second.iter().map(|x| x.to_bits())));
        assert_eq!(bytes.numbers::<f32>(4097..4101), None);
        assert_eq!(bytes.numbers::<f32>(8..8), Some(&[][..]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_page_that_was_read_ahead_is_in_memory() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let bytes = MappedBytes::new(&file).unwrap();
        let evict = || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        evict().unwrap();
        // Some file systems keep all pages in memory.
        if !bytes.is_in_memory(700_000) {
            bytes.will_be_read(ReadOrder::Random);
            bytes.read_ahead(700_000..700_001);
            let is_read = || bytes.is_in_memory(700_000);
            let begun = std::time::Instant::now();
            while !is_read() {
                assert!(begun.elapsed().as_secs() < 60, "the page is never read");
                std::thread::yield_now();
            }
            assert!(!bytes.is_in_memory(100), "another page");
        }
        assert!(
            bytes.is_in_memory(1 << 20),
            "beyond the end nothing is read"
        );
        bytes.read_ahead(2 << 20..3 << 20);
    }

    #[test]
    fn a_mapping_outlives_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        File::create(&path).unwrap().write_all(b"before").unwrap();
        let bytes = MappedBytes::new(&File::open(&path).unwrap()).unwrap();
        std::fs::write(folder.path().join("b"), "after").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert_eq!(&*bytes, b"before");
    }
}
