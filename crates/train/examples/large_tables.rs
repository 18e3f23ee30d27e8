//! Step time of a table in memory and in a file, for docs/large_tables.md. Under a memory limit it shows what rows that are
//! not in memory cost:
//!
//! ```text
//! cargo run --release -p ncs-train --example large_tables -- memory|FOLDER ROWS SKEW FIELDS STEPS
//! ```
//!
//! 45 fields of one id, vectors of 16 numbers with Adam, 4,096 rows a batch, layers of 512, 256 and 128. FIELDS of the fields
//! read a table of ROWS rows, the others one of 10,000. Ids are `ROWS u^SKEW` for uniform `u`: with 1 all are as frequent, with
//! 4 half of the ids are among the first sixteenth of the table. All rows are initialised before the first step, in the order
//! in which such ids are first seen, with moments that have been written.

use ncs_features::{Batch, FieldIds, Objective};
use ncs_model::kernels::SimdLevel;
use ncs_model::{
    CounterRng, FieldSpec, Gradient, HeadRows, Model, NetworkKind, Spec, TableGradient, TableSpec,
    TableStorage, Workspace,
};
use ncs_train::loss::BatchLoss;
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{Optimizer, OptimizerKind};
use std::path::Path;
use std::time::Instant;

const ROWS_A_BATCH: usize = 4096;
const FIELDS: usize = 45;
const DIM: usize = 16;
const SMALL: usize = 10_000;

const SETTINGS: OptimSettings = OptimSettings::new(ADAM);

const ADAM: Optimizer = Optimizer {
    learning_rate: 1e-3,
    kind: OptimizerKind::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    },
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, rows, skew, fields, steps] = &arguments[..] else {
        return Err("usage: large_tables memory|FOLDER ROWS SKEW FIELDS STEPS".into());
    };
    let (rows, skew): (usize, i32) = (rows.parse()?, skew.parse()?);
    let (n_large, steps): (usize, u64) = (fields.parse()?, steps.parse()?);
    if n_large > FIELDS {
        return Err(format!("FIELDS is at most {FIELDS}").into());
    }
    let storage = match place.as_str() {
        "memory" => TableStorage::Memory,
        folder => TableStorage::in_folder(Path::new(folder)),
    };
    let mut training = Training::new(rows, skew, n_large, &storage);
    let begun = Instant::now();
    training.fill();
    storage.check()?;
    let filled = begun.elapsed().as_secs_f64();
    let mut times: Vec<f64> = Vec::new();
    for step in 0..steps {
        let batch = training.batch(1 + step);
        let begun = Instant::now();
        training.step(&batch);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    storage.check()?;
    let (mean, last) = (mean(&times), mean(&times[times.len() / 2..]));
    let begun = Instant::now();
    let weights = training.model.network(0).stored_weights()?;
    let copied = begun.elapsed().as_secs_f64();
    println!(
        "{place}: {rows} rows, skew {skew}, {n_large} fields, {:.2} GB; filled in {filled:.1} s; {mean:.1} ms a step, {last:.1} in the second \
         half; {} rows copied in order in {copied:.1} s; peak resident {}",
        (rows * 3 * DIM * 4) as f64 / 1e9,
        weights.tables[0].ids.len(),
        peak(),
    );
    Ok(())
}

struct Training {
    model: Model,
    optimizers: Optimizers,
    pass: Workspace,
    skew: i32,
    /// Number of fields that read the large table.
    n_large: usize,
}

impl Training {
    fn new(rows: usize, skew: i32, n_large: usize, storage: &TableStorage) -> Training {
        let field = |f| FieldSpec {
            table: usize::from(f >= n_large),
            pooling: None,
            pieces: None,
            vector: None,
        };
        let table = |(name, rows): (&str, usize)| TableSpec {
            name: name.into(),
            rows,
            unknown: None,
        };
        let spec = Spec {
            fields: (0..FIELDS).map(field).collect(),
            tables: [("large", rows), ("small", SMALL)].map(table).into(),
            tasks: vec!["ctr".into()],
            links: Vec::new(),
            plan: ncs_testkit::network(NetworkKind::SharedBottom, DIM, &[512, 256, 128]),
        };
        let mut model = Model::new(spec, CounterRng::new(1, "weights"));
        model.network_mut(0).tables[0].store_in(storage);
        Training {
            optimizers: Optimizers::new(&model, SETTINGS),
            pass: Workspace::new(rayon::current_num_threads()),
            skew,
            n_large,
            model,
        }
    }

