//! A graph as a file of ONNX, with constants in a second file where the first would be too large.

use crate::ExportError;
use crate::builder::{Constant, GraphBuilder};
use crate::proto::{
    DimensionProto, EXTERNAL, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, element,
};
use crate::signature::{Input, Role, Signature};
use ncs_model::tensor_file::Draft;
use prost::Message;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The operator set.
pub(crate) const OPERATORS: i64 = 17;

/// The version of the file format that came with that operator set (onnx 1.12).
const IR_VERSION: i64 = 8;

/// The operator set of machine learning that came with it.
pub(crate) const ML: (&str, i64) = ("ai.onnx.ml", 3);

/// ONNX Runtime's own operator set.
pub(crate) const MICROSOFT: (&str, i64) = ("com.microsoft", 1);

/// Constants of at least so many bytes go into the second file, if there is one.
const EXTERNAL_FROM: usize = 1024;

/// Constants begin at multiples of so many bytes, so that runtimes can map them into memory.
const ALIGNMENT: u64 = 4096;

/// Files that are written beside their paths, and their sizes in bytes.
#[derive(Debug, Default)]
pub(crate) struct Drafts(Vec<(PathBuf, u64, Draft)>);

impl Drafts {
    /// Writes bytes for `path`.
    pub(crate) fn write_bytes(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), ExportError> {
        let draft = Draft::write(&path, |file| file.write_all(bytes))?;
        self.0.push((path, bytes.len() as u64, draft));
        Ok(())
    }

    /// Replaces the files at their paths, in the order of writing, and returns them.
    pub(crate) fn publish(self) -> Result<Vec<(PathBuf, u64)>, ExportError> {
        let publish = |(path, n_bytes, draft): (PathBuf, u64, Draft)| {
            draft.publish()?;
            Ok((path, n_bytes))
        };
        self.0.into_iter().map(publish).collect()
    }

    /// Writes the constants of at least [`EXTERNAL_FROM`] bytes for `path`; returns where each lies.
    fn write_constants(
        &mut self,
        path: PathBuf,
        constants: &[Constant],
    ) -> Result<Vec<Option<u64>>, ExportError> {
        let mut end: u64 = 0;
        let place = |constant: &Constant| {
            let n_bytes = constant.elements.n_bytes();
            (n_bytes >= EXTERNAL_FROM).then(|| {
                let start = end.next_multiple_of(ALIGNMENT);
                end = start + n_bytes as u64;
                start
            })
        };
        let places: Vec<Option<u64>> = constants.iter().map(place).collect();
        let fill = |file: &mut dyn Write| -> io::Result<()> {
            let mut at: u64 = 0;
            for (constant, place) in constants.iter().zip(&places) {
                let Some(place) = *place else { continue };
                let padding = usize::try_from(place - at).unwrap_or_default();
                file.write_all(&vec![0; padding])?;
                constant
                    .elements
                    .each_piece(|piece| file.write_all(piece))?;
                at = place + constant.elements.n_bytes() as u64;
            }
            Ok(())
        };
        let draft = Draft::write(&path, fill)?;
        self.0.push((path, end, draft));
        Ok(places)
    }
}

/// Writes the graph for `path`, and its constants for `path` with `.data` appended if they have more than
/// `external_over` bytes.
pub(crate) fn write_model(
    drafts: &mut Drafts,
    graph: GraphBuilder,
    signature: &Signature,
    metadata: Vec<(&str, String)>,
    path: &Path,
    external_over: u64,
) -> Result<(), ExportError> {
    let n_bytes: usize = graph
        .constants
        .iter()
        .map(|constant| constant.elements.n_bytes())
        .sum();
    let mut location = String::new();
    let mut places = vec![None; graph.constants.len()];
    if n_bytes as u64 > external_over {
        let data = appended(path, ".data");
        let name = data.file_name().and_then(|name| name.to_str());
        location = name
            .map(str::to_owned)
            .ok_or_else(|| ExportError::Refused {
                what: format!(
                    "{} is not a UTF-8 name, and the model refers to its second file by name",
                    data.display()
                ),
                remedy: "choose another name for the output".to_owned(),
            })?;
        places = drafts.write_constants(data, &graph.constants)?;
    }
    let opset_import = operator_sets(&graph);
    let constants = graph.constants.into_iter().zip(places);
    let initializer = constants.map(|(constant, place)| tensor(constant, place, &location));
    let metadata = metadata.into_iter().map(|(key, value)| entry(key, value));
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "ncs4cvr".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(GraphProto {
            node: graph.nodes,
            name: "ncs4cvr".to_owned(),
            initializer: initializer.collect(),
            input: signature.inputs.iter().map(input).collect(),
            output: signature.outputs.iter().map(|name| output(name)).collect(),
        }),
        opset_import,
        metadata_props: metadata.collect(),
    };
    drafts.write_bytes(path.to_owned(), &model.encode_to_vec())
}

