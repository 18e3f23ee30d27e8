//! Features by id that training, evaluation, scoring and serving take from a file: the same model and the same scores as
//! on a log that was joined by hand.

#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../serving/harness.rs"]
mod harness;
mod refused;
#[path = "../trained/mod.rs"]
mod trained;

use std::fs;
use std::path::Path;

use harness::Server;
use ncs_features::time::{TimeUnit, Timestamp};
use ncs_features::{Block, Column, Texts, Values};
use ncs_model::CounterRng;
use ncs_readers::synthetic::write_blocks;
use ncs_readers::{Format, Reading, Rows, column_names};
use serde_json::{Value, json};
use trained::done;

/// Moment of the first row: 2023-11-14 22:13:20 UTC.
const START: i64 = 1_700_000_000;
/// Seconds from a row to the next.
const STEP: i64 = 600;
const ROWS: usize = 4000;
const ITEMS: u64 = 40;
/// Rows from here on are later than every record.
const LAST_RECORD: usize = 3000;

/// A number below `n`.
fn below(rng: CounterRng, what: u64, n: u64) -> u64 {
    (rng.uniform(what) * n as f64) as u64
}

/// A record of an item.
struct Record {
    item: u64,
    time: i64,
    price: Option<f64>,
    brand: String,
    tags: Vec<String>,
}

/// One to six records for each item, some of them at the very moment of a row.
pub(crate) fn records() -> Vec<Record> {
    let rng = CounterRng::new(5, "records");
    let mut records = Vec::new();
    for item in 0..ITEMS {
        let own = rng.at(item);
        for number in 0..=below(own, 0, 6) {
            let row = (below(own, 10 + number, LAST_RECORD as u64 / 6) + number * 500) as i64;
            let between = if below(own, 20 + number, 2) == 0 {
                0
            } else {
                77
            };
            let tag = |i| format!("tag_{}", below(own, 40 + 4 * number + i, 9));
            records.push(Record {
                item,
                time: START + row * STEP + between,
                price: (below(own, 30 + number, 8) > 0)
                    .then(|| below(own, 70 + number, 100) as f64 / 4.0),
                brand: format!("brand_{}", below(own, 80 + number, 7)),
                tags: (0..below(own, 90 + number, 4)).map(tag).collect(),
            });
        }
    }
    // Not in the order of their times.
    records.sort_by_key(|record| below(rng, record.time as u64 + 1000 * record.item, 1 << 30));
    records
}

/// The record that is known at a row: the newest that is not later.
fn known(records: &[Record], item: Option<u64>, time: i64) -> Option<&Record> {
    let of_item = records.iter().filter(|record| Some(record.item) == item);
    let not_later = of_item.filter(|record| record.time <= time);
    not_later.max_by_key(|record| record.time)
}

fn column(name: &str, values: Values) -> Column {
    Column {
        name: name.to_owned(),
        values,
        ..Column::default()
    }
}

