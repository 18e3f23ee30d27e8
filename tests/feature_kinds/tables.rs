//! Tables that begin at the vectors of a file: clicks depend on an item's vector, and each item has few rows.

use std::fs;
use std::path::Path;

use ncs_features::IdSpace;
use ncs_model::CounterRng;
use ncs_model::artifact::Artifact;
use serde_json::{Value, json};

use crate::trained::{done, ncs, refused};
use crate::{log, run_file, same_everywhere, train};

const ITEMS: u64 = 3000;
const DIM: u64 = 8;

/// The vector of an item, in numbers that single precision holds.
fn vector(item: u64) -> Vec<f32> {
    let rng = CounterRng::new(9, "items").at(item);
    (0..DIM).map(|i| rng.normal(i) as f32).collect()
}

/// An item of many, and a place: two numbers of the item's vector decide.
fn row(rng: CounterRng) -> (Value, f64) {
    let item = rng.bits(0) % ITEMS;
    let vector = vector(item);
    let logit = 1.5 * f64::from(vector[0] + vector[1]);
    (json!({ "place": rng.bits(1) % 4, "item": item }), logit)
}

/// Items with a vector in the files: two thirds of the log's, and some that no row has.
fn with_vectors() -> impl Iterator<Item = u64> {
    (0..ITEMS + 100).filter(|item| item % 3 != 0)
}

fn write_lines(folder: &Path) {
    let line = |item: u64| format!("{}\n", json!({ "id": item, "vector": vector(item) }));
    let lines: String = with_vectors().map(line).collect();
    fs::write(folder.join("items.jsonl"), lines).unwrap();
}

const RANDOM: &str = "place = \"categorical\"\nitem = \"categorical\"";

fn columns(init: &str) -> String {
    format!("place = \"categorical\"\nitem = {{ kind = \"categorical\", init = {{ {init} }} }}")
}

#[test]
fn a_table_begins_at_the_vectors_of_a_file_and_keeps_them_if_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    write_lines(path);
    let random = train(path, "random", RANDOM);
    let begun = train(path, "begun", &columns("file = \"items.jsonl\""));
    let frozen = train(
        path,
        "frozen",
        &columns("file = \"items.jsonl\", frozen = true"),
    );
    println!("random {random:?}, begun {begun:?}, frozen {frozen:?}");
    for found in [begun, frozen] {
        assert!(found[0] > random[0] + 0.04, "{found:?} over {random:?}");
    }
    assert_eq!(
        kept(path, "frozen"),
        Kept {
            known: true,
            others_differ: true
        }
    );
    assert_eq!(
        kept(path, "begun"),
        Kept {
            known: false,
            others_differ: true
        }
    );
    same_everywhere(path, "frozen", &["item"]);
    // A further training goes on from the model's vectors, and leaves those of the file as they are.
    let further = [
        "train",
        "frozen.toml",
        "--from",
        "frozen",
        "--out",
        "further",
    ];
    done(path, &further);
    assert_eq!(
        kept(path, "further"),
        Kept {
            known: true,
            others_differ: true
        }
    );
}

#[derive(Debug, PartialEq)]
struct Kept {
    /// All rows with a vector in the file are at it.
    known: bool,
    /// All others are elsewhere.
    others_differ: bool,
}

fn kept(folder: &Path, name: &str) -> Kept {
    let artifact = Artifact::read(&folder.join(name).join("model")).unwrap();
    let mut tables = artifact.schema.tables.iter();
    let table = tables.position(|table| table.name == "item").unwrap();
    let IdSpace::Vocabulary { values } = &artifact.schema.tables[table].ids else {
        panic!("{:?}", artifact.schema.tables[table]);
    };
    let mut kept = Kept {
        known: true,
        others_differ: true,
    };
    let (mut n_known, mut n_others) = (0, 0);
    let rows = &artifact.weight_sets[0].weights.tables[table];
    for (at, &id) in rows.ids.iter().enumerate() {
        let Some(text) = (id as usize).checked_sub(2).map(|value| &values[value]) else {
            continue;
        };
        let item: u64 = text.parse().unwrap();
        let is_at = rows.values[at * DIM as usize..][..DIM as usize] == vector(item);
        if item.is_multiple_of(3) {
            n_others += 1;
            kept.others_differ &= !is_at;
        } else {
            n_known += 1;
            kept.known &= is_at;
        }
    }
    assert!(n_known > 500 && n_others > 200, "{n_known} {n_others}");
    kept
}

