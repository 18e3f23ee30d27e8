//! Comma- and tab-separated text: quotes as in RFC 4180, every value a text.

use crate::columns::{LONGEST_ROW, ReadRow, RowsBuilder};
use crate::input::Input;
use crate::plan::Reading;
use crate::source::ReadError;
use fields::Fields;
use records::{Found, Records};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

mod fields;
mod records;

/// So many line breaks in one field are worth a second look.
const MANY_LINE_BREAKS: u64 = 100;

/// A CSV file, read record by record.
pub(crate) struct Csv {
    path: PathBuf,
    records: Records,
    fields: Fields,
    delimiter: u8,
    names: Vec<String>,
    /// Positions of the requested columns in a record.
    places: Vec<usize>,
}

impl Csv {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path, reading: &Reading) -> Result<Csv, ReadError> {
        let delimiter = delimiter(path, reading);
        let input = Input::open_text(path, reading.encoding)?;
        let mut csv = Csv {
            path: path.to_owned(),
            records: Records::new(input, delimiter),
            fields: Fields::new(delimiter),
            delimiter,
            names: Vec::new(),
            places: Vec::new(),
        };
        csv.names = match &reading.header {
            Some(names) => names.clone(),
            None => csv.header()?,
        };
        Ok(csv)
    }

    /// Returns the names of all columns; none in an empty file.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the reader of the same file, restricted to these columns.
    pub(crate) fn with_columns(mut self, columns: &[String]) -> Result<Csv, ReadError> {
        if self.names.is_empty() {
            return Err(ReadError::no_rows(&self.path, 1));
        }
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, name) in self.names.iter().enumerate() {
            places.entry(name).or_default().push(place);
        }
        let place = |column: &String| match places.get(column.as_str()).map(Vec::as_slice) {
            Some([place]) => Ok(*place),
            None | Some([]) => Err(ReadError::missing(&self.path, column, &self.names)),
            Some(_) => Err(ReadError::named_twice(&self.path, column)),
        };
        self.places = columns.iter().map(place).collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn header(&mut self) -> Result<Vec<String>, ReadError> {
        let what = match self.next(0)? {
            Found::End => return Ok(Vec::new()),
            Found::Record { .. } => {
                self.fields.split(self.records.record());
                let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let names = self.fields.iter().map(name).collect();
                self.records.consume();
                return Ok(names);
            }
            found => complaint(&found, self.records.line()),
        };
        let what = format!("its header, in line {}, {what}", self.records.line());
        Err(ReadError::damaged(&self.path, 0, what))
    }

    fn next(&mut self, rows: u64) -> Result<Found, ReadError> {
        let found = self.records.find();
        found.map_err(|source| ReadError::reading(&self.path, rows, source))
    }

    /// Marks the record as broken: its number of fields differs from the number of columns.
    fn break_record(&mut self, n_lines: u64, rows: &mut RowsBuilder) {
        let (found, wanted) = (self.fields.len(), self.names.len());
        let what =
            format!("{found} fields where {wanted} belong; look at its quotes and separators");
        rows.break_row(Some(self.records.line()), &what);
        // A quote that opens by mistake takes other rows with it, up to the next quote.
        if n_lines > 1 && self.rows_in_record() > 0 {
            self.records.consume_first_line()
        } else {
            self.records.consume()
        }
    }

    /// Counts lines of the record, the first and the last left out, that have the fields of a row.
    fn rows_in_record(&self) -> usize {
        let lines = self.inner_lines();
        lines.filter(|line| self.looks_like_a_row(line)).count()
    }

    /// Returns the lines of the record between the first and the last.
    fn inner_lines(&self) -> impl Iterator<Item = &[u8]> {
        let record = self.records.record();
        let ends = memchr::memchr(b'\n', record).zip(memchr::memrchr(b'\n', record));
        let inner = ends.filter(|(first, last)| first < last);
        let inner = inner.map(|(first, last)| &record[first + 1..last]);
        inner
            .into_iter()
            .flat_map(|lines| lines.split(|&byte| byte == b'\n'))
    }

    fn looks_like_a_row(&self, line: &[u8]) -> bool {
        let n = memchr::memchr_iter(self.delimiter, line).count();
        n > 0 && n + 1 == self.names.len()
    }

    /// Returns a warning about a suspicious record of several lines, if there is one.
    fn doubt(&self, n_lines: u64) -> Option<String> {
        let n_breaks = n_lines - 1;
        let n_inner = self.inner_lines().count();
        let holds_rows = n_inner >= 3 && self.rows_in_record() == n_inner;
        let why = if holds_rows {
            "and lines that look like rows of this file"
        } else if n_breaks >= MANY_LINE_BREAKS {
            "in it"
        } else {
            return None;
        };
        Some(format!(
            "its fields in quotes hold {n_breaks} line breaks {why}: look for a quote that is not closed"
        ))
    }
}

impl ReadRow for Csv {
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError> {
        let found = self.next(rows.rows_done())?;
        let line = self.records.line();
        match found {
            Found::End => return Ok(false),
            Found::Record { n_lines } => {
                self.fields.split(self.records.record());
                if self.fields.len() != self.names.len() {
                    self.break_record(n_lines, rows);
                    return Ok(true);
                }
                for (i, &place) in self.places.iter().enumerate() {
                    rows.column(i).push_text(self.fields.get(place));
                }
                rows.end_row();
                if n_lines > 1
                    && let Some(doubt) = self.doubt(n_lines)
                {
                    rows.doubt_last_row(Some(line), &doubt);
                }
                self.records.consume();
            }
            found => {
                rows.break_row(Some(line), &complaint(&found, line));
                match found {
                    Found::TooLong => self.records.skip_line(),
                    _ => {
                        self.records.consume_first_line();
                        Ok(())
                    }
                }
                .map_err(|source| ReadError::reading(&self.path, rows.rows_done(), source))?;
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }
}

/// Describes the error in a record that begins in `line`.
fn complaint(found: &Found, line: u64) -> String {
    let remedy = "close it, or write a quote that is part of a text twice, in a text in quotes";
    match found {
        Found::Unclosed { at_end: true } => {
            format!("it opens a quote that the file never closes; {remedy}")
        }
        Found::Unclosed { at_end: false } => format!(
            "it opens a quote that is not closed within {} MiB; {remedy}",
            LONGEST_ROW >> 20
        ),
        Found::ClosedInText { line: end } => format!(
            "it opens a quote that the next one closes in the middle of a text, {} lines later, in line \
             {end}; {remedy}",
            end - line
        ),
        Found::TooLong => format!("it is longer than {} MiB", LONGEST_ROW >> 20),
        Found::End | Found::Record { .. } => String::new(),
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
