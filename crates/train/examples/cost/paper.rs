//! The workload of the paper's size: 20 fields of dimension 16 (15 single, 5 lists of 6 ids) in one
//! table, layers 512-256-128, two tasks; one row in ten is a click, and one click in five converts.
//! `tools/bench/workload.py` makes the same for the peers.

use ncs_features::{
    Batch, Field, FieldIds, HashFunction, IdSpace, Objective, Pooling, Population, Schema, Table,
    Task,
};
use ncs_model::{
    CounterRng, Gradient, HeadRows, Masks, Model, NetworkKind, NetworkPlan, Spec, Subnet,
    Workspace, masks,
};
use ncs_train::loss::BatchLoss;
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{Optimizer, OptimizerKind};
use std::sync::Arc;

pub(crate) const N_SINGLE: usize = 15;
pub(crate) const N_LISTS: usize = 5;
pub(crate) const LIST_LENGTH: usize = 6;
pub(crate) const DIM: usize = 16;

/// Steps go through so many batches in turn, so that no table row is in cache for free.
pub(crate) const N_BATCHES: usize = 8;

const ADAM: Optimizer = Optimizer {
    learning_rate: 1e-3,
    kind: OptimizerKind::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    },
};

const OBJECTIVES: [Objective; 2] = [
    Objective::Focal {
        alpha: 0.75,
        gamma: 2.0,
    },
    Objective::CrossEntropy,
];

/// Sizes that may differ from the paper's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Rows of a batch.
    pub(crate) batch: usize,
    /// Rows of the one table that all fields share.
    pub(crate) table_rows: usize,
    /// Times the paper's layer widths.
    pub(crate) width: usize,
    pub(crate) threads: usize,
    /// True for products of layers in half precision.
    pub(crate) is_half: bool,
}

impl Size {
    pub(crate) const PAPER: Size = Size {
        batch: 4096,
        table_rows: 10_000_000,
        width: 1,
        threads: 1,
        is_half: false,
    };
}

/// A model in training.
pub(crate) struct Training {
    pub(crate) model: Model,
    optimizers: Optimizers,
    pass: Workspace,
    gradient: Gradient,
    tasks: Vec<usize>,
    subnets: Vec<Subnet>,
}

impl Training {
    /// Trains these tasks together.
    pub(crate) fn new(size: Size, model: Model, tasks: &[usize]) -> Training {
        let mut subnets = model.subnets(0, tasks);
        if size.is_half {
            subnets.iter_mut().for_each(Subnet::run_in_half);
        }
        Training {
            optimizers: Optimizers::new(&model, OptimSettings::new(ADAM)),
            pass: Workspace::new(size.threads),
            gradient: Gradient::default(),
            tasks: tasks.to_vec(),
            subnets,
            model,
        }
    }

    /// Trains on under other masks, from fresh moments.
    pub(crate) fn set_masks(&mut self, masks: Masks) {
        self.model.set_masks(Some(Arc::new(masks)));
        self.optimizers = Optimizers::new(&self.model, OptimSettings::new(ADAM));
        self.subnets = self.model.subnets(0, &self.tasks);
    }

    /// Draws rows, runs forward and back, each task on the rows whose label is known, and moves the
    /// weights.
    pub(crate) fn step(&mut self, batch: &Batch) {
        self.model.network_mut(0).init_rows_of(batch);
        self.load(batch);
        self.learn(batch);
        let network = self.model.network_mut(0);
        self.optimizers
            .step(0, network, &mut self.gradient, &self.tasks, 1.0);
    }

    /// Forward and back, without a step.
    pub(crate) fn learn(&mut self, batch: &Batch) {
        let loss = |&task: &usize| {
            BatchLoss::new(
                OBJECTIVES[task],
                &batch.labels[task],
                batch.terms(task),
                1.0,
            )
        };
        let losses: Vec<BatchLoss<'_>> = self.tasks.iter().map(loss).collect();
        let gradients_of = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
            losses[rows.head].gradients(rows.rows, rows.logits, gradients)
        };
        let (pass, gradient) = (&mut self.pass, &mut self.gradient);
        let network = self.model.network(0);
        network.learn(batch, &self.subnets, None, &gradients_of, pass, gradient);
    }

    /// Runs forward only, on initialised rows.
    pub(crate) fn forward(&mut self, batch: &Batch) {
        self.load(batch);
        let network = self.model.network(0);
        network.forward(batch, &self.subnets, &mut self.pass);
    }

    fn load(&mut self, batch: &Batch) {
        let network = self.model.network(0);
        for (subnet, &task) in self.subnets.iter_mut().zip(&self.tasks) {
            let labels = (0..).zip(&batch.labels[task]);
            let known = labels.filter(|(_, label)| !label.is_nan());
            let known: Vec<u32> = known.map(|(row, _)| row).collect();
            subnet.run_on((known.len() < batch.n_rows).then_some(known));
            subnet.load(network);
        }
    }

    /// Returns the number of initialised table rows.
    pub(crate) fn n_initialised_rows(&self) -> usize {
        let tables = self.model.network(0).tables.iter();
        tables.map(|table| table.n_initialised()).sum()
    }
}

