//! A graph under construction: operations, constants, unique names.

use crate::proto::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS, AttributeProto, NodeProto, element,
};
use std::collections::HashSet;

/// The name of a tensor in the graph.
pub(crate) type Value = String;

/// Operations and constants, in the order of their addition.
#[derive(Debug, Default)]
pub(crate) struct GraphBuilder {
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) constants: Vec<Constant>,
    names: HashSet<String>,
}

/// A constant tensor.
#[derive(Debug)]
pub(crate) struct Constant {
    pub(crate) name: Value,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
}

/// The elements of a constant.
#[derive(Debug, PartialEq)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl Elements {
    /// Returns the type, of [`element`].
    pub(crate) fn data_type(&self) -> i32 {
        match self {
            Elements::F32(_) => element::FLOAT,
            Elements::F64(_) => element::DOUBLE,
            Elements::I32(_) => element::INT32,
            Elements::I64(_) => element::INT64,
        }
    }

    /// Returns the number of bytes.
    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            Elements::F32(values) => 4 * values.len(),
            Elements::F64(values) => 8 * values.len(),
            Elements::I32(values) => 4 * values.len(),
            Elements::I64(values) => 8 * values.len(),
        }
    }

    /// Calls `write` with the little-endian bytes, in pieces of about 64 KiB.
    pub(crate) fn each_piece<E>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        fn pieces<T: Copy, const N: usize, E>(
            values: &[T],
            bytes: impl Fn(T) -> [u8; N],
            write: &mut impl FnMut(&[u8]) -> Result<(), E>,
        ) -> Result<(), E> {
            const PIECE: usize = 1 << 16;
            let mut piece = Vec::new();
            for values in values.chunks(PIECE / N) {
                piece.clear();
                piece.extend(values.iter().flat_map(|&value| bytes(value)));
                write(&piece)?;
            }
            Ok(())
        }
        match self {
            Elements::F32(values) => pieces(values, f32::to_le_bytes, &mut write),
            Elements::F64(values) => pieces(values, f64::to_le_bytes, &mut write),
            Elements::I32(values) => pieces(values, i32::to_le_bytes, &mut write),
            Elements::I64(values) => pieces(values, i64::to_le_bytes, &mut write),
        }
    }
}

impl GraphBuilder {
    /// Creates a graph in which these names are taken.
    pub(crate) fn new(taken: impl IntoIterator<Item = String>) -> GraphBuilder {
        GraphBuilder {
            names: taken.into_iter().collect(),
            ..GraphBuilder::default()
        }
    }

