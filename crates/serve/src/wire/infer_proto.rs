//! The infer call in protobuf.

use super::Accepts;
use super::bounds::Bounds;
use super::count_proto::{self, count, malformed};
use super::datatype::Datatype;
use super::infer::{
    InferQuery, Parameters, RequestedOutput, check_outputs, model_selector, rank_query,
    selected_outputs,
};
use super::tensors::{Tensor, n_values};
use crate::api_error::{ApiError, ErrorKind};
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::InferInputTensor;
use crate::proto::inference::model_infer_response::InferOutputTensor;
use crate::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use crate::rank_request::RankScores;
use crate::words::shown;
use bytes::Bytes;
use ncs_features::value::widen;
use ncs_features::{Texts, Values};
use prost::Message;
use std::collections::HashMap;

/// Decodes a request, after counting its memory.
///
/// # Errors
/// It is not such a message, or would take more memory than a request may.
pub fn decode(message: Bytes, accepts: &Accepts) -> Result<ModelInferRequest, ApiError> {
    count(&count_proto::INFER, &message, &Bounds::new(accepts))?;
    ModelInferRequest::decode(message).map_err(|error| malformed(&error.to_string()))
}

/// Reads a request.
///
/// # Errors
/// Its tensors do not match their shapes or each other, or there are too many candidates.
pub fn read(request: ModelInferRequest, accepts: &Accepts) -> Result<InferQuery, ApiError> {
    if request.model_name.is_empty() {
        return Err(ErrorKind::Invalid.error("no model_name"));
    }
    let model = model_selector(&request.model_name, Some(&request.model_version))?;
    let parameters = parameters(&request.parameters)?;
    let inputs = inputs(request.inputs, &request.raw_input_contents, accepts)?;
    let outputs = request.outputs.into_iter().map(|output| {
        check_output(&output.parameters)?;
        Ok(RequestedOutput {
            name: output.name,
            binary: None,
        })
    });
    let outputs: Vec<RequestedOutput> = outputs.collect::<Result<_, ApiError>>()?;
    check_outputs(&outputs)?;
    Ok(InferQuery {
        rank: rank_query(model, request.id, parameters, inputs, accepts)?,
        outputs: Some(outputs).filter(|outputs| !outputs.is_empty()),
        binary: true,
    })
}

fn parameters(parameters: &HashMap<String, InferParameter>) -> Result<Parameters, ApiError> {
    let choice = |name: &str| {
        parameters
            .get(name)
            .and_then(|parameter| parameter.parameter_choice.clone())
    };
    let text = |name: &str| match choice(name) {
        None => Ok(None),
        Some(ParameterChoice::StringParam(text)) => Ok(Some(text)),
        Some(ParameterChoice::Int64Param(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(ErrorKind::Invalid.error(format!("parameter \"{name}\" must be a string"))),
    };
    let timeout = match choice("timeout") {
        None => None,
        Some(ParameterChoice::Int64Param(time)) if time >= 0 => Some(time as u64),
        Some(ParameterChoice::Uint64Param(time)) => Some(time),
        Some(_) => {
            return Err(
                ErrorKind::Invalid.error("parameter \"timeout\" must be whole microseconds")
            );
        }
    };
    Ok(Parameters {
        label: text("label")?,
        user: text("user")?,
        timeout: timeout.filter(|&time| time > 0),
    })
}

fn check_output(parameters: &HashMap<String, InferParameter>) -> Result<(), ApiError> {
    if parameters.contains_key("classification") {
        let what = "this server does not have the classification extension";
        return Err(ErrorKind::Unsupported.error(what));
    }
    if is_shared(parameters) {
        Err(ErrorKind::Unsupported.error("this server has no shared memory"))
    } else {
        Ok(())
    }
}

fn inputs(
    inputs: Vec<InferInputTensor>,
    raw: &[Bytes],
    accepts: &Accepts,
) -> Result<Vec<Tensor>, ApiError> {
    // Checked first, since such an input has no raw contents.
    if let Some(shared) = inputs.iter().find(|input| is_shared(&input.parameters)) {
        let what = "this server has no shared memory; send the values";
        let name = shown(&shared.name);
        return Err(ErrorKind::Invalid.error(format!("input \"{name}\": {what}")));
    }
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(ErrorKind::Invalid.error(format!(
            "{} inputs and {} raw_input_contents; each input has one, in the same order",
            inputs.len(),
            raw.len()
        )));
    }
    let bounds = Bounds::new(accepts);
    let tensor = |(i, tensor): (usize, InferInputTensor)| {
        let name = tensor.name.clone();
        let read = input(tensor, raw.get(i), &bounds);
        read.map_err(|error| error.at(format_args!("input \"{}\"", shown(&name))))
    };
    inputs.into_iter().enumerate().map(tensor).collect()
}

fn is_shared(parameters: &HashMap<String, InferParameter>) -> bool {
    parameters.contains_key("shared_memory_region")
}

fn input(
    tensor: InferInputTensor,
    raw: Option<&Bytes>,
    bounds: &Bounds<'_>,
) -> Result<Tensor, ApiError> {
    let datatype = Datatype::parse(&tensor.datatype)?;
    if let Some(raw) = raw {
        bounds.take(datatype.cost(raw.len()))?;
    }
    let n = n_values(&tensor.shape)?;
    let values = match (raw, tensor.contents) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("both contents and raw_input_contents"));
        }
        (Some(bytes), None) => datatype.read(bytes, n)?,
        (None, contents) => typed(datatype, contents.unwrap_or_default(), n)?,
    };
    Ok(Tensor {
        name: tensor.name,
        shape: tensor.shape,
        values,
    })
}

