//! Tables, and a pass forward and back, at the paper's size, one thread: `cargo bench -p ncs-model`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ncs_features::{Batch, FieldIds, Pooling};
use ncs_model::{
    Draw, FieldSpec, Gradient, Gram, Masks, Model, NetworkKind, NetworkPlan, Pass, Spec, Table,
    TableGradient, TableSpec, masks,
};
use std::sync::Arc;

const N_ROWS: usize = 4096;
const N_SINGLE: usize = 15;
const N_LISTS: usize = 5;
const LIST_LENGTH: usize = 6;
const TABLE_ROWS: usize = 1_000_000;
const DIM: usize = 16;

fn main() {
    divan::main();
}

/// The row that is met at `position`: ranks fall off as Zipf's law has it, and lie scattered.
fn id(draw: Draw, position: usize) -> u32 {
    let n = TABLE_ROWS as f64;
    let rank = n.powf(draw.uniform(position as u64)) as u64 - 1;
    (rank * 7_368_787 % TABLE_ROWS as u64) as u32
}

fn ids(field: usize, per_row: usize) -> FieldIds {
    let draw = Draw::new(field as u64, "ids");
    let offsets = (0..=N_ROWS).map(|row| (row * per_row) as u32);
    FieldIds {
        ids: (0..N_ROWS * per_row).map(|i| id(draw, i)).collect(),
        offsets: offsets.filter(|_| per_row > 1).collect(),
        ..FieldIds::default()
    }
}

fn batch() -> Batch {
    let singles = (0..N_SINGLE).map(|field| ids(field, 1));
    let lists = (N_SINGLE..N_SINGLE + N_LISTS).map(|field| ids(field, LIST_LENGTH));
    Batch {
        n_rows: N_ROWS,
        fields: singles.chain(lists).collect(),
        ..Batch::default()
    }
}

fn model(kind: NetworkKind) -> Model {
    let n_fields = N_SINGLE + N_LISTS;
    let field = |table| FieldSpec {
        table,
        pooling: (table >= N_SINGLE).then_some(Pooling::Mean),
    };
    let table = |number| TableSpec {
        name: format!("table {number}"),
        rows: TABLE_ROWS,
    };
    let spec = Spec {
        fields: (0..n_fields).map(field).collect(),
        tables: (0..n_fields).map(table).collect(),
        tasks: vec!["ctr".into(), "cvr".into()],
        plan: NetworkPlan {
            kind,
            dim: DIM,
            hidden: vec![512, 256, 128],
            gram: Gram::Full,
            dropout: 0.0,
            table_deviation: Some(0.01),
        },
    };
    let mut model = Model::new(spec, Draw::new(1, "weights"));
    model.tower_mut(0).touch(&batch());
    model
}

/// `dense`, or under a random mask of a fifth of the connections.
fn masked_model(network: &str) -> Model {
    if network == "dense" {
        return model(NetworkKind::SharedBottom);
    }
    let mut model = model(NetworkKind::SparseSharing);
    let shapes = model.spec().layer_shapes();
    let mask = |task| masks::random(&shapes, 0.2, Draw::new(task, "mask"));
    let tasks = vec![mask(0), mask(1)];
    model.set_masks(Some(Arc::new(Masks { tasks })));
    model
}

/// A list field of a batch: 24,576 ids.
fn table_and_ids() -> (Table<f32>, Vec<u32>) {
    let ids = ids(0, LIST_LENGTH).ids;
    let mut table = Table::new(TABLE_ROWS, DIM, Draw::new(1, "table"), 0.01);
    ids.iter().for_each(|&id| table.touch(id));
    (table, ids)
}

#[divan::bench(sample_count = 50)]
fn table_look_up(bencher: Bencher) {
    let (table, ids) = table_and_ids();
    bencher.counter(ItemsCount::new(ids.len())).bench_local(|| {
        let mut sum = [0.0; DIM];
        for &id in &ids {
            sum.iter_mut().zip(table.row(id)).for_each(|(s, x)| *s += x);
        }
        sum
    });
}

/// Sums the gradient by row, then moves each row once.
#[divan::bench(sample_count = 50)]
fn table_update(bencher: Bencher) {
    let (mut table, ids) = table_and_ids();
    let mut gradient = TableGradient::default();
    bencher.counter(ItemsCount::new(ids.len())).bench_local(|| {
        gradient.clear();
        let slope = black_box([1e-6; DIM]);
        ids.iter().for_each(|&id| gradient.add(id, 0.5, &slope));
        for (&id, slopes) in gradient.ids.iter().zip(gradient.values.chunks_exact(DIM)) {
            let row = table.row_mut(id).iter_mut().zip(slopes);
            row.for_each(|(weight, slope)| *weight -= slope);
        }
    });
}

/// The kept weights of one task, folded: once a step.
#[divan::bench(args = ["dense", "density 0.2"], sample_count = 20)]
fn subnet(bencher: Bencher, network: &str) {
    let model = masked_model(network);
    bencher.bench_local(|| model.subnets(0, &[0]));
}

#[divan::bench(args = ["dense", "density 0.2"], sample_count = 20, sample_size = 1)]
fn forward(bencher: Bencher, network: &str) {
    let (model, batch) = (masked_model(network), batch());
    let subnets = model.subnets(0, &[0]);
    let mut pass = Pass::new(1);
    bencher.counter(ItemsCount::new(N_ROWS)).bench_local(|| {
        model.tower(0).forward(&batch, &subnets, None, &mut pass);
    });
}

#[divan::bench(args = ["dense", "density 0.2"], sample_count = 20, sample_size = 1)]
fn forward_and_backward(bencher: Bencher, network: &str) {
    let (model, batch) = (masked_model(network), batch());
    let subnets = model.subnets(0, &[0]);
    let (mut pass, mut gradient) = (Pass::new(1), Gradient::default());
    let slopes = [vec![1e-4; N_ROWS]];
    let tower = model.tower(0);
    bencher.counter(ItemsCount::new(N_ROWS)).bench_local(|| {
        tower.forward(&batch, &subnets, None, &mut pass);
        tower.backward(&batch, &subnets, &slopes, &mut pass, &mut gradient);
    });
}
