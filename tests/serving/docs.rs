//! The sample request and answer of docs/serving.md, from a model made by the commands above them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Server;
use crate::trained::done;

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/serving.md")
}

/// The arguments of the commands in the document that begin with `ncs VERB`.
fn command<'t>(text: &'t str, verb: &str) -> Vec<&'t str> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("    ncs "));
    let line = lines.find(|line| line.starts_with(verb)).unwrap();
    line.split_whitespace().collect()
}

/// The request behind `-d '` and the place of the answer, the next block, in the document.
fn sample(text: &str) -> (Value, std::ops::Range<usize>) {
    let start = text.find("/rank -d '").unwrap() + "/rank -d '".len();
    let end = start + text[start..].find('\'').unwrap();
    let answer = end + text[end..].find("    {\"id\":").unwrap();
    let length = text[answer..].find("\n\n").unwrap();
    let request = serde_json::from_str(&text[start..end]).unwrap();
    (request, answer..answer + length)
}

/// A score with two significant digits.
fn rounded(score: f64) -> String {
    let digits = 1 - score.log10().floor() as i32;
    format!("{score:.*}", digits.max(0) as usize)
}

/// The answer as the document shows it: scores rounded, the hash cut.
fn shown(answer: &Value) -> String {
    let hash = answer["model"]["hash"].as_str().unwrap();
    let score = |name: &str| rounded(answer["scores"][name][0].as_f64().unwrap());
    format!(
        "    {{\"id\": {}, \"model\": {{\"name\": {}, \"version\": {}, \"hash\": \"{}...\"}},\n     \
         \"scores\": {{\"ctr\": [{}], \"cvr\": [{}], \"ctcvr\": [{}]}}, \"best\": {}}}",
        answer["id"],
        answer["model"]["name"],
        answer["model"]["version"],
        &hash[..6],
        score("ctr"),
        score("cvr"),
        score("ctcvr"),
        answer["best"],
    )
}

/// With `NCS_WRITE_DOCS=1` the answer is written into the document.
#[test]
fn the_sample_answer_is_what_the_server_answers() {
    let text = fs::read_to_string(document()).unwrap();
    let (request, place) = sample(&text);
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &command(&text, "synth"));
    done(folder.path(), &command(&text, "train"));
    let server = Server::start(
        folder.path(),
        &[command(&text, "train")[3].split('/').next().unwrap()],
    );
    let answer = server
        .post("/v2/models/feed/rank", &request.to_string())
        .good();
    if std::env::var_os("NCS_WRITE_DOCS").is_some() {
        let new = [&text[..place.start], &shown(&answer), &text[place.end..]].concat();
        fs::write(document(), new).unwrap();
        return;
    }
    let sample: Value = serde_json::from_str(&text[place]).unwrap();
    let keys = |value: &Value| -> Vec<String> {
        let keys = value.as_object().unwrap().keys();
        keys.cloned().collect()
    };
    assert_eq!(keys(&answer), keys(&sample));
    assert_eq!(keys(&answer["model"]), keys(&sample["model"]));
    assert_eq!(answer["model"]["name"], "feed");
    assert_eq!(answer["model"]["version"], json!(1));
    assert_eq!(answer["best"], sample["best"]);
    for (name, scores) in sample["scores"].as_object().unwrap() {
        let (shown, found) = (&scores[0], answer["scores"][name][0].as_f64().unwrap());
        let off = (found - shown.as_f64().unwrap()).abs();
        // Other processors round otherwise on the way; the digits shown must hold but for the last.
        assert!(
            off < 0.06 * found,
            "{name}: the document shows {shown}, the server says {found}"
        );
    }
}
