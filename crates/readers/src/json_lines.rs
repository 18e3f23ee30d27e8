//! One JSON object a line.
//!
//! Strings, numbers (whole ones with all their digits), booleans (1 and 0), nulls and lists of these are
//! values; a null in a list is left out. Blank lines are no rows.

use crate::columns::{LONGEST_LIST, LONGEST_ROW, ReadRow, RowsBuilder};
use crate::input::Input;
use crate::plan::Reading;
use crate::source::ReadError;
use ncs_features::json::{Cell, CellSeed, explained, long_numbers_quoted};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

/// A file of JSON objects, read line by line.
pub(crate) struct JsonLines {
    path: PathBuf,
    input: Input,
    line: Vec<u8>,
    /// Number of the line, from 1.
    line_number: u64,
    /// Index of the requested column of each key.
    wanted: HashMap<String, usize>,
}

/// A line that is not blank.
enum Line {
    Whole,
    /// Longer than the limit of a row; the rest of it was skipped.
    TooLong,
}

impl JsonLines {
    pub(crate) fn open(
        path: &Path,
        reading: &Reading,
        columns: &[String],
    ) -> Result<JsonLines, ReadError> {
        Ok(JsonLines {
            path: path.to_owned(),
            input: Input::open_text(path, reading.encoding)?,
            line: Vec::new(),
            line_number: 0,
            wanted: columns.iter().cloned().zip(0..).collect(),
        })
    }

    /// Reads the next line that is not blank; `None` at the end.
    fn next_line(&mut self, rows: u64) -> Result<Option<Line>, ReadError> {
        self.read_line()
            .map_err(|source| ReadError::reading(&self.path, rows, source))
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.line.clear();
            self.line_number += 1;
            let mut limited = (&mut self.input).take(LONGEST_ROW as u64 + 1);
            let n = limited.read_until(b'\n', &mut self.line)?;
            if n > LONGEST_ROW && self.line.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
                return Ok(Some(Line::TooLong));
            }
            if n == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line::Whole));
            }
        }
    }

    fn text(&self) -> &[u8] {
        const MARK: &[u8] = "\u{FEFF}".as_bytes();
        self.line
            .strip_prefix(MARK)
            .unwrap_or(&self.line)
            .trim_ascii()
    }

    /// Describes the error in the line, with the parser's message and advice.
    fn complaint(&self, line: &Line, error: Option<&serde_json::Error>) -> String {
        let text = self.text();
        match (line, error) {
            (Line::TooLong, _) | (_, None) => {
                let hint = hint(&self.path, text).unwrap_or_default();
                format!("it is longer than {} MiB{hint}", LONGEST_ROW >> 20)
            }
            (Line::Whole, Some(error)) => {
                let hint = hint(&self.path, text).or_else(|| hint_for(text, error));
                format!("{}{}", explained(text, error), hint.unwrap_or_default())
            }
        }
    }
}

/// Returns advice for a line that shows that the file is JSON, but not one object per line.
fn hint(path: &Path, text: &[u8]) -> Option<String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let file = file.trim_end_matches(".gz").trim_end_matches(".zst");
    match text.first()? {
        b'[' => Some(format!(
            "; a list of objects is read once it is one object a line: jq -c '.[]' {file}"
        )),
        b'{' if text.len() == 1 => Some(format!(
            "; objects over several lines are read once they are one a line: jq -c . {file}"
        )),
        _ => None,
    }
}

fn hint_for(text: &[u8], error: &serde_json::Error) -> Option<String> {
    let error = error.to_string();
    if std::str::from_utf8(text).is_err() && error.contains("unicode") {
        let hint = "; its bytes are not UTF-8: write it as UTF-8, or set encoding = \"latin-1\" (or \
                    \"windows-1252\") if that is what it is";
        return Some(hint.to_owned());
    }
    if error.starts_with("trailing characters") && text.ends_with(b",") {
        return Some("; leave out the comma after the object".to_owned());
    }
    let is_surrogate = error.contains("surrogate") || error.contains("end of hex escape");
    is_surrogate.then(|| {
        "; a lone surrogate is half of a character and no text: leave it out where the file is written"
            .to_owned()
    })
}

