//! Lists of objects: the events of a sequence, each with its attributes.

use super::{Cell, CellSeed};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The events of a row as parallel lists. A null attribute, or one that an event lacks, is the empty text: it keeps its
/// place, as a null event does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events<'a> {
    /// For each key of the objects, in the order of their appearance, its values.
    pub attributes: Vec<(Cow<'a, str>, Vec<Cell<'a>>)>,
    n_events: usize,
}

const MISSING: Cell<'static> = Cell::Text(Cow::Borrowed(""));

impl<'a> Events<'a> {
    /// Returns the number of events.
    pub fn n_events(&self) -> usize {
        self.n_events
    }

    /// Adds an event.
    fn push(&mut self, event: Vec<(Cow<'a, str>, Cell<'a>)>) -> Result<(), String> {
        for (place, (name, cell)) in event.into_iter().enumerate() {
            let is_it = |(known, _): &(Cow<'_, str>, _)| *known == name;
            // Events nearly always list their attributes in the same order.
            let guess = self.attributes.get(place).is_some_and(is_it);
            let found = if guess {
                Some(place)
            } else {
                self.attributes.iter().position(is_it)
            };
            let found = found.unwrap_or_else(|| {
                let before = vec![MISSING; self.n_events];
                self.attributes.push((name, before));
                self.attributes.len() - 1
            });
            let (name, values) = &mut self.attributes[found];
            if values.len() > self.n_events {
                return Err(format!("{name:?} comes twice in an event"));
            }
            values.push(match cell {
                Cell::Null => MISSING,
                cell => cell,
            });
        }
        self.n_events += 1;
        for (_, values) in &mut self.attributes {
            values.resize(self.n_events, MISSING);
        }
        Ok(())
    }
}

/// An item of a list.
enum Item<'a> {
    Value(Cell<'a>),
    Event(Vec<(Cow<'a, str>, Cell<'a>)>),
}

/// Reads the items of a list: values, or objects.
pub(super) fn list<'de, A: SeqAccess<'de>>(
    seed: CellSeed,
    mut items: A,
) -> Result<Cell<'de>, A::Error> {
    let (mut list, mut events) = (Vec::new(), Events::default());
    let (mut n_nulls, mut n_values) = (0, 0);
    let item = ItemSeed(CellSeed {
        in_list: true,
        ..seed
    });
    while let Some(item) = items.next_element_seed(item)? {
        match item {
            Item::Value(Cell::Null) if events.n_events > 0 => {
                events.push(Vec::new()).map_err(A::Error::custom)?;
            }
            Item::Value(Cell::Null) => n_nulls += 1,
            Item::Value(value) => {
                n_values += 1;
                list.push(value);
            }
            Item::Event(event) => {
                // Nulls before the first object are events too.
                for _ in 0..std::mem::take(&mut n_nulls) {
                    events.push(Vec::new()).map_err(A::Error::custom)?;
                }
                events.push(event).map_err(A::Error::custom)?;
            }
        }
        let n_of_events = events
            .n_events
            .saturating_mul(events.attributes.len().max(1));
        if n_values.max(n_of_events).max(n_nulls) > seed.most_items {
            let most = seed.most_items;
            return Err(A::Error::custom(format!(
                "a list of more than {most} items"
            )));
        }
        if !list.is_empty() && events.n_events > 0 {
            return Err(A::Error::custom("a list of values and of objects"));
        }
    }
    Ok(match events.n_events {
        0 => Cell::List(list),
        _ => Cell::Events(events),
    })
}

/// Reads a value of a list, or an object of values.
#[derive(Clone, Copy)]
struct ItemSeed(CellSeed);

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Item<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, a boolean, or an object of these, in a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Item<'de>, E> {
        self.0.visit_unit().map(Item::Value)
    }

    fn visit_bool<E: Error>(self, x: bool) -> Result<Item<'de>, E> {
        self.0.visit_bool(x).map(Item::Value)
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<Item<'de>, E> {
        self.0.visit_i64(x).map(Item::Value)
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<Item<'de>, E> {
        self.0.visit_u64(x).map(Item::Value)
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Item<'de>, E> {
        self.0.visit_f64(x).map(Item::Value)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Item<'de>, E> {
        self.0.visit_borrowed_str(text).map(Item::Value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item<'de>, E> {
        self.0.visit_str(text).map(Item::Value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Item<'de>, A::Error> {
        self.0.visit_seq(items).map(Item::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let mut event: Vec<(Cow<'de, str>, Cell<'de>)> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if event.len() == self.0.most_items {
                return Err(A::Error::custom("an event of too many attributes"));
            }
            event.push((name, map.next_value_seed(self.0)?));
        }
        Ok(Item::Event(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, most: usize) -> Result<Cell<'_>, String> {
        let mut from = serde_json::Deserializer::from_str(json);
        let seed = CellSeed::within(most).with_events();
        seed.deserialize(&mut from)
            .map_err(|error| error.to_string())
    }

    fn attribute<'a>(cell: &'a Cell<'_>, name: &str) -> &'a [Cell<'a>] {
        let Cell::Events(events) = cell else {
            panic!("{cell:?}");
        };
        let mut attributes = events.attributes.iter();
        &attributes.find(|(known, _)| known == name).unwrap().1
    }

    #[test]
    fn objects_become_parallel_lists() {
        let json =
            r#"[null, {"item": 3, "ts": 0.5}, {"ts": 1, "item": null}, {"item": "b"}, null]"#;
        let found = read(json, 100).unwrap();
        let items = [
            MISSING,
            Cell::Int(3),
            MISSING,
            Cell::Text("b".into()),
            MISSING,
        ];
        assert_eq!(attribute(&found, "item"), items);
        let times = [MISSING, Cell::Float(0.5), Cell::Int(1), MISSING, MISSING];
        assert_eq!(attribute(&found, "ts"), times);
    }

    #[test]
    fn other_lists_are_as_before() {
        assert_eq!(read("[]", 5), Ok(Cell::List(Vec::new())));
        let list = Cell::List(vec![Cell::Int(1), Cell::Int(2)]);
        assert_eq!(read("[1, null, 2]", 5), Ok(list));
        assert_eq!(read("null", 5), Ok(Cell::Null));
    }

    #[test]
    fn what_is_no_list_of_events_is_refused() {
        for (json, what) in [
            (r#"[{"a": 1}, 2]"#, "of values and of objects"),
            (r#"[{"a": [1]}]"#, "a list in a list"),
            (r#"[{"a": {"b": 1}}]"#, "invalid type: map"),
            (r#"[{"a": 1, "a": 2}]"#, "comes twice in an event"),
            (
                r#"[{"a": 1, "b": 2}, {"a": 1}, {"a": 1}]"#,
                "more than 5 items",
            ),
            ("[1, 2, 3, 4, 5, 6]", "more than 5 items"),
        ] {
            let error = read(json, 5).unwrap_err();
            assert!(error.contains(what), "{json}: {error}");
        }
    }
}
