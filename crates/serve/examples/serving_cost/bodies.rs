//! Requests as bytes, built once before the measurement.

use crate::workload::{Form, LIST_LENGTH, MODEL, RawColumn, Request};
use bytes::Bytes;
use ncs_serve::proto::inference::ModelInferRequest;
use ncs_serve::proto::inference::model_infer_request::InferInputTensor;
use ncs_serve::proto::ranking::column::Values;
use ncs_serve::proto::ranking::{Column, Ints, Lengths, RankRequest};
use prost::Message;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// Format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    RankJson,
    InferHttp,
    RankGrpc,
    InferGrpc,
}

impl FromStr for Wire {
    type Err = ();

    fn from_str(text: &str) -> Result<Wire, ()> {
        match text {
            "rank-json" => Ok(Wire::RankJson),
            "infer-http" => Ok(Wire::InferHttp),
            "rank-grpc" => Ok(Wire::RankGrpc),
            "infer-grpc" => Ok(Wire::InferGrpc),
            _ => Err(()),
        }
    }
}

impl Wire {
    /// Returns the bytes of a request: for HTTP with its head, for gRPC the message.
    pub(crate) fn bytes(self, request: &Request, form: Form) -> Bytes {
        match self {
            Wire::RankJson => post("rank", "", &rank_json(request, form)),
            Wire::InferHttp => infer_http(request, form),
            Wire::RankGrpc => rank_message(request, form).encode_to_vec().into(),
            Wire::InferGrpc => infer_message(request, form).encode_to_vec().into(),
        }
    }
}

fn post(call: &str, headers: &str, body: &[u8]) -> Bytes {
    let length = body.len();
    let head = format!(
        "POST /v2/models/{MODEL}/{call} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat().into()
}

// ---- rank

fn rank_json(request: &Request, form: Form) -> Vec<u8> {
    let context = request.context.iter().map(|column| {
        let mut values = values_json(column, form);
        let value = if column.is_list {
            Value::Array(values)
        } else {
            values.remove(0)
        };
        (column.name.clone(), value)
    });
    let candidates = request.candidates.iter();
    let candidates =
        candidates.map(|column| (column.name.clone(), values_json(column, form).into()));
    let body = json!({
        "context": context.collect::<Map<_, _>>(),
        "candidates": candidates.collect::<Map<_, _>>(),
    });
    body.to_string().into_bytes()
}

fn values_json(column: &RawColumn, form: Form) -> Vec<Value> {
    match form {
        Form::Integers => column.integers().map(Value::from).collect(),
        Form::Strings => column.texts().map(Value::from).collect(),
    }
}

fn rank_message(request: &Request, form: Form) -> RankRequest {
    let column = |raw: &RawColumn| Column {
        name: raw.name.clone(),
        values: Some(match form {
            Form::Integers => Values::Ints(Ints {
                values: raw.integers().collect(),
            }),
            Form::Strings => Values::Texts(raw.texts().collect()),
        }),
        lengths: raw.is_list.then(|| Lengths {
            values: vec![LIST_LENGTH as u32],
        }),
        null_rows: Vec::new(),
    };
    RankRequest {
        model: MODEL.to_owned(),
        context: request.context.iter().map(column).collect(),
        candidates: request.candidates.iter().map(column).collect(),
        ..RankRequest::default()
    }
}

// ---- infer

fn infer_http(request: &Request, form: Form) -> Bytes {
    let tensors: Vec<Tensor> = tensors(request, form).collect();
    let input = |tensor: &Tensor| {
        json!({
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
            "parameters": { "binary_data_size": tensor.bytes.len() },
        })
    };
    let inputs: Vec<Value> = tensors.iter().map(input).collect();
    let json =
        json!({ "parameters": { "binary_data_output": true }, "inputs": inputs }).to_string();
    let header = format!("inference-header-content-length: {}\r\n", json.len());
    let mut body = json.into_bytes();
    tensors
        .iter()
        .for_each(|tensor| body.extend_from_slice(&tensor.bytes));
    post("infer", &header, &body)
}

fn infer_message(request: &Request, form: Form) -> ModelInferRequest {
    let mut message = ModelInferRequest {
        model_name: MODEL.to_owned(),
        ..ModelInferRequest::default()
    };
    for tensor in tensors(request, form) {
        message.inputs.push(InferInputTensor {
            name: tensor.name,
            datatype: tensor.datatype.to_owned(),
            shape: tensor.shape,
            ..InferInputTensor::default()
        });
        message.raw_input_contents.push(tensor.bytes.into());
    }
    message
}

struct Tensor {
    name: String,
    shape: Vec<i64>,
    datatype: &'static str,
    bytes: Vec<u8>,
}

fn tensors(request: &Request, form: Form) -> impl Iterator<Item = Tensor> {
    let context = request.context.iter().map(move |raw| tensor(raw, 1, form));
    let (candidates, n) = (request.candidates.iter(), request.n_candidates());
    context.chain(candidates.map(move |raw| tensor(raw, n, form)))
}

fn tensor(raw: &RawColumn, n_rows: usize, form: Form) -> Tensor {
    let (datatype, bytes) = match form {
        Form::Integers => ("INT64", raw.integers().flat_map(i64::to_le_bytes).collect()),
        Form::Strings => ("BYTES", raw.texts().flat_map(with_length).collect()),
    };
    let mut shape = vec![n_rows as i64];
    shape.extend(raw.is_list.then_some(LIST_LENGTH as i64));
    Tensor {
        name: raw.name.clone(),
        shape,
        datatype,
        bytes,
    }
}

fn with_length(text: String) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [&length, text.as_bytes()].concat()
}
