//! The infer call in JSON, with tensors in the JSON or as bytes after it.

mod flat;
mod request;

use super::Accepts;
use super::bounds::Bounds;
use super::datatype::Datatype;
use super::infer::{
    InferQuery, Parameters, RequestedOutput, check_outputs, model_selector, rank_query,
    selected_outputs,
};
use super::infer_proto::raw;
use super::tensors::{Tensor, n_values};
use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::RankScores;
use crate::words::shown;
use flat::Flat;
use ncs_features::Values;
use request::{InputJson, Object, OutputJson, ParametersJson, RequestJson};
use serde::de::DeserializeSeed;

/// Reads a request whose first `json_length` bytes are JSON (`None`: all) and the rest binary tensors, for
/// the model of the path.
///
/// # Errors
/// It is not of this form, its tensors do not match their shapes or each other, or there are too many
/// candidates.
pub fn read(
    body: &[u8],
    json_length: Option<usize>,
    (name, version): (&str, Option<&str>),
    accepts: &Accepts,
) -> Result<InferQuery, ApiError> {
    let invalid = |what: String| ErrorKind::Invalid.error(what);
    let model = model_selector(name, version)?;
    let Some((json, binary)) = body.split_at_checked(json_length.unwrap_or(body.len())) else {
        return Err(invalid(format!(
            "Inference-Header-Content-Length says {} bytes of JSON, and the body has {}",
            json_length.unwrap_or(0),
            body.len()
        )));
    };
    let bounds = Bounds::new(accepts);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let request = Object::<RequestJson>::within(&bounds).deserialize(&mut reader);
    let request = request.and_then(|request| reader.end().map(|()| request));
    let request = request.map_err(|error| bounds.explained(json, &error))?;
    let inputs = inputs(request.inputs, binary, &bounds)?;
    let parameters = Parameters {
        label: request.parameters.label,
        user: request.parameters.user,
        timeout: request.parameters.timeout.filter(|&time| time > 0),
    };
    let outputs = request.outputs.map(outputs).transpose()?;
    Ok(InferQuery {
        rank: rank_query(
            model,
            request.id.unwrap_or_default(),
            parameters,
            inputs,
            accepts,
        )?,
        outputs: outputs.filter(|outputs| !outputs.is_empty()),
        binary: request.parameters.binary_data_output.unwrap_or(false),
    })
}

fn outputs(outputs: Vec<OutputJson>) -> Result<Vec<RequestedOutput>, ApiError> {
    let output =
        |output: OutputJson| match output.parameters {
            ParametersJson {
                has_classification: true,
                ..
            } => Err(ErrorKind::Unsupported
                .error("this server does not have the classification extension")),
            ParametersJson {
                is_shared: true, ..
            } => Err(ErrorKind::Unsupported.error("this server has no shared memory")),
            parameters => Ok(RequestedOutput {
                name: output.name,
                binary: parameters.binary_data,
            }),
        };
    let outputs: Vec<RequestedOutput> =
        outputs.into_iter().map(output).collect::<Result<_, _>>()?;
    check_outputs(&outputs)?;
    Ok(outputs)
}

fn inputs(
    inputs: Vec<InputJson>,
    mut binary: &[u8],
    bounds: &Bounds<'_>,
) -> Result<Vec<Tensor>, ApiError> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for mut input in inputs {
        let name = std::mem::take(&mut input.name);
        let wrong =
            |what: String| ErrorKind::Invalid.error(format!("input \"{}\": {what}", shown(&name)));
        let mut bytes = None;
        if let Some(size) = input.parameters.binary_data_size {
            let Some((own, rest)) = binary.split_at_checked(size) else {
                return Err(wrong(format!(
                    "binary_data_size is {size}, and {} bytes are left in the body",
                    binary.len()
                )));
            };
            bytes = Some(own);
            binary = rest;
        }
        let shape = input.shape.clone();
        let values = values(input, bytes, bounds);
        let values =
            values.map_err(|error| error.at(format_args!("input \"{}\"", shown(&name))))?;
        tensors.push(Tensor {
            name,
            shape,
            values,
        });
    }
    match binary.len() {
        0 => Ok(tensors),
        rest => Err(ErrorKind::Invalid.error(format!(
            "{rest} bytes after the last input; each binary input needs its binary_data_size"
        ))),
    }
}

fn values(input: InputJson, bytes: Option<&[u8]>, bounds: &Bounds<'_>) -> Result<Values, ApiError> {
    if input.parameters.is_shared {
        return Err(ApiError::invalid(
            "this server has no shared memory; send the values",
        ));
    }
    let datatype = Datatype::parse(&input.datatype)?;
    let n = n_values(&input.shape)?;
    let wrong = match (bytes, input.data) {
        (Some(_), Some(_)) => "both data and binary_data_size".to_owned(),
        (None, None) => "neither data nor binary_data_size".to_owned(),
        (Some(bytes), None) => {
            bounds.take(datatype.cost(bytes.len()))?;
            return datatype.read(bytes, n);
        }
        (None, Some(Flat(_, found))) if found != n => {
            format!("{found} values where shape {:?} says {n}", input.shape)
        }
        (None, Some(Flat(values, _))) if n > 0 && !datatype.holds(&values) => {
            format!("its values are not all of datatype {}", input.datatype)
        }
        (None, Some(Flat(values, _))) => return Ok(values),
    };
    Err(ApiError::invalid(wrong))
}

