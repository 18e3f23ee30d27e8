//! Rows a second from files to ids, one thread, and how names of columns grow: `cargo bench -p ncs-readers`.

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_features::*;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{FIELDS, GROUP, LABELS, Synthetic, SyntheticPlan, write_blocks};
use ncs_readers::{Encoded, Format, Reading, column_names};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

const N_ROWS: u64 = 100_000;

const FILES: [&str; 6] = [
    "log.csv",
    "log.csv.gz",
    "log.jsonl",
    "log.parquet",
    "log.tfrecord",
    "log.tfrecord.gz",
];

fn main() {
    divan::main();
}

/// Returns a schema of all features of the synthetic log, hashed; the price scaled; both labels and the
/// group.
fn schema() -> Schema {
    let names = || FIELDS.iter().map(|(name, _)| *name);
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: (name == "tags").then_some('|'),
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let table = |name: &str| Table {
        name: name.into(),
        ids: match name {
            "price" => IdSpace::Scaled {
                log: true,
                mean: 3.0,
                deviation: 1.0,
            },
            _ => IdSpace::Hash {
                buckets: 100_000,
                function: HashFunction::Xxh3,
                unknown: false,
            },
        },
        range: None,
    };
    use ncs_testkit::task;
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: names().enumerate().map(field).collect(),
        tables: names().map(table).collect(),
        tasks: LABELS.map(task).into(),
        group: Some(GROUP.into()),
    }
}

fn written(name: &str) -> (TempDir, PathBuf) {
    let format = match name {
        _ if name.contains("csv") => Format::Csv,
        _ if name.contains("jsonl") => Format::JsonLines,
        _ if name.contains("parquet") => Format::Parquet,
        _ if name.contains("arrow") => Format::Arrow,
        _ => Format::TfRecord,
    };
    let log = Synthetic::new(SyntheticPlan {
        rows: N_ROWS,
        part: Part::Train,
        ..SyntheticPlan::default()
    });
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    write_blocks(&path, format, log.unwrap()).unwrap();
    (folder, path)
}

#[divan::bench(args = FILES, sample_count = 5, sample_size = 1)]
fn read_and_encode(bencher: Bencher, name: &str) {
    let (_folder, path) = written(name);
    let encoder = Encoder::new(Arc::new(schema()));
    bencher.counter(ItemsCount::new(N_ROWS)).bench_local(|| {
        let files = vec![path.clone()];
        let batches = Encoded::open(files, &Reading::default(), encoder.clone(), true);
        let rows: usize = batches.map(|batch| batch.unwrap().n_rows).sum();
        assert_eq!(rows as u64, N_ROWS);
    });
}

/// The names of the columns of one row, for more and more of them: the time for each stays the same.
#[divan::bench(args = [10_000, 40_000, 160_000], sample_count = 5, sample_size = 1)]
fn list_keys(bencher: Bencher, n_keys: usize) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("wide.jsonl");
    let keys: Vec<String> = (0..n_keys).map(|i| format!("\"key_{i}\":{i}")).collect();
    std::fs::write(&path, format!("{{{}}}\n", keys.join(","))).unwrap();
    bencher.counter(ItemsCount::new(n_keys)).bench_local(|| {
        let names = column_names(&path, &Reading::default()).unwrap();
        assert_eq!(names.len(), n_keys);
    });
}
