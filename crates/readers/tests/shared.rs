//! Real logs, where they are at hand beside the project.

use ncs_features::Block;
use ncs_readers::{Reading, Rows, column_names};
use std::path::PathBuf;

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    if !path.exists() {
        eprintln!("skipped: ../shared is absent");
        return None;
    }
    Some(path.join(name))
}

/// Returns all blocks of a file.
fn blocks(path: PathBuf, columns: &[&str]) -> Vec<Block> {
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    let mut rows = Rows::open(vec![path], &Reading::default(), columns);
    std::iter::from_fn(|| rows.next_block().unwrap())
        .map(|rows| rows.block)
        .collect()
}

fn n_rows(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| block.n_rows).sum()
}

#[test]
fn a_gzip_tfrecord_of_video_traffic_is_read() {
    let Some(path) = shared("tencent-video/part-r-00002.gz") else {
        return;
    };
    let names = column_names(&path, &Reading::default()).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let blocks = blocks(path, &names);
    assert_eq!(n_rows(&blocks), 4322);
    let lists = blocks[0]
        .columns
        .iter()
        .filter(|column| column.offsets.is_some());
    let lists: Vec<&str> = lists.map(|column| column.name.as_str()).collect();
    for name in [
        "FEA_SIKEYWORD",
        "FEA_STAG",
        "FEA_IXFTAG",
        "FEA_IKEYWORD",
        "FEA_UCAT",
    ] {
        assert!(lists.contains(&name), "{name} is not a list; {lists:?} are");
    }
}

#[test]
fn a_parquet_log_of_news_with_a_list_is_read() {
    let Some(path) = shared("ebnerd/train.parquet") else {
        return;
    };
    let blocks = blocks(path, &["history", "click"]);
    assert_eq!(n_rows(&blocks), 278_139);
    let lengths = blocks.iter().flat_map(|block| {
        let history = block.column("history").unwrap();
        (0..block.n_rows).map(|row| history.range(row).len())
    });
    assert_eq!(lengths.max(), Some(10));
}

#[test]
fn a_gzip_csv_census_is_read() {
    let Some(path) = shared("census_income/train.csv.gz") else {
        return;
    };
    assert_eq!(n_rows(&blocks(path, &["income_over_50k", "age"])), 79_741);
}
