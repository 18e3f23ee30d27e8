//! The body of an inference request in JSON, followed by binary tensors. The first byte of an input selects the end of
//! the JSON: 0 the end of the body, 1 its first zero byte, otherwise the length in the next two bytes.

use super::{Target, WORDS, requests};
use crate::mutate::Form;
use ncs_serve::wire::infer_json::{read, respond};

pub(super) const TARGET: Target = Target {
    name: "infer_json",
    run,
    seeds,
    form: Form::Json,
    words: WORDS,
    max_length: 16 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    let (body, json_length) = parts(input);
    requests::handle(
        |accepts| {
            let request = read(&body, json_length, ("feed", None), accepts)?;
            Ok((request.rank.clone(), request))
        },
        |response, request| {
            let (body, json_length) = respond(response, request)?;
            let json = &body[..json_length.unwrap_or(body.len())];
            let json: serde_json::Value = serde_json::from_slice(json).expect("valid JSON");
            assert!(json["outputs"].is_array());
            Ok(())
        },
    )
}

/// Returns the body, and the length of its JSON; `None`: all of it.
fn parts(input: &[u8]) -> (Vec<u8>, Option<usize>) {
    match input {
        [0, body @ ..] => (body.to_vec(), None),
        [1, body @ ..] => {
            let end = body.iter().position(|&byte| byte == 0);
            let end = end.unwrap_or(body.len());
            let tensors = body.get(end + 1..).unwrap_or_default();
            ([&body[..end], tensors].concat(), Some(end))
        }
        [_, low, high, body @ ..] => {
            let length = u16::from_le_bytes([*low, *high]);
            (body.to_vec(), Some(length.into()))
        }
        _ => (Vec::new(), Some(input.len())),
    }
}

/// Returns a tensor in JSON: its name, shape, datatype, and its data or parameters.
fn tensor((name, shape, datatype, rest): (&str, &str, &str, &str)) -> String {
    format!(r#"{{"name": "{name}", "shape": {shape}, "datatype": "{datatype}", {rest}}}"#)
}

fn seeds() -> Vec<Vec<u8>> {
    let tensors = [
        ("user", "[1]", "BYTES", r#""data": ["u7"]"#),
        ("hour", "[1]", "INT32", r#""data": [21]"#),
        (
            "history",
            "[1, 3]",
            "BYTES",
            r#""data": [["v1", "v9", ""]]"#,
        ),
        ("history:lengths", "[1]", "INT32", r#""data": [2]"#),
        ("age", "[1]", "FP32", r#""data": [33.5]"#),
        (
            "video",
            "[2]",
            "UINT64",
            r#""data": [1, 18446744073709551615]"#,
        ),
        ("tags", "[2, 1]", "BYTES", r#""data": ["news|sport", ""]"#),
        ("price", "[2]", "FP64", r#""data": [0.5, 7]"#),
    ];
    let inputs = tensors.map(tensor).join(", ");
    let size = |n: usize| format!(r#""parameters": {{"binary_data_size": {n}}}"#);
    let watch = tensor(("watch", "[2, 2]", "INT16", &size(8)));
    let flag = tensor(("session", "[2]", "BOOL", &size(2)));
    let words = tensor(("session", "[2]", "BYTES", &size(11)));
    let outputs =
        r#""outputs": [{"name": "ctr", "parameters": {"binary_data": true}}, {"name": "cvr"}]"#;
    let in_json = tensor(("watch", "[2, 2]", "INT16", r#""data": [1, 2, -3, 4]"#));
    let bytes = b"\x01\0\x02\0\xff\xff\x04\0";
    vec![
        [b"\0", format!(r#"{{"id": "7", "inputs": [{inputs}, {in_json}]}}"#).as_bytes()].concat(),
        [b"\x01", format!(r#"{{"inputs": [{inputs}, {watch}], {outputs}}}"#).as_bytes(), b"\0", bytes].concat(),
        [b"\x01", format!(r#"{{"parameters": {{"binary_data_output": true, "timeout": 9}}, "inputs": [{inputs}, {watch}, {flag}]}}"#).as_bytes(), b"\0", bytes, b"\x01\0"].concat(),
        [b"\x01", format!(r#"{{"inputs": [{words}]}}"#).as_bytes(), b"\0\x02\0\0\0hi\x01\0\0\0x"].concat(),
        b"\x02\x02\0{}xyz".to_vec(),
    ]
}
