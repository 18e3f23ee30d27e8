//! Comma- and tab-separated text: quotes as in RFC 4180, every value a text.

use crate::columns::{ReadRow, RowsBuilder};
use crate::input::Input;
use crate::plan::Reading;
use crate::source::ReadError;
use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A longer record begins with a quote that is never closed: better an error than a file in memory.
const LONGEST_RECORD: usize = 1 << 26;

/// A CSV file, read record by record.
pub(crate) struct Csv {
    path: PathBuf,
    reader: Reader<OneRecord>,
    names: Vec<String>,
    /// Where the columns that were asked for are in a record.
    places: Vec<usize>,
    record: ByteRecord,
}

impl Csv {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path, reading: &Reading) -> Result<Csv, ReadError> {
        let input = OneRecord {
            input: Input::open(path)?,
            bytes_left: 0,
        };
        let reader = ReaderBuilder::new()
            .delimiter(delimiter(path, reading))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 17)
            .from_reader(input);
        let mut csv = Csv {
            path: path.to_owned(),
            reader,
            names: Vec::new(),
            places: Vec::new(),
            record: ByteRecord::new(),
        };
        csv.names = match &reading.header {
            Some(names) => names.clone(),
            None => csv.header()?,
        };
        Ok(csv)
    }

    /// The names of all columns; none in an empty file.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The same file, of which these columns are wanted.
    pub(crate) fn with_columns(mut self, columns: &[String]) -> Result<Csv, ReadError> {
        if self.names.is_empty() {
            return Err(ReadError::NoRows { path: self.path });
        }
        let place = |column: &String| {
            let mut places = (0..self.names.len()).filter(|&i| self.names[i] == *column);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (None, _) => Err(ReadError::missing(&self.path, column, &self.names)),
                (Some(_), Some(_)) => {
                    let what = format!("two columns are named \"{column}\"; rename one");
                    Err(ReadError::damaged(&self.path, 0, what))
                }
            }
        };
        self.places = columns.iter().map(place).collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn header(&mut self) -> Result<Vec<String>, ReadError> {
        self.next_record(0)?;
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut names: Vec<String> = self.record.iter().map(name).collect();
        // Written by some spreadsheets before the first name.
        if let Some(rest) = names.first().and_then(|name| name.strip_prefix('\u{FEFF}')) {
            names[0] = rest.to_owned();
        }
        Ok(names)
    }

    fn next_record(&mut self, rows: u64) -> Result<bool, ReadError> {
        self.reader.get_mut().bytes_left = LONGEST_RECORD;
        let read = self.reader.read_byte_record(&mut self.record);
        read.map_err(|error| match error.into_kind() {
            ErrorKind::Io(source) => ReadError::reading(&self.path, rows, source),
            other => ReadError::damaged(&self.path, rows, format!("no CSV: {other:?}")),
        })
    }
}

impl ReadRow for Csv {
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError> {
        if !self.next_record(rows.rows_done())? {
            return Ok(false);
        }
        let (found, wanted) = (self.record.len(), self.names.len());
        let n_bytes = self.record.as_slice().len();
        if found != wanted {
            let what =
                format!("{found} fields where {wanted} belong; look at its quotes and separators");
            rows.break_row(n_bytes, &what);
            return Ok(true);
        }
        for (i, &place) in self.places.iter().enumerate() {
            rows.column(i).push_text(&self.record[place]);
        }
        rows.end_row(n_bytes);
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.reader.get_ref().input.bytes_read()
    }
}

/// The file, as far as one record may reach into it.
struct OneRecord {
    input: Input,
    bytes_left: usize,
}

impl Read for OneRecord {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            let what = "a record of over 64 MiB: look for a quote that is not closed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let n = self.input.read(buffer)?;
        self.bytes_left = self.bytes_left.saturating_sub(n);
        Ok(n)
    }
}

fn delimiter(path: &Path, reading: &Reading) -> u8 {
    let by_name = || {
        let name = path.to_string_lossy().to_lowercase();
        let is_tsv = [".tsv", ".tsv.gz", ".tsv.zst"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_tsv { b'\t' } else { b',' }
    };
    reading.delimiter.unwrap_or_else(by_name)
}
