//! The optimizer alone, at the paper's sizes, one thread: `cargo bench -p ncs-train --bench optimizer`.

use divan::Bencher;
use divan::counter::ItemsCount;
use ncs_features::{Batch, FieldIds, Pooling};
use ncs_model::{
    CounterRng, EventGradients, FieldSpec, Gradient, Masks, Model, NetworkKind, NetworkPlan,
    ResolvedIds, Spec, TableSpec, embedding_gradients, masks,
};
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{Optimizer, OptimizerKind};
use rayon::ThreadPoolBuilder;
use std::sync::Arc;

const ADAM: Optimizer = Optimizer {
    learning_rate: 1e-3,
    kind: OptimizerKind::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    },
};
const SETTINGS: OptimSettings = OptimSettings::new(ADAM);

const N_ROWS: usize = 4096;
const N_SINGLE: usize = 15;
const N_LISTS: usize = 5;
const N_FIELDS: usize = N_SINGLE + N_LISTS;
const LIST_LENGTH: usize = 6;
const DIM: usize = 16;

fn main() {
    ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()
        .unwrap();
    divan::main();
}

/// The fields share one table of 10 million rows, or have a table of a million each.
fn spec(n_tables: usize, kind: NetworkKind) -> Spec {
    let field = |f: usize| FieldSpec {
        table: f % n_tables,
        pooling: (f >= N_SINGLE).then_some(Pooling::Mean),
        pieces: None,
        vector: None,
    };
    let table = |number| TableSpec {
        name: format!("table {number}"),
        rows: if n_tables == 1 { 10_000_000 } else { 1_000_000 },
        unknown: None,
    };
    Spec {
        fields: (0..N_FIELDS).map(field).collect(),
        tables: (0..n_tables).map(table).collect(),
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            table_deviation: Some(0.01),
            ..ncs_testkit::network(kind, DIM, &[512, 256, 128])
        },
    }
}

// ---- layers and heads

/// Adam for one task, which keeps about this many of the 533 thousand connections.
#[divan::bench(args = [200_000, 533_000], sample_count = 100)]
fn dense(bencher: Bencher, n_kept: usize) {
    let spec = Spec {
        tables: vec![TableSpec {
            name: "table".into(),
            rows: 1,
            unknown: None,
        }],
        ..spec(1, NetworkKind::SparseSharing)
    };
    let mut model: Model = Model::new(spec, CounterRng::new(1, "weights"));
    let shapes = model.spec().layer_shapes();
    let n_all: usize = shapes
        .iter()
        .map(|(inputs, outputs)| inputs * outputs)
        .sum();
    let density = (n_kept as f64 / n_all as f64).min(1.0);
    let mask = |task| masks::random(&shapes, density, CounterRng::new(task, "mask"));
    let tasks = vec![mask(0), mask(1)];
    model.set_masks(Some(Arc::new(Masks {
        tasks,
        owners: None,
    })));
    let mut optimizers = Optimizers::new(&model, SETTINGS);
    let n = model.connections(0).len() as u64;
    let mut gradient = Gradient {
        dense: (0..n)
            .map(|i| 1e-3 * CounterRng::new(1, "g").normal(i) as f32)
            .collect(),
        tables: Vec::new(),
    };
    let network = model.network_mut(0);
    bencher
        .counter(ItemsCount::new(n_kept))
        .bench_local(|| optimizers.step(0, network, &mut gradient, &[0], 1.0));
}

// ---- tables

/// Ids of a field: evenly spread, or by Zipf's law and scattered.
fn ids(field: usize, per_row: usize, rows: usize, how: &str) -> FieldIds {
    let rng = CounterRng::new(field as u64, "ids");
    let n = rows as f64;
    let id = |i: usize| match how {
        "even" => (n * rng.uniform(i as u64)) as u32,
        _ => {
            let rank = n.powf(rng.uniform(i as u64)) as u64 - 1;
            (rank * 7_368_787 % rows as u64) as u32
        }
    };
    let offsets = (0..=N_ROWS).map(|row| (row * per_row) as u32);
    FieldIds {
        ids: (0..N_ROWS * per_row).map(id).collect(),
        offsets: offsets.filter(|_| per_row > 1).collect(),
        ..FieldIds::default()
    }
}