fn with_nulls<T>(mut column: Column, values: &[Option<T>]) -> Column {
    column.nulls = values.iter().map(Option::is_none).collect();
    column
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Values {
    let mut all = Texts::default();
    texts.into_iter().for_each(|text| all.push(text.as_bytes()));
    Values::Text(all)
}

/// Columns of the features of records, with nulls where there is none.
fn features(records: &[Option<&Record>]) -> Vec<Column> {
    let price: Vec<Option<f64>> = records
        .iter()
        .map(|record| record.and_then(|r| r.price))
        .collect();
    let values = price
        .iter()
        .map(|price| price.unwrap_or_default())
        .collect();
    let price = with_nulls(column("price", Values::Float(values)), &price);
    let brand = records.iter().map(|record| record.map_or("", |r| &r.brand));
    let brand = with_nulls(column("brand", texts(brand)), records);
    let tags = |record: &Option<&Record>| record.map_or(Vec::new(), |r| r.tags.clone());
    let tags: Vec<Vec<String>> = records.iter().map(tags).collect();
    let mut offsets = vec![0];
    for tags in &tags {
        offsets.push(offsets.last().unwrap() + tags.len() as u32);
    }
    let tags = Column {
        offsets: Some(offsets),
        ..with_nulls(
            column("tags", texts(tags.iter().flatten().map(String::as_str))),
            records,
        )
    };
    vec![price, brand, tags]
}

fn write(path: &Path, columns: Vec<Column>) {
    let n_rows = columns[0].values.len();
    let format = match path.extension().unwrap().to_str().unwrap() {
        "parquet" => Format::Parquet,
        "csv" => Format::Csv,
        _ => Format::JsonLines,
    };
    write_blocks(path, format, [Block { n_rows, columns }].into_iter()).unwrap();
}

/// Writes `items.EXT` (the records), `log.EXT` (ids and context only), `joined.EXT` (the same, joined by hand), the rows
/// from [`LAST_RECORD`] on as `late.EXT` and `late_joined.EXT`, and the run files `looked_up.toml` and `joined.toml`.
pub(crate) fn files(folder: &Path, extension: &str) {
    let records = records();
    let moment = |time: i64| Timestamp::of(time, TimeUnit::Seconds);
    let all: Vec<Option<&Record>> = records.iter().map(Some).collect();
    let mut columns = vec![
        column(
            "item",
            Values::Int(records.iter().map(|r| r.item as i64).collect()),
        ),
        column(
            "updated_at",
            Values::Time(records.iter().map(|r| moment(r.time)).collect()),
        ),
    ];
    columns.extend(features(&all));
    write(&folder.join(format!("items.{extension}")), columns);
    let rng = CounterRng::new(6, "rows");
    let item = |row: usize| match below(rng.at(row as u64), 0, 50) {
        0 => None,
        // Not in the file.
        1 => Some(ITEMS + 1),
        _ => Some(below(rng.at(row as u64), 1, ITEMS)),
    };
    let rows = |from: usize, is_joined: bool| {
        let rows = from..ROWS;
        let time = |row: usize| START + row as i64 * STEP;
        let items: Vec<Option<u64>> = rows.clone().map(item).collect();
        let found: Vec<Option<&Record>> = rows
            .clone()
            .map(|row| known(&records, item(row), time(row)))
            .collect();
        let ids = items
            .iter()
            .map(|item| item.unwrap_or_default() as i64)
            .collect();
        let user = rows
            .clone()
            .map(|row| below(rng.at(row as u64), 2, 30) as i64);
        let happens = |row: usize, what: u64, logit: f64| {
            rng.at(row as u64).uniform(what) < 1.0 / (1.0 + (-logit).exp())
        };
        let logit = |record: &Option<&Record>| {
            record.map_or(-1.0, |r| r.price.map_or(0.0, |price| price / 8.0 - 1.5))
        };
        let labels = |what: u64, shift: f64| {
            let rows = rows.clone().zip(&found);
            let labels =
                rows.map(|(row, record)| i64::from(happens(row, what, logit(record) + shift)));
            Values::Int(labels.collect())
        };
        let mut columns = vec![
            column("ts", Values::Int(rows.clone().map(time).collect())),
            with_nulls(column("item", Values::Int(ids)), &items),
            column("user", Values::Int(user.collect())),
            column("click", labels(3, 0.0)),
            column("buy", labels(4, -0.5)),
        ];
        if is_joined {
            columns.extend(features(&found));
        }
        columns
    };
    for (name, from, is_joined) in [
        ("log", 0, false),
        ("joined", 0, true),
        ("late", LAST_RECORD, false),
        ("late_joined", LAST_RECORD, true),
    ] {
        write(
            &folder.join(format!("{name}.{extension}")),
            rows(from, is_joined),
        );
    }
    let lookup =
        format!("[data.lookup.item]\nfiles = \"items.{extension}\"\ntime = \"updated_at\"\n");
    run_file(folder, "looked_up", &format!("log.{extension}"), &lookup);
    run_file(folder, "joined", &format!("joined.{extension}"), "");
}

fn run_file(folder: &Path, name: &str, log: &str, lookup: &str) {
    let text = format!(
        "threads = 2\n\
         [data]\ntrain = \"{log}\"\ncache = \"cache\"\n\
         split = {{ by = \"time\", column = \"ts\", valid = 0.1, test = 0.15 }}\n\
         {lookup}\
         [network]\nkind = \"shared_bottom\"\ndim = 4\nhidden = [16]\n\
         [training]\nepochs = 2\nbatch = 128\n\
         [evaluation]\nkeep_scores = true\nbootstrap = 5\n\
         [columns]\nuser = {{ kind = \"categorical\" }}\nitem = {{ kind = \"categorical\" }}\nbrand = {{ kind = \"categorical\" }}\n\
         price = {{ kind = \"numeric\" }}\n\
         tags = {{ kind = \"list\", separator = \"|\" }}\n\
         [tasks]\nctr = {{ label = \"click\" }}\ncvr = {{ label = \"buy\", where = \"ctr\" }}\n"
    );
    fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

pub(crate) fn train(folder: &Path, name: &str, more: &[&str]) -> String {
    let run = format!("{name}.toml");
    done(folder, &[&["train", &run, "--out", name], more].concat())
}

/// The scores of a file, by row.
fn scores(folder: &Path, file: &str) -> Vec<Vec<f64>> {
    let path = folder.join(file);
    let names = column_names(&path, &Reading::default()).unwrap();
    let mut rows = Rows::open(vec![path], &Reading::default(), names);
    let mut all: Vec<Vec<f64>> = Vec::new();
    while let Some(block) = rows.next_block().unwrap() {
        for (c, column) in block.block.columns.iter().enumerate() {
            all.resize(block.block.columns.len().max(all.len()), Vec::new());
            let Values::Float(values) = &column.values else {
                panic!("{column:?}");
            };
            all[c].extend(values);
        }
    }
    all
}

#[test]
fn a_joined_training_gives_the_model_of_the_log_joined_by_hand() {
    for extension in ["parquet", "csv", "jsonl"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        files(path, extension);
        train(path, "looked_up", &[]);
        train(path, "joined", &[]);
        for file in [
            "model/weights.safetensors",
            "scores.safetensors",
            "metrics.json",
        ] {
            let [a, b] =
                ["looked_up", "joined"].map(|run| fs::read(path.join(run).join(file)).unwrap());
            assert!(a == b, "{extension}: {file}");
        }
        let manifest = |run: &str| -> Value {
            let text = fs::read_to_string(path.join(run).join("model/manifest.json")).unwrap();
            let mut manifest: Value = serde_json::from_str(&text).unwrap();
            manifest.as_object_mut().unwrap().remove("self_test");
            manifest
        };
        let mut found = manifest("looked_up");
        let record = found.as_object_mut().unwrap().remove("looked_up").unwrap();
        assert_eq!(found, manifest("joined"), "{extension}");
        let time = json!({"record": "updated_at", "row": "ts"});
        let mut columns: Vec<&str> = record[0]["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_str().unwrap())
            .collect();
        columns.sort_unstable();
        assert_eq!(columns, ["brand", "price", "tags"]);
        assert_eq!(
            (&record[0]["key"], &record[0]["time"]),
            (&json!("item"), &time)
        );
    }
}

/// The rows are later than every record, so that the newest ones, which a server has, are theirs.
#[test]
fn rows_score_the_same_joined_by_hand_looked_up_and_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    files(path, "parquet");
    train(path, "looked_up", &[]);
    let score = |data: &str, out: &str, more: &[&str]| {
        let words = ["score", "looked_up", "--data", data, "--out", out];
        done(path, &[&words[..], more].concat());
        scores(path, out)
    };
    let lookup = ["--lookup", "item=items.parquet"];
    // Also where many rows have older records.
    let all = score("joined.parquet", "joined_scores.parquet", &[]);
    assert_eq!(all, score("log.parquet", "log_scores.parquet", &lookup));
    let expected = score("late_joined.parquet", "late_scores.parquet", &[]);
    let server = Server::start(
        path,
        &[
            "feed=looked_up",
            "--lookup",
            "item=items.parquet",
            "--lookup-time",
            "item=updated_at",
        ],
    );
    let rows = Rows::open(
        vec![path.join("late.parquet")],
        &Reading::default(),
        vec!["user".to_owned(), "item".to_owned()],
    )
    .next_block()
    .unwrap()
    .unwrap()
    .block;
    for row in 0..200 {
        let value = |c: usize| match (&rows.columns[c].values, rows.columns[c].is_null(row)) {
            (_, true) => Value::Null,
            (Values::Int(ids), false) => json!(ids[row]),
            (values, _) => panic!("{values:?}"),
        };
        let body = json!({"context": {"user": value(0)}, "candidates": {"item": [value(1)]}});
        let reply = server.post("/v2/rank", &body.to_string()).good();
        for (output, name) in ["ctr", "cvr"].iter().enumerate() {
            let score = reply["scores"][name][0].as_f64().unwrap();
            // A request sums in another order.
            let difference = (score - expected[output][row]).abs();
            assert!(difference <= 1e-6, "row {row}, {name}: {difference:e}");
        }
    }
    assert!(server.metric("ncs_lookup_values_total{key=\"item\",outcome=\"unknown\"}") > 0);
    // Evaluation and importance join too.
    let evaluate = |data: &str, more: &[&str]| {
        let words = ["evaluate", "looked_up", "--json", "--data", data];
        let text = done(path, &[&words[..], more].concat());
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(
        evaluate("joined.parquet", &[]),
        evaluate("log.parquet", &lookup)
    );
    let importance = |data: &str, more: &[&str]| {
        let words = [
            "importance",
            "looked_up",
            "--json",
            "--sample",
            "500",
            "--data",
            data,
        ];
        done(path, &[&words[..], more].concat())
    };
    assert_eq!(
        importance("joined.parquet", &[]),
        importance("log.parquet", &lookup)
    );
}

#[test]
fn the_check_tells_what_is_found_and_how_old_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    files(path, "csv");
    let text = done(path, &["check", "looked_up.toml"]);
    for part in [
        "features by item (items.csv: 40 ids, ",
        "in memory): found for ",
        "have an id that is not there",
        "are earlier than the first record of their id",
        "have no id",
        "half of the records are at most ",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Days of a log that are separated by a column are joined before, each row as of its own time.
#[test]
fn a_backtest_joins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    files(path, "parquet");
    let days = |name: &str| {
        let run = format!("{name}.toml");
        let out = format!("{name}_days");
        let words = [
            "backtest",
            &run,
            "--by",
            "ts",
            "--initial",
            "20",
            "--out",
            &out,
            "--days",
            "..2023-12-07",
        ];
        done(path, &words);
        let text = fs::read_to_string(path.join(&out).join("backtest.json")).unwrap();
        let mut found: Value = serde_json::from_str(&text).unwrap();
        for line in found["lines"].as_array_mut().unwrap() {
            for day in line["days"].as_array_mut().unwrap() {
                day.as_object_mut().unwrap().remove("seconds");
            }
        }
        found["lines"].take()
    };
    assert_eq!(days("looked_up"), days("joined"));
}
