//! JSON of an infer request, parsed within bounds. Unknown keys are ignored, as the protocol requires.

use super::super::MAX_COLUMNS;
use super::super::bounds::{Bounds, MAX_ID};
use super::super::short_json::{OrNull, Short, Word};
use super::flat::{Data, Flat};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Bytes of an input besides its name and values, and of an output besides its name.
const INPUT: usize = 512;
const OUTPUT: usize = 128;

/// Maximum number of dimensions of a shape.
const MAX_SIZES: usize = 8;

#[derive(Default)]
pub(super) struct RequestJson {
    pub(super) id: Option<String>,
    pub(super) parameters: ParametersJson,
    pub(super) inputs: Vec<InputJson>,
    pub(super) outputs: Option<Vec<OutputJson>>,
}

#[derive(Default)]
pub(super) struct ParametersJson {
    pub(super) binary_data_output: Option<bool>,
    pub(super) binary_data_size: Option<usize>,
    pub(super) binary_data: Option<bool>,
    pub(super) has_classification: bool,
    pub(super) is_shared: bool,
    pub(super) label: Option<String>,
    pub(super) user: Option<String>,
    pub(super) timeout: Option<u64>,
}

#[derive(Default)]
pub(super) struct InputJson {
    pub(super) name: String,
    pub(super) shape: Vec<i64>,
    pub(super) datatype: String,
    pub(super) parameters: ParametersJson,
    pub(super) data: Option<Flat>,
}

#[derive(Default)]
pub(super) struct OutputJson {
    pub(super) name: String,
    pub(super) parameters: ParametersJson,
}

/// An object that is parsed key by key.
trait Keyed: Default {
    /// Description for error messages.
    const WHAT: &'static str;
    /// Its keys, the required ones first.
    const KEYS: &'static [&'static str];
    /// Number of required keys.
    const N_REQUIRED: usize;

    /// Parses the value of a key.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        bounds: &Bounds<'_>,
    ) -> Result<(), A::Error>;
}

/// Parses an object.
pub(super) struct Object<'a, 'b, T>(&'a Bounds<'b>, PhantomData<T>);

impl<'a, 'b, T> Object<'a, 'b, T> {
    pub(super) fn within(bounds: &'a Bounds<'b>) -> Object<'a, 'b, T> {
        Object(bounds, PhantomData)
    }
}

impl<'de, T: Keyed> DeserializeSeed<'de> for Object<'_, '_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, T: Keyed> Visitor<'de> for Object<'_, '_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let bounds = self.0;
        let mut object = T::default();
        let mut seen = [false; 16];
        while let Some(key) = map.next_key_seed(Short::name("a key", bounds))? {
            let Some(index) = T::KEYS.iter().position(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[index], true) {
                return Err(A::Error::duplicate_field(T::KEYS[index]));
            }
            object.read(T::KEYS[index], &mut map, bounds)?;
        }
        match seen[..T::N_REQUIRED].iter().position(|seen| !seen) {
            Some(index) => Err(A::Error::missing_field(T::KEYS[index])),
            None => Ok(object),
        }
    }
}

impl Keyed for RequestJson {
    const WHAT: &'static str = "an infer request: an object with \"inputs\"";
    const KEYS: &'static [&'static str] = &["inputs", "id", "parameters", "outputs"];
    const N_REQUIRED: usize = 1;

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        bounds: &Bounds<'_>,
    ) -> Result<(), A::Error> {
        let id = Short {
            what: "\"id\"",
            most: MAX_ID,
            bounds,
        };
        match key {
            "inputs" => self.inputs = map.next_value_seed(Many::of(INPUT, bounds))?,
            "id" => self.id = map.next_value_seed(OrNull(id))?,
            "parameters" => self.parameters = map.next_value_seed(Object::within(bounds))?,
            _ => self.outputs = map.next_value_seed(Optional(Many::of(OUTPUT, bounds)))?,
        }
        Ok(())
    }
}

