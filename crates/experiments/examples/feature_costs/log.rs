//! Rows of a synthetic log with a column for every kind of feature, as a file and as requests.

use std::path::Path;

use ncs_experiments::error::Error;
use ncs_features::{Block, Column, Texts, Values};
use ncs_model::CounterRng;
use ncs_readers::Format;
use ncs_readers::synthetic::write_blocks;
use ncs_serve::rank_request::RankQuery;

/// Rows of the log: 40 training steps.
const ROWS: usize = 46_000;
const EVENTS: usize = 20;
const TAGS: usize = 5;
const LENGTH: usize = 64;
const HOUR: u64 = 3600;
/// 2026-11-29 08:00 UTC.
const START: u64 = 1_795_939_200;

/// Columns that are equal for all candidates of a request.
const CONTEXT: [&str; 9] = [
    "user",
    "device",
    "city",
    "group",
    "now",
    "event_item",
    "event_category",
    "tags",
    "tag_weights",
];

const LABELS: [&str; 3] = ["click", "buy", "spend"];

/// Writes the log.
pub(crate) fn write(path: &Path) -> Result<(), Error> {
    let rows = [rows(ROWS, 1)];
    write_blocks(path, Format::Parquet, rows.into_iter()).map_err(|error| error.to_string())?;
    Ok(())
}

/// Returns request `number`: the columns for which `reads` returns true.
pub(crate) fn query(number: u64, n_candidates: usize, reads: impl Fn(&str) -> bool) -> RankQuery {
    let all = rows(n_candidates, 1000 + number);
    let is_context = |column: &Column| CONTEXT.contains(&&*column.name);
    let columns = all.columns.into_iter();
    let columns = columns.filter(|column| reads(&column.name) && !LABELS.contains(&&*column.name));
    let (context, candidates): (Vec<Column>, Vec<Column>) = columns.partition(is_context);
    RankQuery {
        context: Block {
            n_rows: 1,
            columns: context.iter().map(|column| column.select(&[0])).collect(),
        },
        candidates: Block {
            n_rows: n_candidates,
            columns: candidates,
        },
        ..RankQuery::default()
    }
}

fn rows(n: usize, seed: u64) -> Block {
    let rng = CounterRng::new(seed, "rows");
    let below =
        |what: u64, place: usize, n: u64| (rng.at(what).uniform(place as u64) * n as f64) as u64;
    let column = |name: &str, values| Column {
        name: name.to_owned(),
        values,
        ..Column::default()
    };
    let ids = |name: &str, what: u64, n_ids: u64, per_row: usize| {
        let ids = (0..n * per_row).map(|place| below(what, place, n_ids) as i64);
        listed(column(name, Values::Int(ids.collect())), n, per_row)
    };
    let numbers = |name: &str, what: u64, per_row: usize| {
        let numbers = (0..n * per_row).map(|place| (below(what, place, 1000) + 1) as f64 / 10.0);
        listed(column(name, Values::Float(numbers.collect())), n, per_row)
    };
    let times = |name: &str, what: u64, from: u64| {
        let times = (0..n).map(|place| (from + below(what, place, 28 * 24 * HOUR)) as i64);
        column(name, Values::Int(times.collect()))
    };
    let click = |row: usize| below(20, row, 10) < 3;
    let labels = (0..n).map(|row| i64::from(click(row))).collect();
    let buys = (0..n)
        .map(|row| i64::from(below(21, row, 10) < 2))
        .collect();
    let spend = |row: usize| match below(22, row, 10) {
        0 => below(23, row, 5000) as f64 / 100.0,
        _ => 0.0,
    };
    let mut buy = column("buy", Values::Int(buys));
    buy.nulls = (0..n).map(|row| !click(row)).collect();
    let mut cities = Texts::default();
    (0..n).for_each(|row| cities.push(format!("city_{}", below(2, row, 500)).as_bytes()));
    Block {
        n_rows: n,
        columns: vec![
            ids("user", 0, 20_000, 1),
            ids("device", 1, 30, 1),
            column("city", Values::Text(cities)),
            ids("group", 3, 10, 1),
            ids("item", 4, 10_000, 1),
            ids("category", 5, 50, 1),
            ids("brand", 6, 1000, 1),
            ids("seller", 7, 2000, 1),
            ids("shop", 8, 2000, 1),
            ids("event_item", 9, 10_000, EVENTS),
            ids("event_category", 10, 50, EVENTS),
            ids("tags", 11, 1000, TAGS),
            numbers("tag_weights", 12, TAGS),
            numbers("embedding", 13, LENGTH),
            numbers("price", 14, 1),
            times("now", 15, START),
            times("published", 16, START - 28 * 24 * HOUR),
            column("click", Values::Int(labels)),
            buy,
            column("spend", Values::Float((0..n).map(spend).collect())),
        ],
    }
}

/// Makes lists of as many values of a column for each row.
fn listed(column: Column, n: usize, per_row: usize) -> Column {
    if per_row == 1 {
        return column;
    }
    let offsets = (0..=n).map(|row| (row * per_row) as u32);
    Column {
        offsets: Some(offsets.collect()),
        ..column
    }
}
