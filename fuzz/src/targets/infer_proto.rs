//! The message of an inference request in protobuf.

use super::{Target, WORDS, requests};
use crate::mutate::Form;
use ncs_serve::proto::inference::infer_parameter::ParameterChoice;
use ncs_serve::proto::inference::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use ncs_serve::proto::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use ncs_serve::wire::infer_proto::{decode, read, respond};
use prost::Message;

pub(super) const TARGET: Target = Target {
    name: "infer_proto",
    run,
    seeds,
    form: Form::Protobuf,
    words: WORDS,
    max_length: 16 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    requests::handle(
        |accepts| {
            let request = read(decode(input.to_vec().into(), accepts)?, accepts)?;
            Ok((request.rank, request.outputs))
        },
        |response, outputs| {
            let message = respond(response, outputs.as_deref())?;
            assert_eq!(message.outputs.len(), message.raw_output_contents.len());
            Ok(())
        },
    )
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn typed(of: InferInputTensor, contents: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        contents: Some(contents),
        ..of
    }
}

fn texts(texts: &[&str]) -> InferTensorContents {
    InferTensorContents {
        bytes_contents: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        ..InferTensorContents::default()
    }
}

fn ints(numbers: &[i32]) -> InferTensorContents {
    InferTensorContents {
        int_contents: numbers.to_vec(),
        ..InferTensorContents::default()
    }
}

fn floats(numbers: &[f32]) -> InferTensorContents {
    InferTensorContents {
        fp32_contents: numbers.to_vec(),
        ..InferTensorContents::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(choice),
    }
}

fn in_contents() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "feed".to_owned(),
        id: "7f".to_owned(),
        inputs: vec![
            typed(tensor("user", "BYTES", &[1]), texts(&["u7"])),
            typed(tensor("hour", "INT32", &[1]), ints(&[21])),
            typed(tensor("history", "BYTES", &[1, 2]), texts(&["v1", "v9"])),
            typed(tensor("age", "FP32", &[1]), floats(&[33.0])),
            typed(tensor("video", "BYTES", &[2, 1]), texts(&["v1", "v2"])),
            typed(tensor("tags", "BYTES", &[2]), texts(&["news|sport", ""])),
            typed(tensor("price", "FP32", &[2]), floats(&[0.5, 7.0])),
            typed(tensor("watch", "INT8", &[2, 2]), ints(&[1, 2, -3, 4])),
            typed(tensor("watch:lengths", "INT32", &[2]), ints(&[0, 2])),
        ],
        outputs: vec![InferRequestedOutputTensor {
            name: "ctcvr".to_owned(),
            ..InferRequestedOutputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

fn in_bytes() -> ModelInferRequest {
    let label = parameter(ParameterChoice::StringParam("stable".to_owned()));
    let timeout = parameter(ParameterChoice::Int64Param(9));
    ModelInferRequest {
        model_name: "feed".to_owned(),
        parameters: [("label".to_owned(), label), ("timeout".to_owned(), timeout)].into(),
        inputs: vec![
            tensor("video", "BYTES", &[2]),
            tensor("hour", "UINT64", &[2]),
            tensor("price", "FP16", &[2]),
            tensor("watch", "FP64", &[2, 1]),
        ],
        raw_input_contents: vec![
            b"\x02\0\0\0v1\0\0\0\0".to_vec().into(),
            [21u64.to_le_bytes(), u64::MAX.to_le_bytes()]
                .concat()
                .into(),
            vec![0, 60, 0, 192].into(),
            [0.5f64.to_le_bytes(), 2f64.to_le_bytes()].concat().into(),
        ],
        ..ModelInferRequest::default()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let versioned = ModelInferRequest {
        model_version: "3".to_owned(),
        outputs: vec![],
        ..in_contents()
    };
    [in_contents(), in_bytes(), versioned]
        .map(|request| request.encode_to_vec())
        .to_vec()
}
