//! Boundaries of records: line breaks within quotes do not end a record.
//!
//! The parser of the `csv` crate ends an unclosed quoted field at the end of the file as if it were closed,
//! and cannot go back. This module skips only the first line of a record that cannot be right, so that the
//! rows after it are read.

use crate::columns::LONGEST_ROW;
use crate::input::Input;
use memchr::{memchr, memchr2};
use std::io::{self, BufRead};

/// Next item in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// End of the file.
    End,
    /// A record.
    Record {
        /// Its lines.
        n_lines: u64,
    },
    /// A quote that is not closed before the file ends, or before the longest row does.
    Unclosed {
        /// True if the end of the file was reached.
        at_end: bool,
    },
    /// A quote that is closed in a later line, with more text after it.
    ClosedInText {
        /// The number of that line.
        line: u64,
    },
    /// A line longer than a row may be.
    TooLong,
}

/// The records of a file, found by their quotes and line breaks.
pub(super) struct Records {
    input: Input,
    delimiter: u8,
    /// Bytes of the file that are not consumed begin at `start`.
    bytes: Vec<u8>,
    start: usize,
    /// The end of the first line and of the record that was found, from `start`.
    first_line: usize,
    record: usize,
    is_at_end: bool,
    /// Number of the line at `start`, from 1.
    line: u64,
}

/// State of the parser at a byte of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Text,
    Quoted,
    /// After a quote in a field in quotes.
    Closing,
}

impl Records {
    pub(super) fn new(input: Input, delimiter: u8) -> Records {
        Records {
            input,
            delimiter,
            bytes: Vec::new(),
            start: 0,
            first_line: 0,
            record: 0,
            is_at_end: false,
            line: 0,
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }

    /// Returns the number of the line in which the record begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the record that was found, without its line end.
    pub(super) fn record(&self) -> &[u8] {
        &self.bytes[self.start..][..self.record]
    }

    /// Goes on after the record that was found.
    pub(super) fn consume(&mut self) {
        self.line += count_breaks(self.record());
        self.start += self.record;
    }

    /// Goes on after the first line of what was found.
    pub(super) fn consume_first_line(&mut self) {
        self.start += self.first_line;
    }

    /// Goes on after a line that was too long.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        loop {
            if let Some(end) = memchr2(b'\r', b'\n', &self.bytes[self.start..]) {
                self.start += end;
                return Ok(());
            }
            self.start = self.bytes.len();
            if !self.read_more()? {
                return Ok(());
            }
        }
    }

    /// Finds the next record; blank lines are skipped.
    pub(super) fn find(&mut self) -> io::Result<Found> {
        self.begin()?;
        if !self.skip_breaks()? {
            return Ok(Found::End);
        }
        let Some(end) = self.line_end(0)? else {
            return Ok(Found::TooLong);
        };
        (self.first_line, self.record) = (end, end);
        if memchr(b'"', self.record()).is_none() {
            return Ok(Found::Record { n_lines: 1 });
        }
        self.follow_quotes()
    }

    /// Follows the quotes of the first line, and of the lines after it while a quote is open.
    fn follow_quotes(&mut self) -> io::Result<Found> {
        let mut state = State::FieldStart;
        let mut n_lines = 1;
        let mut place = 0;
        loop {
            let line = &self.bytes[self.start..][place..self.record];
            let (next, closed_in_text) = scan(state, line, self.delimiter);
            if closed_in_text && n_lines > 1 {
                let line = self.line + n_lines - 1;
                return Ok(Found::ClosedInText { line });
            }
            if next != State::Quoted {
                return Ok(Found::Record { n_lines });
            }
            state = State::Quoted;
            place = self.record + self.break_at(self.record)?;
            if place == self.record {
                return Ok(Found::Unclosed { at_end: true });
            }
            n_lines += 1;
            match self.line_end(place)? {
                Some(end) => self.record = end,
                None => return Ok(Found::Unclosed { at_end: false }),
            }
        }
    }

    /// Passes over the mark that some programs write before a text in UTF-8.
    fn begin(&mut self) -> io::Result<()> {
        const MARK: &[u8] = "\u{FEFF}".as_bytes();
        if self.line > 0 {
            return Ok(());
        }
        self.line = 1;
        while self.bytes.len() < MARK.len() && self.read_more()? {}
        if self.bytes.starts_with(MARK) {
            self.start = MARK.len();
        }
        Ok(())
    }

    /// Goes on to the next line that is not blank; `false` at the end of the file.
    fn skip_breaks(&mut self) -> io::Result<bool> {
        loop {
            match self.break_at(0)? {
                0 => return Ok(self.start < self.bytes.len()),
                n => self.start += n,
            }
            self.line += 1;
        }
    }

    /// Returns the length of the line break at a position after `start`; 0 if there is none.
    fn break_at(&mut self, place: usize) -> io::Result<usize> {
        while self.bytes.len() < self.start + place + 2 && self.read_more()? {}
        Ok(match &self.bytes[self.start + place..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        })
    }

    /// Returns the end of the line that continues at `from`, both counted from `start`; `None` if it is too
    /// far.
    fn line_end(&mut self, mut from: usize) -> io::Result<Option<usize>> {
        loop {
            let rest = &self.bytes[self.start + from..];
            let end = memchr2(b'\r', b'\n', rest);
            let length = from + end.unwrap_or(rest.len());
            if length > LONGEST_ROW {
                return Ok(None);
            }
            if end.is_some() {
                return Ok(Some(length));
            }
            from = length;
            if !self.read_more()? {
                return Ok(Some(length));
            }
        }
    }

    /// Reads some bytes behind those that are there; `false` at the end of the file.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        // Consumed bytes are removed once they are more than the remaining ones.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let more = self.input.fill_buf()?;
        let n = more.len();
        self.bytes.extend_from_slice(more);
        self.input.consume(n);
        self.is_at_end = n == 0;
        Ok(n > 0)
    }
}

/// Returns the state after some bytes of a line, and whether a quote that was open in the beginning is closed
/// with more text after it.
fn scan(mut state: State, line: &[u8], delimiter: u8) -> (State, bool) {
    let was_open = state == State::Quoted;
    let mut is_first = true;
    let mut closed_in_text = false;
    let mut place = 0;
    while place < line.len() {
        if state == State::Quoted {
            match memchr(b'"', &line[place..]) {
                None => return (state, closed_in_text),
                Some(quote) => place += quote,
            }
        } else if state == State::Text {
            match memchr(delimiter, &line[place..]) {
                None => return (state, closed_in_text),
                Some(end) => place += end,
            }
        }
        state = match (state, line[place]) {
            (State::FieldStart | State::Closing, b'"') | (State::Quoted, b'"') => match state {
                State::Quoted => State::Closing,
                _ => State::Quoted,
            },
            (_, byte) if byte == delimiter => {
                is_first = false;
                State::FieldStart
            }
            (before, _) => {
                closed_in_text |= before == State::Closing && is_first && was_open;
                State::Text
            }
        };
        place += 1;
    }
    (state, closed_in_text)
}

/// Counts line breaks within a record.
fn count_breaks(record: &[u8]) -> u64 {
    let returns = memchr::memchr_iter(b'\r', record);
    let lone = returns.filter(|&place| record.get(place + 1) != Some(&b'\n'));
    (memchr::memchr_iter(b'\n', record).count() + lone.count()) as u64
}
