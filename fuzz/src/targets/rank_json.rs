//! The body of a rank request in JSON.

use super::{Target, WORDS, requests};
use crate::mutate::Form;
use ncs_serve::wire::rank_json::read;

pub(super) const TARGET: Target = Target {
    name: "rank_json",
    run,
    seeds,
    form: Form::Json,
    words: WORDS,
    max_length: 16 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    requests::handle(|accepts| Ok((read(input, accepts)?, ())), |_, ()| Ok(()))
}

fn seeds() -> Vec<Vec<u8>> {
    let context = r#""context": {"user": "u7", "hour": 21, "history": ["v1", "v9"], "age": 33}"#;
    let texts = [
        format!(
            r#"{{{context}, "candidates": {{"video": ["v1", "v2"], "price": [0.5, null],
               "tags": ["news|sport", ""], "watch": [[1, 2.5], []]}}, "top_k": 1}}"#
        ),
        format!(
            r#"{{"id": "7f", "model": "feed", "version": 3, "user": 17, {context},
               "candidates": [{{"video": "v1", "price": 1, "tags": ["news"], "watch": 3}},
               {{"video": "v2", "price": "2", "tags": null, "watch": null}}]}}"#
        ),
        format!(
            r#"{{"label": "canary", {context}, "candidates": [], "top_by": "ctcvr", "top_k": 9}}"#
        ),
        r#"{"candidates": {"video": [1, 2.5, true], "x": ["\u00e9", "\ud83d\ude00", ""]}}"#
            .to_owned(),
        r#"{"candidates": [{}, {"session": 18446744073709551615}, {"hour": -0.0}]}"#.to_owned(),
        "[]".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}