/// A model under random masks of these densities, of CTR and CVR.
pub(crate) fn model(size: Size, density: [f64; 2]) -> Model {
    let spec = Spec::of(&schema(size), &network(size));
    let mut model = Model::new(spec, CounterRng::new(1, "weights"));
    let shapes = model.spec().layer_shapes();
    let mask = |(task, density)| masks::random(&shapes, density, CounterRng::new(task, "mask"));
    let tasks = (0..).zip(density).map(mask).collect();
    model.set_masks(Some(Arc::new(Masks {
        tasks,
        owners: None,
    })));
    model
}

/// The network.
pub(crate) fn network(size: Size) -> NetworkPlan {
    NetworkPlan {
        table_deviation: Some(0.01),
        ..ncs_testkit::network(
            NetworkKind::SparseSharing,
            DIM,
            &[512, 256, 128].map(|units| units * size.width),
        )
    }
}

/// The fields, all in one table, and both tasks.
pub(crate) fn schema(size: Size) -> Schema {
    let field = |number: usize| Field {
        name: format!("field {number}"),
        column: format!("field {number}"),
        table: 0,
        pooling: (number >= N_SINGLE).then_some(Pooling::Mean),
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let table = Table {
        name: "all".into(),
        ids: IdSpace::Hash {
            // One row more is for what is missing.
            buckets: size.table_rows as u32 - 1,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        range: None,
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: (0..N_SINGLE + N_LISTS).map(field).collect(),
        tables: vec![table],
        tasks: tasks(["ctr", "cvr"]),
        group: None,
    }
}

/// The two tasks, the second on the clicked rows.
pub(crate) fn tasks(labels: [&str; 2]) -> Vec<Task> {
    let task = |(number, label): (usize, &str)| Task {
        population: match number {
            0 => Population::All,
            _ => Population::Where(0),
        },
        objective: OBJECTIVES[number],
        ..ncs_testkit::task(label)
    };
    labels.into_iter().enumerate().map(task).collect()
}

/// The batches that steps go through.
pub(crate) fn batches(size: Size) -> Vec<Batch> {
    (0..N_BATCHES as u64)
        .map(|number| batch(size, number))
        .collect()
}

/// Batch `number`.
pub(crate) fn batch(size: Size, number: u64) -> Batch {
    let rng = CounterRng::new(number, "ids");
    let field = |f: usize| {
        let per_row = if f < N_SINGLE { 1 } else { LIST_LENGTH };
        ids(size, rng.at(f as u64), per_row)
    };
    let is_click = |row: usize| row % 10 == 3;
    let click = |row| f32::from(u8::from(is_click(row)));
    let conversion = |row| {
        if is_click(row) {
            f32::from(u8::from(row % 50 == 3))
        } else {
            f32::NAN
        }
    };
    Batch {
        n_rows: size.batch,
        fields: (0..N_SINGLE + N_LISTS).map(field).collect(),
        labels: vec![
            (0..size.batch).map(click).collect(),
            (0..size.batch).map(conversion).collect(),
        ],
        ..Batch::default()
    }
}

/// Ids whose ranks fall off as Zipf's law has it, and lie scattered.
fn ids(size: Size, rng: CounterRng, per_row: usize) -> FieldIds {
    let n = size.table_rows as f64;
    let id = |position: usize| {
        let rank = n.powf(rng.uniform(position as u64)) as u64 - 1;
        (rank.wrapping_mul(2_654_435_761) % size.table_rows as u64) as u32
    };
    let offsets = (0..=size.batch).map(|row| (row * per_row) as u32);
    FieldIds {
        ids: (0..size.batch * per_row).map(id).collect(),
        offsets: offsets.filter(|_| per_row > 1).collect(),
        ..FieldIds::default()
    }
}