fn typed(datatype: Datatype, contents: InferTensorContents, n: usize) -> Result<Values, ApiError> {
    let wide = |numbers: Vec<i32>| numbers.into_iter().map(i64::from).collect();
    let (found, values) = match datatype {
        Datatype::Bool => {
            let numbers: Vec<i64> = contents.bool_contents.into_iter().map(i64::from).collect();
            (numbers.len(), Values::Int(numbers))
        }
        Datatype::Int(8) => (
            contents.int64_contents.len(),
            Values::Int(contents.int64_contents),
        ),
        Datatype::Int(_) => (
            contents.int_contents.len(),
            Values::Int(wide(contents.int_contents)),
        ),
        Datatype::Uint(8) => {
            let bytes: Vec<u8> = contents
                .uint64_contents
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect();
            let n = contents.uint64_contents.len();
            (n, datatype.read(&bytes, n)?)
        }
        Datatype::Uint(_) => {
            let numbers = contents.uint_contents.into_iter().map(i64::from);
            let numbers: Vec<i64> = numbers.collect();
            (numbers.len(), Values::Int(numbers))
        }
        Datatype::Fp32 => {
            let numbers = contents.fp32_contents.into_iter().map(widen);
            let numbers: Vec<f64> = numbers.collect();
            (numbers.len(), Values::Float(numbers))
        }
        Datatype::Fp64 => (
            contents.fp64_contents.len(),
            Values::Float(contents.fp64_contents),
        ),
        Datatype::Fp16 | Datatype::Bf16 => {
            let message = "FP16 and BF16 are supported in raw_input_contents only";
            return Err(ApiError::invalid(message));
        }
        Datatype::Bytes => {
            let mut texts = Texts::default();
            contents
                .bytes_contents
                .iter()
                .for_each(|text| texts.push(text));
            if let Some(text) = texts.not_utf8() {
                return Err(ApiError::invalid(format!("text {text} is not UTF-8")));
            }
            (texts.len(), Values::Text(texts))
        }
    };
    if found != n {
        let message = format!("{found} values of its datatype where the shape says {n}");
        return Err(ApiError::invalid(message));
    }
    Ok(values)
}

/// Builds a response, with its values as raw bytes.
///
/// # Errors
/// There is no output of a requested name.
pub fn respond(
    answer: &RankScores,
    outputs: Option<&[RequestedOutput]>,
) -> Result<ModelInferResponse, ApiError> {
    let selected = selected_outputs(answer, outputs, true)?;
    let tensor = |&(index, _): &(usize, bool)| InferOutputTensor {
        name: answer.outputs[index].clone(),
        datatype: "FP32".to_owned(),
        shape: vec![answer.scores[index].len() as i64],
        ..InferOutputTensor::default()
    };
    Ok(ModelInferResponse {
        model_name: answer.model.to_string(),
        model_version: answer.version.to_string(),
        id: answer.id.clone(),
        parameters: HashMap::new(),
        outputs: selected.iter().map(tensor).collect(),
        raw_output_contents: selected
            .iter()
            .map(|&(index, _)| raw(&answer.scores[index]))
            .collect(),
    })
}

/// Returns numbers as little-endian bytes.
pub(super) fn raw(numbers: &[f32]) -> Bytes {
    let mut bytes = Vec::with_capacity(4 * numbers.len());
    numbers
        .iter()
        .for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::inference::model_infer_request::InferRequestedOutputTensor;

    fn shared() -> HashMap<String, InferParameter> {
        let region = ParameterChoice::StringParam("region".to_owned());
        let region = InferParameter {
            parameter_choice: Some(region),
        };
        HashMap::from([("shared_memory_region".to_owned(), region)])
    }

    #[test]
    fn tensors_in_shared_memory_are_refused() {
        let accepts = Accepts {
            candidates: 1,
            bytes: 4096,
            lenient: false,
        };
        let input = |name: &str, parameters| InferInputTensor {
            name: name.to_owned(),
            datatype: "INT8".to_owned(),
            shape: vec![1],
            parameters,
            contents: None,
        };
        let read_request = |input_parameters, output_parameters| {
            let output = InferRequestedOutputTensor {
                name: "ctr".to_owned(),
                parameters: output_parameters,
            };
            let request = ModelInferRequest {
                model_name: "m".to_owned(),
                inputs: vec![input("a", input_parameters)],
                outputs: vec![output],
                raw_input_contents: vec![vec![1].into()],
                ..ModelInferRequest::default()
            };
            read(request, &accepts).map_err(|refusal| refusal.message)
        };
        assert!(read_request(HashMap::new(), HashMap::new()).is_ok());
        let input_parameters = read_request(shared(), HashMap::new()).unwrap_err();
        assert!(input_parameters.starts_with("input \"a\": this server has no shared memory"));
        let output_parameters = read_request(HashMap::new(), shared()).unwrap_err();
        assert_eq!(output_parameters, "this server has no shared memory");
    }
}
