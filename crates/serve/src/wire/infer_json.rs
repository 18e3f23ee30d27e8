//! The infer call in JSON, with tensors in the JSON or as bytes after it.

mod said;

use super::Accepts;
use super::bounds::Bounds;
use super::infer::{
    InferQuestion, Parameters, WantedOutput, check_outputs, chosen, question, wanted,
};
use super::infer_proto::raw;
use super::tensors::{Datatype, Tensor, n_values};
use crate::api_error::{ApiError, Kind};
use crate::rank_request::Answer;
use crate::words::shown;
use ncs_features::Values;
use said::{Flat, Object, SaidInput, SaidOutput, SaidParameters, SaidRequest};
use serde::de::DeserializeSeed;

/// Reads a request whose first `json_length` bytes are JSON (all, where that is `None`) and the rest
/// binary tensors, for the model of the path.
///
/// # Errors
/// It is not of this shape, its tensors do not fit their shapes or each other, or there are too many
/// candidates.
pub fn read(
    body: &[u8],
    json_length: Option<usize>,
    (name, version): (&str, Option<&str>),
    accepts: &Accepts,
) -> Result<InferQuestion, ApiError> {
    let invalid = |what: String| Kind::Invalid.says(what);
    let model = wanted(name, version)?;
    let Some((json, binary)) = body.split_at_checked(json_length.unwrap_or(body.len())) else {
        return Err(invalid(format!(
            "Inference-Header-Content-Length says {} bytes of JSON, and the body has {}",
            json_length.unwrap_or(0),
            body.len()
        )));
    };
    let bounds = Bounds::new(accepts);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let said = Object::<SaidRequest>::within(&bounds).deserialize(&mut reader);
    let said = said.and_then(|said| reader.end().map(|()| said));
    let said = said.map_err(|error| bounds.explained(json, &error))?;
    let inputs = inputs(said.inputs, binary, &bounds)?;
    let parameters = Parameters {
        label: said.parameters.label,
        user: said.parameters.user,
        timeout: said.parameters.timeout.filter(|&time| time > 0),
    };
    let outputs = said.outputs.map(outputs).transpose()?;
    Ok(InferQuestion {
        question: question(
            model,
            said.id.unwrap_or_default(),
            parameters,
            inputs,
            accepts,
        )?,
        outputs: outputs.filter(|outputs| !outputs.is_empty()),
        binary: said.parameters.binary_data_output.unwrap_or(false),
    })
}

fn outputs(said: Vec<SaidOutput>) -> Result<Vec<WantedOutput>, ApiError> {
    let output = |said: SaidOutput| match said.parameters {
        SaidParameters {
            has_classification: true,
            ..
        } => Err(Kind::Unsupported.says("this server does not have the classification extension")),
        SaidParameters {
            is_shared: true, ..
        } => Err(Kind::Unsupported.says("this server has no shared memory")),
        parameters => Ok(WantedOutput {
            name: said.name,
            binary: parameters.binary_data,
        }),
    };
    let outputs: Vec<WantedOutput> = said.into_iter().map(output).collect::<Result<_, _>>()?;
    check_outputs(&outputs)?;
    Ok(outputs)
}

fn inputs(
    said: Vec<SaidInput>,
    mut binary: &[u8],
    bounds: &Bounds<'_>,
) -> Result<Vec<Tensor>, ApiError> {
    let mut tensors = Vec::with_capacity(said.len());
    for mut said in said {
        let name = std::mem::take(&mut said.name);
        let wrong =
            |what: String| Kind::Invalid.says(format!("input \"{}\": {what}", shown(&name)));
        let mut bytes = None;
        if let Some(size) = said.parameters.binary_data_size {
            let Some((its, rest)) = binary.split_at_checked(size) else {
                return Err(wrong(format!(
                    "binary_data_size is {size}, and {} bytes are left in the body",
                    binary.len()
                )));
            };
            bytes = Some(its);
            binary = rest;
        }
        let shape = said.shape.clone();
        let values = values(said, bytes, bounds).map_err(|error| match error {
            InputError::Wrong(what) => wrong(what),
            InputError::Refused(refusal) => refusal,
        })?;
        tensors.push(Tensor {
            name,
            shape,
            values,
        });
    }
    match binary.len() {
        0 => Ok(tensors),
        rest => Err(Kind::Invalid.says(format!(
            "{rest} bytes after the last input; each binary input says its binary_data_size"
        ))),
    }
}

/// Why an input has no values.
enum InputError {
    Wrong(String),
    Refused(ApiError),
}