struct Tables {
    model: Model,
    optimizers: Optimizers,
    batches: Vec<Batch>,
    /// One for each batch.
    located: Vec<ResolvedIds>,
    d_vectors: Vec<f32>,
    gradient: Gradient,
}

impl Tables {
    fn new(n_tables: usize, how: &str) -> Tables {
        let spec = spec(n_tables, NetworkKind::SharedBottom);
        let rows = spec.tables[0].rows;
        let per_row = |f: usize| if f < N_SINGLE { 1 } else { LIST_LENGTH };
        let batch = |b: usize| Batch {
            n_rows: N_ROWS,
            fields: (0..N_FIELDS)
                .map(|f| ids(100 * b + f, per_row(f), rows, how))
                .collect(),
            ..Batch::default()
        };
        let batches: Vec<Batch> = (0..4).map(batch).collect();
        let mut model: Model = Model::new(spec, CounterRng::new(1, "weights"));
        batches
            .iter()
            .for_each(|batch| model.network_mut(0).init_rows_of(batch));
        let located = |batch: &Batch| {
            let mut located = ResolvedIds::default();
            located.find(model.spec(), &model.network(0).tables, batch, |_| true, 1);
            located
        };
        let located = batches.iter().map(located).collect();
        let rng = CounterRng::new(1, "gradients");
        let n = (N_ROWS * N_FIELDS * DIM) as u64;
        Tables {
            optimizers: Optimizers::new(&model, SETTINGS),
            gradient: Gradient {
                dense: vec![0.0; model.connections(0).len()],
                tables: Vec::new(),
            },
            located,
            d_vectors: (0..n).map(|i| 1e-3 * rng.normal(i) as f32).collect(),
            model,
            batches,
        }
    }

    fn gather(&mut self, batch: usize) {
        let none = EventGradients::default();
        let vectors = embedding_gradients::VectorGradients {
            fields: &self.d_vectors,
            events: &none,
        };
        embedding_gradients::gather(
            self.model.spec(),
            &self.model.network(0).tables,
            &self.batches[batch % 4],
            &self.located[batch % 4],
            vectors,
            1,
            &mut self.gradient.tables,
        );
    }

    /// For no task: tables only.
    fn step(&mut self) {
        self.optimizers
            .step(0, self.model.network_mut(0), &mut self.gradient, &[], 1.0);
    }
}

const TABLES: [(usize, &str); 4] = [(1, "even"), (1, "Zipf"), (20, "even"), (20, "Zipf")];

/// 184,320 ids of a batch to the gradients of rows.
#[divan::bench(args = TABLES, sample_count = 50, sample_size = 1)]
fn gather(bencher: Bencher, (n_tables, how): (usize, &str)) {
    let mut tables = Tables::new(n_tables, how);
    let mut batch = 0;
    bencher
        .counter(ItemsCount::new(184_320_usize))
        .bench_local(|| {
            batch += 1;
            tables.gather(batch);
        });
}

/// The same, and a step of the rows.
#[divan::bench(args = TABLES, sample_count = 50, sample_size = 1)]
fn gather_and_step(bencher: Bencher, (n_tables, how): (usize, &str)) {
    let mut tables = Tables::new(n_tables, how);
    let mut batch = 0;
    bencher
        .counter(ItemsCount::new(184_320_usize))
        .bench_local(|| {
            batch += 1;
            tables.gather(batch);
            tables.step();
        });
}

/// Benchmark of the check for uninitialised rows of a batch: all are initialised.
#[divan::bench(args = TABLES, sample_count = 50, sample_size = 1)]
fn touch(bencher: Bencher, (n_tables, how): (usize, &str)) {
    let mut tables = Tables::new(n_tables, how);
    let mut batch = 0;
    bencher
        .counter(ItemsCount::new(184_320_usize))
        .bench_local(|| {
            batch += 1;
            for (f, ids) in tables.batches[batch % 4].fields.iter().enumerate() {
                let table = f % n_tables;
                tables.model.network_mut(0).tables[table].init_rows(&ids.ids);
            }
        });
}