/// Returns the operator sets that the operations are of, that of ONNX first.
fn operator_sets(graph: &GraphBuilder) -> Vec<OperatorSetIdProto> {
    let is_used = |(domain, _): &(&str, i64)| {
        let mut nodes = graph.nodes.iter();
        domain.is_empty() || nodes.any(|node| node.domain == *domain)
    };
    let sets = [("", OPERATORS), ML, MICROSOFT].into_iter();
    let set = |(domain, version): (&str, i64)| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    sets.filter(is_used).map(set).collect()
}

/// Returns a path with `end` appended to its name.
pub(crate) fn appended(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto {
        key: key.to_owned(),
        value,
    }
}

/// Converts a constant; with a place, its elements are there in the second file.
fn tensor(constant: Constant, place: Option<u64>, location: &str) -> TensorProto {
    let mut tensor = TensorProto {
        dims: constant.shape.iter().map(|&size| size as i64).collect(),
        data_type: constant.elements.data_type(),
        name: constant.name,
        ..TensorProto::default()
    };
    let n_bytes = constant.elements.n_bytes();
    if let Some(place) = place {
        tensor.data_location = Some(EXTERNAL);
        tensor.external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", place.to_string()),
            entry("length", n_bytes.to_string()),
        ];
        return tensor;
    }
    let mut bytes = Vec::with_capacity(n_bytes);
    let gathered: Result<(), Infallible> = constant.elements.each_piece(|piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    let Ok(()) = gathered;
    tensor.raw_data = Some(bytes);
    tensor
}

fn input(input: &Input) -> ValueInfoProto {
    let element = match input.role {
        Role::Id | Role::Ids | Role::Lengths => element::INT64,
        Role::Text | Role::Texts => element::STRING,
        Role::Number | Role::Numbers | Role::Vector(_) => element::DOUBLE,
    };
    let longest = format!("longest {}", input.name);
    let batch = Dim::Named("batch");
    let dims: &[Dim<'_>] = match input.role {
        Role::Vector(length) => &[batch, Dim::Size(length.into())],
        role if role.is_matrix() => &[batch, Dim::Named(&longest)],
        _ => &[batch],
    };
    let meaning = match input.role {
        Role::Id => "id of each row",
        Role::Ids => "ids of each row's list; those after its length are ignored",
        Role::Text => "text of each row; empty: missing",
        Role::Texts => "texts of each row's list; those after its length are ignored",
        Role::Number => "number of each row; NaN: missing",
        Role::Numbers => "numbers of each row's list; those after its length are ignored",
        Role::Vector(_) => "vector of each row; NaN throughout: missing",
        Role::Lengths => "length of each row's list",
    };
    value_info(&input.name, element, dims, meaning)
}

fn output(name: &str) -> ValueInfoProto {
    value_info(
        name,
        element::FLOAT,
        &[Dim::Named("batch")],
        "calibrated probability of each row",
    )
}

/// A dimension of an input or output.
#[derive(Clone, Copy)]
enum Dim<'a> {
    Named(&'a str),
    Size(i64),
}

fn value_info(name: &str, elem_type: i32, dims: &[Dim<'_>], meaning: &str) -> ValueInfoProto {
    let dim = |dim: &Dim<'_>| match *dim {
        Dim::Named(name) => DimensionProto {
            dim_value: 0,
            dim_param: name.to_owned(),
        },
        Dim::Size(size) => DimensionProto {
            dim_value: size,
            dim_param: String::new(),
        },
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    let tensor_type = TensorTypeProto {
        elem_type,
        shape: Some(shape),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
        doc_string: meaning.to_owned(),
    }
}
