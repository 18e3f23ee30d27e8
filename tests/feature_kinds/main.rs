//! Kinds of features, from the files to the scores: what is planted in a log is found by the feature that holds it and
//! not without it, and a row gets the same score in training's evaluation, in batches, over HTTP and in a replay.

mod boundaries;
mod crosses;
mod decays;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../serving/harness.rs"]
mod harness;
mod sequences;
#[path = "../short_run/mod.rs"]
mod short_run;
mod tables;
mod times;
#[path = "../trained/mod.rs"]
mod trained;
mod values;
mod vectors;
mod weighted;

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{Connection, Server};
use ncs_model::{CounterRng, TensorFile};
use serde_json::{Map, Value, json};
use trained::done;

/// A row of a log.
pub(crate) type Row = Map<String, Value>;

/// Training, validation and test rows.
const ROWS: [(&str, u64); 3] = [("train", 6000), ("valid", 2000), ("test", 3000)];

/// Columns that no request can know.
const UNKNOWN: [&str; 3] = ["click", "buy", "seconds"];

/// Candidates of a request.
const CANDIDATES: usize = 30;

/// Writes `train.jsonl`, `valid.jsonl` and `test.jsonl`: `row` returns the columns of a row and the log-odds of its
/// click, from draws of its own. Clicked rows are bought by half as large log-odds, less one.
pub(crate) fn log(folder: &Path, row: impl Fn(CounterRng) -> (Value, f64)) {
    let rng = CounterRng::new(3, "log");
    for (part, (name, n_rows)) in ROWS.into_iter().enumerate() {
        let rng = rng.at(part as u64);
        let mut lines = String::new();
        for number in 0..n_rows {
            let own = rng.at(number);
            let (mut columns, logit) = row(own);
            let happens = |logit: f64, draw: u64| {
                let labels = CounterRng::new(4, "labels").at(part as u64).at(number);
                labels.uniform(draw) < 1.0 / (1.0 + (-logit).exp())
            };
            let click = happens(logit, 0);
            let buy = click.then(|| u8::from(happens(logit / 2.0 - 1.0, 1)));
            columns["click"] = json!(u8::from(click));
            columns["buy"] = json!(buy);
            lines += &format!("{columns}\n");
        }
        fs::write(folder.join(format!("{name}.jsonl")), lines).unwrap();
    }
}

