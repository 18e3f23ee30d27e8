//! One JSON object a line.
//!
//! Strings, numbers (whole ones with all their digits), booleans (1 and 0), nulls and lists of these are
//! values; a null in a list is left out. Of a list of objects the column `history.item` is the list of their `item`.
//! Blank lines are no rows.

use crate::columns::{LONGEST_LIST, LONGEST_ROW, ReadRow, RowsBuilder};
use crate::input::Input;
use crate::plan::Reading;
use crate::source::ReadError;
use ncs_features::json::{Cell, CellSeed, explained, long_numbers_quoted};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
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
    wanted: Wanted,
}

/// The requested columns.
#[derive(Default)]
struct Wanted {
    n_columns: usize,
    /// Index of the column of each key.
    keys: HashMap<String, usize>,
    /// For keys of lists of objects, the index of the column of each of their attributes.
    events: HashMap<String, HashMap<String, usize>>,
}

impl Wanted {
    fn new(columns: &[String]) -> Wanted {
        let mut wanted = Wanted {
            n_columns: columns.len(),
            ..Wanted::default()
        };
        for (place, column) in columns.iter().enumerate() {
            wanted.keys.insert(column.clone(), place);
            if let Some((key, attribute)) = column.split_once('.') {
                let attributes = wanted.events.entry(key.to_owned()).or_default();
                attributes.insert(attribute.to_owned(), place);
            }
        }
        wanted
    }
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
            wanted: Wanted::new(columns),
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
        _ => Ok(keys.columns()),
    }
}

/// Keys, each once.
#[derive(Default)]
struct Keys {
    in_order: Vec<String>,
    known: HashSet<String>,
    /// Those that have been something else than null, an empty list, or a list of objects.
    with_values: HashSet<String>,
    /// Those that have been a list of objects.
    of_events: HashSet<String>,
}

impl Keys {
    /// Returns the keys, those of lists of objects by their attributes alone.
    fn columns(self) -> Vec<String> {
        let is_column =
            |key: &String| self.with_values.contains(key) || !self.of_events.contains(key);
        self.in_order.into_iter().filter(is_column).collect()
    }

    fn add_key(&mut self, key: String) {
        if self.known.insert(key.clone()) {
            self.in_order.push(key);
        }
    }

    /// Adds the keys of a line. Values that cannot be read are no matter here: columns that nobody reads may have them.
    fn add(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let mut add = |looks_at_values| {
            let mut json = serde_json::Deserializer::from_slice(line);
            json.deserialize_map(KeysOf {
                keys: &mut *self,
                looks_at_values,
            })?;
            json.end()
        };
        add(true).or_else(|_| add(false))
    }
}

/// Visitor that adds the keys of an object; without looking at its values, no kind of them.
struct KeysOf<'k> {
    keys: &'k mut Keys,
    looks_at_values: bool,
}

impl<'de> Visitor<'de> for KeysOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if !self.looks_at_values {
                map.next_value::<IgnoredAny>()?;
                self.keys.add_key(key);
                continue;
            }
            match map.next_value_seed(KindOf)? {
                ValueKind::Nothing => self.keys.add_key(key),
                ValueKind::Value => {
                    self.keys.add_key(key.clone());
                    self.keys.with_values.insert(key);
                }
                ValueKind::Events(attributes) => {
                    let names = attributes.iter().map(|name| format!("{key}.{name}"));
                    names.for_each(|name| self.keys.add_key(name));
                    self.keys.of_events.insert(key);
                }
            }
        }
        Ok(())
    }
}

/// The kind of a value.
enum ValueKind {
    /// Null, or an empty list.
    Nothing,
    Value,
    /// A list of objects, by the keys of the first.
    Events(Vec<String>),
}

struct KindOf;

impl<'de> DeserializeSeed<'de> for KindOf {
    type Value = ValueKind;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ValueKind, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        let items = value.as_array().map_or(&[][..], |items| items);
        let mut objects = items.iter().filter_map(serde_json::Value::as_object);
        Ok(match objects.next() {
            Some(object) => ValueKind::Events(object.keys().cloned().collect()),
            None if value.is_null() || value.is_array() && items.is_empty() => ValueKind::Nothing,
            None => ValueKind::Value,
        })
    }
}

/// Returns the values of the wanted columns in one line; `None` for an absent key.
fn cells<'a>(line: &'a [u8], wanted: &Wanted) -> Result<Vec<Option<Cell<'a>>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let cells = json.deserialize_map(Object(wanted))?;
    json.end()?;
    Ok(cells)
}

struct Object<'w>(&'w Wanted);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Option<Cell<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells: Self::Value = std::iter::repeat_with(|| None)
            .take(self.0.n_columns)
            .collect();
        while let Some((name, place)) = map.next_key_seed(Key(self.0))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let column = |error| A::Error::custom(format!("column {name:?}: {error}"));
            let twice = || A::Error::custom(format!("column {name:?} comes twice"));
            let seed = CellSeed::within(LONGEST_LIST);
            let seed = match place {
                Place::Column(_) => seed,
                Place::Events(_) => seed.with_events(),
            };
            let cell = map.next_value_seed(seed).map_err(column)?;
            match place {
                Place::Column(place) if cells[place].is_some() => return Err(twice()),
                Place::Column(place) => cells[place] = Some(cell),
                Place::Events(attributes) if is_filled(&cells, attributes) => return Err(twice()),
                Place::Events(attributes) => spread(cell, attributes, &mut cells),
            }
        }
        Ok(cells)
    }
}

/// Returns true if some attribute has come already.
fn is_filled(cells: &[Option<Cell<'_>>], attributes: &HashMap<String, usize>) -> bool {
    attributes.values().any(|&place| cells[place].is_some())
}

/// Distributes the attributes of events to their columns. Those that no event has are as many missing values; where there
/// are no events, all are empty.
fn spread<'a>(cell: Cell<'a>, attributes: &HashMap<String, usize>, cells: &mut [Option<Cell<'a>>]) {
    let Cell::Events(events) = cell else {
        for &place in attributes.values() {
            cells[place] = Some(cell.clone());
        }
        return;
    };
    let n_events = events.n_events();
    for &place in attributes.values() {
        cells[place] = Some(Cell::List(vec![Cell::Text("".into()); n_events]));
    }
    for (name, values) in events.attributes {
        if let Some(&place) = attributes.get(&*name) {
            cells[place] = Some(Cell::List(values));
        }
    }
}

/// Where the value of a key goes.
#[derive(Clone, Copy)]
enum Place<'w> {
    Column(usize),
    Events(&'w HashMap<String, usize>),
}

/// A key: its name and place where it is wanted.
struct Key<'w>(&'w Wanted);

impl<'de, 'w> DeserializeSeed<'de> for Key<'w> {
    type Value = (&'w str, Option<Place<'w>>);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Key<'w> {
    type Value = (&'w str, Option<Place<'w>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if let Some((name, &place)) = self.0.keys.get_key_value(key) {
            return Ok((name, Some(Place::Column(place))));
        }
        let found = self.0.events.get_key_value(key);
        Ok(found.map_or(("", None), |(name, attributes)| {
            (name.as_str(), Some(Place::Events(attributes)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_flat_object_is_explained() {
        let check = |line: &str, expected: &str| {
            let wanted = Wanted::new(&["a".to_owned()]);
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
