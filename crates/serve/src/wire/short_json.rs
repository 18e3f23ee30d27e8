//! Parsers of short texts in JSON: names, labels, ids.

use super::bounds::{Bounds, MAX_NAME, check_length};
use ncs_features::json::{Cell, CellSeed};
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Parses a text of at most `most` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short<'a, 'b> {
    pub(super) what: &'static str,
    pub(super) most: usize,
    pub(super) bounds: &'a Bounds<'b>,
}

impl<'a, 'b> Short<'a, 'b> {
    /// Creates a parser for a name.
    pub(super) fn name(what: &'static str, bounds: &'a Bounds<'b>) -> Short<'a, 'b> {
        Short {
            what,
            most: MAX_NAME,
            bounds,
        }
    }

    fn check<E: Error>(&self, text: &str) -> Result<(), E> {
        let checked = check_length(self.what, text.as_bytes(), self.most);
        checked.map_err(|refusal| self.bounds.stop(refusal))
    }
}

impl<'de> DeserializeSeed<'de> for Short<'_, '_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Short<'_, '_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        self.check(text)?;
        Ok(text.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        self.check(text)?;
        Ok(text.to_owned().into())
    }
}

/// Parses a string or null.
pub(super) struct OrNull<'a, 'b>(pub(super) Short<'a, 'b>);

impl<'de> DeserializeSeed<'de> for OrNull<'_, '_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OrNull<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        Ok(Some(self.0.deserialize(from)?.into_owned()))
    }
}

/// Parses a string, or a whole number as one; `None` for null.
pub(super) struct Word<'a, 'b>(pub(super) Short<'a, 'b>);

impl<'de> DeserializeSeed<'de> for Word<'_, '_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        match CellSeed::within(1).deserialize(from)? {
            Cell::Null => Ok(None),
            Cell::Int(number) => Ok(Some(number.to_string())),
            Cell::Text(text) => {
                self.0.check(&text)?;
                Ok(Some(text.into_owned()))
            }
            _ => Err(D::Error::custom("expected a string or a whole number")),
        }
    }
}
