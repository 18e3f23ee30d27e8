//! Values of a row as JSON, the same in a file of JSON lines and in a request to the server.
//!
//! Strings, numbers, booleans (1 and 0), nulls and lists of these are values; a null in a list is left
//! out. A list of objects ([`Events`]) is as many parallel lists as they have keys.

mod events;

use crate::columns::ColumnBuilder;
pub use events::Events;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A whole number or a boolean.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text, or a whole number beyond 63 bits (see [`long_numbers_quoted`]).
    Text(Cow<'a, str>),
    /// A flat list without nulls.
    List(Vec<Cell<'a>>),
    /// A list of objects, where they are allowed ([`CellSeed::with_events`]).
    Events(Events<'a>),
}

impl Cell<'_> {
    /// Appends the value to the row that `column` is at.
    pub fn push_to(&self, column: &mut ColumnBuilder) {
        match self {
            Cell::Null => column.see(),
            Cell::Int(x) => column.push_int(*x),
            Cell::Float(x) => column.push_float(*x),
            Cell::Text(text) => column.push_text(text.as_bytes()),
            Cell::List(items) => {
                column.begin_list(items.len());
                items.iter().for_each(|item| item.push_to(column));
            }
            // Its attributes are columns of their own.
            Cell::Events(_) => column.see(),
        }
    }
}

/// Returns `json` with integers beyond 64 bits as strings of their digits: the parser would convert them to
/// floating-point numbers, and different ids could become equal.
pub fn long_numbers_quoted(json: &[u8]) -> Cow<'_, [u8]> {
    if !has_long_run(json) {
        return Cow::Borrowed(json);
    }
    let mut quoted = Vec::with_capacity(json.len() + 16);
    let (mut rest, mut in_string) = (json, false);
    while let Some(&byte) = rest.first() {
        let n = match byte {
            b'\\' if in_string => rest.len().min(2),
            b'-' | b'0'..=b'9' if !in_string => {
                let is_part = |c: &&u8| matches!(c, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                rest.iter().take_while(is_part).count()
            }
            _ => 1,
        };
        in_string ^= byte == b'"';
        let (token, after) = rest.split_at(n);
        if !in_string && is_beyond_64_bits(token) {
            quoted.extend([b"\"", token, b"\""].concat());
        } else {
            quoted.extend_from_slice(token);
        }
        rest = after;
    }
    Cow::Owned(quoted)
}

/// Digits of the shortest whole number that 64 bits may not hold.
const LONG: usize = 19;

/// Returns true if the text has a run of that many digits, in a string or not. Only every 19th byte is
/// checked.
fn has_long_run(json: &[u8]) -> bool {
    let is_digit = |c: &&u8| c.is_ascii_digit();
    (LONG - 1..json.len()).step_by(LONG).any(|at| {
        let before = json[..at].iter().rev().take_while(is_digit).count();
        json[at].is_ascii_digit() && before + json[at..].iter().take_while(is_digit).count() >= LONG
    })
}

fn is_beyond_64_bits(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    let is_whole = digits.iter().all(u8::is_ascii_digit);
    let text = || std::str::from_utf8(token).unwrap_or_default();
    // No zero before it: that is not a number, as the parser will say.
    digits.len() >= LONG
        && is_whole
        && digits[0] != b'0'
        && text().parse::<i64>().is_err()
        && text().parse::<u64>().is_err()
}

/// Describes the error in a text that should be JSON. Python writes `NaN` and `Infinity`, for which the
/// parser reports only that no value begins with these characters.
pub fn explained(text: &[u8], error: &serde_json::Error) -> String {
    let mut lines = text.split(|&byte| byte == b'\n');
    let line = lines.nth(error.line().saturating_sub(1));
    let place = match error.line() {
        0 | 1 => format!("at character {}", error.column()),
        line => format!("at line {line}, character {}", error.column()),
    };
    match not_json(line.unwrap_or_default(), error.column()) {
        Some(word) if error.is_syntax() || error.is_data() => {
            format!("JSON has no {word}; write null for an unknown value, {place}")
        }
        _ => {
            let parsers = format!(" at line {} column {}", error.line(), error.column());
            let what = brief(error);
            let what = what.strip_suffix(&parsers).unwrap_or(&what);
            match error.line() {
                0 => what.to_owned(),
                _ => format!("{what} {place}"),
            }
        }
    }
}

/// Returns the message of an error, at most 400 characters of it: a parser's error repeats the value that it
/// did not expect, at any length.
pub fn brief(error: &impl fmt::Display) -> String {
    struct Brief(String);

    impl fmt::Write for Brief {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            const MOST: usize = 400;
            let room = MOST.saturating_sub(self.0.chars().count());
            match text.char_indices().nth(room) {
                None => self.0.push_str(text),
                Some((end, _)) => {
                    self.0.push_str(&text[..end]);
                    return Err(fmt::Error);
                }
            }
            Ok(())
        }
    }

    let mut brief = Brief(String::new());
    if fmt::write(&mut brief, format_args!("{error}")).is_err() {
        brief.0.push_str("...");
    }
    brief.0
}

