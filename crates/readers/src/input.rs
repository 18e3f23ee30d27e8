//! The bytes of a file, decompressed where it is compressed.

use crate::data_file::DataFile;
use crate::encoding::{Decoded, Encoding};
use crate::kinds::{unread, unread_text};
use crate::source::ReadError;
use ncs_features::record_bytes::{HEADER_BYTES, is_start};
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
    /// Opens a file; detects compression by gzip, zlib or Zstandard from its first bytes.
    ///
    /// # Errors
    /// It cannot be opened, or its first bytes are those of an unsupported kind.
    pub(crate) fn open(path: &Path) -> Result<Input, ReadError> {
        let file = DataFile::open(path)?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file,
            bytes_read: bytes_read.clone(),
        };
        let mut file = BufReader::with_capacity(BUFFER_BYTES, counted);
        let start = file.fill_buf().map_err(ReadError::io(path, "read"))?;
        refuse(path, start, unread)?;
        let mut reader = decompressed(file).map_err(ReadError::io(path, "read"))?;
        // Errors in the compressed bytes are reported when rows are read.
        if let Ok(start) = reader.fill_buf() {
            refuse(path, start, unread)?;
        }
        Ok(Input { reader, bytes_read })
    }

    /// Opens a file of text in an encoding, which becomes UTF-8.
    ///
    /// # Errors
    /// The same as [`open`](Input::open); or its text is UTF-16 or UTF-32, or it is not text.
    pub(crate) fn open_text(path: &Path, encoding: Encoding) -> Result<Input, ReadError> {
        let mut input = Input::open(path)?;
        if let Ok(start) = input.fill_buf() {
            refuse(path, start, unread_text)?;
        }
        if encoding != Encoding::Utf8 {
            input.reader = Box::new(Decoded::new(input.reader, encoding));
        }
        Ok(input)
    }

    /// Bytes on disk that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

/// Returns an error for a file whose first bytes `unread` recognises.
fn refuse(
    path: &Path,
    start: &[u8],
    unread: impl Fn(&[u8]) -> Option<&'static str>,
) -> Result<(), ReadError> {
    match unread(start) {
        Some(what) => Err(ReadError::unread(path, what)),
        None => Ok(()),
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

fn decompressed(mut file: BufReader<Counted>) -> io::Result<Box<dyn BufRead + Send>> {
    let start = file.fill_buf()?;
    // The length of a plain TFRecord's first record may look like anything; its checksum identifies it.
    if is_start(start) {
        return Ok(Box::new(file));
    }
    if start.starts_with(&[0x1F, 0x8B]) {
        return Ok(buffered(flate2::bufread::MultiGzDecoder::new(file)));
    }
    if is_zlib(start) {
        return Ok(buffered(flate2::bufread::ZlibDecoder::new(file)));
    }
    if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        return Ok(buffered(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    Ok(Box::new(file))
}

fn buffered(decoder: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
}

/// Returns true if these bytes begin a zlib stream. Its header has only two bytes, so a part of the rest must
/// decompress too; after `x^`, which may begin a text, to a TFRecord.
fn is_zlib(start: &[u8]) -> bool {
    let &[0x78, second, ..] = start else {
        return false;
    };
    if !(0x7800 + u32::from(second)).is_multiple_of(31) || second & 0x20 != 0 {
        return false;
    }
    let mut first = [0; HEADER_BYTES];
    let mut decoder = flate2::bufread::ZlibDecoder::new(start);
    match decoder.read_exact(&mut first) {
        Ok(()) => second != b'^' || is_start(&first),
        // A stream of fewer bytes.
        Err(_) => {
            second != b'^'
                && flate2::bufread::ZlibDecoder::new(start)
                    .read(&mut first)
                    .is_ok()
        }
    }
}

/// A file that counts the bytes that are read.
struct Counted {
    file: DataFile,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
