//! The rank call in JSON.
//!
//! ```json
//! {"id": "7f3a", "user": "u17",
//!  "context": {"user": "u17", "hour": 21, "history": ["v3", "v9"]},
//!  "candidates": {"video": ["v1", "v2"], "price": [0.5, null]},
//!  "top_k": 1}
//! ```
//!
//! gets the response
//!
//! ```json
//! {"id": "7f3a", "model": {"name": "feed", "version": 3, "hash": "..."},
//!  "scores": {"ctr": [0.11], "cvr": [0.02], "ctcvr": [0.0022]}, "best": [1]}
//! ```

use super::bounds::{Bounds, MAX_ID};
use super::columns_json::{ManyRows, OneRow};
use super::short_json::{OrNull, Short, Word};
use super::{Accepts, nearest};
use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::{RankQuery, RankScores, Top, VersionSelector};
use crate::words::shown;
use ncs_features::json::{brief, long_numbers_quoted};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

const KEYS: [&str; 9] = [
    "model",
    "version",
    "label",
    "id",
    "user",
    "context",
    "candidates",
    "top_k",
    "top_by",
];

/// Reads a request.
///
/// # Errors
/// It is not JSON, not of this form, or has too many candidates; the message gives the position.
pub fn read(body: &[u8], accepts: &Accepts) -> Result<RankQuery, ApiError> {
    // Checked as a whole, which is faster than string by string.
    let body = &*long_numbers_quoted(body);
    let text = std::str::from_utf8(body).map_err(|error| {
        let position = error.valid_up_to() + 1;
        ErrorKind::Invalid.error(format!("the request's body: not UTF-8 at byte {position}"))
    })?;
    let bounds = Bounds::new(accepts);
    let mut json = serde_json::Deserializer::from_str(text);
    let query = json.deserialize_map(Rank(&bounds)).and_then(|query| {
        json.end()?;
        Ok(query)
    });
    query.map_err(|error| bounds.explained(body, &error))
}

struct Rank<'a, 'b>(&'a Bounds<'b>);

/// The keys parsed so far.
#[derive(Default)]
struct Parts {
    query: RankQuery,
    seen: [bool; KEYS.len()],
    version: Option<u64>,
    label: Option<String>,
    top_k: Option<usize>,
    top_by: Option<String>,
}

impl<'de> Visitor<'de> for Rank<'_, '_> {
    type Value = RankQuery;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"context\" and \"candidates\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RankQuery, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key_seed(Short::name("a key", self.0))? {
            let Some(position) = KEYS.iter().position(|known| *known == key) else {
                let (key, hint) = (shown(&key), nearest(&key, KEYS));
                return Err(A::Error::custom(format!("unknown key \"{key}\"{hint}")));
            };
            if std::mem::replace(&mut parts.seen[position], true) {
                return Err(A::Error::custom(format!("\"{key}\" comes twice")));
            }
            let read = self.read(&key, &mut map, &mut parts);
            read.map_err(|error| A::Error::custom(format!("\"{key}\": {}", brief(&error))))?;
        }
        parts.finish()
    }
}

impl Rank<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(
        &self,
        key: &str,
        map: &mut A,
        parts: &mut Parts,
    ) -> Result<(), A::Error> {
        let query = &mut parts.query;
        let name = Short::name("it", self.0);
        let id = Short {
            most: MAX_ID,
            ..name
        };
        match key {
            "model" => query.model.name = map.next_value_seed(OrNull(name))?,
            "version" => parts.version = map.next_value_seed(VersionNumber(Word(name)))?,
            "label" => parts.label = map.next_value_seed(OrNull(name))?,
            "id" => query.id = map.next_value_seed(Word(id))?.unwrap_or_default(),
            "user" => query.user = map.next_value_seed(Word(name))?,
            "context" => query.context = map.next_value_seed(OneRow(self.0))?,
            "candidates" => query.candidates = map.next_value_seed(ManyRows(self.0))?,
            "top_k" => parts.top_k = map.next_value()?,
            _ => parts.top_by = map.next_value_seed(OrNull(name))?,
        }
        Ok(())
    }
}

impl Parts {
    fn finish<E: Error>(self) -> Result<RankQuery, E> {
        let mut query = self.query;
        if !self.seen[KEYS
            .iter()
            .position(|key| *key == "candidates")
            .unwrap_or(0)]
        {
            return Err(E::custom("no \"candidates\"; add the rows to score"));
        }
        query.model.version = match (self.version, self.label) {
            (Some(_), Some(_)) => return Err(E::custom("both \"version\" and \"label\"; say one")),
            (Some(version), None) => VersionSelector::Number(version),
            (None, Some(label)) => VersionSelector::Labelled(label),
            (None, None) => VersionSelector::Routed,
        };
        query.top = match (self.top_k, self.top_by) {
            (Some(0), _) => return Err(E::custom("\"top_k\" is 0; leave it out to get all")),
            (Some(n), by) => Some(Top { n, by }),
            (None, Some(_)) => return Err(E::custom("\"top_by\" without \"top_k\"")),
            (None, None) => None,
        };
        Ok(query)
    }
}

/// Parses a version: a number, or a text with one.
struct VersionNumber<'a, 'b>(Word<'a, 'b>);

impl<'de> DeserializeSeed<'de> for VersionNumber<'_, '_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<u64>, D::Error> {
        let word = self.0.deserialize(from)?;
        let number = |word: String| {
            word.parse().map_err(|_| {
                D::Error::custom(format!(
                    "\"{}\" is not a valid version number",
                    shown(&word)
                ))
            })
        };
        word.map(number).transpose()
    }
}