    /// Returns `name`, or with a number after it if it is taken.
    fn unique(&mut self, name: &str) -> Value {
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.names.contains(name));
        let free = free.unwrap_or_default();
        self.names.insert(free.clone());
        free
    }

    /// Adds an operation of one output without attributes.
    pub(crate) fn node(&mut self, op: &str, name: &str, inputs: &[&Value]) -> Value {
        self.node_with(op, name, inputs, Vec::new())
    }

    /// Adds an operation of one output.
    pub(crate) fn node_with(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let output = self.unique(name);
        self.node_to(op, std::slice::from_ref(&output), inputs, attributes);
        output
    }

    /// Adds an operation of one output, of another operator set than that of ONNX.
    pub(crate) fn node_of(
        &mut self,
        domain: &str,
        op: &str,
        name: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let output = self.node_with(op, name, inputs, attributes);
        let added = self.nodes.iter_mut().last();
        added
            .into_iter()
            .for_each(|node| node.domain = domain.to_owned());
        output
    }

    /// Adds an operation of `n` outputs.
    pub(crate) fn nodes(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        n: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = (0..n)
            .map(|k| self.unique(&format!("{name}.{k}")))
            .collect();
        self.node_to(op, &outputs, inputs, attributes);
        outputs
    }

    /// Adds an operation whose outputs have these names.
    pub(crate) fn node_to(
        &mut self,
        op: &str,
        outputs: &[Value],
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|name| (*name).clone()).collect(),
            output: outputs.to_vec(),
            name: format!("{op}/{}", outputs[0]),
            op_type: op.to_owned(),
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// Adds a constant, or returns an equal one.
    pub(crate) fn constant(&mut self, name: &str, shape: &[usize], elements: Elements) -> Value {
        debug_assert_eq!(
            elements.n_bytes() % shape.iter().product::<usize>().max(1),
            0,
            "{name}: {shape:?}"
        );
        let is_same = |known: &&Constant| known.shape == shape && known.elements == elements;
        if let Some(known) = self.constants.iter().find(is_same) {
            return known.name.clone();
        }
        let name = self.unique(name);
        self.constants.push(Constant {
            name: name.clone(),
            shape: shape.to_vec(),
            elements,
        });
        name
    }

    /// Adds a constant of single precision.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Value {
        self.constant(name, shape, Elements::F32(values))
    }

    /// Adds a constant of double precision.
    pub(crate) fn doubles(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Value {
        self.constant(name, shape, Elements::F64(values))
    }

    /// Adds a number of double precision.
    pub(crate) fn double(&mut self, value: f64) -> Value {
        self.doubles("number", &[], vec![value])
    }

    /// Adds a list of whole numbers, such as axes or a shape.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Value {
        self.constant("integers", &[values.len()], Elements::I64(values.to_vec()))
    }

    /// Adds a whole number.
    pub(crate) fn integer(&mut self, value: i64) -> Value {
        self.constant("integer", &[], Elements::I64(vec![value]))
    }

    /// Converts to another type, of [`element`].
    pub(crate) fn cast(&mut self, name: &str, value: &Value, to: i32) -> Value {
        self.node_with("Cast", name, &[value], vec![int("to", i64::from(to))])
    }

    /// Inserts a dimension of 1 at `axis`.
    pub(crate) fn unsqueeze(&mut self, name: &str, value: &Value, axis: i64) -> Value {
        let axes = self.integers(&[axis]);
        self.node("Unsqueeze", name, &[value, &axes])
    }

    /// Adds up along `axis`.
    pub(crate) fn sum(&mut self, name: &str, value: &Value, axis: i64, keep: bool) -> Value {
        let axes = self.integers(&[axis]);
        let keep = vec![int("keepdims", i64::from(keep))];
        self.node_with("ReduceSum", name, &[value, &axes], keep)
    }

    /// Joins values along the features; a single one is returned as it is.
    pub(crate) fn concat(&mut self, name: &str, values: &[Value]) -> Value {
        match values {
            [value] => value.clone(),
            values => {
                let values: Vec<&Value> = values.iter().collect();
                self.node_with("Concat", name, &values, vec![int("axis", 1)])
            }
        }
    }
}

/// An attribute that is a whole number.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: Some(value),
        kind: ATTRIBUTE_INT,
        ..AttributeProto::default()
    }
}

/// An attribute that is a list of whole numbers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: ATTRIBUTE_INTS,
        ..AttributeProto::default()
    }
}

/// An attribute that is a list of texts.
pub(crate) fn strings(name: &str, values: Vec<String>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        strings: values.into_iter().map(String::into_bytes).collect(),
        kind: ATTRIBUTE_STRINGS,
        ..AttributeProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_equal_constants_are_one() {
        let mut graph = GraphBuilder::new(["user".to_owned()]);
        let user = "user".to_owned();
        let first = graph.node("Relu", "user", &[&user]);
        let second = graph.node("Relu", "user", &[&first]);
        assert_eq!((first.as_str(), second.as_str()), ("user.2", "user.3"));
        let one = graph.floats("a", &[2], vec![1.0, 2.0]);
        assert_eq!(graph.floats("b", &[2], vec![1.0, 2.0]), one);
        assert_ne!(graph.floats("b", &[1, 2], vec![1.0, 2.0]), one);
        assert_eq!(graph.constants.len(), 2);
    }

    #[test]
    fn bytes_are_little_endian_in_pieces() {
        let mut bytes = Vec::new();
        let values: Vec<i64> = (0..20_000).collect();
        let mut n_pieces = 0;
        let written: Result<(), ()> = Elements::I64(values.clone()).each_piece(|piece| {
            bytes.extend_from_slice(piece);
            n_pieces += 1;
            Ok(())
        });
        assert_eq!((written, n_pieces), (Ok(()), 3));
        assert_eq!(bytes[8 * 19_999..], values[19_999].to_le_bytes());
    }
}