impl From<String> for InputError {
    fn from(what: String) -> InputError {
        InputError::Wrong(what)
    }
}

fn values(
    said: SaidInput,
    bytes: Option<&[u8]>,
    bounds: &Bounds<'_>,
) -> Result<Values, InputError> {
    if said.parameters.is_shared {
        return Err("this server has no shared memory; send the values"
            .to_owned()
            .into());
    }
    let datatype = Datatype::parse(&said.datatype)?;
    let n = n_values(&said.shape)?;
    let wrong = match (bytes, said.data) {
        (Some(_), Some(_)) => "both data and binary_data_size".to_owned(),
        (None, None) => "neither data nor binary_data_size".to_owned(),
        (Some(bytes), None) => {
            let paid = bounds.take(datatype.cost(bytes.len()));
            paid.map_err(InputError::Refused)?;
            return Ok(datatype.read(bytes, n)?);
        }
        (None, Some(Flat(_, found))) if found != n => {
            format!("{found} values where shape {:?} says {n}", said.shape)
        }
        (None, Some(Flat(values, _))) if n > 0 && !datatype.holds(&values) => {
            format!("its values are not all of datatype {}", said.datatype)
        }
        (None, Some(Flat(values, _))) => return Ok(values),
    };
    Err(wrong.into())
}

/// An answer as a body, and how many of its bytes are JSON where tensors follow.
///
/// # Errors
/// An output that there is not.
pub fn say(answer: &Answer, asked: &InferQuestion) -> Result<(Vec<u8>, Option<usize>), ApiError> {
    let chosen = chosen(answer, asked.outputs.as_deref(), asked.binary)?;
    let output = |&(place, binary): &(usize, bool)| {
        let scores = &answer.scores[place];
        SayOutput {
            name: &answer.outputs[place],
            datatype: "FP32",
            shape: [scores.len()],
            parameters: binary.then_some(SayBinary {
                binary_data_size: 4 * scores.len(),
            }),
            data: (!binary).then_some(scores),
        }
    };
    let said = SayAnswer {
        model_name: &answer.model,
        model_version: answer.version.to_string(),
        id: &answer.id,
        outputs: chosen.iter().map(output).collect(),
    };
    let mut body = serde_json::to_vec(&said).expect("an answer is plain data");
    let json_length = body.len();
    let binary = chosen.iter().filter(|(_, binary)| *binary);
    let mut is_binary = false;
    for (place, _) in binary {
        is_binary = true;
        body.extend_from_slice(&raw(&answer.scores[*place]));
    }
    Ok((body, is_binary.then_some(json_length)))
}

#[derive(serde::Serialize)]
struct SayAnswer<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<SayOutput<'a>>,
}

#[derive(serde::Serialize)]
struct SayOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<SayBinary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Vec<f32>>,
}

#[derive(serde::Serialize)]
struct SayBinary {
    binary_data_size: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &str, json_length: Option<usize>) -> Result<InferQuestion, ApiError> {
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
        let asked = ask(&with_bytes, Some(head.len())).unwrap();
        assert_eq!(ask(json, None).unwrap(), asked);
        assert_eq!(
            asked.question.candidates.columns[0].values,
            Values::Int(vec![1, 2])
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |inputs: &str, expected: &str| {
            let body = format!("{{\"inputs\": [{inputs}]}}");
            let refusal = ask(&body, None).unwrap_err();
            assert!(refusal.what.contains(expected), "{body}: {refusal}");
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
            ask("{}", Some(5))
                .unwrap_err()
                .what
                .contains("Inference-Header-Content-Length")
        );
    }

    #[test]
    fn numbers_of_any_length_are_strings_or_numbers() {
        let body = r#"{"inputs": [{"name": "a", "shape": [2, 1], "datatype": "UINT64",
                      "data": [[18446744073709551615], [1]]}]}"#;
        let asked = ask(body, None).unwrap();
        let Values::Text(texts) = &asked.question.candidates.columns[0].values else {
            panic!("a text");
        };
        assert_eq!(texts.get(0), b"18446744073709551615");
    }

    #[test]
    fn a_user_is_a_string_or_a_whole_number() {
        let check = |user: &str, expected: Option<&str>| {
            let input = r#"{"name": "a", "shape": [1], "datatype": "INT8", "data": [1]}"#;
            let body = format!("{{\"inputs\": [{input}], \"parameters\": {{\"user\": {user}}}}}");
            let asked = ask(&body, None).unwrap();
            assert_eq!(asked.question.user.as_deref(), expected, "{user}");
        };
        check("\"u17\"", Some("u17"));
        check("17", Some("17"));
        check("null", None);
    }
}