impl Keyed for ParametersJson {
    const WHAT: &'static str = "an object of parameters";
    const KEYS: &'static [&'static str] = &[
        "binary_data_output",
        "binary_data_size",
        "binary_data",
        "classification",
        "shared_memory_region",
        "label",
        "user",
        "timeout",
    ];
    const N_REQUIRED: usize = 0;

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        bounds: &Bounds<'_>,
    ) -> Result<(), A::Error> {
        match key {
            "binary_data_output" => self.binary_data_output = map.next_value()?,
            "binary_data_size" => self.binary_data_size = map.next_value()?,
            "binary_data" => self.binary_data = map.next_value()?,
            "classification" => {
                self.has_classification = map.next_value::<Option<IgnoredAny>>()?.is_some();
            }
            "shared_memory_region" => {
                self.is_shared = map.next_value::<Option<IgnoredAny>>()?.is_some();
            }
            "label" => {
                self.label = map.next_value_seed(OrNull(Short::name("\"label\"", bounds)))?
            }
            // A whole number is accepted too, as in the rank call.
            "user" => self.user = map.next_value_seed(Word(Short::name("\"user\"", bounds)))?,
            _ => self.timeout = map.next_value()?,
        }
        Ok(())
    }
}

impl Keyed for InputJson {
    const WHAT: &'static str = "an input: an object with \"name\", \"shape\" and \"datatype\"";
    const KEYS: &'static [&'static str] = &["name", "shape", "datatype", "parameters", "data"];
    const N_REQUIRED: usize = 3;

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        bounds: &Bounds<'_>,
    ) -> Result<(), A::Error> {
        let short = |what| Short::name(what, bounds);
        match key {
            "name" => {
                let name = map.next_value_seed(short("an input's name"))?;
                bounds.spend(2 * name.len())?;
                self.name = name.into_owned();
            }
            "shape" => self.shape = map.next_value_seed(Shape)?,
            "datatype" => {
                self.datatype = map.next_value_seed(short("a datatype"))?.into_owned();
            }
            "parameters" => self.parameters = map.next_value_seed(Object::within(bounds))?,
            _ => self.data = map.next_value_seed(Optional(Data(bounds)))?,
        }
        Ok(())
    }
}

impl Keyed for OutputJson {
    const WHAT: &'static str = "an output: an object with \"name\"";
    const KEYS: &'static [&'static str] = &["name", "parameters"];
    const N_REQUIRED: usize = 1;

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        bounds: &Bounds<'_>,
    ) -> Result<(), A::Error> {
        match key {
            "name" => {
                let name = map.next_value_seed(Short::name("an output's name", bounds))?;
                bounds.spend(name.len())?;
                self.name = name.into_owned();
            }
            _ => self.parameters = map.next_value_seed(Object::within(bounds))?,
        }
        Ok(())
    }
}

/// Parses a list of objects, each of which takes `cost` bytes.
struct Many<'a, 'b, T> {
    cost: usize,
    bounds: &'a Bounds<'b>,
    of: PhantomData<T>,
}

impl<'a, 'b, T> Many<'a, 'b, T> {
    fn of(cost: usize, bounds: &'a Bounds<'b>) -> Many<'a, 'b, T> {
        Many {
            cost,
            bounds,
            of: PhantomData,
        }
    }
}

impl<'de, T: Keyed> DeserializeSeed<'de> for Many<'_, '_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: Keyed> Visitor<'de> for Many<'_, '_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of objects, each {}", T::WHAT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Object::within(self.bounds))? {
            if all.len() == MAX_COLUMNS {
                return Err(A::Error::custom(format!(
                    "more than {MAX_COLUMNS} in one list"
                )));
            }
            self.bounds.spend(self.cost)?;
            all.push(one);
        }
        Ok(all)
    }
}

/// Parses an optional value; null is `None`.
struct Optional<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Optional<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Optional<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(from).map(Some)
    }
}

/// Parses a short list of whole numbers.
struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Vec<i64>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<i64>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<i64>, A::Error> {
        let mut sizes = Vec::new();
        while let Some(size) = list.next_element()? {
            if sizes.len() == MAX_SIZES {
                return Err(A::Error::custom(
                    "a shape of many sizes; a column has two at most",
                ));
            }
            sizes.push(size);
        }
        Ok(sizes)
    }
}
