//! Rows a second from raw values to ids, one thread: `cargo bench -p ncs-features`.

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_features::*;
use std::sync::Arc;

const N_ROWS: usize = 8192;
const N_FIELDS: usize = 20;

fn main() {
    divan::main();
}

/// Twenty single-valued fields, each in a table of its own.
fn schema(ids: &IdSpace) -> Schema {
    let name = |i: usize| format!("field_{i}");
    let field = |i: usize| Field {
        name: name(i),
        column: name(i),
        table: i,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into()],
    };
    let table = |i: usize| Table {
        name: name(i),
        ids: ids.clone(),
        range: None,
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: (0..N_FIELDS).map(field).collect(),
        tables: (0..N_FIELDS).map(table).collect(),
        tasks: vec![],
        group: None,
    }
}

fn block(values: impl Fn(&mut u64) -> i64, as_text: bool) -> Block {
    let mut random = 1;
    let mut column = |i: usize| {
        let numbers: Vec<i64> = (0..N_ROWS).map(|_| values(&mut random)).collect();
        let mut texts = Texts::default();
        numbers
            .iter()
            .for_each(|number| texts.push(number.to_string().as_bytes()));
        Column {
            name: format!("field_{i}"),
            values: if as_text {
                Values::Text(texts)
            } else {
                Values::Int(numbers)
            },
            ..Column::default()
        }
    };
    Block {
        n_rows: N_ROWS,
        columns: (0..N_FIELDS).map(&mut column).collect(),
    }
}

fn ids_of_ten_digits(random: &mut u64) -> i64 {
    (hash::below(random, 9_000_000_000) + 1_000_000_000) as i64
}

fn hashed(function: HashFunction) -> IdSpace {
    IdSpace::Hash {
        buckets: 1_000_000,
        function,
        unknown: false,
    }
}

fn run(bencher: Bencher, ids: IdSpace, block: Block) {
    let encoder = Encoder::new(Arc::new(schema(&ids)));
    bencher
        .counter(ItemsCount::new(N_ROWS))
        .bench_local(|| encoder.encode(&block).unwrap());
}

#[divan::bench(args = [HashFunction::Xxh3, HashFunction::Farm, HashFunction::Murmur3])]
fn texts_by_hash(bencher: Bencher, function: HashFunction) {
    run(bencher, hashed(function), block(ids_of_ten_digits, true));
}

#[divan::bench]
fn integers_by_hash(bencher: Bencher) {
    run(
        bencher,
        hashed(HashFunction::Xxh3),
        block(ids_of_ten_digits, false),
    );
}

#[divan::bench]
fn texts_by_vocabulary(bencher: Bencher) {
    let values = (0..10_000).map(|i| i.to_string()).collect();
    let block = block(|random| hash::below(random, 12_000) as i64, true);
    run(bencher, IdSpace::Vocabulary { values }, block);
}

#[divan::bench]
fn texts_by_quantile(bencher: Bencher) {
    let boundaries = (0..99).map(|i| 1e9 + 9e7 * f64::from(i)).collect();
    run(
        bencher,
        IdSpace::Quantiles { boundaries },
        block(ids_of_ten_digits, true),
    );
}
