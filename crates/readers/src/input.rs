//! The bytes of a file, decompressed where it is compressed.

use crate::source::ReadError;
use crate::tfrecord;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER_BYTES: usize = 1 << 17;

/// A file that is read from its beginning to its end.
pub(crate) struct Input {
    reader: Box<dyn BufRead + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Input {
    /// Opens a file; its first bytes tell whether it is compressed by gzip or Zstandard.
    pub(crate) fn open(path: &Path) -> Result<Input, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path, "open"))?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file,
            bytes_read: bytes_read.clone(),
        };
        let reader = decompressed(counted).map_err(ReadError::io(path, "read"))?;
        Ok(Input { reader, bytes_read })
    }

    /// Bytes on disk that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
    }
}

fn decompressed(file: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let start = file.fill_buf()?;
    // The length of a plain TFRecord's first record may look like gzip; its checksum tells.
    if start.starts_with(&[0x1F, 0x8B]) && !tfrecord::is_start(start) {
        let decoder = flate2::bufread::MultiGzDecoder::new(file);
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    Ok(Box::new(file))
}

/// A file that counts the bytes that are read.
struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