/// Writes the vectors as `numpy.save` does.
fn write_npy(path: &Path, descr: &str, shape: &str, numbers: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers);
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_format_of_vectors_gives_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    write_lines(path);
    let items: Vec<u64> = with_vectors().collect();
    let numbers: Vec<f32> = items.iter().flat_map(|&item| vector(item)).collect();
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let ids: Vec<u8> = items
        .iter()
        .flat_map(|id| (*id as i64).to_le_bytes())
        .collect();
    let n = items.len();
    write_npy(&path.join("v.npy"), "<f4", &format!("({n}, {DIM})"), &bytes);
    write_npy(&path.join("ids.npy"), "<i8", &format!("({n},)"), &ids);
    let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
    fs::write(path.join("ids.txt"), lines).unwrap();
    // The layout of safetensors: the length of the header, the header, the numbers.
    let header = json!({
        "item": { "dtype": "I64", "shape": [n], "data_offsets": [0, ids.len()] },
        "emb": { "dtype": "F32", "shape": [n, DIM], "data_offsets": [ids.len(), ids.len() + bytes.len()] },
    });
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes().iter().chain(&ids).chain(&bytes));
    fs::write(path.join("v.safetensors"), file).unwrap();
    let csv = items
        .iter()
        .map(|&item| format!("\"{:?}\",x,{item}\n", vector(item)));
    fs::write(
        path.join("v.csv"),
        format!("emb,title,item\n{}", csv.collect::<String>()),
    )
    .unwrap();
    let weights = |name: &str, init: &str| {
        train(path, name, &columns(init));
        fs::read(path.join(name).join("model/weights.safetensors")).unwrap()
    };
    let expected = weights("lines", "file = \"items.jsonl\"");
    let forms = [
        ("npy", "file = \"v.npy\", ids = \"ids.npy\""),
        ("texts", "file = \"v.npy\", ids = \"ids.txt\""),
        (
            "tensors",
            "file = \"v.safetensors\", id = \"item\", vector = \"emb\"",
        ),
        ("csv", "file = \"v.csv\", id = \"item\", vector = \"emb\""),
    ];
    for (name, init) in forms {
        assert!(weights(name, init) == expected, "{name}");
    }
}

