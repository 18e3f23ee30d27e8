//! Arrow files: the file format (Feather of version 2), known by its first bytes, and the stream format.

use super::{ArrowRows, failed, names_of, place_of, stopped};
use crate::data_file::DataFile;
use crate::panics::caught;
use crate::source::ReadError;
use arrow_array::RecordBatchReader;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::ArrowError;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// First bytes of a file in the file format.
pub(crate) const MAGIC: &[u8] = b"ARROW1\0\0";

type Batches = Box<dyn RecordBatchReader + Send>;

/// Returns the names of a file's columns.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, ReadError> {
    let batches = batches(path, None, Arc::default())?;
    Ok(names_of(&batches.schema()))
}

/// Opens the rows of a file and reads `columns`, in that order.
pub(crate) fn open(path: &Path, columns: &[String]) -> Result<ArrowRows, ReadError> {
    let schema = batches(path, None, Arc::default())?.schema();
    let places = columns
        .iter()
        .map(|name| Ok(place_of(path, &schema, name)?.0));
    let mut places: Vec<usize> = places.collect::<Result<_, ReadError>>()?;
    places.sort_unstable();
    places.dedup();
    let bytes_read: Arc<AtomicU64> = Arc::default();
    let batches = batches(path, Some(places), bytes_read.clone())?;
    ArrowRows::new(path, batches, columns, bytes_read)
}

/// Returns the batches of a file with the columns at `places` only.
fn batches(
    path: &Path,
    places: Option<Vec<usize>>,
    bytes_read: Arc<AtomicU64>,
) -> Result<Batches, ReadError> {
    let mut file = DataFile::open(path)?;
    let mut start = Vec::new();
    let begin = (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start);
    begin
        .and_then(|_| file.rewind())
        .map_err(ReadError::io(path, "read"))?;
    let file = BufReader::new(Counted { file, bytes_read });
    let is_file = start == MAGIC;
    let opened = caught(move || -> Result<Batches, ArrowError> {
        Ok(if is_file {
            Box::new(FileReader::try_new(file, places)?)
        } else {
            Box::new(StreamReader::try_new(file, places)?)
        })
    });
    let opened = opened.map_err(|text| stopped(path, 0, &text))?;
    opened.map_err(|error| match error {
        ArrowError::IoError(..) | ArrowError::NotYetImplemented(_) => failed(path, 0, error),
        error => ReadError::damaged(
            path,
            0,
            format!("no Arrow file, or one cut short ({error}); copy or write it again"),
        ),
    })
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

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