    fn n_rows(&self) -> usize {
        self.model.network(0).tables[0].n_rows()
    }

    /// Returns uniform numbers in [0, 1).
    fn uniform(stream: u64, n: usize) -> Vec<f64> {
        let rng = CounterRng::new(7, "ids").at(stream);
        (0..n as u64).map(|i| rng.uniform(i)).collect()
    }

    /// Returns ids of the large table, then of the small one.
    fn ids(&self, stream: u64, [n_large, n_small]: [usize; 2]) -> Vec<u32> {
        let numbers = Training::uniform(stream, n_large + n_small).into_iter();
        let n = |i| if i < n_large { self.n_rows() } else { SMALL };
        let id = |(i, u): (usize, f64)| (n(i) as f64 * u.powi(self.skew)) as u32;
        numbers.enumerate().map(id).collect()
    }

    /// Initialises all rows, and writes their moments.
    fn fill(&mut self) {
        const IDS: usize = 1 << 18;
        let n = self.n_rows() as u32;
        for stream in 0..u64::from(n) / IDS as u64 {
            let ids = self.ids(1_000_000 + stream, [IDS, 0]);
            self.model.network_mut(0).tables[0].init_rows(&ids);
        }
        let network = self.model.network_mut(0);
        for (table, rows) in network.tables.iter_mut().zip([n, SMALL as u32]) {
            table.init_rows(&(0..rows).collect::<Vec<_>>());
        }
        let in_order: Vec<u32> = network.tables[0].ids()[1..].to_vec();
        let mut gradient = Gradient {
            dense: vec![0.0; self.model.connections(0).len()],
            tables: Vec::new(),
        };
        for ids in in_order.chunks(IDS) {
            let large = TableGradient::new(ids.to_vec(), vec![1e-6; ids.len() * DIM]);
            gradient.tables = vec![large, TableGradient::new(Vec::new(), Vec::new())];
            let network = self.model.network_mut(0);
            self.optimizers.step(0, network, &mut gradient, &[0], 1.0);
        }
    }

    fn batch(&self, stream: u64) -> Batch {
        let n_large = self.n_large * ROWS_A_BATCH;
        let ids = self.ids(stream, [n_large, FIELDS * ROWS_A_BATCH - n_large]);
        let field = |ids: &[u32]| FieldIds {
            ids: ids.into(),
            ..FieldIds::default()
        };
        Batch {
            n_rows: ROWS_A_BATCH,
            fields: ids.chunks(ROWS_A_BATCH).map(field).collect(),
            labels: vec![
                Training::uniform(stream, ROWS_A_BATCH)
                    .into_iter()
                    .map(|u| f32::from(u8::from(u < 0.1)))
                    .collect(),
            ],
            ..Batch::default()
        }
    }

    fn step(&mut self, batch: &Batch) {
        self.model.network_mut(0).init_rows_of(batch);
        let mut subnets = self.model.subnets(0, &[0]);
        subnets
            .iter_mut()
            .for_each(|subnet| subnet.load(self.model.network(0)));
        let labels = &batch.labels[0];
        let loss = BatchLoss::new(Objective::CrossEntropy, labels, batch.terms(0), 1.0);
        let gradients_of = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
            loss.gradients(rows.rows, rows.logits, gradients)
        };
        let mut gradient = Gradient::default();
        let network = self.model.network(0);
        network.learn(
            batch,
            &subnets,
            None,
            &gradients_of,
            &mut self.pass,
            &mut gradient,
        );
        let network = self.model.network_mut(0);
        self.optimizers.step(0, network, &mut gradient, &[0], 1.0);
    }
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len().max(1) as f64
}

/// Returns the peak of the resident memory, as Linux tells it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    format!(
        "{}, {:?}",
        line.unwrap_or("unknown").trim(),
        SimdLevel::best()
    )
}