#[test]
fn the_count_of_rows_with_a_vector_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    write_lines(path);
    run_file(path, "run", &columns("file = \"items.jsonl\""));
    let output = ncs(path, &["train", "run.toml", "--out", "run"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = fs::read_to_string(path.join("run/report.json")).unwrap();
    for text in [told, report] {
        assert!(
            text.contains("values begin at vectors of")
                && text.contains("items.jsonl, which has 2,066"),
            "{text}"
        );
    }
    // The run's own settings can be run from anywhere.
    let stored = fs::read_to_string(path.join("run/run.toml")).unwrap();
    assert!(
        stored.contains(&path.join("items.jsonl").display().to_string()),
        "{stored}"
    );
}

#[test]
fn files_and_settings_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    write_lines(path);
    let refuses = |columns: &str, parts: &[&str]| {
        run_file(path, "run", columns);
        refused(path, &["check", "run.toml"], parts);
        refused(path, &["train", "run.toml", "--out", "run"], parts);
    };
    refuses(
        "item = { kind = \"categorical\", buckets = 100, init = { file = \"items.jsonl\" } }",
        &["run.toml", "columns.item.init needs a vocabulary"],
    );
    refuses(
        &columns("file = \"nothing.parquet\""),
        &["nothing.parquet; relative paths start at the run file"],
    );
    refuses(&columns("frozen = true"), &["file"]);
    refuses(
        &columns("file = \"items.jsonl\", ids = \"items.jsonl\""),
        &["init.ids goes with a matrix"],
    );
    refuses(
        "item = { kind = \"categorical\", init = { file = \"items.jsonl\" } }\n\
         last = { kind = \"list\", column = \"place\", table = \"item\", init = { file = \"items.jsonl\" } }",
        &["columns.last and columns.item share one table; state init at one of them"],
    );
    refuses(
        &columns("file = \"items.jsonl\", vector = \"embedding\""),
        &["no column \"embedding\"; it has id, vector", "init.vector"],
    );
    fs::write(path.join("v.npy"), "vectors").unwrap();
    refuses(
        &columns("file = \"v.npy\""),
        &["v.npy: it is no file of numpy.save"],
    );
    write_npy(&path.join("v.npy"), "<f4", "(1, 8)", &[0; 32]);
    refuses(
        &columns("file = \"v.npy\""),
        &["it has vectors alone; state init.ids"],
    );
    fs::write(path.join("ids.txt"), "1\n2\n").unwrap();
    refuses(
        &columns("file = \"v.npy\", ids = \"ids.txt\""),
        &["1 vectors, and 2 ids; each vector needs one id"],
    );
}

#[test]
fn vectors_that_do_not_fit_are_refused_with_their_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    log(path, row);
    let file = path.join("items.jsonl");
    let with = |lines: &[&str], parts: &[&str]| {
        fs::write(&file, lines.join("\n")).unwrap();
        run_file(path, "run", &columns("file = \"items.jsonl\""));
        refused(path, &["train", "run.toml", "--out", "run"], parts);
    };
    with(
        &["{\"id\": 1, \"vector\": [1.5, 2.0]}"],
        &[
            "run.toml",
            "vectors of 2 numbers, and network.dim is 8; set network.dim = 2",
        ],
    );
    let one = "{\"id\": 1, \"vector\": [1, 2, 3, 4, 5, 6, 7, 8.5]}";
    with(
        &[one, one],
        &["items.jsonl: row 2: an earlier row has the same id \"1\"; write each once"],
    );
    let two = "{\"id\": \"1.0\", \"vector\": [1, 2, 3, 4, 5, 6, 7, 8.5]}";
    with(
        &[one, two],
        &["items.jsonl: row 2", "an earlier row has the same id"],
    );
    with(
        &[one, "{\"id\": 2, \"vector\": [1.5]}"],
        &["row 2", "a vector of 1 numbers"],
    );
    let nan = "{\"id\": 2, \"vector\": [1, 2, 3, 4, 5, 6, 7, null]}";
    with(&[one, nan], &["row 2", "a vector of 7 numbers"]);
    let nan = "{\"id\": 1, \"vector\": \"[1, 2, 3, 4, 5, 6, 7, NaN]\"}";
    with(&[nan], &["row 1", "number 8 of the vector is NaN"]);
    let null = "{\"id\": null, \"vector\": [1, 2, 3, 4, 5, 6, 7, 8.5]}";
    with(&[one, null], &["row 2: it has no id"]);
    with(
        &[one, "{\"id\": 2, \"vector\": null}"],
        &["row 2: it has no vector"],
    );
    let other = "{\"id\": \"item 1\", \"vector\": [1, 2, 3, 4, 5, 6, 7, 8.5]}";
    with(
        &[other],
        &[
            "none of its 1 ids is a value of column \"item\"",
            "its first id is \"item 1\"",
            "write the same ids",
        ],
    );
    with(
        &["{\"id\": 1, \"vector\": 7}"],
        &["one must hold lists of numbers"],
    );
}