/// Writes a run file `NAME.toml` with these lines of `[columns]`.
pub(crate) fn run_file(folder: &Path, name: &str, columns: &str) {
    let text = format!(
        "threads = 2\n\
         data = {{ train = \"train.jsonl\", valid = \"valid.jsonl\", test = \"test.jsonl\", cache = \"cache\" }}\n\
         network = {{ kind = \"sparse_sharing\", dim = 8, hidden = [32, 16] }}\n\
         features = {{ rates = \"none\" }}\n\
         evaluation = {{ keep_scores = true, bootstrap = 10 }}\n\
         [columns]\n{columns}\n\
         [tasks]\nctr = {{ label = \"click\" }}\ncvr = {{ label = \"buy\", where = \"ctr\" }}\n"
    );
    fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

/// Trains a model of these columns into the folder `name`, and returns the AUCs of both tasks on the test rows.
pub(crate) fn train(folder: &Path, name: &str, columns: &str) -> [f64; 2] {
    run_file(folder, name, columns);
    done(folder, &["train", &format!("{name}.toml"), "--out", name]);
    let metrics = fs::read_to_string(folder.join(name).join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    ["ctr", "cvr"].map(|task| {
        let auc = metrics["tasks"][task]["auc"].as_f64();
        auc.unwrap_or_else(|| panic!("{metrics}"))
    })
}

/// Writes a training log whose tenth row holds this.
pub(crate) fn with_value(folder: &Path, column: &str, value: Value) {
    let text = fs::read_to_string(folder.join("train.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut row: Value = serde_json::from_str(&lines[9]).unwrap();
    row[column] = value;
    lines[9] = row.to_string();
    fs::write(folder.join("train.jsonl"), lines.join("\n")).unwrap();
}

/// Checks that the test rows score the same in the evaluation of the run `name`, by `ncs score`, over HTTP with these
/// columns in the context, and in a replay of the server's log.
pub(crate) fn same_everywhere(folder: &Path, name: &str, context: &[&str]) {
    let file = TensorFile::read(&folder.join(name).join("scores.safetensors")).unwrap();
    let evaluated = ["ctr", "cvr"].map(|task| file.f32(&format!("scores.{task}")).unwrap());
    let rows = rows(folder);
    same(&evaluated, &by_batch(folder, name), "ncs score");
    // One row may have a context of its own: one candidate a request there, then all candidates of one context.
    let model = format!("feed={name}");
    let arguments = [
        &*model,
        "--score-log",
        "scores",
        "--score-log-queue",
        "1000000",
    ];
    let mut server = Server::start(folder, &arguments);
    let single: Vec<&[Row]> = rows[..300].chunks(1).collect();
    let found = by_http(&server, &single, context);
    let first = evaluated.each_ref().map(|scores| scores[..300].to_vec());
    same(&first, &found, "HTTP");
    let whole: Vec<&[Row]> = rows.chunks(CANDIDATES).collect();
    let found = by_http(&server, &whole, &[]);
    same(&evaluated, &found, "HTTP, without a context");
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)), Some(0));
    let report = done(folder, &["replay", "scores", name, "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"], json!(300 + rows.len()), "{report}");
    assert_eq!(report["rows_beyond"], json!(0), "{report}");
}

fn rows(folder: &Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("test.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn by_batch(folder: &Path, name: &str) -> [Vec<f32>; 2] {
    let score = ["score", name, "--data", "test.jsonl", "--out", "scores.csv"];
    done(folder, &score);
    let text = fs::read_to_string(folder.join("scores.csv")).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("p_ctr,p_cvr"));
    let mut scores = [Vec::new(), Vec::new()];
    for line in lines {
        let values = line.split(',').map(|value| value.parse().unwrap());
        scores.iter_mut().zip(values).for_each(|(to, x)| to.push(x));
    }
    scores
}

/// Scores these requests; the columns of the context are those of the first row.
fn by_http(server: &Server, requests: &[&[Row]], context: &[&str]) -> [Vec<f32>; 2] {
    let mut connection = Connection::open(server.http);
    let mut scores = [Vec::new(), Vec::new()];
    for rows in requests {
        let shared = context
            .iter()
            .map(|&name| (name.to_owned(), rows[0][name].clone()));
        let candidate = |row: &Row| {
            let mut row = row.clone();
            row.retain(|name, _| !context.contains(&&**name) && !UNKNOWN.contains(&&**name));
            row
        };
        let body = json!({
            "context": Row::from_iter(shared),
            "candidates": rows.iter().map(candidate).collect::<Vec<Row>>(),
        });
        let path = "/v2/models/feed/rank";
        let reply = connection.ask("POST", path, &[], body.to_string().as_bytes());
        let reply = reply.good();
        for (task, scores) in ["ctr", "cvr"].into_iter().zip(&mut scores) {
            let given = reply["scores"][task].as_array().unwrap().iter();
            scores.extend(given.map(|score| score.as_f64().unwrap() as f32));
        }
    }
    scores
}

#[track_caller]
fn same(expected: &[Vec<f32>; 2], found: &[Vec<f32>; 2], way: &str) {
    for (expected, found) in expected.iter().zip(found) {
        assert_eq!(expected.len(), found.len(), "{way}");
        // Values differ by as much more as their range is wider than that of probabilities.
        let range = expected.iter().copied().fold(1.0, f32::max);
        let difference = |(a, b): (&f32, &f32)| (a - b).abs() / range;
        let differences = expected.iter().zip(found).map(difference);
        let largest = differences.fold(0.0, f32::max);
        assert!(largest <= 1e-6, "{way}: {largest:e}");
    }
}
