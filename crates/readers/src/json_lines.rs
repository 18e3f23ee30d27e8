//! One JSON object a line.
//!
//! Strings, numbers (whole ones with all their digits), booleans (1 and 0), nulls and lists of these are
//! values; a null in a list is left out. Blank lines are no rows.

use crate::columns::{ReadRow, RowsBuilder};
use crate::input::Input;
use crate::source::ReadError;
use ncs_features::json::{Cell, CellSeed, explained, long_numbers_quoted};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// A longer line is no line of a log.
const LONGEST_LINE: u64 = 1 << 26;

/// A file of JSON objects, read line by line.
pub(crate) struct JsonLines {
    path: PathBuf,
    input: Input,
    line: Vec<u8>,
    /// Which column a key is, of those that were asked for.
    wanted: HashMap<String, usize>,
}

impl JsonLines {
    pub(crate) fn open(path: &Path, columns: &[String]) -> Result<JsonLines, ReadError> {
        Ok(JsonLines {
            path: path.to_owned(),
            input: Input::open(path)?,
            line: Vec::new(),
            wanted: columns.iter().cloned().zip(0..).collect(),
        })
    }

    /// The next line that is not blank; `false` at the end.
    fn next_line(&mut self, rows: u64) -> Result<bool, ReadError> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.input).take(LONGEST_LINE);
            let n = limited
                .read_until(b'\n', &mut self.line)
                .map_err(|source| ReadError::reading(&self.path, rows, source))?;
            if n as u64 == LONGEST_LINE {
                let what = "a line longer than 64 MiB: this is no file of one JSON object a line";
                return Err(ReadError::damaged(&self.path, rows, what));
            }
            if n == 0 || !self.line.trim_ascii().is_empty() {
                return Ok(n > 0);
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
}

impl ReadRow for JsonLines {
    fn read_row(&mut self, rows: &mut RowsBuilder) -> Result<bool, ReadError> {
        if !self.next_line(rows.rows_done())? {
            return Ok(false);
        }
        match cells(&long_numbers_quoted(self.text()), &self.wanted) {
            Ok(cells) => {
                for (i, cell) in cells.iter().enumerate() {
                    if let Some(cell) = cell {
                        cell.push_to(rows.column(i));
                    }
                }
                rows.end_row(self.line.len());
            }
            Err(error) => {
                let what = explained(self.text(), &error);
                rows.break_row(self.line.len(), &what);
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }
}

/// The keys of the first `n` objects, in order of appearance.
pub(crate) fn keys(path: &Path, n: usize) -> Result<Vec<String>, ReadError> {
    let mut file = JsonLines::open(path, &[])?;
    let mut keys: Vec<String> = Vec::new();
    let mut rows = 0;
    while rows < n as u64 && file.next_line(rows)? {
        rows += 1;
        let object: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_slice(file.text());
        for key in object.unwrap_or_default().keys() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
    }
    Ok(keys)
}

/// The values of the wanted columns in one line; `None` for an absent key.
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
            let column = |error| A::Error::custom(format!("column \"{name}\": {error}"));
            if cells[place].is_some() {
                return Err(A::Error::custom(format!("column \"{name}\" comes twice")));
            }
            cells[place] = Some(map.next_value_seed(CellSeed::default()).map_err(column)?);
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
