//! The infer call in protobuf.

use super::Accepts;
use super::bounds::Bounds;
use super::count_proto::{self, count, malformed};
use super::infer::{
    InferQuestion, Parameters, WantedOutput, check_outputs, chosen, question, wanted,
};
use super::tensors::{Datatype, Tensor, n_values};
use crate::api_error::{ApiError, Kind};
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::InferInputTensor;
use crate::proto::inference::model_infer_response::InferOutputTensor;
use crate::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use crate::rank_request::Answer;
use crate::words::shown;
use bytes::Bytes;
use ncs_features::value::widen;
use ncs_features::{Texts, Values};
use prost::Message;
use std::collections::HashMap;

/// Decodes a request, whose parts are counted first.
///
/// # Errors
/// It is no such message, or would take more memory than a request may.
pub fn decode(message: Bytes, accepts: &Accepts) -> Result<ModelInferRequest, ApiError> {
    count(&count_proto::INFER, &message, &Bounds::new(accepts))?;
    ModelInferRequest::decode(message).map_err(|error| malformed(&error.to_string()))
}

/// Reads a request.
///
/// # Errors
/// Its tensors do not fit their shapes or each other, or there are too many candidates.
pub fn read(request: ModelInferRequest, accepts: &Accepts) -> Result<InferQuestion, ApiError> {
    if request.model_name.is_empty() {
        return Err(Kind::Invalid.says("no model_name"));
    }
    let model = wanted(&request.model_name, Some(&request.model_version))?;
    let parameters = parameters(&request.parameters)?;
    let inputs = inputs(request.inputs, &request.raw_input_contents, accepts)?;
    let outputs = request.outputs.into_iter().map(|output| {
        check_output(&output.parameters)?;
        Ok(WantedOutput {
            name: output.name,
            binary: None,
        })
    });
    let outputs: Vec<WantedOutput> = outputs.collect::<Result<_, ApiError>>()?;
    check_outputs(&outputs)?;
    Ok(InferQuestion {
        question: question(model, request.id, parameters, inputs, accepts)?,
        outputs: Some(outputs).filter(|outputs| !outputs.is_empty()),
        binary: true,
    })
}

