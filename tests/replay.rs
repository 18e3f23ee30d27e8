//! Score log from a server's scores to the model and back: it holds exactly the scored values.

mod trained;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ncs_features::{Block, Encoder, Values};
use ncs_model::{NetworkKind, Precision};
use ncs_readers::Reading;
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::score_log::{Entry, Kept, ScoreLog};
use ncs_serve::version::{Identity, Version};
use ncs4cvr::score_log::ParquetLog;
use serde_json::Value;
use trained::{done, folder, ncs, refused};

const REQUESTS: usize = 20;
const CANDIDATES: usize = 12;

fn version(folder: &Path, model: &str) -> Version {
    Version::load(&folder.join(model), &"shop".into(), 1, Precision::Single).unwrap()
}

/// Returns the model's input columns of the first test rows.
fn rows(folder: &Path, version: &Version) -> Block {
    let mut columns: Vec<String> = Vec::new();
    for field in &version.schema().fields {
        if !columns.contains(&field.column) {
            columns.push(field.column.clone());
        }
    }
    let path = folder.join("log/test.csv");
    let mut rows = ncs_readers::open(&path, &Reading::default(), &columns).unwrap();
    let block = rows.next_block().unwrap().unwrap().block;
    let first: Vec<usize> = (0..REQUESTS * CANDIDATES).collect();
    block.select(&first)
}

/// Builds requests of some rows each; the first two columns belong to the context.
fn questions(rows: &Block) -> Vec<RankQuery> {
    let question = |request: usize| {
        let first = request * CANDIDATES;
        let mut context = rows.select(&[first]);
        context.columns.truncate(2);
        let own: Vec<usize> = (first..first + CANDIDATES).collect();
        let mut candidates = rows.select(&own);
        candidates.columns.drain(..2);
        RankQuery {
            id: format!("request {request}"),
            context,
            candidates,
            ..RankQuery::default()
        }
    };
    (0..REQUESTS).map(question).collect()
}

/// Score-log entry of a request, as a server writes it.
fn entry(version: &Version, mut question: RankQuery) -> Entry {
    let scores = version.score(&mut question, false, &mut WorkerScratch::new());
    let scores = scores.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    Entry {
        request_id: question.id.as_str().into(),
        time: SystemTime::now(),
        identity: version.identity.clone(),
        role: Some("stable"),
        question: Arc::new(question),
        raw: scores.raw.into(),
        calibrated: scores.calibrated.into(),
    }
}

fn entries(folder: &Path, model: &str) -> Vec<Entry> {
    let version = version(folder, model);
    let questions = questions(&rows(folder, &version));
    let entries = questions.into_iter();
    entries.map(|question| entry(&version, question)).collect()
}