/// Returns the word at which the parser stopped: on its first letter, or before it at a minus sign.
fn not_json(line: &[u8], column: usize) -> Option<&'static str> {
    const NO_JSON: [&str; 2] = ["NaN", "Infinity"];
    let end = column.min(line.len());
    let mut tails = (end.saturating_sub(2)..=end).map(|start| &line[start..]);
    tails.find_map(|tail| {
        let word = NO_JSON
            .iter()
            .find(|word| tail.starts_with(word.as_bytes()));
        word.copied()
    })
}

/// Reads a [`Cell`].
#[derive(Clone, Copy, Debug)]
pub struct CellSeed {
    in_list: bool,
    /// Whether a list may be one of objects.
    takes_events: bool,
    /// The most items of a list.
    most_items: usize,
}

impl Default for CellSeed {
    /// Lists may be of any length.
    fn default() -> CellSeed {
        CellSeed::within(usize::MAX)
    }
}

impl CellSeed {
    /// Reads a value; a list may have at most `most_items` items.
    pub fn within(most_items: usize) -> CellSeed {
        CellSeed {
            in_list: false,
            takes_events: false,
            most_items,
        }
    }

    /// Also reads a list of objects, with at most as many values in all.
    pub fn with_events(self) -> CellSeed {
        CellSeed {
            takes_events: true,
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Cell<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cell<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.in_list {
            "a string, a number or a boolean in a list"
        } else {
            "a string, a number, a boolean, null or a list of these"
        })
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, x: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Int(x.into()))
    }

    fn visit_i64<E>(self, x: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Int(x))
    }

    fn visit_u64<E>(self, x: u64) -> Result<Cell<'de>, E> {
        let text = |_| Cell::Text(x.to_string().into());
        Ok(i64::try_from(x).map_or_else(text, Cell::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Float(x))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Cell<'de>, A::Error> {
        if self.in_list {
            return Err(A::Error::custom("a list in a list; write a flat one"));
        }
        if self.takes_events {
            return events::list(self, items);
        }
        let mut list = Vec::new();
        let item = CellSeed {
            in_list: true,
            ..self
        };
        while let Some(item) = items.next_element_seed(item)? {
            if matches!(item, Cell::Null) {
                continue;
            }
            if list.len() == self.most_items {
                let most = self.most_items;
                return Err(A::Error::custom(format!(
                    "a list of more than {most} items"
                )));
            }
            list.push(item);
        }
        Ok(Cell::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_keep_their_digits() {
        let check = |json: &str, expected: &str| {
            let quoted = long_numbers_quoted(json.as_bytes());
            assert_eq!(std::str::from_utf8(&quoted).unwrap(), expected, "{json}");
        };
        check("[12345678901234567890123]", "[\"12345678901234567890123\"]");
        check(
            "{\"a\":-12345678901234567890, \"b\": 1}",
            "{\"a\":\"-12345678901234567890\", \"b\": 1}",
        );
        check("[1, 18446744073709551616]", "[1, \"18446744073709551616\"]");
        for json in [
            "[18446744073709551615, -9223372036854775808, 1234567890123456789]",
            "{\"12345678901234567890123\": \"12345678901234567890123\"}",
            "[\"a\\\"\\\\\", \"\\\"12345678901234567890123\"]",
            "[12345678901234567890123.0, 12345678901234567890123e2]",
            "[00012345678901234567890123]",
            "[1234567890123456789",
            "12345",
        ] {
            check(json, json);
        }
    }
}