impl ReadRow for JsonLines {
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError> {
        let Some(line) = self.next_line(rows.rows_done())? else {
            return Ok(false);
        };
        let text = long_numbers_quoted(self.text());
        let cells = match line {
            Line::Whole => cells(&text, &self.wanted).map_err(Some),
            Line::TooLong => Err(None),
        };
        match cells {
            Ok(cells) => {
                for (i, cell) in cells.iter().enumerate() {
                    if let Some(cell) = cell {
                        cell.push_to(rows.column(i));
                    }
                }
                rows.end_row();
            }
            Err(error) => {
                let what = self.complaint(&line, error.as_ref());
                rows.break_row(Some(self.line_number), &what);
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }
}

/// Returns the keys of the first `n` objects, in order of appearance.
///
/// # Errors
/// A line is not an object: the first line, if no row may be broken; otherwise all lines.
pub(crate) fn keys(path: &Path, reading: &Reading, n: usize) -> Result<Vec<String>, ReadError> {
    let mut file = JsonLines::open(path, reading, &[])?;
    let mut keys = Keys::default();
    let mut first_broken = None;
    let mut rows = 0;
    while rows < n as u64
        && let Some(line) = file.next_line(rows)?
    {
        rows += 1;
        let read = match line {
            Line::Whole => keys.add(file.text()).map_err(Some),
            Line::TooLong => Err(None),
        };
        if let Err(error) = read {
            let what = file.complaint(&line, error.as_ref());
            let what = format!("row {rows} (line {}): {what}", file.line_number);
            let path = path.to_owned();
            first_broken.get_or_insert(ReadError::Row {
                path,
                row: rows,
                what,
            });
            if reading.max_broken_share == 0.0 {
                break;
            }
        }
    }
    match first_broken {
        Some(error) if reading.max_broken_share == 0.0 || keys.in_order.is_empty() => Err(error),
        _ => Ok(keys.in_order),
    }
}

/// Keys, each once.
#[derive(Default)]
struct Keys {
    in_order: Vec<String>,
    known: HashSet<String>,
}

impl Keys {
    fn add(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(line);
        json.deserialize_map(KeysOf(self))?;
        json.end()
    }
}

/// Visitor that adds the keys of an object and skips its values.
struct KeysOf<'k>(&'k mut Keys);

impl<'de> Visitor<'de> for KeysOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if !self.0.known.contains(&key) {
                self.0.known.insert(key.clone());
                self.0.in_order.push(key);
            }
        }
        Ok(())
    }
}

/// Returns the values of the wanted columns in one line; `None` for an absent key.
fn cells<'a>(
    line: &'a [u8],
    wanted: &HashMap<String, usize>,
) -> Result<Vec<Option<Cell<'a>>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let cells = json.deserialize_map(Object(wanted))?;
    json.end()?;
    Ok(cells)
}

struct Object<'w>(&'w HashMap<String, usize>);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Option<Cell<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells: Self::Value = std::iter::repeat_with(|| None).take(self.0.len()).collect();
        while let Some((name, place)) = map.next_key_seed(Key(self.0))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let column = |error| A::Error::custom(format!("column {name:?}: {error}"));
            if cells[place].is_some() {
                return Err(A::Error::custom(format!("column {name:?} comes twice")));
            }
            cells[place] = Some(
                map.next_value_seed(CellSeed::within(LONGEST_LIST))
                    .map_err(column)?,
            );
        }
        Ok(cells)
    }
}

/// A key: its name and place where it is wanted.
struct Key<'w>(&'w HashMap<String, usize>);

impl<'de, 'w> DeserializeSeed<'de> for Key<'w> {
    type Value = (&'w str, Option<usize>);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Key<'w> {
    type Value = (&'w str, Option<usize>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let found = self.0.get_key_value(key);
        Ok(found.map_or(("", None), |(name, &place)| (name.as_str(), Some(place))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_flat_object_is_explained() {
        let check = |line: &str, expected: &str| {
            let wanted = HashMap::from([("a".to_owned(), 0)]);
            let error = cells(line.as_bytes(), &wanted).err().unwrap();
            let error = explained(line.as_bytes(), &error);
            assert!(error.contains(expected), "{line}: {error}");
        };
        check("{\"a\": 1", "EOF while parsing an object");
        check("[1]", "expected one JSON object a line");
        check("{\"a\": {\"b\": 1}}", "column \"a\": invalid type: map");
        check("{\"a\": [[1]]}", "column \"a\": a list in a list");
        check("{\"a\": 1, \"a\": 2}", "column \"a\" comes twice");
        check("{\"a\": 1} {", "trailing characters");
        check("{\"a\": 1e999}", "number out of range");
        let no_nan = "JSON has no NaN; write null for an unknown value, at character 7";
        check("{\"a\": NaN}", no_nan);
        check("{\"b\": NaN}", no_nan);
        check("{\"a\": [1, NaN]}", "JSON has no NaN");
        check("{\"a\":Infinity}", "JSON has no Infinity");
        check("{\"a\": -Infinity}", "JSON has no Infinity");
        check("{\"a\": \"NaN\" 1}", "expected `,` or `}`");
    }
}