/// Writes a response; returns its body, and the number of its bytes that are JSON if tensors follow.
///
/// # Errors
/// There is no output of a requested name.
pub fn respond(
    answer: &RankScores,
    query: &InferQuery,
) -> Result<(Vec<u8>, Option<usize>), ApiError> {
    let selected = selected_outputs(answer, query.outputs.as_deref(), query.binary)?;
    let output = |&(index, binary): &(usize, bool)| {
        let scores = &answer.scores[index];
        ResponseOutput {
            name: &answer.outputs[index],
            datatype: "FP32",
            shape: [scores.len()],
            parameters: binary.then_some(BinaryParameters {
                binary_data_size: 4 * scores.len(),
            }),
            data: (!binary).then_some(scores),
        }
    };
    let response = ResponseJson {
        model_name: &answer.model,
        model_version: answer.version.to_string(),
        id: &answer.id,
        outputs: selected.iter().map(output).collect(),
    };
    let mut body = serde_json::to_vec(&response).expect("a response is plain data");
    let json_length = body.len();
    let binary = selected.iter().filter(|(_, binary)| *binary);
    let mut is_binary = false;
    for (index, _) in binary {
        is_binary = true;
        body.extend_from_slice(&raw(&answer.scores[*index]));
    }
    Ok((body, is_binary.then_some(json_length)))
}

#[derive(serde::Serialize)]
struct ResponseJson<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<ResponseOutput<'a>>,
}

#[derive(serde::Serialize)]
struct ResponseOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinaryParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Vec<f32>>,
}

#[derive(serde::Serialize)]
struct BinaryParameters {
    binary_data_size: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &str, json_length: Option<usize>) -> Result<InferQuery, ApiError> {
        let accepts = Accepts {
            candidates: 3,
            bytes: 1 << 20,
            lenient: false,
        };
        read(body.as_bytes(), json_length, ("m", None), &accepts)
    }

    #[test]
    fn tensors_in_the_json_and_after_it_are_the_same() {
        let json =
            r#"{"inputs": [{"name": "a", "shape": [2], "datatype": "INT8", "data": [1, 2]}]}"#;
        let head = r#"{"inputs": [{"name": "a", "shape": [2], "datatype": "INT8",
                       "parameters": {"binary_data_size": 2}}]}"#;
        let with_bytes = format!("{head}\u{1}\u{2}");
        let query = read_body(&with_bytes, Some(head.len())).unwrap();
        assert_eq!(read_body(json, None).unwrap(), query);
        assert_eq!(
            query.rank.candidates.columns[0].values,
            Values::Int(vec![1, 2])
        );
    }

    #[test]
    fn errors_describe_the_problem() {
        let check = |inputs: &str, expected: &str| {
            let body = format!("{{\"inputs\": [{inputs}]}}");
            let refusal = read_body(&body, None).unwrap_err();
            assert!(refusal.message.contains(expected), "{body}: {refusal}");
        };
        let input = |shape: &str, datatype: &str, rest: &str| {
            format!("{{\"name\": \"a\", \"shape\": {shape}, \"datatype\": \"{datatype}\"{rest}}}")
        };
        check(
            &input("[2]", "INT8", ", \"data\": [1]"),
            "1 values where shape [2] says 2",
        );
        check(
            &input("[1]", "INT8", ", \"data\": [\"x\"]"),
            "not all of datatype INT8",
        );
        check(
            &input("[1]", "INT8", ", \"data\": [0.5]"),
            "not all of datatype INT8",
        );
        check(
            &input("[1]", "BYTES", ", \"data\": [1]"),
            "not all of datatype BYTES",
        );
        check(
            &input("[1]", "INT9", ", \"data\": [1]"),
            "no datatype \"INT9\"",
        );
        check(&input("[1]", "INT8", ""), "neither data nor");
        check(
            &input("[1]", "FP32", ", \"data\": [NaN]"),
            "JSON has no NaN",
        );
        check(
            &input("[1]", "FP32", ", \"data\": [null]"),
            "invalid type: null",
        );
        check(&input("[1]", "FP32", ", \"data\": 1"), "a list of values");
        check(
            &input("[1]", "FP32", ", \"data\": [[[1]]]"),
            "lists of lists of lists",
        );
        let size = ", \"parameters\": {\"binary_data_size\": 8}";
        check(&input("[1]", "INT64", size), "0 bytes are left");
        check("1", "expected an input: an object");
        assert!(
            read_body("{}", Some(5))
                .unwrap_err()
                .message
                .contains("Inference-Header-Content-Length")
        );
    }

    #[test]
    fn numbers_of_any_length_are_strings_or_numbers() {
        let body = r#"{"inputs": [{"name": "a", "shape": [2, 1], "datatype": "UINT64",
                      "data": [[18446744073709551615], [1]]}]}"#;
        let query = read_body(body, None).unwrap();
        let Values::Text(texts) = &query.rank.candidates.columns[0].values else {
            panic!("a text");
        };
        assert_eq!(texts.get(0), b"18446744073709551615");
    }

    #[test]
    fn a_user_is_a_string_or_a_whole_number() {
        let check = |user: &str, expected: Option<&str>| {
            let input = r#"{"name": "a", "shape": [1], "datatype": "INT8", "data": [1]}"#;
            let body = format!("{{\"inputs\": [{input}], \"parameters\": {{\"user\": {user}}}}}");
            let query = read_body(&body, None).unwrap();
            assert_eq!(query.rank.user.as_deref(), expected, "{user}");
        };
        check("\"u17\"", Some("u17"));
        check("17", Some("17"));
        check("null", None);
    }
}