/// Writes a response.
pub fn answer(answer: &RankScores) -> Vec<u8> {
    let numbers = answer.scores.iter().map(Vec::len).sum::<usize>();
    let mut body = Vec::with_capacity(256 + 14 * numbers);
    serde_json::to_writer(&mut body, &ResponseJson(answer)).expect("a response is plain data");
    body
}

struct ResponseJson<'a>(&'a RankScores);

#[derive(serde::Serialize)]
struct ModelJson<'a> {
    name: &'a str,
    version: u64,
    hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'static str>,
}

impl Serialize for ResponseJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let answer = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("id", &answer.id)?;
        let model = ModelJson {
            name: &answer.model,
            version: answer.version,
            hash: &answer.hash,
            label: answer.label,
        };
        map.serialize_entry("model", &model)?;
        map.serialize_entry("scores", &ScoresJson(answer))?;
        if let Some(best) = &answer.best {
            map.serialize_entry("best", best)?;
        }
        map.end()
    }
}

struct ScoresJson<'a>(&'a RankScores);

impl Serialize for ScoresJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let outputs = self.0.outputs.iter();
        to.collect_map(outputs.zip(&self.0.scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::Values;

    const ACCEPTS: Accepts = Accepts {
        candidates: 3,
        bytes: 4096,
        lenient: false,
    };

    #[test]
    fn both_ways_of_writing_candidates_are_the_same() {
        let read_candidates = |candidates: &str| {
            let body = format!("{{\"context\": {{\"u\": 7}}, \"candidates\": {candidates}}}");
            read(body.as_bytes(), &ACCEPTS).unwrap()
        };
        let by_column = read_candidates("{\"a\": [\"x\", null], \"b\": [[1, 2], []]}");
        let by_row = read_candidates("[{\"a\": \"x\", \"b\": [1, 2]}, {\"b\": [], \"a\": null}]");
        assert_eq!(by_column, by_row);
        assert_eq!(by_row.candidates.n_rows, 2);
        assert_eq!(by_row.context.columns[0].values, Values::Int(vec![7]));
        assert_eq!(by_row.candidates.columns[0].nulls, [false, true]);
        assert_eq!(by_row.candidates.columns[1].offsets, Some(vec![0, 2, 2]));
    }

    /// Bodies, and a part of what is said of each.
    const WRONG: [(&str, &str); 21] = [
        ("", "EOF while parsing"),
        (
            "[]",
            "expected an object with \"context\" and \"candidates\"",
        ),
        ("{}", "no \"candidates\""),
        ("{\"canditates\": []}", "did you mean \"candidates\"?"),
        ("{\"candidates\": {\"a\": 1}}", "column \"a\""),
        ("{\"candidates\": {\"a\": [NaN]}}", "JSON has no NaN"),
        (
            "{\"candidates\": {\"a\": [{}]}}",
            "column \"a\": invalid type: map",
        ),
        (
            "{\"candidates\": {\"a\": [1], \"b\": [1, 2]}}",
            "column \"b\" has 2 values",
        ),
        (
            "{\"candidates\": {\"a\": [1], \"a\": [1]}}",
            "column \"a\" comes twice",
        ),
        (
            "{\"candidates\": [{\"a\": 1}, {}]}",
            "candidate 2 lacks column \"a\"",
        ),
        (
            "{\"candidates\": [{}, {\"a\": 1}]}",
            "candidate 1 lacks column \"a\"",
        ),
        (
            "{\"candidates\": [{\"a\": 1, \"a\": 1}]}",
            "column \"a\" comes twice",
        ),
        ("{\"candidates\": [1, 2, 3, 4]}", "expected a candidate"),
        (
            "{\"candidates\": [{}, {}, {}, {}]}",
            "more than 3 candidates",
        ),
        (
            "{\"candidates\": {\"a\": [1, 2, 3, 4]}}",
            "more than 3 candidates",
        ),
        ("{\"candidates\": [], \"top_k\": 0}", "\"top_k\" is 0"),
        (
            "{\"candidates\": [], \"top_k\": -1}",
            "\"top_k\": invalid value",
        ),
        (
            "{\"candidates\": [], \"top_by\": \"ctr\"}",
            "without \"top_k\"",
        ),
        (
            "{\"candidates\": [], \"version\": \"x\"}",
            "\"x\" is not a valid version number",
        ),
        (
            "{\"candidates\": [], \"version\": 1, \"label\": \"a\"}",
            "say one",
        ),
        ("{\"candidates\": []} x", "trailing characters"),
    ];

    #[test]
    fn errors_describe_the_problem() {
        let check = |body: &str, expected: &str| {
            let refusal = read(body.as_bytes(), &ACCEPTS).unwrap_err();
            assert!(refusal.message.contains(expected), "{body}: {refusal}");
        };
        for (body, expected) in WRONG {
            check(body, expected);
        }
    }

    #[test]
    fn an_answer_names_its_outputs() {
        let scores = RankScores {
            id: "7".into(),
            model: "feed".into(),
            version: 3,
            hash: "abc".into(),
            label: None,
            outputs: ["ctr".to_owned(), "cvr".to_owned()].into(),
            scores: vec![vec![0.1, 0.25], vec![0.5, 1e-7]],
            best: Some(vec![4, 2]),
        };
        let expected = "{\"id\":\"7\",\"model\":{\"name\":\"feed\",\"version\":3,\"hash\":\"abc\"},\
                        \"scores\":{\"ctr\":[0.1,0.25],\"cvr\":[0.5,1e-7]},\"best\":[4,2]}";
        assert_eq!(String::from_utf8(answer(&scores)).unwrap(), expected);
    }
}
