//! Values of an input, as nested lists of at most two sizes.

use super::super::bounds::{Bounds, ColumnWeight};
use ncs_features::Values;
use ncs_features::columns::ColumnBuilder;
use ncs_features::json::Cell;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// All values of nested lists in order, and their number.
pub(super) struct Flat(pub(super) Values, pub(super) usize);

/// Parses the values of an input.
pub(super) struct Data<'a, 'b>(pub(super) &'a Bounds<'b>);

impl<'de> DeserializeSeed<'de> for Data<'_, '_> {
    type Value = Flat;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Flat, D::Error> {
        let mut flat = Flattened {
            column: ColumnBuilder::new(""),
            weight: ColumnWeight::default(),
            n: 0,
            bounds: self.0,
        };
        let all = Item {
            of: &mut flat,
            depth: 0,
        };
        all.deserialize(from)?;
        Ok(Flat(flat.column.finish().values, flat.n))
    }
}

struct Flattened<'a, 'b> {
    column: ColumnBuilder,
    weight: ColumnWeight,
    n: usize,
    bounds: &'a Bounds<'b>,
}

impl Flattened<'_, '_> {
    fn push<E: Error>(&mut self, value: &Cell<'_>) -> Result<(), E> {
        self.weight.value(self.bounds, value)?;
        self.n += 1;
        value.push_to(&mut self.column);
        Ok(())
    }
}

struct Item<'f, 'a, 'b> {
    of: &'f mut Flattened<'a, 'b>,
    /// Number of lists around this item.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.depth {
            0 => from.deserialize_seq(self),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Item<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.depth {
            0 => "a list of values",
            _ => "a number, a string, a boolean or a list of these",
        })
    }

    fn visit_bool<E: Error>(self, x: bool) -> Result<(), E> {
        self.visit_i64(x.into())
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<(), E> {
        self.of.push(&Cell::Int(x))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<(), E> {
        match i64::try_from(x) {
            Ok(x) => self.visit_i64(x),
            Err(_) => self.visit_str(&x.to_string()),
        }
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<(), E> {
        self.of.push(&Cell::Float(x))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.of.push(&Cell::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == 2 {
            return Err(A::Error::custom(
                "lists of lists of lists; a column has two sizes at most",
            ));
        }
        loop {
            let item = Item {
                of: &mut *self.of,
                depth: self.depth + 1,
            };
            if list.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
    }
}