fn parameters(said: &HashMap<String, InferParameter>) -> Result<Parameters, ApiError> {
    let choice = |name: &str| {
        said.get(name)
            .and_then(|said| said.parameter_choice.clone())
    };
    let text = |name: &str| match choice(name) {
        None => Ok(None),
        Some(ParameterChoice::StringParam(text)) => Ok(Some(text)),
        Some(ParameterChoice::Int64Param(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Kind::Invalid.says(format!("parameter \"{name}\" must be a string"))),
    };
    let timeout = match choice("timeout") {
        None => None,
        Some(ParameterChoice::Int64Param(time)) if time >= 0 => Some(time as u64),
        Some(ParameterChoice::Uint64Param(time)) => Some(time),
        Some(_) => {
            return Err(Kind::Invalid.says("parameter \"timeout\" must be whole microseconds"));
        }
    };
    Ok(Parameters {
        label: text("label")?,
        user: text("user")?,
        timeout: timeout.filter(|&time| time > 0),
    })
}

fn check_output(said: &HashMap<String, InferParameter>) -> Result<(), ApiError> {
    if said.contains_key("classification") {
        let what = "this server does not have the classification extension";
        return Err(Kind::Unsupported.says(what));
    }
    match is_shared(said) {
        true => Err(Kind::Unsupported.says("this server has no shared memory")),
        false => Ok(()),
    }
}

fn inputs(
    said: Vec<InferInputTensor>,
    raw: &[Bytes],
    accepts: &Accepts,
) -> Result<Vec<Tensor>, ApiError> {
    // First, for such an input has no raw contents.
    if let Some(shared) = said.iter().find(|said| is_shared(&said.parameters)) {
        let what = "this server has no shared memory; send the values";
        let name = shown(&shared.name);
        return Err(Kind::Invalid.says(format!("input \"{name}\": {what}")));
    }
    if !raw.is_empty() && raw.len() != said.len() {
        return Err(Kind::Invalid.says(format!(
            "{} inputs and {} raw_input_contents; each input has one, in the same order",
            said.len(),
            raw.len()
        )));
    }
    let bounds = Bounds::new(accepts);
    let tensor = |(i, said): (usize, InferInputTensor)| {
        let (name, raw) = (said.name.clone(), raw.get(i));
        let datatype = Datatype::parse(&said.datatype);
        if let (Some(raw), Ok(datatype)) = (raw, &datatype) {
            bounds.take(datatype.cost(raw.len()))?;
        }
        let read = datatype.and_then(|datatype| input(said, datatype, raw));
        read.map_err(|what| Kind::Invalid.says(format!("input \"{}\": {what}", shown(&name))))
    };
    said.into_iter().enumerate().map(tensor).collect()
}

fn is_shared(said: &HashMap<String, InferParameter>) -> bool {
    said.contains_key("shared_memory_region")
}

fn input(
    said: InferInputTensor,
    datatype: Datatype,
    raw: Option<&Bytes>,
) -> Result<Tensor, String> {
    let n = n_values(&said.shape)?;
    let values = match (raw, said.contents) {
        (Some(_), Some(_)) => return Err("both contents and raw_input_contents".to_owned()),
        (Some(bytes), None) => datatype.read(bytes, n)?,
        (None, contents) => typed(datatype, contents.unwrap_or_default(), n)?,
    };
    Ok(Tensor {
        name: said.name,
        shape: said.shape,
        values,
    })
}

fn typed(datatype: Datatype, said: InferTensorContents, n: usize) -> Result<Values, String> {
    let wide = |numbers: Vec<i32>| numbers.into_iter().map(i64::from).collect();
    let (found, values) = match datatype {
        Datatype::Bool => {
            let numbers: Vec<i64> = said.bool_contents.into_iter().map(i64::from).collect();
            (numbers.len(), Values::Int(numbers))
        }
        Datatype::Int(8) => (said.int64_contents.len(), Values::Int(said.int64_contents)),
        Datatype::Int(_) => (
            said.int_contents.len(),
            Values::Int(wide(said.int_contents)),
        ),
        Datatype::Uint(8) => {
            let bytes: Vec<u8> = said
                .uint64_contents
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect();
            let n = said.uint64_contents.len();
            (n, datatype.read(&bytes, n)?)
        }
        Datatype::Uint(_) => {
            let numbers = said.uint_contents.into_iter().map(i64::from);
            let numbers: Vec<i64> = numbers.collect();
            (numbers.len(), Values::Int(numbers))
        }
        Datatype::Fp32 => {
            let numbers = said.fp32_contents.into_iter().map(widen);
            let numbers: Vec<f64> = numbers.collect();
            (numbers.len(), Values::Float(numbers))
        }
        Datatype::Fp64 => (said.fp64_contents.len(), Values::Float(said.fp64_contents)),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err("FP16 and BF16 come in raw_input_contents only".to_owned());
        }
        Datatype::Bytes => {
            let mut texts = Texts::default();
            said.bytes_contents.iter().for_each(|text| texts.push(text));
            if let Some(text) = texts.not_utf8() {
                return Err(format!("text {text} is not UTF-8"));
            }
            (texts.len(), Values::Text(texts))
        }
    };
    match found == n {
        true => Ok(values),
        false => Err(format!(
            "{found} values of its datatype where the shape says {n}"
        )),
    }
}

/// Says an answer, its values as raw bytes.
///
/// # Errors
/// An output that there is not.
pub fn say(
    answer: &Answer,
    outputs: Option<&[WantedOutput]>,
) -> Result<ModelInferResponse, ApiError> {
    let chosen = chosen(answer, outputs, true)?;
    let tensor = |&(place, _): &(usize, bool)| InferOutputTensor {
        name: answer.outputs[place].clone(),
        datatype: "FP32".to_owned(),
        shape: vec![answer.scores[place].len() as i64],
        ..InferOutputTensor::default()
    };
    Ok(ModelInferResponse {
        model_name: answer.model.to_string(),
        model_version: answer.version.to_string(),
        id: answer.id.clone(),
        parameters: HashMap::new(),
        outputs: chosen.iter().map(tensor).collect(),
        raw_output_contents: chosen
            .iter()
            .map(|&(place, _)| raw(&answer.scores[place]))
            .collect(),
    })
}

/// Numbers as bytes, little end first.
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
        let ask = |of_input, of_output| {
            let output = InferRequestedOutputTensor {
                name: "ctr".to_owned(),
                parameters: of_output,
            };
            let request = ModelInferRequest {
                model_name: "m".to_owned(),
                inputs: vec![input("a", of_input)],
                outputs: vec![output],
                raw_input_contents: vec![vec![1].into()],
                ..ModelInferRequest::default()
            };
            read(request, &accepts).map_err(|refusal| refusal.what)
        };
        assert!(ask(HashMap::new(), HashMap::new()).is_ok());
        let of_input = ask(shared(), HashMap::new()).unwrap_err();
        assert!(of_input.starts_with("input \"a\": this server has no shared memory"));
        let of_output = ask(HashMap::new(), shared()).unwrap_err();
        assert_eq!(of_output, "this server has no shared memory");
    }
}