fn write(folder: &Path, entries: &[Entry]) {
    let log = ParquetLog::open(
        &folder.join("scores"),
        100,
        Duration::from_secs(3600),
        1 << 20,
    );
    let mut log = log.unwrap();
    let mut kept = Kept::default();
    entries.iter().for_each(|entry| kept.add(log.write(entry)));
    kept.add(log.finish());
    assert_eq!((kept.lost, &kept.errors[..]), (0, &[][..]));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let scores = folder.join("scores").to_str().unwrap().to_owned();
    ncs_readers::files(&[scores], Path::new("")).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_log_replays_to_the_scores_that_were_given() {
    for kind in [NetworkKind::SparseSharing, NetworkKind::SingleTask] {
        let folder = folder(kind);
        let path = folder.path();
        write(path, &entries(path, "run/model"));
        // 240 rows: at least 100, in whole requests.
        assert_eq!(files(path).len(), 3);
        let found = json(&done(path, &["replay", "scores", "run", "--json"]));
        assert_eq!(found["files"], 3);
        assert_eq!(found["rows"], 240);
        assert_eq!(found["rows_beyond"], 0);
        assert_eq!(found["other_models"], serde_json::json!({}));
        for output in ["ctr", "cvr", "ctcvr"] {
            let found = &found["outputs"][output];
            assert!(found["largest_difference"].as_f64().unwrap() <= 1e-6);
            assert!(found["mean_logged"].as_f64().unwrap() > 0.0);
        }
        let one = files(path)[0].to_str().unwrap().to_owned();
        let text = done(path, &["replay", &one, "run/model"]);
        for part in ["108 rows of model", "ctcvr", "0 rows differ"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_log_is_encoded_as_the_rows_were() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let version = version(path, "run/model");
    let mut rows = rows(path, &version);
    let entries = questions(&rows);
    // A context value applies to all candidates of its request.
    let first: Vec<usize> = (0..rows.n_rows).map(|row| row - row % CANDIDATES).collect();
    let context = rows.select(&first).columns.into_iter().take(2);
    rows.columns.splice(..2, context);
    let entries = entries.into_iter();
    let entries: Vec<Entry> = entries.map(|asked| entry(&version, asked)).collect();
    write(path, &entries);
    let encoder = Encoder::new(version.identity.schema.clone());
    let wanted = encoder.encode_features(&rows).unwrap();
    let logged = ncs_readers::Encoded::open(files(path), &Reading::default(), encoder, false);
    let mut n_rows = 0;
    for batch in logged {
        let batch = batch.unwrap();
        for (found, wanted) in batch.fields.iter().zip(&wanted.fields) {
            for row in 0..batch.n_rows {
                let wanted_range = wanted.range(n_rows + row);
                assert_eq!(found.ids[found.range(row)], wanted.ids[wanted_range]);
            }
        }
        n_rows += batch.n_rows;
    }
    assert_eq!(n_rows, rows.n_rows);
}

#[test]
fn a_score_that_changed_is_found() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let mut entries = entries(path, "run/model");
    let mut calibrated = entries[3].calibrated.to_vec();
    calibrated[1][7] += 0.125;
    entries[3].calibrated = calibrated.into();
    write(path, &entries);
    let output = ncs(path, &["replay", "scores", "run"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "1 rows differ",
        "request \"request 3\", candidate 7: cvr was",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("scores: 1 of 240 rows differ from the logged scores"),
        "{stderr}"
    );
    let output = ncs(path, &["replay", "scores", "run", "--json"]);
    let found = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(found["rows_beyond"], 1);
    let beyond = &found["first_beyond"][0];
    assert_eq!(
        (
            &beyond["request_id"],
            &beyond["candidate"],
            &beyond["output"]
        ),
        (&"request 3".into(), &7.into(), &"cvr".into())
    );
    done(path, &["replay", "scores", "run", "--tolerance", "0.2"]);
}

/// Simulates scores of another model.
fn by_another(entry: &Entry) -> Entry {
    let identity = Identity {
        hash: "feedfeedfeedfeed".into(),
        ..Identity::clone(&entry.identity)
    };
    let lower = |scores: &Vec<f32>| scores.iter().map(|score| score - 0.25).collect();
    Entry {
        identity: Arc::new(identity),
        calibrated: entry.calibrated.iter().map(lower).collect(),
        ..entry.clone()
    }
}

#[test]
fn rows_of_another_model_are_told_apart() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let entries = entries(path, "run/model");
    let others: Vec<Entry> = entries[..5].iter().map(by_another).collect();
    write(path, &[&entries[..], &others].concat());
    let found = json(&done(path, &["replay", "scores", "run", "--json"]));
    assert_eq!(
        (&found["rows"], &found["rows_beyond"]),
        (&240.into(), &0.into())
    );
    let other = &found["other_models"]["feedfeedfeedfeed"];
    assert_eq!(other["rows"], 60);
    let ctr = &other["outputs"]["ctr"];
    let shift = ctr["mean_replayed"].as_f64().unwrap() - ctr["mean_logged"].as_f64().unwrap();
    assert!((shift - 0.25).abs() < 1e-6, "{ctr}");

    fs::remove_dir_all(path.join("scores")).unwrap();
    write(path, &others);
    let text = done(path, &["replay", "scores", "run"]);
    for part in ["no rows to check", "60 rows of another model, feedfeed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Simulates scores of a model without the column of the first feature.
fn by_one_that_reads_less(entry: &Entry) -> Entry {
    let mut entry = by_another(entry);
    let identity = Arc::make_mut(&mut entry.identity);
    let schema = Arc::make_mut(&mut identity.schema);
    let column = schema.fields[0].column.clone();
    schema.fields.retain(|field| field.column != column);
    schema.group = None;
    entry
}

#[test]
fn files_of_a_model_that_reads_less_are_passed_over() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let entries = entries(path, "run/model");
    let others: Vec<Entry> = entries[..2].iter().map(by_one_that_reads_less).collect();
    write(path, &others);
    let column = &entries[0].identity.schema.fields[0].column;
    let missing = format!("no column \"{column}\"");
    refused(
        path,
        &["replay", "scores", "run"],
        &["nothing can be compared", &missing],
    );
    write(path, &entries);
    let text = done(path, &["replay", "scores", "run"]);
    for part in ["240 rows of model", "skipped", &missing] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_is_no_score_log_is_refused() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let check = |log: &str, parts: &[&str]| refused(path, &["replay", log, "run"], parts);
    check("none.parquet", &["none.parquet", "cannot open"]);
    check(
        "log/test.csv",
        &["log/test.csv", "not a file of a score log"],
    );
    fs::create_dir(path.join("empty")).unwrap();
    fs::write(path.join("empty/.scores-a-1.parquet.unfinished"), "PAR1").unwrap();
    check(
        "empty",
        &["empty", "no .parquet file", "--score-log-seconds"],
    );
    fs::write(path.join("torn.parquet"), "PAR1").unwrap();
    check("torn.parquet", &["torn.parquet", "cut short"]);
    refused(path, &["replay", "empty", "log"], &["log", "no model here"]);
}

#[test]
fn a_log_is_rows_to_train_on() {
    let folder = folder(NetworkKind::SparseSharing);
    let path = folder.path();
    let entries = entries(path, "run/model");
    write(path, &entries);
    let score = ["score", "run", "--data", "scores", "--out", "again.parquet"];
    done(path, &score);
    let columns = ["p_ctr".to_owned()];
    let again = path.join("again.parquet");
    let mut rows = ncs_readers::open(&again, &Reading::default(), &columns).unwrap();
    let block = rows.next_block().unwrap().unwrap().block;
    let Values::Float(again) = &block.columns[0].values else {
        panic!("numbers")
    };
    let given = entries.iter().flat_map(|entry| entry.calibrated[0].iter());
    assert!(
        again
            .iter()
            .zip(given)
            .all(|(x, y)| (x - f64::from(*y)).abs() < 1e-6)
    );
    assert_eq!(again.len(), 240);
}
