//! 100,000 rows score the same whichever way they go.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ncs_model::TensorFile;
use ncs_serve::proto::ranking::column::Values;
use ncs_serve::proto::ranking::ranking_client::RankingClient;
use ncs_serve::proto::ranking::{Column, Floats, Lengths, RankRequest};
use serde_json::{Map, Value, json};

use super::harness::{Connection, Server};
use super::trained::done;

type Row = Map<String, Value>;

/// Scores of a task or of the product, row by row.
type Scores = BTreeMap<String, Vec<f32>>;

/// Columns that all rows of a session have in common.
const CONTEXT: [&str; 4] = ["user", "hour", "device", "city"];
/// Columns that no request can know.
const UNKNOWN: [&str; 5] = ["session", "click", "conversion", "p_click", "p_conversion"];

const ROWS: usize = 100_000;

/// Past rates of the context, of the candidate, and of pairs within the context and across.
const RATES: &str = "features.rates=[{ of = [\"user\"] }, { of = [\"item\"] }, { of = [\"user\", \"city\"] }, \
                     { of = [\"category\", \"user\"], tasks = [\"ctr\"] }]";

#[test]
fn rows_score_the_same_whichever_way_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let by_evaluation = trained(folder.path());
    let by_batch = by_batch(folder.path());
    same(&by_evaluation, &by_batch, "batch scoring");
    let sessions = sessions(&folder.path().join("log/train.jsonl"));
    let arguments = [
        "feed=run",
        "--score-log",
        "scores",
        "--score-log-queue",
        "1000000",
        "--score-log-memory",
        "1024",
        "--drain",
        "60",
        "--context-cache",
        "256",
    ];
    let mut server = Server::start(folder.path(), &arguments);
    let over_http = by_http(&server, &sessions);
    same(&by_evaluation, &over_http, "HTTP");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let by_grpc = runtime.block_on(by_grpc(&server, &sessions));
    same(&by_evaluation, &by_grpc, "gRPC");
    let [hits, misses] =
        ["hits", "misses"].map(|what| server.metric(&format!("ncs_context_cache_{what}_total")));
    assert!(
        hits >= sessions.len() as u64,
        "{hits} of {misses}: gRPC asks what HTTP has asked"
    );
    server.signal("TERM");
    assert_eq!(server.wait(std::time::Duration::from_secs(60)), Some(0));
    // Vectors that stay in the model's file are the same vectors.
    let mapped = Server::start(folder.path(), &["feed=run", "--map-tables"]);
    let some = &sessions[..sessions.len() / 10];
    for (task, scores) in by_http(&mapped, some) {
        assert_eq!(scores, over_http[&task][..scores.len()], "{task}");
    }
    drop(mapped);
    let printed = done(folder.path(), &["replay", "scores", "run", "--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    println!("replay: {printed}");
    assert_eq!(printed["rows"], json!(2 * by_evaluation["ctr"].len()));
    assert_eq!(printed["rows_beyond"], json!(0));
}

/// Trains, with counts and rates of the past, on a small part of a log with the large part as test rows, whose scores the evaluation keeps.
fn trained(folder: &Path) -> Scores {
    let rows = (ROWS * 10 / 6 + 5000).to_string();
    let synth = [
        "synth",
        "--rows",
        &rows,
        "--format",
        "json-lines",
        "--out",
        "log",
    ];
    done(folder, &synth);
    let train = [
        "train",
        "log/run.toml",
        "--out",
        "run",
        "--set",
        "data.train=test.jsonl",
        "--set",
        "data.test=train.jsonl",
        "--set",
        "network.hidden=[32, 16]",
        "--set",
        "search.rounds=1",
        "--set",
        "training.epochs=1",
        "--set",
        RATES,
        "--set",
        "serving.context_columns=[\"user\", \"hour\", \"device\", \"city\"]",
        "--set",
        "evaluation.keep_scores=true",
        "--set",
        "evaluation.bootstrap=10",
    ];
    done(folder, &train);
    let file = TensorFile::read(&folder.join("run/scores.safetensors")).unwrap();
    let scores = |task: &str| file.f32(&format!("scores.{task}")).unwrap();
    let scores: Scores = ["ctr", "cvr"]
        .map(|task| (task.to_owned(), scores(task)))
        .into();
    assert!(scores["ctr"].len() >= ROWS, "{}", scores["ctr"].len());
    scores
}

fn by_batch(folder: &Path) -> Scores {
    let score = [
        "score",
        "run",
        "--data",
        "log/train.jsonl",
        "--out",
        "scores.csv",
    ];
    done(folder, &score);
    let text = fs::read_to_string(folder.join("scores.csv")).unwrap();
    let mut lines = text.lines();
    let names = lines.next().unwrap().split(',');
    let names: Vec<&str> = names.map(|name| &name[2..]).collect();
    let mut scores: Vec<Vec<f32>> = vec![Vec::new(); names.len()];
    for line in lines {
        for (value, scores) in line.split(',').zip(&mut scores) {
            scores.push(value.parse().unwrap());
        }
    }
    names.into_iter().map(str::to_owned).zip(scores).collect()
}

/// The rows of each session, which stand together.
fn sessions(log: &Path) -> Vec<Vec<Row>> {
    let text = fs::read_to_string(log).unwrap();
    let mut sessions: Vec<Vec<Row>> = Vec::new();
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        match sessions.last_mut() {
            Some(session) if session[0]["session"] == row["session"] => session.push(row),
            _ => sessions.push(vec![row]),
        }
    }
    sessions
}

fn without(row: &Row, names: &[&str]) -> Row {
    let mut row = row.clone();
    row.retain(|name, _| !names.contains(&name.as_str()));
    row
}

fn by_http(server: &Server, sessions: &[Vec<Row>]) -> Scores {
    let mut connection = Connection::open(server.http);
    let mut scores = Scores::new();
    let not_candidates = [&CONTEXT[..], &UNKNOWN[..]].concat();
    for session in sessions {
        let context = CONTEXT.map(|name| (name.to_owned(), session[0][name].clone()));
        let candidates: Vec<Row> = session
            .iter()
            .map(|row| without(row, &not_candidates))
            .collect();
        let body = json!({ "context": Map::from_iter(context), "candidates": candidates });
        let path = "/v2/models/feed/rank";
        let reply = connection.ask("POST", path, &[], body.to_string().as_bytes());
        for (output, printed) in reply.good()["scores"].as_object().unwrap() {
            let printed = printed.as_array().unwrap().iter();
            let printed = printed.map(|score| score.as_f64().unwrap() as f32);
            scores.entry(output.clone()).or_default().extend(printed);
        }
    }
    scores
}

/// A column of a message. What JSON says as a whole number comes as a text here, as another client would
/// send it: the score must not change.
fn column(name: &str, rows: &[&Row]) -> Column {
    let values: Vec<&Value> = rows.iter().map(|row| &row[name]).collect();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut column = Column {
        name: name.to_owned(),
        ..Column::default()
    };
    if values.iter().any(|value| value.is_array()) {
        let lists = values
            .iter()
            .map(|value| value.as_array().cloned().unwrap_or_default());
        let lists: Vec<Vec<Value>> = lists.collect();
        column.lengths = Some(Lengths {
            values: lists.iter().map(|list| list.len() as u32).collect(),
        });
        let values = lists.iter().flatten().map(text);
        column.values = Some(Values::Texts(values.collect()));
    } else if values.iter().any(|value| value.is_f64()) {
        let values = values
            .iter()
            .map(|value| value.as_f64().unwrap_or(0.0))
            .collect();
        column.values = Some(Values::Floats(Floats { values }));
    } else {
        let values = values.iter().map(|value| text(value));
        column.values = Some(Values::Texts(values.collect()));
    }
    let nulls = values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_null());
    column.null_rows = nulls.map(|(row, _)| row as u32).collect();
    column
}

async fn by_grpc(server: &Server, sessions: &[Vec<Row>]) -> Scores {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc));
    let mut client = RankingClient::new(channel.unwrap().connect().await.unwrap());
    let mut scores = Scores::new();
    let not_candidates = [&CONTEXT[..], &UNKNOWN[..]].concat();
    for session in sessions {
        let rows: Vec<&Row> = session.iter().collect();
        let names = session[0].keys().map(String::as_str);
        let names = names.filter(|name| !not_candidates.contains(name));
        let request = RankRequest {
            context: CONTEXT.map(|name| column(name, &rows[..1])).into(),
            candidates: names.map(|name| column(name, &rows)).collect(),
            ..RankRequest::default()
        };
        let answer = client.rank(request).await.unwrap().into_inner();
        for printed in answer.scores {
            scores
                .entry(printed.output)
                .or_default()
                .extend(printed.values);
        }
    }
    scores
}

#[track_caller]
fn same(expected: &Scores, found: &Scores, way: &str) {
    for (task, expected) in expected {
        let found = &found[task];
        assert_eq!(expected.len(), found.len(), "{way}: {task}");
        let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f32::max);
        println!(
            "{way}: {task}: {} rows, at most {largest:e} apart",
            found.len()
        );
        assert!(largest <= 1e-6, "{way}: {task}: {largest:e}");
    }
    if let Some(product) = found.get("ctcvr") {
        let pairs = expected["ctr"].iter().zip(&expected["cvr"]);
        let differences = pairs
            .zip(product)
            .map(|((a, b), product)| (a * b - product).abs());
        assert!(
            differences.fold(0.0, f32::max) <= 1e-6,
            "{way}: the product"
        );
    }
}
